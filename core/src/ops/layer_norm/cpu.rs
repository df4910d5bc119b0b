//! Layer normalisation on slices, chunks of rows as tasks.

use crate::ops::simd::{add_rows, dispatched, fma, sum, sum_pairs};
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// `y = (x - mean) / sqrt(var + eps) γ + β` for rows of the length of `gamma`.
pub(super) fn forward(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
    if x.is_empty() {
        return;
    }
    let chunk = light_rows(x.len() / gamma.len(), gamma.len()) * gamma.len();
    y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| forward_rows(x, gamma, beta, eps, y));
}

/// Fills `dx`; gives the gradients of `gamma` and `beta`. Mean and variance are recomputed.
pub(super) fn backward(x: &[f32], gamma: &[f32], dy: &[f32], eps: f32, dx: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let mut sums = vec![0.0; 2 * width];
    if !x.is_empty() {
        let rows = x.len() / width;
        let chunk = light_rows(rows, width);
        // One row of sums per task, the gradient of gamma and then that of beta, added in order.
        let mut partial = vec![0.0; rows.div_ceil(chunk) * 2 * width];
        dx.par_chunks_mut(chunk * width)
            .zip(partial.par_chunks_mut(2 * width))
            .zip(x.par_chunks(chunk * width).zip(dy.par_chunks(chunk * width)))
            .for_each(|((dx, sums), (x, dy))| backward_rows(x, gamma, dy, eps, dx, sums));
        add_rows(&mut sums, &partial);
    }
    let dbeta = sums.split_off(width);
    (sums, dbeta)
}

/// Mean and inverse standard deviation. The second pass keeps digits when the mean is far from 0.
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let inverse = 1.0 / x.len() as f32;
    let mean = sum(x, |x| x) * inverse;
    let variance = sum(x, |x| (x - mean) * (x - mean)) * inverse;
    (mean, 1.0 / (variance + eps).sqrt())
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
    let width = gamma.len();
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (mean, scale) = moments(x, eps);
        for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
            *y = fma::<FMA>((x - mean) * scale, gamma, beta);
        }
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(x: &[f32], gamma: &[f32], dy: &[f32], eps: f32, dx: &mut [f32], sums: &mut [f32]) {
    let width = gamma.len();
    let inverse = 1.0 / width as f32;
    let (dgamma, dbeta) = sums.split_at_mut(width);
    for ((x, dy), dx) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width)) {
        let (mean, scale) = moments(x, eps);
        // Until the last loop, `dx` holds the gradient of the normalised values.
        for ((dx, &dy), &gamma) in dx.iter_mut().zip(dy).zip(gamma) {
            *dx = dy * gamma;
        }
        let mean_gradient = sum(dx, |g| g) * inverse;
        let along = sum_pairs(dx, x, |g, x| g * ((x - mean) * scale)) * inverse;
        for ((((dx, &dy), &x), dgamma), dbeta) in
            dx.iter_mut().zip(dy).zip(x).zip(dgamma.iter_mut()).zip(dbeta.iter_mut())
        {
            let normalised = (x - mean) * scale;
            *dx = scale * fma::<FMA>(-normalised, along, *dx - mean_gradient);
            *dgamma = fma::<FMA>(dy, normalised, *dgamma);
            *dbeta += dy;
        }
    }
}

dispatched! {
    fn forward_rows(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) = forward_body
}

dispatched! {
    fn backward_rows(x: &[f32], gamma: &[f32], dy: &[f32], eps: f32, dx: &mut [f32], sums: &mut [f32]) = backward_body
}
