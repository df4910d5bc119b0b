//! The losses of all pairs on slices: slabs of rows as tasks, tiles of logits within.

use super::tile::{Running, differentiate_infonce, differentiate_sigmoid, infonce_tile, sigmoid_tile};
use crate::ops::product::{Matrix, Onto, product};
use crate::ops::slices::zeros;
use rayon::prelude::*;

/// Rows and columns of the largest block of logits: a mebibyte, which stays in the cache.
const TILE_ROWS: usize = 256;
const TILE_COLUMNS: usize = 1024;

/// Which loss.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Softmax in both directions.
    Infonce,
    /// A logistic loss per pair.
    Sigmoid,
}

/// The two sets and how their products become logits.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    form: Form,
    a: &'a [f32],
    b: &'a [f32],
    width: usize,
    scale: f32,
    bias: f32,
}

impl<'a> Problem<'a> {
    pub(super) fn new(form: Form, a: &'a [f32], b: &'a [f32], width: usize, factors: &[f32]) -> Self {
        let bias = if form == Form::Sigmoid { factors[1] } else { 0.0 };
        Self { form, a, b, width, scale: factors[0], bias }
    }

    /// The same loss with the sets in the other order.
    pub(super) fn swapped(self) -> Self {
        Self { a: self.b, b: self.a, ..self }
    }

    fn len(&self) -> usize {
        self.a.len() / self.width
    }

    /// Rows per task. At most 64 tasks, since each keeps two numbers per column.
    fn slab(&self) -> usize {
        self.len().div_ceil(64).max(128)
    }

    /// Calls `f` with every tile of the logits of the rows of `slab` and where it lies.
    fn tiles(&self, slab: Span, tile: &mut Vec<f32>, mut f: impl FnMut(&mut [f32], Span, Span)) {
        let (a, b) = (Matrix::row_major(self.a, self.width), Matrix::row_major(self.b, self.width));
        for rows in slab.parts(TILE_ROWS) {
            for columns in (Span { start: 0, end: self.len() }).parts(TILE_COLUMNS) {
                let size = rows.len() * columns.len();
                if tile.len() < size {
                    tile.resize(size, 0.0);
                }
                let logits = &mut tile[..size];
                let right = b.rows(columns.start, columns.len()).transposed();
                if self.bias == 0.0 {
                    product(logits, a.rows(rows.start, rows.len()), right, self.scale, Onto::Nothing);
                } else {
                    logits.fill(self.bias);
                    product(logits, a.rows(rows.start, rows.len()), right, self.scale, Onto::Values);
                }
                f(logits, rows, columns);
            }
        }
    }
}

/// Some rows or columns.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn len(self) -> usize {
        self.end - self.start
    }

    fn parts(self, length: usize) -> impl Iterator<Item = Self> {
        (self.start..self.end).step_by(length).map(move |start| Self { start, end: (start + length).min(self.end) })
    }
}

/// Calls `f` with the element of each partner in a tile, its row within the tile, and its number.
fn partners(tile: &mut [f32], rows: Span, columns: Span, mut f: impl FnMut(&mut f32, usize)) {
    for i in rows.start.max(columns.start)..rows.end.min(columns.end) {
        f(&mut tile[(i - rows.start) * columns.len() + i - columns.start], i);
    }
}

/// Per row: `weight exp(logit - shift)` is the softmax, times what it counts in the mean.
pub(super) struct Side {
    shift: Vec<f32>,
    weight: Vec<f32>,
}

/// What the backward pass needs; `N` numbers each, the sides empty for the sigmoid loss.
pub(super) struct Kept {
    rows: Side,
    columns: Side,
    /// Gradient of the logits of partners. `1 - p` of one that is nearly sure keeps its digits here.
    partners: Vec<f32>,
}

impl Kept {
    pub(super) fn sides(&self) -> Sides<'_> {
        Sides { rows: &self.rows, columns: &self.columns, partners: &self.partners }
    }
}

/// A view of [`Kept`].
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    rows: &'a Side,
    columns: &'a Side,
    partners: &'a [f32],
}

impl Sides<'_> {
    pub(super) fn swapped(self) -> Self {
        Self { rows: self.columns, columns: self.rows, ..self }
    }
}

/// What the forward pass gives.
pub(super) struct Outcome {
    pub(super) loss: f64,
    pub(super) top1: f64,
    pub(super) kept: Kept,
}

/// Logits of partners and, per row and per slab and column, what [`Running`] holds of the others.
struct Statistics {
    own: Vec<f32>,
    row_most: Vec<f32>,
    row_sum: Vec<f32>,
    column_most: Vec<f32>,
    column_sum: Vec<f32>,
}

fn statistics(problem: Problem<'_>) -> Statistics {
    let (n, slab) = (problem.len(), problem.slab());
    let slabs = n.div_ceil(slab);
    let mut all = Statistics {
        own: vec![0.0; n],
        row_most: vec![f32::NEG_INFINITY; n],
        row_sum: vec![0.0; n],
        column_most: vec![f32::NEG_INFINITY; slabs * n],
        column_sum: vec![0.0; slabs * n],
    };
    all.own
        .par_chunks_mut(slab)
        .zip(all.row_most.par_chunks_mut(slab).zip(all.row_sum.par_chunks_mut(slab)))
        .zip(all.column_most.par_chunks_mut(n).zip(all.column_sum.par_chunks_mut(n)))
        .enumerate()
        .for_each_init(
            || (Vec::new(), vec![0.0; TILE_COLUMNS.min(n)]),
            |(tile, before), (i, ((own, (row_most, row_sum)), (column_most, column_sum)))| {
                let start = i * slab;
                problem.tiles(Span { start, end: start + own.len() }, tile, |logits, rows, columns| {
                    // Partners are left out of sums and maxima, and put in at the end in f64.
                    partners(logits, rows, columns, |logit, i| {
                        own[i - start] = std::mem::replace(logit, f32::NEG_INFINITY);
                    });
                    let (r, c) = (rows.start - start..rows.end - start, columns.start..columns.end);
                    let running = Running {
                        row_most: &mut row_most[r.clone()],
                        row_sum: &mut row_sum[r],
                        column_most: &mut column_most[c.clone()],
                        column_sum: &mut column_sum[c],
                        before: &mut before[..columns.len()],
                    };
                    match problem.form {
                        Form::Infonce => infonce_tile(logits, running),
                        Form::Sigmoid => sigmoid_tile(logits, running),
                    }
                });
            },
        );
    all
}

/// One row's or column's part of the loss.
#[derive(Clone, Copy)]
struct Choice {
    loss: f64,
    shift: f64,
    total: f64,
    /// Probability of all but the partner.
    miss: f64,
    found: bool,
}

/// `sum` is that of `exp(logit - most)` over all but the partner.
fn choice(own: f32, most: f32, sum: f64) -> Choice {
    let (own, most) = (f64::from(own), f64::from(most));
    let shift = if own > most { own } else { most };
    let others = if sum == 0.0 { 0.0 } else { sum * (most - shift).exp() };
    let partner = (own - shift).exp();
    let total = others + partner;
    let loss = if own > most { others.ln_1p() } else { total.ln() + shift - own };
    Choice { loss, shift, total, miss: others / total, found: own > most }
}

/// Loss, accuracy and what the gradient needs.
pub(super) fn forward(problem: Problem<'_>) -> Outcome {
    let n = problem.len();
    if n == 0 {
        let side = || Side { shift: Vec::new(), weight: Vec::new() };
        return Outcome { loss: 0.0, top1: 0.0, kept: Kept { rows: side(), columns: side(), partners: Vec::new() } };
    }
    let all = statistics(problem);
    let slabs = all.column_most.len() / n;
    let rows: Vec<Choice> =
        (0..n).into_par_iter().map(|i| choice(all.own[i], all.row_most[i], f64::from(all.row_sum[i]))).collect();
    let columns: Vec<Choice> = (0..n)
        .into_par_iter()
        .map(|j| {
            let slabs = || (0..slabs).map(|s| (all.column_most[s * n + j], all.column_sum[s * n + j]));
            let most = slabs().map(|(most, _)| most).fold(f32::NEG_INFINITY, f32::max);
            let part = |(m, sum): (f32, f32)| {
                if sum == 0.0 { 0.0 } else { f64::from(sum) * (f64::from(m) - f64::from(most)).exp() }
            };
            choice(all.own[j], most, slabs().map(part).sum())
        })
        .collect();
    let found = |choices: &[Choice]| choices.iter().filter(|choice| choice.found).count() as f64;
    let top1 = 0.5 * (found(&rows) + found(&columns)) / n as f64;
    let each = 1.0 / n as f64;
    let kept = |loss: f64, rows: Side, columns: Side, partners: Vec<f32>| Outcome {
        loss: loss * each,
        top1,
        kept: Kept { rows, columns, partners },
    };
    match problem.form {
        Form::Infonce => {
            let side = |choices: &[Choice]| Side {
                shift: choices.iter().map(|choice| choice.shift as f32).collect(),
                weight: choices.iter().map(|choice| (0.5 * each / choice.total) as f32).collect(),
            };
            let both = || rows.iter().zip(&columns);
            let loss = both().map(|(row, column)| 0.5 * (row.loss + column.loss)).sum();
            let partners = both().map(|(row, column)| (-0.5 * each * (row.miss + column.miss)) as f32).collect();
            kept(loss, side(&rows), side(&columns), partners)
        }
        Form::Sigmoid => {
            let others: f64 = all.row_sum.iter().map(|sum| f64::from(*sum)).sum();
            // -log σ(x) = log(1 + exp(-x)), and its slope.
            let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
            let own = || all.own.iter().map(|own| f64::from(*own));
            let loss = others + own().map(|own| softplus(-own)).sum::<f64>();
            let partners = own().map(|own| (-each / (1.0 + own.exp())) as f32).collect();
            let side = || Side { shift: Vec::new(), weight: Vec::new() };
            kept(loss, side(), side(), partners)
        }
    }
}

/// Gradients of the rows of the first set, and of the two factors.
pub(super) struct Gradient {
    pub(super) rows: Vec<f32>,
    pub(super) scale: f64,
    pub(super) bias: f64,
}

/// `da = upstream scale G b` with `G` the gradient of the logits, which are calculated again.
pub(super) fn gradient(problem: Problem<'_>, sides: Sides<'_>, upstream: f32) -> Gradient {
    let (n, width, slab) = (problem.len(), problem.width, problem.slab());
    let mut da = zeros(problem.a.len());
    let b = Matrix::row_major(problem.b, width);
    // Per slab: the gradients of scale and bias.
    let mut factors = vec![(0.0_f64, 0.0_f64); n.div_ceil(slab)];
    da.par_chunks_mut(slab * width).zip(&mut factors).enumerate().for_each_init(
        Vec::new,
        |tile, (i, (da, factors))| {
            let start = i * slab;
            problem.tiles(Span { start, end: start + da.len() / width }, tile, |logits, rows, columns| {
                let (r, c) = (rows.start..rows.end, columns.start..columns.end);
                match problem.form {
                    Form::Infonce => differentiate_infonce(
                        logits,
                        (&sides.rows.shift[r.clone()], &sides.rows.weight[r]),
                        (&sides.columns.shift[c.clone()], &sides.columns.weight[c]),
                    ),
                    Form::Sigmoid => differentiate_sigmoid(logits, 1.0 / n as f32),
                }
                partners(logits, rows, columns, |g, i| *g = sides.partners[i]);
                if problem.form == Form::Sigmoid {
                    factors.1 +=
                        logits.chunks(columns.len()).map(|row| row.iter().sum::<f32>()).map(f64::from).sum::<f64>();
                }
                let da = &mut da[(rows.start - start) * width..(rows.end - start) * width];
                let right = b.rows(columns.start, columns.len());
                product(da, Matrix::row_major(logits, columns.len()), right, upstream, Onto::Values);
            });
            let a = &problem.a[start * width..][..da.len()];
            for (da, a) in da.chunks_exact_mut(width).zip(a.chunks_exact(width)) {
                // Σ_j G_ij a_i · b_j: the gradient of the scale, from what is there before it is applied.
                factors.0 += da.iter().zip(a).map(|(da, a)| f64::from(*da) * f64::from(*a)).sum::<f64>();
                da.iter_mut().for_each(|da| *da *= problem.scale);
            }
        },
    );
    Gradient {
        rows: da,
        scale: factors.iter().map(|f| f.0).sum(),
        bias: f64::from(upstream) * factors.iter().map(|f| f.1).sum::<f64>(),
    }
}
