//! Linear map on slices: products of row chunks, one task each.

use crate::ops::pool::Buffer;
use crate::ops::product::{Matrix, Onto, product};
use crate::ops::simd::add_rows;
use crate::ops::tasks::{light_rows, product_rows, weight_rows};
use rayon::prelude::*;

/// `y = x wᵀ + b`; no bias if `b` is empty.
pub(super) fn forward(x: &[f32], w: &[f32], b: &[f32], inputs: usize, y: &mut [f32]) {
    let outputs = w.len().checked_div(inputs).unwrap_or(b.len());
    if y.is_empty() {
        return;
    }
    let rows = product_rows(y.len() / outputs);
    let w = Matrix::row_major(w, inputs).transposed();
    y.par_chunks_mut(rows * outputs).enumerate().for_each(|(i, y)| {
        let start = i * rows * inputs;
        let x = Matrix::row_major(&x[start..start + y.len() / outputs * inputs], inputs);
        if b.is_empty() {
            product(y, x, w, 1.0, Onto::Nothing);
        } else {
            y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(b));
            product(y, x, w, 1.0, Onto::Values);
        }
    });
}

/// `dx = dy w`.
pub(super) fn input_gradient(dy: &[f32], w: &[f32], inputs: usize, outputs: usize, dx: &mut [f32]) {
    if dx.is_empty() || outputs == 0 {
        return;
    }
    let rows = product_rows(dx.len() / inputs);
    let w = Matrix::row_major(w, inputs);
    dx.par_chunks_mut(rows * inputs).enumerate().for_each(|(i, dx)| {
        let start = i * rows * outputs;
        let dy = Matrix::row_major(&dy[start..start + dx.len() / inputs * outputs], outputs);
        product(dx, dy, w, 1.0, Onto::Nothing);
    });
}

/// `dw = dyᵀ x` or `dw += dyᵀ x`, a task per slab of output rows, each over all rows of the batch.
pub(in crate::ops) fn weight_gradient(
    dy: &[f32],
    x: &[f32],
    (inputs, outputs): (usize, usize),
    dw: &mut [f32],
    onto: Onto,
) {
    if dw.is_empty() || dy.is_empty() {
        if onto == Onto::Nothing {
            dw.fill(0.0);
        }
        return;
    }
    let rows = weight_rows(outputs);
    let dy = Matrix::row_major(dy, outputs).transposed();
    let x = Matrix::row_major(x, inputs);
    dw.par_chunks_mut(rows * inputs).enumerate().for_each(|(i, dw)| {
        product(dw, dy.rows(i * rows, dw.len() / inputs), x, 1.0, onto);
    });
}

/// `db = Σ dy` or `db += Σ dy` over rows: fixed chunks, added in order.
pub(in crate::ops) fn bias_gradient(dy: &[f32], db: &mut [f32], onto: Onto) {
    if onto == Onto::Nothing {
        db.fill(0.0);
    }
    let outputs = db.len();
    if dy.is_empty() {
        return;
    }
    let rows = light_rows(dy.len() / outputs, outputs);
    let mut partial = Buffer::zeros((dy.len() / outputs).div_ceil(rows) * outputs);
    partial.par_chunks_mut(outputs).zip(dy.par_chunks(rows * outputs)).for_each(|(sums, dy)| add_rows(sums, dy));
    add_rows(db, &partial);
}
