//! Rows by number on slices, chunks of result rows as tasks.

use crate::ops::simd::add_rows;
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// `y_k = x_{rows_k}`; every number is in range.
pub(super) fn gather(x: &[f32], rows: &[u32], width: usize, y: &mut [f32]) {
    if y.is_empty() {
        return;
    }
    let chunk = light_rows(rows.len(), width);
    y.par_chunks_mut(chunk * width).zip(rows.par_chunks(chunk)).for_each(|(y, rows)| {
        for (y, &row) in y.chunks_exact_mut(width).zip(rows) {
            y.copy_from_slice(row_of(x, row, width));
        }
    });
}

/// `y_m = Σ x_k` over `rows_k = m`, in the order of `k`; `y` comes as zeros, every number is in range.
pub(super) fn scatter(x: &[f32], rows: &[u32], width: usize, y: &mut [f32]) {
    if y.is_empty() || rows.is_empty() {
        return;
    }
    let count = y.len() / width;
    let (starts, order) = sorted(rows, count);
    let chunk = light_rows(count, width);
    y.par_chunks_mut(chunk * width).zip(starts[..count].par_chunks(chunk)).enumerate().for_each(|(i, (y, from))| {
        let ends = &starts[i * chunk + 1..];
        for (y, (&start, &end)) in y.chunks_exact_mut(width).zip(from.iter().zip(ends)) {
            for &k in &order[start as usize..end as usize] {
                add_rows(y, row_of(x, k, width));
            }
        }
    });
}

fn row_of(x: &[f32], row: u32, width: usize) -> &[f32] {
    &x[row as usize * width..][..width]
}

/// The places in `rows` sorted by the number there, and where each of the `count` numbers begins
/// among them. Equal numbers keep their order: what is added up there is added in one order.
fn sorted(rows: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; count + 1];
    for &row in rows {
        starts[row as usize + 1] += 1;
    }
    for m in 0..count {
        starts[m + 1] += starts[m];
    }
    let mut next = starts.clone();
    let mut order = vec![0; rows.len()];
    for (k, &row) in (0..).zip(rows) {
        let place = &mut next[row as usize];
        order[*place as usize] = k;
        *place += 1;
    }
    (starts, order)
}
