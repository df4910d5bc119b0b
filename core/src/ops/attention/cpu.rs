//! Attention on slices: a task per object and head, blocks of queries within.

use crate::ops::product::{Matrix, Onto, product};
use crate::ops::simd::{dispatched, exp, largest, sum, sum_pairs};
use rayon::prelude::*;
use std::borrow::Cow;

/// Queries whose weights are held at a time: bounds the scratch memory for long sequences.
pub(super) const BLOCK: usize = 256;

/// Sizes of the axes.
#[derive(Clone, Copy)]
pub(super) struct HeadShape {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
}

impl HeadShape {
    /// From the shapes of `q` and `k`.
    pub(super) fn new(q: (usize, usize, usize, usize), k: (usize, usize, usize, usize)) -> Self {
        Self { batch: q.0, heads: q.1, queries: q.2, keys: k.2, width: q.3 }
    }

    fn is_empty(self) -> bool {
        self.batch * self.heads * self.queries * self.keys * self.width == 0
    }

    fn scale(self) -> f32 {
        (self.width as f32).sqrt().recip()
    }
}

/// The keys that take part, in order.
pub(super) enum Keys {
    /// The first so many: padding at the end costs nothing.
    First(usize),
    /// These; gathered before use, so what the others hold can't reach a product.
    Listed(Vec<usize>),
}

impl Keys {
    /// Those that aren't 0.
    pub(super) fn of(valid: &[u8]) -> Self {
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

    fn gather<'a>(&self, rows: &'a [f32], width: usize) -> Cow<'a, [f32]> {
        match self {
            Self::First(count) => Cow::Borrowed(&rows[..count * width]),
            Self::Listed(listed) => {
                Cow::Owned(listed.iter().flat_map(|&i| &rows[i * width..(i + 1) * width]).copied().collect())
            }
        }
    }

    /// The rows of a gradient that `gather` would have taken, calculated by `fill`; others stay.
    fn scatter(&self, rows: &mut [f32], width: usize, fill: impl FnOnce(&mut [f32])) {
        match self {
            Self::First(count) => fill(&mut rows[..count * width]),
            Self::Listed(listed) => {
                let mut dense = vec![0.0; listed.len() * width];
                fill(&mut dense);
                for (&i, row) in listed.iter().zip(dense.chunks_exact(width)) {
                    rows[i * width..(i + 1) * width].copy_from_slice(row);
                }
            }
        }
    }
}

/// What attention is between.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
}

/// Memory of a thread, used again from head to head.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) weights: Vec<f32>,
    gradients: Vec<f32>,
}

/// `out = softmax(q kᵀ / √K) v`; `out` comes as zeros.
pub(super) fn forward(shape: HeadShape, keys: &[Keys], inputs: Inputs<'_>, out: &mut [f32]) {
    if shape.is_empty() {
        return;
    }
    let (rows, width) = (shape.keys * shape.width, shape.width);
    out.par_chunks_mut(shape.queries * width)
        .zip(inputs.q.par_chunks(shape.queries * width))
        .zip(inputs.k.par_chunks(rows).zip(inputs.v.par_chunks(rows)))
        .enumerate()
        .for_each_init(Scratch::default, |scratch, (head, ((out, q), (k, v)))| {
            let keys = &keys[head / shape.heads];
            let count = keys.count();
            if count == 0 {
                return;
            }
            let (k, v) = (keys.gather(k, width), keys.gather(v, width));
            for (out, q) in out.chunks_mut(BLOCK * width).zip(q.chunks(BLOCK * width)) {
                let weights = sized(&mut scratch.weights, q.len() / width * count);
                attention_weights(weights, q, &k, shape);
                product(out, Matrix::row_major(weights, count), Matrix::row_major(&v, width), 1.0, Onto::Nothing);
            }
        });
}

/// Gradients of `q`, `k` and `v` from that of `out`. The weights are computed again.
pub(super) fn backward(
    shape: HeadShape,
    keys: &[Keys],
    inputs: Inputs<'_>,
    out: &[f32],
    dout: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut dq, mut dk, mut dv) = (vec![0.0; inputs.q.len()], vec![0.0; inputs.k.len()], vec![0.0; inputs.v.len()]);
    if shape.is_empty() {
        return (dq, dk, dv);
    }
    let (queries, rows, width) = (shape.queries * shape.width, shape.keys * shape.width, shape.width);
    dq.par_chunks_mut(queries)
        .zip(dk.par_chunks_mut(rows).zip(dv.par_chunks_mut(rows)))
        .zip(inputs.q.par_chunks(queries).zip(inputs.k.par_chunks(rows).zip(inputs.v.par_chunks(rows))))
        .zip(out.par_chunks(queries).zip(dout.par_chunks(queries)))
        .enumerate()
        .for_each_init(Scratch::default, |scratch, (head, (((dq, (dk, dv)), (q, (k, v))), (out, dout)))| {
            let keys = &keys[head / shape.heads];
            if keys.count() == 0 {
                return;
            }
            let (k, v) = (keys.gather(k, width), keys.gather(v, width));
            let inputs = Inputs { q, k: &k, v: &v };
            keys.scatter(dk, width, |dk| {
                keys.scatter(dv, width, |dv| {
                    head_gradients(shape, scratch, inputs, (out, dout), (dq, dk, dv));
                });
            });
        });
    (dq, dk, dv)
}

/// One head, with the keys that take part alone; `dk` and `dv` come as zeros.
pub(super) fn head_gradients(
    shape: HeadShape,
    scratch: &mut Scratch,
    inputs: Inputs<'_>,
    (out, dout): (&[f32], &[f32]),
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
) {
    let width = shape.width;
    let count = inputs.k.len() / width;
    let (k, v) = (Matrix::row_major(inputs.k, width), Matrix::row_major(inputs.v, width));
    let block = BLOCK * width;
    let blocks = dq.chunks_mut(block).zip(inputs.q.chunks(block)).zip(out.chunks(block).zip(dout.chunks(block)));
    for ((dq, q), (out, dout)) in blocks {
        let queries = q.len() / width;
        let weights = sized(&mut scratch.weights, queries * count);
        attention_weights(weights, q, inputs.k, shape);
        let gradients = sized(&mut scratch.gradients, queries * count);
        product(gradients, Matrix::row_major(dout, width), v.transposed(), 1.0, Onto::Nothing);
        score_gradients(weights, gradients, out, dout, width);
        let scores = Matrix::row_major(gradients, count);
        let weights = Matrix::row_major(weights, count);
        product(dq, scores, k, shape.scale(), Onto::Nothing);
        product(dk, scores.transposed(), Matrix::row_major(q, width), shape.scale(), Onto::Values);
        product(dv, weights.transposed(), Matrix::row_major(dout, width), 1.0, Onto::Values);
    }
}

/// `weights = softmax(q kᵀ / √K)` for a block of queries.
pub(super) fn attention_weights(weights: &mut [f32], q: &[f32], k: &[f32], shape: HeadShape) {
    let count = k.len() / shape.width;
    let k = Matrix::row_major(k, shape.width);
    product(weights, Matrix::row_major(q, shape.width), k.transposed(), shape.scale(), Onto::Nothing);
    softmax_rows(weights, count);
}

pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

#[inline(always)]
fn softmax_body<const FMA: bool>(scores: &mut [f32], columns: usize) {
    for row in scores.chunks_exact_mut(columns) {
        let most = largest(row);
        for value in row.iter_mut() {
            *value = exp::<FMA>(*value - most);
        }
        let inverse = 1.0 / sum(row, |x| x);
        for value in row.iter_mut() {
            *value *= inverse;
        }
    }
}

/// `gradients` holds those of the weights and becomes those of the scores.
#[inline(always)]
fn score_gradients_body<const FMA: bool>(
    weights: &[f32],
    gradients: &mut [f32],
    out: &[f32],
    dout: &[f32],
    width: usize,
) {
    let columns = weights.len() / (out.len() / width);
    let rows = weights.chunks_exact(columns).zip(gradients.chunks_exact_mut(columns));
    for ((weights, gradients), (out, dout)) in rows.zip(out.chunks_exact(width).zip(dout.chunks_exact(width))) {
        let mean = sum_pairs(out, dout, |out, dout| out * dout);
        for (gradient, &weight) in gradients.iter_mut().zip(weights) {
            *gradient = weight * (*gradient - mean);
        }
    }
}

dispatched! {
    fn softmax_rows(scores: &mut [f32], columns: usize) = softmax_body
}

dispatched! {
    fn score_gradients(weights: &[f32], gradients: &mut [f32], out: &[f32], dout: &[f32], width: usize)
        = score_gradients_body
}
