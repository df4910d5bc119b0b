//! How work is cut into tasks for the threads.
//!
//! The cut depends on shapes alone, never on the number of threads: sums over tasks, and the
//! blocking inside of a matrix product, are then the same to the last bit on any number of them.

/// Rows per task of an elementwise or row-wise operation: at least about 16 thousand values, below
/// which handing over the task costs more than the task.
pub(super) fn light_rows(rows: usize, columns: usize) -> usize {
    rows.div_ceil(64).max((1 << 14) / columns.max(1)).max(1)
}

/// Rows of the left factor per matrix product. Each product packs the right factor anew, so it
/// needs many rows to pay for that: with 128 a product cost 5 % more than with 256 at width 384.
pub(super) fn product_rows(rows: usize) -> usize {
    rows.div_ceil(32).clamp(256, 512).min(rows.div_ceil(2)).next_multiple_of(16).max(64)
}

/// Rows of the output per product that sums over all rows of a batch (weight gradients). Each
/// packs that whole batch: slabs of 64 rows cost about 15 % more than of 128. A power of two of
/// slabs shares out evenly.
pub(super) fn weight_rows(rows: usize) -> usize {
    let slabs = if rows < 64 { 1 } else { (rows / 96).clamp(2, 8) };
    rows.div_ceil(1 << slabs.ilog2()).next_multiple_of(16)
}
