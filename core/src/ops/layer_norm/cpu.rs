//! Normalisation on slices, chunks of rows as tasks.

use super::NormKind;
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::simd::{add_rows, dispatched, fma, sum, sum_pairs};
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// Numbers kept per row: the mean (0 for the root mean square) and the factor that makes the spread 1.
pub(in crate::ops) const STATISTICS: usize = 2;

/// What a normalisation is; `beta` may be empty.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Norm<'a> {
    pub(in crate::ops) kind: NormKind,
    pub(in crate::ops) gamma: &'a [f32],
    pub(in crate::ops) beta: &'a [f32],
    pub(in crate::ops) eps: f32,
}

impl Norm<'_> {
    /// `y = (x - mean) scale γ + β` for whole rows, and the statistics of each; on this thread.
    pub(in crate::ops) fn forward_rows(self, x: &[f32], y: &mut [f32], statistics: &mut [f32]) {
        statistics_rows(x, self.kind, self.eps, self.gamma.len(), statistics);
        normalise_rows(x, self.gamma, self.beta, statistics, y);
    }

    /// `dx = gradient(dy)`, or `dx += gradient(dy)` if `add`; the normalised rows again into `y` unless that is empty; and the
    /// gradients of γ and β added to `sums`, one after the other; on this thread.
    pub(in crate::ops) fn backward_rows(
        self,
        x: &[f32],
        statistics: &[f32],
        dy: &[f32],
        add: bool,
        dx: &mut [f32],
        sums: &mut [f32],
    ) {
        backward_rows(x, self.gamma, self.kind, statistics, dy, add, dx, sums);
    }

    /// The output once more, from kept statistics; on this thread.
    pub(in crate::ops) fn again_rows(self, x: &[f32], statistics: &[f32], y: &mut [f32]) {
        normalise_rows(x, self.gamma, self.beta, statistics, y);
    }
}

/// The whole of `x`.
pub(super) fn forward(x: &[f32], norm: Norm<'_>, y: &mut [f32]) {
    if x.is_empty() {
        return;
    }
    let width = norm.gamma.len();
    let rows = light_rows(x.len() / width, width);
    y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width)).for_each(|(y, x)| {
        let mut statistics = Buffer::new(x.len() / width * STATISTICS);
        norm.forward_rows(x, y, &mut statistics);
    });
}

/// Fills `dx`; gives the gradients of γ and β, one after the other. The statistics are computed again.
pub(super) fn backward(x: &[f32], norm: Norm<'_>, dy: &[f32], dx: &mut [f32]) -> Buffer {
    let width = norm.gamma.len();
    let mut sums = Buffer::zeros(2 * width);
    if x.is_empty() {
        return sums;
    }
    let rows = x.len() / width;
    let chunk = light_rows(rows, width);
    let tasks = rows.div_ceil(chunk);
    // One row of sums per task, added in order.
    let mut partial = Buffer::zeros(tasks * 2 * width);
    let (dx, partial_parts) = (Parts::new(dx), Parts::new(&mut partial));
    (0..tasks).into_par_iter().for_each(|task| {
        let range = task * chunk * width..((task + 1) * chunk).min(rows) * width;
        let x = &x[range.clone()];
        let mut statistics = Buffer::new(x.len() / width * STATISTICS);
        statistics_rows(x, norm.kind, norm.eps, width, &mut statistics);
        // SAFETY: rows and sums of this task are no other's.
        let (dx, sums) =
            unsafe { (dx.slice(range.clone()), partial_parts.slice(task * 2 * width..(task + 1) * 2 * width)) };
        norm.backward_rows(x, &statistics, &dy[range], false, dx, sums);
    });
    add_rows(&mut sums, &partial);
    sums
}

/// The second pass keeps digits when the mean is far from 0.
#[inline(always)]
fn statistics_body<const FMA: bool>(x: &[f32], kind: NormKind, eps: f32, width: usize, statistics: &mut [f32]) {
    let inverse = 1.0 / width as f32;
    for (x, out) in x.chunks_exact(width).zip(statistics.chunks_exact_mut(STATISTICS)) {
        let mean = match kind {
            NormKind::Layer => sum(x, |x| x) * inverse,
            NormKind::Rms => 0.0,
        };
        let variance = sum(x, |x| (x - mean) * (x - mean)) * inverse;
        out[0] = mean;
        out[1] = 1.0 / (variance + eps).sqrt();
    }
}

#[inline(always)]
fn normalise_body<const FMA: bool>(x: &[f32], gamma: &[f32], beta: &[f32], statistics: &[f32], y: &mut [f32]) {
    let width = gamma.len();
    let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(statistics.chunks_exact(STATISTICS));
    for ((x, y), row) in rows {
        let (mean, scale) = (row[0], row[1]);
        if beta.is_empty() {
            for ((y, &x), &gamma) in y.iter_mut().zip(x).zip(gamma) {
                *y = (x - mean) * scale * gamma;
            }
        } else {
            for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = fma::<FMA>((x - mean) * scale, gamma, beta);
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the body of a loop")]
fn backward_body<const FMA: bool>(
    x: &[f32],
    gamma: &[f32],
    kind: NormKind,
    statistics: &[f32],
    dy: &[f32],
    add: bool,
    dx: &mut [f32],
    sums: &mut [f32],
) {
    let width = gamma.len();
    let inverse = 1.0 / width as f32;
    let (dgamma, dbeta) = sums.split_at_mut(width);
    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (((x, dy), dx), row) in rows.zip(statistics.chunks_exact(STATISTICS)) {
        let (mean, scale) = (row[0], row[1]);
        // Means of the normalised values' gradient, and of it times the normalised values.
        let along = scale * inverse * sum_triples(x, dy, gamma, |x, dy, gamma| dy * gamma * (x - mean));
        let centre = match kind {
            NormKind::Layer => sum_pairs(dy, gamma, |dy, gamma| dy * gamma) * inverse,
            NormKind::Rms => 0.0,
        };
        for (((((dx, &dy), &x), &gamma), dgamma), dbeta) in
            dx.iter_mut().zip(dy).zip(x).zip(gamma).zip(dgamma.iter_mut()).zip(dbeta.iter_mut())
        {
            let normalised = (x - mean) * scale;
            let before = if add { *dx } else { 0.0 };
            *dx = fma::<FMA>(scale, fma::<FMA>(-normalised, along, fma::<FMA>(dy, gamma, -centre)), before);
            *dgamma = fma::<FMA>(dy, normalised, *dgamma);
            *dbeta += dy;
        }
    }
}

/// Sum of `f` over triples of values, in an order that depends on the length alone.
#[inline(always)]
fn sum_triples(x: &[f32], y: &[f32], z: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0_f32; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    let (zs, z_rest) = z.as_chunks::<LANES>();
    for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i], z[i]);
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).zip(z_rest).map(|((&x, &y), &z)| f(x, y, z)).sum();
    lanes.iter().sum::<f32>() + rest
}

dispatched! {
    fn statistics_rows(x: &[f32], kind: NormKind, eps: f32, width: usize, statistics: &mut [f32]) = statistics_body
}

dispatched! {
    fn normalise_rows(x: &[f32], gamma: &[f32], beta: &[f32], statistics: &[f32], y: &mut [f32]) = normalise_body
}

dispatched! {
    #[expect(clippy::too_many_arguments, reason = "the body of a loop")]
    fn backward_rows(
        x: &[f32],
        gamma: &[f32],
        kind: NormKind,
        statistics: &[f32],
        dy: &[f32],
        add: bool,
        dx: &mut [f32],
        sums: &mut [f32],
    ) = backward_body
}
