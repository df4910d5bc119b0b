//! The linear map, its loss and its fit.
//!
//! Shapes: `D` features, `n` objects of one part, `R` rows of weights: one per class, or a single
//! one for two classes, where the first has logit 0.

use crate::features::{PART, Standard};
use crate::lbfgs::{Stop, minimise};
use nalgebra::{DMatrix, DVector, DVectorView};
use rayon::prelude::*;

/// Objects to fit on.
pub(super) struct Objects<'a> {
    /// `[N, D]` row-major, as they came.
    pub(super) features: &'a [f32],
    pub(super) labels: &'a [usize],
    /// How much each object counts.
    pub(super) weights: &'a [f64],
    pub(super) standard: &'a Standard,
    pub(super) classes: usize,
}

/// Some of the objects.
pub(super) struct Picked {
    features: Vec<f32>,
    labels: Vec<usize>,
    weights: Vec<f64>,
}

impl Objects<'_> {
    pub(super) fn pick(&self, rows: &[usize]) -> Picked {
        let width = self.standard.width();
        let row = |i: &usize| self.features.get(i * width..(i + 1) * width);
        Picked {
            features: rows.iter().filter_map(row).flatten().copied().collect(),
            labels: rows.iter().filter_map(|i| self.labels.get(*i)).copied().collect(),
            weights: rows.iter().filter_map(|i| self.weights.get(*i)).copied().collect(),
        }
    }
}

impl Picked {
    pub(super) fn view<'a>(&'a self, all: &Objects<'a>) -> Objects<'a> {
        Objects { features: &self.features, labels: &self.labels, weights: &self.weights, ..*all }
    }
}

/// A fitted map.
pub(super) struct Softmax {
    /// The classes that it was fitted on; the others have probability 0.
    classes: Vec<usize>,
    total: usize,
    /// `[R, D]` column-major, then `[R]`.
    parameters: Vec<f64>,
    width: usize,
}

impl Softmax {
    /// Fits on `objects`, beginning at `near`; says whether the search converged.
    pub(super) fn fit(objects: &Objects<'_>, strength: f64, stop: Stop, near: Option<&Self>) -> (Self, bool) {
        let mut classes = objects.labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let width = objects.standard.width();
        // The place of each object's class among those that are there.
        let places: Vec<usize> = objects.labels.iter().map(|l| classes.binary_search(l).unwrap_or(0)).collect();
        let parts = objects.standard.parts(objects.features);
        let total_weight = objects.weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let rows = rows(classes.len());
        let start = near.map_or_else(|| vec![0.0; rows * (width + 1)], |near| near.parameters.clone());
        let minimum = minimise(start, stop, |parameters| {
            let (map, bias) = split(parameters, rows, width);
            let each = parts.par_iter().zip(places.par_chunks(PART)).zip(objects.weights.par_chunks(PART));
            let sums: Vec<(f64, DMatrix<f64>, DVector<f64>)> =
                each.map(|((x, places), weights)| gradients(&map, &bias, x, places, weights)).collect();
            let penalty = strength / total_weight;
            let mut loss = 0.5 * penalty * map.norm_squared();
            let mut map_gradient = &map * penalty;
            let mut bias_gradient = DVector::zeros(rows);
            for (part_loss, part_map, part_bias) in sums {
                loss += part_loss / total_weight;
                map_gradient += part_map / total_weight;
                bias_gradient += part_bias / total_weight;
            }
            (loss, map_gradient.iter().chain(bias_gradient.iter()).copied().collect())
        });
        (Self { classes, total: objects.classes, parameters: minimum.at, width }, minimum.converged)
    }

    /// Number of classes, with those that it was not fitted on.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Objects as parts of `[D, n]` -> probabilities `[N, total]` row-major.
    pub(super) fn probabilities(&self, parts: &[DMatrix<f64>]) -> Vec<f64> {
        let (map, bias) = split(&self.parameters, rows(self.classes.len()), self.width);
        let part = |x: &DMatrix<f64>| -> Vec<f64> {
            let logits = logits_of(&map, x);
            let mut rows = vec![0.0; x.ncols() * self.total];
            for (logits, row) in logits.column_iter().zip(rows.chunks_mut(self.total.max(1))) {
                for (log, class) in log_probabilities(&logits, &bias).into_iter().zip(&self.classes) {
                    if let Some(p) = row.get_mut(*class) {
                        *p = log.exp();
                    }
                }
            }
            rows
        };
        parts.par_iter().flat_map_iter(part).collect()
    }

    /// Weighted sum of the log loss of objects whose class it was fitted on.
    pub(super) fn log_loss(&self, objects: &Objects<'_>) -> f64 {
        let probabilities = self.probabilities(&objects.standard.parts(objects.features));
        let rows = probabilities.chunks(self.total.max(1)).zip(objects.labels).zip(objects.weights);
        let known = rows.filter(|((_, label), _)| self.classes.binary_search(label).is_ok());
        known
            .map(|((row, label), weight)| {
                // A probability that is rounded to 0 must not make one strength infinitely bad.
                -weight * row.get(*label).copied().unwrap_or(0.0).max(f64::MIN_POSITIVE).ln()
            })
            .sum()
    }
}

fn rows(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

fn split(parameters: &[f64], rows: usize, width: usize) -> (DMatrix<f64>, DVector<f64>) {
    let (map, bias) = parameters.split_at(rows * width);
    (DMatrix::from_column_slice(rows, width, map), DVector::from_column_slice(bias))
}

/// `[R]` logits without bias -> logarithms of the probabilities of all classes.
fn log_probabilities(logits: &DVectorView<'_, f64>, bias: &DVector<f64>) -> Vec<f64> {
    let own = logits.iter().zip(bias.iter()).map(|(l, b)| l + b);
    let logits: Vec<f64> = if bias.len() == 1 { std::iter::once(0.0).chain(own).collect() } else { own.collect() };
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = most + logits.iter().map(|l| (l - most).exp()).sum::<f64>().ln();
    logits.into_iter().map(|l| l - sum).collect()
}

/// `map x`, `[R, D] [D, n]`, as products of columns with columns: with one or a few rows the product
/// as it stands is a loop over single numbers, ten times slower.
fn logits_of(map: &DMatrix<f64>, x: &DMatrix<f64>) -> DMatrix<f64> {
    map.transpose().tr_mul(x)
}

/// Weighted loss of one part, and its gradients `[R, D]` and `[R]`.
fn gradients(
    map: &DMatrix<f64>,
    bias: &DVector<f64>,
    x: &DMatrix<f64>,
    places: &[usize],
    weights: &[f64],
) -> (f64, DMatrix<f64>, DVector<f64>) {
    let mut logits = logits_of(map, x);
    let mut loss = 0.0;
    // With one row, that row is class 1.
    let first = usize::from(bias.len() == 1);
    for ((mut column, place), weight) in logits.column_iter_mut().zip(places).zip(weights) {
        let logs = log_probabilities(&column.as_view(), bias);
        loss -= weight * logs.get(*place).copied().unwrap_or(0.0);
        for ((class, log), out) in logs.iter().enumerate().skip(first).zip(column.iter_mut()) {
            *out = weight * (log.exp() - f64::from(u8::from(class == *place)));
        }
    }
    let bias_gradient = logits.column_sum();
    // Sums of whole columns, as in `logits_of`.
    (loss, (x * logits.transpose()).transpose(), bias_gradient)
}
