//! Scaled channels on slices, objects cut into chunks of rows as tasks.

use crate::ops::pool::Buffer;
use crate::ops::simd::{add_rows, dispatched, fma};
use crate::ops::slices::made;
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// Numbers of an object, and of a task, which lies within one object.
fn sizes(x: &[f32], gates: &[f32], channels: usize) -> (usize, usize) {
    let object = x.len().checked_div(gates.len() / channels.max(1)).unwrap_or(0);
    let rows = object.checked_div(channels).unwrap_or(0);
    // The largest part of the rows that divides them and is not too small.
    let wanted = light_rows(rows, channels);
    let task = (wanted..=rows).find(|task| rows.is_multiple_of(*task)).unwrap_or(rows);
    (object, task * channels)
}

/// `y = x g + r`.
pub(super) fn forward(x: &[f32], gates: &[f32], residual: &[f32], channels: usize) -> Vec<f32> {
    let (object, task) = sizes(x, gates, channels);
    made(x.len(), task, |start, y| {
        let gates = &gates[start / object * channels..][..channels];
        scaled(&x[start..][..y.len()], gates, &residual[start..][..y.len()], y);
    })
}

/// `dx = dy g` and `dg = Σ dy x`: partial sums of tasks, added in their order.
pub(super) fn backward(x: &[f32], gates: &[f32], dy: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let (object, task) = sizes(x, gates, channels);
    let mut dgates = vec![0.0; gates.len()];
    if x.is_empty() {
        return (Vec::new(), dgates);
    }
    let dx = made(x.len(), task, |start, dx| {
        gradients(&dy[start..][..dx.len()], &gates[start / object * channels..][..channels], dx);
    });
    let mut partial = Buffer::zeros(x.len() / task * channels);
    partial
        .par_chunks_exact_mut(channels)
        .zip(x.par_chunks(task).zip(dy.par_chunks(task)))
        .for_each(|(sums, (x, dy))| add_products(x, dy, sums));
    for (dgates, partial) in dgates.chunks_exact_mut(channels).zip(partial.chunks_exact(object / task * channels)) {
        add_rows(dgates, partial);
    }
    (dx, dgates)
}

#[inline(always)]
fn scaled_body<const FMA: bool>(x: &[f32], gates: &[f32], residual: &[f32], y: &mut [f32]) {
    let width = gates.len();
    let rows = x.chunks_exact(width).zip(residual.chunks_exact(width)).zip(y.chunks_exact_mut(width));
    for ((x, residual), y) in rows {
        for (((&x, &gate), &residual), y) in x.iter().zip(gates).zip(residual).zip(y) {
            *y = fma::<FMA>(x, gate, residual);
        }
    }
}

#[inline(always)]
fn gradients_body<const FMA: bool>(dy: &[f32], gates: &[f32], dx: &mut [f32]) {
    for (dy, dx) in dy.chunks_exact(gates.len()).zip(dx.chunks_exact_mut(gates.len())) {
        for ((&dy, &gate), dx) in dy.iter().zip(gates).zip(dx) {
            *dx = dy * gate;
        }
    }
}

#[inline(always)]
fn add_products_body<const FMA: bool>(x: &[f32], dy: &[f32], sums: &mut [f32]) {
    for (x, dy) in x.chunks_exact(sums.len()).zip(dy.chunks_exact(sums.len())) {
        for ((&x, &dy), sum) in x.iter().zip(dy).zip(sums.iter_mut()) {
            *sum = fma::<FMA>(x, dy, *sum);
        }
    }
}

dispatched! {
    fn scaled(x: &[f32], gates: &[f32], residual: &[f32], y: &mut [f32]) = scaled_body
}

dispatched! {
    fn gradients(dy: &[f32], gates: &[f32], dx: &mut [f32]) = gradients_body
}

dispatched! {
    fn add_products(x: &[f32], dy: &[f32], sums: &mut [f32]) = add_products_body
}
