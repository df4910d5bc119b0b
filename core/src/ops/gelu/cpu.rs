//! GELU on slices, chunks of values as tasks.

use crate::ops::simd::{dispatched, exp, fma, normal_cdf};
use rayon::prelude::*;

/// Values per task.
const CHUNK: usize = 1 << 14;

/// `y = x Φ(x)`.
pub(super) fn forward(x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| forward_chunk(x, y));
}

/// `dx = dy (Φ(x) + x φ(x))`, everything recomputed from `x`.
pub(super) fn backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    dx.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .zip(dy.par_chunks(CHUNK))
        .for_each(|((dx, x), dy)| backward_chunk(x, dy, dx));
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x * normal_cdf::<FMA>(x);
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let density = DENSITY_AT_ZERO * exp::<FMA>(-0.5 * x * x);
        *dx = dy * fma::<FMA>(x, density, normal_cdf::<FMA>(x));
    }
}

dispatched! {
    fn forward_chunk(x: &[f32], y: &mut [f32]) = forward_body
}

dispatched! {
    fn backward_chunk(x: &[f32], dy: &[f32], dx: &mut [f32]) = backward_body
}
