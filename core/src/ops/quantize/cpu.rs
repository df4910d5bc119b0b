//! Quantizers on slices, rows as tasks. Latents are few numbers per token: the mathematical library's functions are quick enough.

use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// How one dimension is squeezed: `tanh(z + shift) half - offset` lies in the range of its whole numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    levels: u32,
    half: f32,
    offset: f32,
    shift: f32,
    /// Half of the levels, rounded down: what whole numbers are divided by.
    below: f32,
}

impl Level {
    pub(super) fn new(levels: u32) -> Self {
        // A little more than half of the range, so that the outer levels are reached.
        let half = (levels as f32 - 1.0) * (1.0 + 1e-3) / 2.0;
        // Odd numbers of levels lie around 0, even ones around -1/2.
        let offset = if levels.is_multiple_of(2) { 0.5 } else { 0.0 };
        Self { levels, half, offset, shift: (offset / half).atanh(), below: (levels / 2) as f32 }
    }

    /// A whole number from `-below` on.
    fn whole(&self, z: f32) -> f32 {
        ((z + self.shift).tanh() * self.half - self.offset).round_ties_even()
    }

    fn value(&self, z: f32) -> f32 {
        self.whole(z) / self.below
    }

    fn slope(&self, z: f32) -> f32 {
        let t = (z + self.shift).tanh();
        self.half * (1.0 - t * t) / self.below
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

pub(super) fn fsq(z: &[f32], levels: &[Level]) -> Vec<f32> {
    by_rows(z, levels.len(), levels.len(), |_, z, out| {
        for ((out, &z), level) in out.iter_mut().zip(z).zip(levels) {
            *out = level.value(z);
        }
    })
}

pub(super) fn fsq_codes(z: &[f32], levels: &[Level]) -> Vec<u32> {
    by_rows(z, levels.len(), 1, |_, z, out| {
        let mut radix = 1;
        for (&z, level) in z.iter().zip(levels) {
            // NaN becomes the lowest.
            out[0] += ((level.whole(z) + level.below) as u32).min(level.levels - 1) * radix;
            radix = radix.wrapping_mul(level.levels);
        }
    })
}

pub(super) fn fsq_backward(z: &[f32], levels: &[Level], dy: &[f32]) -> Vec<f32> {
    let width = levels.len();
    by_rows(z, width, width, |row, z, out| {
        for (((out, &z), level), dy) in out.iter_mut().zip(z).zip(levels).zip(&dy[row * width..]) {
            *out = dy * level.slope(z);
        }
    })
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
