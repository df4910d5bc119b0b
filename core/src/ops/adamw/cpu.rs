//! AdamW on slices, chunks of values as tasks.

use super::Factors;
use crate::ops::pool::Buffer;
use crate::ops::simd::{dispatched, fma};
use rayon::prelude::*;

/// Values per task, whatever the number of threads: partial sums of the norm are then always the
/// same.
const CHUNK: usize = 1 << 15;

/// See [`super::update`].
pub(super) fn update(
    factors: Factors,
    parameter: &mut [f32],
    gradient: Option<&[f32]>,
    first: &mut [f32],
    second: &mut [f32],
) {
    let zeros = gradient.is_none().then(|| Buffer::zeros(parameter.len()));
    let gradient = gradient.or(zeros.as_deref()).unwrap_or_default();
    parameter
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
        .for_each(|((parameter, gradient), (first, second))| {
            update_chunk(factors, parameter, gradient, first, second);
        });
}

/// See [`super::sum_of_squares`].
pub(super) fn sum_of_squares(values: &[f32]) -> f64 {
    let partial: Vec<f64> = values.par_chunks(CHUNK).map(chunk_sum).collect();
    partial.iter().sum()
}

fn chunk_sum(values: &[f32]) -> f64 {
    let mut sum = 0.0;
    sum_chunk(values, &mut sum);
    sum
}

/// Squares of f32 can't overflow in f64: the result is finite if all values are.
#[inline(always)]
fn sum_body<const FMA: bool>(values: &[f32], sum: &mut f64) {
    let mut lanes = [0.0_f64; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    *sum = lanes.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
}

#[inline(always)]
fn update_body<const FMA: bool>(
    f: Factors,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let moments = first.iter_mut().zip(second.iter_mut());
    for ((parameter, &gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments) {
        let gradient = gradient * f.gradient;
        *first = fma::<FMA>(f.first[0], *first, f.first[1] * gradient);
        *second = fma::<FMA>(f.second[0], *second, f.second[1] * (gradient * gradient));
        // One subtraction: `1 - rate * decay` would keep few digits of the decay in f32.
        let step = f.rate * *first / fma::<FMA>(second.sqrt(), f.correction, f.epsilon);
        *parameter -= fma::<FMA>(f.decay, *parameter, step);
    }
}

dispatched! {
    fn sum_chunk(values: &[f32], sum: &mut f64) = sum_body
}

dispatched! {
    fn update_chunk(f: Factors, parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32])
        = update_body
}
