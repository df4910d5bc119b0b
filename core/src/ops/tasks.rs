//! How work is cut into tasks for the threads.
//!
//! The cut depends on shapes and on the machine, never on the number of threads in use: sums over tasks are then the same to
//! the last bit on any number of them.

use std::sync::OnceLock;

/// Cores that the machine offers, as found at the first call.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from).min(64))
}

/// Equal parts of `count`, a multiple of the cores of them, each at most `most` and about `least` or more.
fn even(count: usize, least: usize, most: usize) -> usize {
    let cores = cores();
    let parts = (cores * count.div_ceil(cores * most)).min(count.div_ceil(least)).max(1);
    count.div_ceil(parts).next_multiple_of(16).max(16)
}

/// Rows per task of an elementwise or row-wise operation: at least about 16 thousand values, below
/// which handing over the task costs more than the task.
pub(super) fn light_rows(rows: usize, columns: usize) -> usize {
    rows.div_ceil(64).max((1 << 14) / columns.max(1)).max(1)
}

/// Rows of the left factor per matrix product. Each product packs the right factor anew, so it needs many rows to pay for
/// that: of a training step at width 384, 128 rows took 1.05 of the time of 256, 512 rows 0.95.
pub(super) fn product_rows(rows: usize) -> usize {
    even(rows, 128, 512)
}

/// Rows of the output per product that sums over all rows of a batch (weight gradients). Each packs that whole batch.
pub(super) fn weight_rows(rows: usize) -> usize {
    even(rows, 64, 512)
}
