//! What a model thinks of a scalar: a probability for each of its bins.

use super::GenerateError;
use super::canvas::Canvas;
use crate::{Batch, Bins, Model, Result, TokenValues};

/// Widths of bins are at least this share of the range of all: two quantiles can be the same number.
const NARROWEST: f64 = 1e-6;

/// A histogram over the bins of a scalar: within a bin, all values are equally probable.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior<'a> {
    bins: &'a Bins,
    probabilities: Vec<f64>,
}

impl<'a> Posterior<'a> {
    /// From weights of the bins, which need not add up to 1.
    #[must_use]
    pub fn new(bins: &'a Bins, mut weights: Vec<f64>) -> Self {
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Self { bins, probabilities: weights }
    }

    /// From logits of the codes.
    #[must_use]
    pub fn from_logits(bins: &'a Bins, logits: &[f32]) -> Self {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self::new(bins, logits.iter().map(|logit| f64::from(logit - highest).exp()).collect())
    }

    /// Probability of each bin.
    #[must_use]
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// Mean, of the values that codes stand for.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.probabilities.iter().zip(&self.bins.centres).map(|(p, x)| p * x).sum()
    }

    /// Standard deviation, with the width of the bins.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let parts = self.probabilities.iter().zip(&self.bins.centres).enumerate();
        let variance: f64 = parts.map(|(k, (p, x))| p * ((x - mean).powi(2) + self.width(k).powi(2) / 12.0)).sum();
        variance.sqrt()
    }

    /// The value below which it is with this probability.
    #[must_use]
    pub fn quantile(&self, probability: f64) -> f64 {
        let mut below = 0.0;
        for (k, p) in self.probabilities.iter().enumerate() {
            if below + p >= probability && *p > 0.0 {
                let (low, high) = self.ends(k);
                return low + (high - low) * ((probability - below) / p).clamp(0.0, 1.0);
            }
            below += p;
        }
        self.bins.edges.last().copied().unwrap_or(f64::NAN)
    }

    /// The central interval that holds it with this probability.
    #[must_use]
    pub fn interval(&self, probability: f64) -> (f64, f64) {
        (self.quantile(0.5 - 0.5 * probability), self.quantile(0.5 + 0.5 * probability))
    }

    /// Probability of values below `value`, which has the code `code`: uniform between 0 and 1 over many objects if the model is right.
    #[must_use]
    pub fn below(&self, code: usize, value: f64) -> f64 {
        let before: f64 = self.probabilities.iter().take(code).sum();
        let (low, high) = self.ends(code);
        let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        before + share * self.probabilities.get(code).copied().unwrap_or(0.0)
    }

    /// Natural logarithm of the density in the bin of `code`, in 1 / unit.
    #[must_use]
    pub fn log_density(&self, code: usize) -> f64 {
        let p = self.probabilities.get(code).copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        p.ln() - self.width(code).ln()
    }

    fn ends(&self, code: usize) -> (f64, f64) {
        let edge = |k: usize| self.bins.edges.get(k).copied().unwrap_or(f64::NAN);
        (edge(code), edge(code + 1))
    }

    fn width(&self, code: usize) -> f64 {
        let (low, high) = self.ends(code);
        let all = match (self.bins.edges.first(), self.bins.edges.last()) {
            (Some(first), Some(last)) if last > first => last - first,
            _ => 1.0,
        };
        (high - low).max(NARROWEST * all)
    }
}

/// Logits of the codes of token `token` of the scalar `target`, given the tokens of `given`, for the objects `objects` of `batch`.
///
/// Shapes: `[objects, vocabulary]` row-major, with the vocabulary. Nothing of the objects' own tokens of `target` is used.
///
/// # Errors
/// If no head predicts it.
pub fn scalar_logits(
    model: &Model,
    batch: &Batch,
    objects: &[usize],
    given: &[String],
    (target, token): (&str, usize),
) -> Result<(Vec<f32>, usize)> {
    let spec = model.token_spec(target).ok_or_else(|| GenerateError::NotPredicted { modality: target.into() })?;
    let mut canvas = Canvas::new(batch, objects, given)?;
    canvas.prepare(target, spec, None)?;
    let t = spec.max_tokens;
    canvas.ask(target, (0..objects.len() * t).map(|at| at % t == token).collect());
    let predicted = canvas.predict(model, target, given, 1.0)?;
    Ok((predicted.values, predicted.width))
}

/// The true code of token `token` of the scalar `target` of each object, with the value that it was made of, where a column of the bins' name
/// has it; else what the code stands for. `None` where an object lacks it.
///
/// # Errors
/// If tokens break their contract.
pub fn scalar_truth(batch: &Batch, (target, token): (&str, usize), bins: &Bins) -> Result<Vec<Option<(usize, f64)>>> {
    let Some(tokens) = batch.tokens.get(target) else { return Ok(vec![None; batch.len()]) };
    let TokenValues::Codes(codes) = &tokens.values else { return Ok(vec![None; batch.len()]) };
    let (_, t) = codes.dims2()?;
    let (codes, valid) = (codes.flatten_all()?.to_vec1::<u32>()?, tokens.valid.flatten_all()?.to_vec1::<u8>()?);
    // A column that the model reads under another name, or none, leaves the codes.
    let exact = batch.rows.numbers(&bins.name).unwrap_or_else(|_| vec![None; batch.len()]);
    let of = |row: usize| {
        let at = row * t + token;
        let there = tokens.present.get(row).copied().unwrap_or(false) && valid.get(at) == Some(&1);
        let code = codes.get(at).copied().filter(|_| there)? as usize;
        let centre = bins.centres.get(code).copied()?;
        let value = exact.get(row).copied().flatten().filter(|value| holds(bins, code, *value)).unwrap_or(centre);
        Some((code, value))
    };
    Ok((0..batch.len()).map(of).collect())
}

/// Whether a value has this code; that of a column of another scale than the bins has not.
fn holds(bins: &Bins, code: usize, value: f64) -> bool {
    let (Some(low), Some(high)) = (bins.edges.get(code), bins.edges.get(code + 1)) else { return false };
    // Codes are made in single precision.
    let room = 1e-5 * (high - low).abs().max(low.abs()).max(high.abs());
    let last = bins.centres.len().saturating_sub(1);
    (code == 0 || value >= low - room) && (code == last || value <= high + room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins() -> Bins {
        Bins { name: "z".into(), unit: String::new(), centres: vec![0.5, 1.5, 3.0], edges: vec![0.0, 1.0, 2.0, 4.0] }
    }

    #[test]
    fn moments_and_quantiles_are_those_of_the_histogram() {
        let bins = bins();
        let posterior = Posterior::new(&bins, vec![1.0, 2.0, 1.0]);
        // 0.25 * 0.5 + 0.5 * 1.5 + 0.25 * 3
        assert!((posterior.mean() - 1.625).abs() < 1e-12);
        // Pieces of constant density: E x² by hand, about the mean of the centres.
        let second = 0.25 * (1.0 / 3.0) + 0.5 * (7.0 / 3.0) + 0.25 * (28.0 / 3.0);
        assert!((posterior.deviation() - (second - 1.625_f64.powi(2)).sqrt()).abs() < 1e-12);
        assert_eq!([0.25, 0.5, 0.75, 1.0].map(|q| posterior.quantile(q)), [1.0, 1.5, 2.0, 4.0]);
        assert_eq!(posterior.interval(0.5), (1.0, 2.0));
        assert_eq!(posterior.below(1, 1.5), 0.5);
        assert_eq!(posterior.below(2, 99.0), 1.0);
        assert!((posterior.log_density(2) - (0.25_f64 / 2.0).ln()).abs() < 1e-12);
    }

    #[test]
    fn logits_are_softened_without_overflow() {
        let bins = bins();
        let posterior = Posterior::from_logits(&bins, &[1000.0, 1000.0 + 2f32.ln(), 1000.0]);
        let expected = [0.25, 0.5, 0.25];
        assert!(posterior.probabilities().iter().zip(expected).all(|(p, e)| (p - e).abs() < 1e-4));
    }

    #[test]
    fn bins_without_a_width_have_a_density() {
        let bins = Bins { edges: vec![0.0, 1.0, 1.0, 4.0], ..bins() };
        let posterior = Posterior::new(&bins, vec![1.0; 3]);
        assert!(posterior.log_density(1).is_finite() && posterior.quantile(0.5) == 1.0);
        assert!((posterior.below(1, 1.0) - 0.5).abs() < 1e-12);
    }
}
