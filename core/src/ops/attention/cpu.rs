//! Attention on slices: a task per head of each sequence, blocks of queries within.

use super::mask::Mask;
use super::uniform;
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::product::{Matrix, MatrixMut, Onto, product, product_into};
use crate::ops::simd::{dispatched, exp, largest, sum, sum_pairs};
use rayon::prelude::*;

/// Queries whose weights are held at a time: bounds the scratch memory for long sequences.
const BLOCK: usize = 256;

/// Numbers kept per query and head: the largest score, and one over the sum of `exp(score - largest)`.
pub(in crate::ops) const STATISTICS: usize = 2;

/// Where the rows of one head of one sequence lie: `width` values each, `stride` from row to row.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Place {
    pub(in crate::ops) offset: usize,
    pub(in crate::ops) stride: usize,
}

/// The keys that take part, in order.
#[derive(Debug)]
pub(in crate::ops) enum Keys {
    /// The first so many: padding at the end costs nothing.
    First(usize),
    /// These; gathered before use, so what the others hold can't reach a product.
    Listed(Vec<usize>),
}

impl Keys {
    /// Those that aren't 0.
    pub(in crate::ops) fn of(valid: &[u8]) -> Self {
        let listed: Vec<usize> = valid.iter().enumerate().filter(|&(_, &flag)| flag != 0).map(|(i, _)| i).collect();
        match listed.last() {
            None => Self::First(0),
            Some(&last) if last + 1 == listed.len() => Self::First(listed.len()),
            Some(_) => Self::Listed(listed),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::First(count) => *count,
            Self::Listed(rows) => rows.len(),
        }
    }

    /// Rows whose gradients a backward pass over `tokens` rows writes.
    pub(super) fn with_gradients(&self, tokens: usize) -> impl Iterator<Item = usize> {
        let (all, listed): (_, &[usize]) = match self {
            Self::First(_) => (0..tokens, &[]),
            Self::Listed(rows) => (0..0, rows),
        };
        all.chain(listed.iter().copied())
    }

    fn place(&self, column: usize) -> usize {
        match self {
            Self::First(_) => column,
            Self::Listed(rows) => rows.get(column).copied().unwrap_or(usize::MAX),
        }
    }
}

/// One head of one sequence.
#[derive(Debug)]
pub(in crate::ops) struct Job<'a> {
    pub(in crate::ops) q: Place,
    pub(in crate::ops) k: Place,
    pub(in crate::ops) v: Place,
    pub(in crate::ops) out: Place,
    pub(in crate::ops) queries: usize,
    /// All keys of the sequence, also those that take no part.
    pub(in crate::ops) tokens: usize,
    pub(in crate::ops) keys: &'a Keys,
    /// Of the first query among the statistics.
    pub(in crate::ops) statistics: usize,
}

impl Job<'_> {
    /// Whether both have the same keys: their gradients add up.
    fn shares_keys(&self, other: &Self) -> bool {
        self.k.offset == other.k.offset && self.tokens == other.tokens
    }
}

/// What all jobs share.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Attend<'a> {
    /// Of a head.
    pub(in crate::ops) width: usize,
    /// Scores are multiplied by this.
    pub(in crate::ops) scale: f32,
    pub(in crate::ops) mask: &'a Mask,
    /// The jobs' places in `q`, `k` and `v` may lie in one slice.
    pub(in crate::ops) q: &'a [f32],
    pub(in crate::ops) k: &'a [f32],
    pub(in crate::ops) v: &'a [f32],
}

/// Rows of keys or values that take part: as they lie, or gathered.
pub(super) enum Rows<'a> {
    Lie(Matrix<'a>),
    Gathered(Buffer, usize),
}

impl<'a> Rows<'a> {
    pub(super) fn new(values: &'a [f32], place: Place, width: usize, keys: &Keys) -> Self {
        match keys {
            Keys::First(count) => Self::Lie(Matrix::strided(values, place.offset, (*count, width), place.stride)),
            Keys::Listed(listed) => {
                let mut gathered = Buffer::new(listed.len() * width);
                for (to, row) in gathered.chunks_exact_mut(width).zip(listed) {
                    to.copy_from_slice(&values[place.offset + row * place.stride..][..width]);
                }
                Self::Gathered(gathered, width)
            }
        }
    }

    pub(super) fn matrix(&self) -> Matrix<'_> {
        match self {
            Self::Lie(matrix) => *matrix,
            Self::Gathered(values, width) => Matrix::row_major(values, *width),
        }
    }
}

/// A block of queries of a job, and the keys that it can see.
struct Block {
    first: usize,
    count: usize,
    seen: usize,
}

impl Attend<'_> {
    fn blocks(self, job: &Job<'_>) -> impl Iterator<Item = Block> {
        let (queries, tokens) = (job.queries, job.tokens);
        let keys = job.keys.count();
        (0..queries).step_by(BLOCK).map(move |first| {
            let count = BLOCK.min(queries - first);
            // Listed keys are fewer than all; how many of them a query sees is left to the mask.
            let seen = if keys == tokens { self.mask.limit(first + count, queries, tokens) } else { keys };
            Block { first, count, seen }
        })
    }

    /// Scores of a block of queries, minus infinity where a key is not seen.
    fn scores(self, job: &Job<'_>, block: &Block, k: Matrix<'_>, scores: &mut [f32]) {
        let q = rows(self.q, job.q, block, self.width);
        product(scores, q, k.rows(0, block.seen).transposed(), self.scale, Onto::Nothing);
        if !matches!(self.mask, Mask::Full) {
            for (row, scores) in scores.chunks_exact_mut(block.seen).enumerate() {
                self.mask.apply(scores, (block.first + row, job.queries), job.tokens, |c| job.keys.place(c));
            }
        }
    }
}

fn rows<'a>(values: &'a [f32], place: Place, block: &Block, width: usize) -> Matrix<'a> {
    Matrix::strided(values, place.offset + block.first * place.stride, (block.count, width), place.stride)
}

/// `out = softmax(scale q kᵀ) v` and the statistics of each query. Places that no job names stay as they are.
pub(in crate::ops) fn forward(attend: Attend<'_>, jobs: &[Job<'_>], out: &mut [f32], statistics: &mut [f32]) {
    let (out, statistics) = (Parts::new(out), Parts::new(statistics));
    let width = attend.width;
    jobs.par_iter().for_each(|job| {
        if matches!(attend.mask, Mask::Uniform) {
            // SAFETY: rows of a head of a sequence, and their statistics, belong to one job.
            return unsafe { uniform::forward(attend, job, out, statistics) };
        }
        let (k, v) = (Rows::new(attend.k, job.k, width, job.keys), Rows::new(attend.v, job.v, width, job.keys));
        for block in attend.blocks(job) {
            let place = (job.statistics + block.first) * STATISTICS;
            // SAFETY: rows of a head of a sequence, and their statistics, belong to one job.
            let (mut out, statistics) = unsafe {
                let offset = job.out.offset + block.first * job.out.stride;
                (
                    out.matrix(offset, block.count, width, job.out.stride),
                    statistics.slice(place..place + block.count * STATISTICS),
                )
            };
            if block.seen == 0 {
                out.rows_mut().for_each(|row| row.fill(0.0));
                statistics.fill(0.0);
                continue;
            }
            let mut scores = Buffer::new(block.count * block.seen);
            attend.scores(job, &block, k.matrix(), &mut scores);
            exponentials(&mut scores, block.seen, statistics);
            let weights = Matrix::row_major(&scores, block.seen);
            product_into(&mut out, weights, v.matrix().rows(0, block.seen), 1.0, Onto::Nothing);
            for (row, statistics) in out.rows_mut().zip(statistics.chunks_exact(STATISTICS)) {
                row.iter_mut().for_each(|value| *value *= statistics[1]);
            }
        }
    });
}

/// What the forward pass gave, and the gradient of its result.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Given<'a> {
    pub(in crate::ops) out: &'a [f32],
    pub(in crate::ops) statistics: &'a [f32],
    pub(in crate::ops) dout: &'a [f32],
}

/// Gradients of `q`, `k` and `v`, at the same places; they may be parts of one slice. The weights are computed again. What no
/// job names stays as it is, also rows of keys that take no part where the others are listed. Jobs with the same keys have to
/// stand next to each other, unless the mask is causal or has blocks: then there may be none.
///
/// # Safety
/// No two jobs name the same place in `dq`, or in `dk` or `dv` unless they are neighbours with the same keys, and where these are
/// the same slice the three don't overlap.
pub(in crate::ops) unsafe fn backward(
    attend: Attend<'_>,
    jobs: &[Job<'_>],
    given: Given<'_>,
    [dq, dk, dv]: [Parts<'_>; 3],
) {
    let width = attend.width;
    jobs.par_chunk_by(Job::shares_keys).for_each(|jobs| {
        if matches!(attend.mask, Mask::Uniform) {
            // SAFETY: by the contract of this function the rows of these jobs are theirs alone.
            return unsafe { uniform::backward(attend, jobs, given, [dq, dk, dv]) };
        }
        let Some(shared) = jobs.first() else { return };
        let (place, keys) = ([shared.k, shared.v], shared.keys);
        let (k, v) = (Rows::new(attend.k, place[0], width, keys), Rows::new(attend.v, place[1], width, keys));
        // Gathered keys have gathered gradients.
        let count = keys.count();
        let mut gathered = match keys {
            Keys::First(_) => None,
            Keys::Listed(_) => Some((Buffer::new(count * width), Buffer::new(count * width))),
        };
        let mut onto = Onto::Nothing;
        let mut written = 0;
        // The last block sees the most keys: from there, every row is written before it is added to.
        let blocks = jobs.iter().flat_map(|job| attend.blocks(job).map(move |block| (job, block)));
        let mut blocks: Vec<(&Job<'_>, Block)> = blocks.collect();
        blocks.reverse();
        for (job, block) in &blocks {
            let Block { first, count: queries, seen } = *block;
            // SAFETY: by the contract of this function the rows of a job are its alone.
            let mut dq = unsafe { dq.matrix(job.q.offset + first * job.q.stride, queries, width, job.q.stride) };
            if seen == 0 {
                dq.rows_mut().for_each(|row| row.fill(0.0));
                continue;
            }
            let (mut weights, mut scores) = (Buffer::new(queries * seen), Buffer::new(queries * seen));
            attend.scores(job, block, k.matrix(), &mut weights);
            let dout = rows(given.dout, job.out, block, width);
            product(&mut scores, dout, v.matrix().rows(0, seen).transposed(), 1.0, Onto::Nothing);
            let own = (job.statistics + first) * STATISTICS;
            for row in 0..queries {
                let at = job.out.offset + (first + row) * job.out.stride;
                let range = row * seen..(row + 1) * seen;
                score_gradients(
                    &mut weights[range.clone()],
                    &mut scores[range],
                    &given.out[at..at + width],
                    &given.dout[at..at + width],
                    &given.statistics[own + row * STATISTICS..][..STATISTICS],
                );
            }
            let (scores, weights) = (Matrix::row_major(&scores, seen), Matrix::row_major(&weights, seen));
            product_into(&mut dq, scores, k.matrix().rows(0, seen), attend.scale, Onto::Nothing);
            let q = rows(attend.q, job.q, block, width);
            let (mut own_dk, mut own_dv) = match &mut gathered {
                // Rows of all keys; those that this block doesn't see are left alone.
                Some((dk, dv)) => (
                    MatrixMut::row_major(&mut dk[..seen * width], width),
                    MatrixMut::row_major(&mut dv[..seen * width], width),
                ),
                // SAFETY: as for `dq`.
                None => unsafe {
                    (
                        dk.matrix(place[0].offset, seen, width, place[0].stride),
                        dv.matrix(place[1].offset, seen, width, place[1].stride),
                    )
                },
            };
            product_into(&mut own_dk, scores.transposed(), q, attend.scale, onto);
            product_into(&mut own_dv, weights.transposed(), dout, 1.0, onto);
            onto = Onto::Values;
            written = written.max(seen);
        }
        let store = |parts: Parts<'_>, place: Place, row: usize, from: Option<&[f32]>| {
            let at = place.offset + row * place.stride;
            // SAFETY: as for `dq`.
            let to = unsafe { parts.slice(at..at + width) };
            match from {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0.0),
            }
        };
        match (keys, &gathered) {
            (Keys::Listed(listed), Some((own_dk, own_dv))) => {
                for (column, &row) in listed.iter().enumerate() {
                    let range = column * width..(column + 1) * width;
                    let seen = column < written;
                    store(dk, place[0], row, seen.then(|| &own_dk[range.clone()]));
                    store(dv, place[1], row, seen.then(|| &own_dv[range]));
                }
            }
            _ => {
                for row in written..shared.tokens {
                    store(dk, place[0], row, None);
                    store(dv, place[1], row, None);
                }
            }
        }
    });
}

/// Scores become `exp(score - largest)`; where all are minus infinity, zeros.
#[inline(always)]
fn exponentials_body<const FMA: bool>(scores: &mut [f32], columns: usize, statistics: &mut [f32]) {
    for (row, statistics) in scores.chunks_exact_mut(columns).zip(statistics.chunks_exact_mut(STATISTICS)) {
        let most = largest(row);
        if most == f32::NEG_INFINITY && row.iter().all(|score| *score == f32::NEG_INFINITY) {
            row.fill(0.0);
            statistics.fill(0.0);
            continue;
        }
        for value in row.iter_mut() {
            *value = exp::<FMA>(*value - most);
        }
        statistics[0] = most;
        statistics[1] = 1.0 / sum(row, |x| x);
    }
}

/// For one query: `weights` comes with its scores and goes with its weights; `gradients` comes with the gradients of the
/// weights and goes with those of the scores.
#[inline(always)]
fn score_gradients_body<const FMA: bool>(
    weights: &mut [f32],
    gradients: &mut [f32],
    out: &[f32],
    dout: &[f32],
    statistics: &[f32],
) {
    let (most, inverse) = (statistics[0], statistics[1]);
    let mean = sum_pairs(out, dout, |out, dout| out * dout);
    for (gradient, weight) in gradients.iter_mut().zip(weights) {
        *weight = exp::<FMA>(*weight - most) * inverse;
        *gradient = *weight * (*gradient - mean);
    }
}

dispatched! {
    fn exponentials(scores: &mut [f32], columns: usize, statistics: &mut [f32]) = exponentials_body
}

dispatched! {
    fn score_gradients(weights: &mut [f32], gradients: &mut [f32], out: &[f32], dout: &[f32], statistics: &[f32])
        = score_gradients_body
}
