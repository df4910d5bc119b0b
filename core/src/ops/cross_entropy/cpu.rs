//! Softmax cross entropy on slices, chunks of rows as tasks.

use crate::ops::simd::{dispatched, exp, largest, sum};
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// Values per task of [`scale`].
const CHUNK: usize = 1 << 14;

/// What is known of the rows; a row of weight 0 is passed over.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) targets: &'a [u32],
    pub(super) weights: &'a [f64],
    pub(super) smoothing: f64,
}

impl<'a> Rows<'a> {
    fn part(self, start: usize, count: usize) -> Self {
        Self { targets: &self.targets[start..start + count], weights: &self.weights[start..start + count], ..self }
    }
}

/// Fills `losses` with the weighted loss of each row, and `gradient` unless it is empty; both come
/// as zeros.
pub(super) fn forward(logits: &[f32], vocabulary: usize, rows: Rows<'_>, losses: &mut [f64], gradient: &mut [f32]) {
    if logits.is_empty() {
        return;
    }
    let chunk = light_rows(losses.len(), vocabulary);
    let tasks = losses.par_chunks_mut(chunk).zip(logits.par_chunks(chunk * vocabulary)).enumerate();
    if gradient.is_empty() {
        tasks.for_each(|(i, (losses, x))| losses_of_rows(x, rows.part(i * chunk, losses.len()), losses));
    } else {
        tasks.zip(gradient.par_chunks_mut(chunk * vocabulary)).for_each(|((i, (losses, x)), gradient)| {
            gradients_of_rows(x, rows.part(i * chunk, losses.len()), losses, gradient);
        });
    }
}

/// `scaled = factor gradient`.
pub(super) fn scale(gradient: &[f32], factor: f32, scaled: &mut [f32]) {
    scaled.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).for_each(|(scaled, gradient)| {
        for (scaled, gradient) in scaled.iter_mut().zip(gradient) {
            *scaled = factor * gradient;
        }
    });
}

/// Everything relative to the largest logit `most`, so that large ones keep their digits.
#[inline(always)]
fn loss(x: &[f32], target: u32, smoothing: f64, most: f32, total: f32) -> f64 {
    let own = f64::from(x[target as usize]) - f64::from(most);
    let smooth = if smoothing > 0.0 { f64::from(sum(x, |x| x - most)) / x.len() as f64 } else { 0.0 };
    // A logit of minus infinity must not meet a factor of 0.
    let own = if smoothing < 1.0 { (1.0 - smoothing) * own } else { 0.0 };
    f64::from(total).ln() - own - smoothing * smooth
}

#[inline(always)]
fn losses_body<const FMA: bool>(x: &[f32], rows: Rows<'_>, losses: &mut [f64]) {
    let vocabulary = x.len() / losses.len();
    for ((x, loss_of_row), (&target, &weight)) in
        x.chunks_exact(vocabulary).zip(losses).zip(rows.targets.iter().zip(rows.weights))
    {
        if weight > 0.0 {
            let most = largest(x);
            let total = sum(x, |x| exp::<FMA>(x - most));
            *loss_of_row = weight * loss(x, target, rows.smoothing, most, total);
        }
    }
}

#[inline(always)]
fn gradients_body<const FMA: bool>(x: &[f32], rows: Rows<'_>, losses: &mut [f64], gradient: &mut [f32]) {
    let vocabulary = x.len() / losses.len();
    let smooth = (rows.smoothing / vocabulary as f64) as f32;
    for (((x, gradient), loss_of_row), (&target, &weight)) in x
        .chunks_exact(vocabulary)
        .zip(gradient.chunks_exact_mut(vocabulary))
        .zip(losses)
        .zip(rows.targets.iter().zip(rows.weights))
    {
        if weight > 0.0 {
            let most = largest(x);
            for (e, &x) in gradient.iter_mut().zip(x) {
                *e = exp::<FMA>(x - most);
            }
            let total = sum(gradient, |e| e);
            *loss_of_row = weight * loss(x, target, rows.smoothing, most, total);
            // `1 - p` of the target as the sum of the others: it keeps its digits where `p` is near 1.
            gradient[target as usize] = 0.0;
            let others = sum(gradient, |e| e);
            let (inverse, weight) = (1.0 / total, weight as f32);
            for e in gradient.iter_mut() {
                *e = weight * (*e * inverse - smooth);
            }
            gradient[target as usize] = weight * (rows.smoothing as f32 - smooth - others * inverse);
        }
    }
}

dispatched! {
    fn losses_of_rows(x: &[f32], rows: Rows<'_>, losses: &mut [f64]) = losses_body
}

dispatched! {
    fn gradients_of_rows(x: &[f32], rows: Rows<'_>, losses: &mut [f64], gradient: &mut [f32]) = gradients_body
}
