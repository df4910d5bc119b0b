//! Quantizers on slices, rows as tasks.

use crate::ops::simd::{dispatched, tanh};
use crate::ops::slices::made;
use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// How dimensions are squeezed: `tanh(z + shift) half - offset` lies in the range of its whole numbers. Written out for several rows,
/// so that a loop over them has no inner one over few dimensions.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    width: usize,
    levels: Vec<u32>,
    half: Vec<f32>,
    offset: Vec<f32>,
    shift: Vec<f32>,
    /// Half of the levels, rounded down: what whole numbers are divided by.
    below: Vec<f32>,
}

/// About so many values are written out.
const WRITTEN: usize = 256;

impl Levels {
    pub(super) fn new(levels: &[u32]) -> Self {
        let width = levels.len();
        let rows = WRITTEN.div_ceil(width);
        let each = |f: &dyn Fn(u32) -> f32| levels.iter().map(|levels| f(*levels)).collect::<Vec<f32>>().repeat(rows);
        // A little more than half of the range, so that the outer levels are reached.
        let half = |levels: u32| (levels as f32 - 1.0) * (1.0 + 1e-3) / 2.0;
        // Odd numbers of levels lie around 0, even ones around -1/2.
        let offset = |levels: u32| if levels.is_multiple_of(2) { 0.5 } else { 0.0 };
        Self {
            width,
            levels: levels.to_vec(),
            half: each(&half),
            offset: each(&offset),
            shift: each(&|levels| (offset(levels) / half(levels)).atanh()),
            below: each(&|levels| (levels / 2) as f32),
        }
    }

    /// Values per task: whole pieces of what is written out.
    fn chunk(&self) -> usize {
        (1_usize << 13).next_multiple_of(self.half.len())
    }
}

/// Calls `f` on rows of `z` and of a result with `outputs` numbers per row.
fn by_rows<T: Send + Sync + Clone + Default>(
    z: &[f32],
    width: usize,
    outputs: usize,
    f: impl Fn(usize, &[f32], &mut [T]) + Sync,
) -> Vec<T> {
    let rows = z.len() / width.max(1);
    let mut out = vec![T::default(); rows * outputs];
    let chunk = light_rows(rows, width);
    out.par_chunks_mut((chunk * outputs).max(1)).zip(z.par_chunks((chunk * width).max(1))).enumerate().for_each(
        |(task, (out, z))| {
            let rows = z.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(outputs.max(1)));
            rows.enumerate().for_each(|(row, (z, out))| f(task * chunk + row, z, out));
        },
    );
    out
}

/// Whole numbers over half of the levels.
pub(super) fn fsq(z: &[f32], levels: &Levels) -> Vec<f32> {
    made(z.len(), levels.chunk(), |start, out| squeeze(levels, &z[start..][..out.len()], out))
}

/// From the values that [`fsq`] gave.
pub(super) fn fsq_codes(values: &[f32], levels: &Levels) -> Vec<u32> {
    by_rows(values, levels.width, 1, |_, values, out| {
        let mut radix = 1;
        for ((&value, &below), &levels) in values.iter().zip(&levels.below).zip(&levels.levels) {
            // NaN becomes the lowest.
            out[0] += ((value * below + below + 0.5) as u32).min(levels - 1) * radix;
            radix = radix.wrapping_mul(levels);
        }
    })
}

/// Digits of the codes, less half of the levels, over that half.
pub(super) fn fsq_values(codes: &[u32], levels: &[u32]) -> Vec<f32> {
    let mut values = Vec::with_capacity(codes.len() * levels.len());
    for code in codes {
        let mut rest = *code;
        for levels in levels {
            let below = (levels / 2) as f32;
            values.push(((rest % levels) as f32 - below) / below);
            rest /= levels;
        }
    }
    values
}

pub(super) fn fsq_backward(z: &[f32], levels: &Levels, dy: &[f32]) -> Vec<f32> {
    made(z.len(), levels.chunk(), |start, out| {
        slopes(levels, &z[start..][..out.len()], &dy[start..][..out.len()], out);
    })
}

#[inline(always)]
fn squeeze_body<const FMA: bool>(levels: &Levels, z: &[f32], out: &mut [f32]) {
    let piece = levels.half.len();
    for (z, out) in z.chunks(piece).zip(out.chunks_mut(piece)) {
        let constants = levels.half.iter().zip(&levels.offset).zip(&levels.shift).zip(&levels.below);
        for ((out, &z), (((&half, &offset), &shift), &below)) in out.iter_mut().zip(z).zip(constants) {
            *out = (tanh::<FMA>(z + shift) * half - offset).round_ties_even() / below;
        }
    }
}

#[inline(always)]
fn slopes_body<const FMA: bool>(levels: &Levels, z: &[f32], dy: &[f32], out: &mut [f32]) {
    let piece = levels.half.len();
    for ((z, dy), out) in z.chunks(piece).zip(dy.chunks(piece)).zip(out.chunks_mut(piece)) {
        let constants = levels.half.iter().zip(&levels.shift).zip(&levels.below);
        for (((out, &z), &dy), ((&half, &shift), &below)) in out.iter_mut().zip(z).zip(dy).zip(constants) {
            let t = tanh::<FMA>(z + shift);
            *out = dy * half * (1.0 - t * t) / below;
        }
    }
}

dispatched! {
    fn squeeze(levels: &Levels, z: &[f32], out: &mut [f32]) = squeeze_body
}

dispatched! {
    fn slopes(levels: &Levels, z: &[f32], dy: &[f32], out: &mut [f32]) = slopes_body
}

pub(super) fn signs(z: &[f32]) -> Vec<f32> {
    by_rows(z, 1, 1, |_, z, out| out[0] = if z[0] > 0.0 { 1.0 } else { -1.0 })
}

pub(super) fn lfq_codes(z: &[f32], width: usize) -> Vec<u32> {
    by_rows(z, width, 1, |_, z, out| {
        out[0] = z.iter().enumerate().fold(0, |bits, (d, z)| bits | (u32::from(*z > 0.0) << d));
    })
}

/// The number of inner edges at or below each value.
pub(super) fn quantile_codes(x: &[f32], edges: &[f32]) -> Vec<u32> {
    let inner = &edges[1..edges.len() - 1];
    by_rows(x, 1, 1, |_, x, out| out[0] = inner.partition_point(|edge| x[0] >= *edge) as u32)
}
