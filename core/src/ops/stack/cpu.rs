//! What branches are made of, on slices: tasks of rows, each of which goes through several steps while it is in the cache.

use super::{LinearParameters, NormParameters, Rows};
use crate::ops::gradients;
use crate::ops::layer_norm::cpu::{Norm, STATISTICS};
use crate::ops::linear::cpu as linear;
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::product::{Matrix, Onto, product};
use crate::ops::simd::{add_rows, dispatched};
use crate::ops::tasks::product_rows;
use rayon::prelude::*;
use std::ops::Range;

/// Values of a normalisation's parameters.
pub(super) fn norm<'a>(parameters: &NormParameters, gamma: &'a [f32], beta: Option<&'a [f32]>) -> Norm<'a> {
    Norm { kind: parameters.kind, gamma, beta: beta.unwrap_or_default(), eps: parameters.eps as f32 }
}

/// Calls `f` with the number and the rows of each task.
pub(super) fn tasks(rows: usize, f: impl Fn(usize, Range<usize>) + Sync) {
    let chunk = product_rows(rows);
    (0..rows.div_ceil(chunk)).into_par_iter().with_max_len(1).for_each(|task| {
        f(task, task * chunk..((task + 1) * chunk).min(rows));
    });
}

/// How many tasks [`tasks`] makes.
pub(super) fn count(rows: usize) -> usize {
    rows.div_ceil(product_rows(rows))
}

/// Values of `rows` in rows of `width`.
pub(super) fn at(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// `y = x wᵀ + b`; no bias if `b` is empty. On this thread.
pub(super) fn linear_rows(x: &[f32], w: &[f32], b: &[f32], inputs: usize, y: &mut [f32]) {
    let w = Matrix::row_major(w, inputs).transposed();
    let x = Matrix::row_major(x, inputs);
    if b.is_empty() {
        return product(y, x, w, 1.0, Onto::Nothing);
    }
    y.chunks_exact_mut(b.len()).for_each(|row| row.copy_from_slice(b));
    product(y, x, w, 1.0, Onto::Values);
}

/// `y = x + scale (h wᵀ + b)`, with a scale per row. On this thread.
pub(super) fn residual_rows(
    x: &[f32],
    h: &[f32],
    (w, b): (&[f32], &[f32]),
    inputs: usize,
    scales: Option<&[f32]>,
    y: &mut [f32],
) {
    match scales {
        None => {
            start_rows(x, b, y, w.len() / inputs);
            product(y, Matrix::row_major(h, inputs), Matrix::row_major(w, inputs).transposed(), 1.0, Onto::Values);
        }
        Some(scales) => {
            linear_rows(h, w, b, inputs, y);
            add_scaled(x, scales, y);
        }
    }
}

/// What the gradient of the stream is for a branch that is scaled.
pub(super) fn scaled(gradient: &[f32], scales: Option<&[f32]>) -> Option<Buffer> {
    scales.map(|scales| {
        let width = gradient.len() / scales.len().max(1);
        let mut scaled = Buffer::new(gradient.len());
        for ((to, from), scale) in
            scaled.chunks_exact_mut(width.max(1)).zip(gradient.chunks_exact(width.max(1))).zip(scales)
        {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from * scale);
        }
        scaled
    })
}

/// The end of an attention branch: `y = x + scale (attended wᵀ + b)`.
pub(super) fn output_forward(out: (&[f32], &[f32]), rows: Rows<'_>, x: &[f32], attended: &[f32], y: &mut [f32]) {
    let (count, y) = (rows.sequences.rows(), Parts::new(y));
    let width = x.len() / count.max(1);
    tasks(count, |_, own| {
        let range = at(&own, width);
        // SAFETY: rows of a task are its alone.
        let y = unsafe { y.slice(range.clone()) };
        let scales = rows.scales.map(|scales| &scales[own]);
        residual_rows(&x[range.clone()], &attended[range], out, width, scales, y);
    });
}

/// The same backwards: the gradient of what was attended from that of the stream; adds those of the parameters.
pub(super) fn output_backward(
    parameters: &LinearParameters,
    w: &[f32],
    rows: Rows<'_>,
    attended: &[f32],
    gradient: &[f32],
) -> Buffer {
    let count = rows.sequences.rows();
    let width = gradient.len() / count.max(1);
    let scaled = scaled(gradient, rows.scales);
    let dy = scaled.as_deref().unwrap_or(gradient);
    let mut dattended = Buffer::new(gradient.len());
    let parts = Parts::new(&mut dattended);
    tasks(count, |_, rows| {
        let range = at(&rows, width);
        // SAFETY: rows of a task are its alone.
        let dattended = unsafe { parts.slice(range.clone()) };
        let w = Matrix::row_major(w, width);
        product(dattended, Matrix::row_major(&dy[range], width), w, 1.0, Onto::Nothing);
    });
    add_linear(parameters, dy, attended);
    add_bias(parameters, dy);
    dattended
}

/// Adds the gradients of a linear map `h = x wᵀ + b`.
pub(super) fn add_linear(parameters: &LinearParameters, dh: &[f32], x: &[f32]) {
    let [outputs, inputs] = [0, 1].map(|axis| parameters.weight.dims()[axis]);
    gradients::add(&parameters.weight, |dw, onto| linear::weight_gradient(dh, x, (inputs, outputs), dw, onto));
}

/// Adds the gradient of a bias: the sum of `dh` over rows.
pub(super) fn add_bias(parameters: &LinearParameters, dh: &[f32]) {
    if let Some(bias) = &parameters.bias {
        gradients::add(bias, |db, onto| linear::bias_gradient(dh, db, onto));
    }
}

/// Adds sums that tasks have taken, in their order. `partial` has rows of `columns`; the parameter's are `range` of each.
pub(super) fn add_partial(parameter: &candle_core::Tensor, partial: &[f32], columns: usize, range: Range<usize>) {
    gradients::add(parameter, |sum, onto| {
        if onto == Onto::Nothing {
            sum.fill(0.0);
        }
        partial.chunks_exact(columns).for_each(|row| add_rows(sum, &row[range.clone()]));
    });
}

/// The beginning of a branch backwards: from the gradient `dh` of `h = norm(x) wᵀ + b` to that of `x`, which is added to
/// `gradient`; and the gradients of all parameters.
pub(super) fn normed_linear_backward(
    (norm_parameters, linear_parameters): (&NormParameters, &LinearParameters),
    norm: Norm<'_>,
    w: &[f32],
    (x, statistics): (&[f32], &[f32]),
    dh: &[f32],
    gradient: &mut [f32],
) {
    let width = norm.gamma.len();
    let rows = x.len() / width;
    if rows == 0 {
        return;
    }
    let outputs = dh.len() / rows;
    let mut normed = Buffer::new(x.len());
    let mut partial = Buffer::zeros(count(rows) * 2 * width);
    let (normed_parts, partial_parts, gradient) =
        (Parts::new(&mut normed), Parts::new(&mut partial), Parts::new(gradient));
    tasks(rows, |task, rows| {
        let own = at(&rows, width);
        let mut dnormed = Buffer::new(own.len());
        let dh = Matrix::row_major(&dh[at(&rows, outputs)], outputs);
        product(&mut dnormed, dh, Matrix::row_major(w, width), 1.0, Onto::Nothing);
        let (x, statistics) = (&x[own.clone()], &statistics[at(&rows, STATISTICS)]);
        // SAFETY: rows of a task, and its sums, are its alone.
        let (normed, gradient, sums) = unsafe {
            (
                normed_parts.slice(own.clone()),
                gradient.slice(own),
                partial_parts.slice(task * 2 * width..(task + 1) * 2 * width),
            )
        };
        norm.backward_rows(x, statistics, &dnormed, true, gradient, sums);
        norm.again_rows(x, statistics, normed);
    });
    add_partial(&norm_parameters.gamma, &partial, 2 * width, 0..width);
    if let Some(beta) = &norm_parameters.beta {
        add_partial(beta, &partial, 2 * width, width..2 * width);
    }
    add_linear(linear_parameters, dh, &normed);
}

#[inline(always)]
fn start_body<const FMA: bool>(x: &[f32], b: &[f32], y: &mut [f32], width: usize) {
    if b.is_empty() {
        return y.copy_from_slice(x);
    }
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        for ((y, &x), &b) in y.iter_mut().zip(x).zip(b) {
            *y = x + b;
        }
    }
}

#[inline(always)]
fn add_scaled_body<const FMA: bool>(x: &[f32], scales: &[f32], y: &mut [f32]) {
    let width = y.len() / scales.len().max(1);
    for ((y, x), &scale) in y.chunks_exact_mut(width.max(1)).zip(x.chunks_exact(width.max(1))).zip(scales) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = crate::ops::simd::fma::<FMA>(*y, scale, x);
        }
    }
}

dispatched! {
    /// `y = x + b`.
    fn start_rows(x: &[f32], b: &[f32], y: &mut [f32], width: usize) = start_body
}

dispatched! {
    /// `y = x + scale y`.
    fn add_scaled(x: &[f32], scales: &[f32], y: &mut [f32]) = add_scaled_body
}
