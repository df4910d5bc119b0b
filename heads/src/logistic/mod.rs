//! Kind `logistic`: a class from a linear map of the features whose weights are kept small.
//!
//! `min Σ wᵢ loss(i) + strength/2 |W|²` with the multinomial log loss (two classes: the binary one)
//! on features of mean 0 and standard deviation 1, solved to convergence in f64. `strength` is
//! scikit-learn's `1 / C`. It is chosen by the log loss of folds that were left out.

mod softmax;
#[cfg(test)]
mod tests;

use crate::features::{Standard, check, check_width, refuse};
use crate::lbfgs::Stop;
use panchroma_core::reexport::serde_json::{Value, json};
use panchroma_core::{Descriptor, Fitted, Predictions, Probe, ProbeContext, ProbeTarget, Result, Section};
use rayon::prelude::*;
use softmax::{Objects, Softmax};
use std::collections::BTreeMap;

/// `[probe.NAME]` with `kind = "logistic"`.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogisticConfig {
    /// Strengths of the penalty to choose from (scikit-learn's 1 / C). Default: powers of ten from 0.01 to 1000. All
    /// above 0.
    #[serde(default = "default_strengths")]
    pub strengths: Vec<f64>,
    /// Number of folds of the training objects by which the strength is chosen. Default 5; 2 to 20.
    #[serde(default = "default_folds")]
    pub folds: usize,
    /// Whether every class counts the same, however rare it is. Default true.
    #[serde(default = "default_balanced")]
    pub balanced: bool,
}

fn default_strengths() -> Vec<f64> {
    (-2..=3).map(|power| 10f64.powi(power)).collect()
}
fn default_folds() -> usize {
    5
}
fn default_balanced() -> bool {
    true
}

/// For the final fit: the gradient is per object, and features have unit size.
const EXACT: Stop = Stop { gradient: 1e-8, iterations: 2000 };
/// For the choice of a strength, of which neighbours differ by much more.
const ROUGH: Stop = Stop { gradient: 1e-4, iterations: 300 };

inventory::submit! {
    Descriptor::<dyn Probe> {
        name: "logistic",
        summary: "multinomial logistic regression, its strength chosen by cross-validation",
        origin: env!("CARGO_PKG_NAME"),
        example: "strengths = [0.1, 1.0, 10.0, 100.0]\nfolds = 5\nbalanced = true\n",
        schema: || schemars::schema_for!(LogisticConfig),
        build: |section, context| Ok(Box::new(Logistic::new(section, context)?)),
    }
}

/// The probe of kind `logistic`.
pub struct Logistic {
    name: String,
    config: LogisticConfig,
}

impl Logistic {
    /// Reads the table.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &ProbeContext<'_>) -> Result<Self> {
        let mut config: LogisticConfig = section.read()?;
        if config.strengths.is_empty() || !config.strengths.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(section.reject("strengths", "must be one number or more, all above 0"));
        }
        if config.folds < 2 {
            return Err(section.reject("folds", "must be at least 2"));
        }
        // From strong to weak, so that each fit begins near its solution.
        config.strengths.sort_by(|a, b| b.total_cmp(a));
        Ok(Self { name: context.name.into(), config })
    }

    /// Summed log loss of left-out objects for each strength.
    fn cross_validated(&self, all: &Objects<'_>) -> Vec<f64> {
        let folds = folds(all.labels, self.config.folds);
        let fold = |fold: usize| -> Vec<f64> {
            let (left, kept): (Vec<usize>, Vec<usize>) =
                (0..all.labels.len()).partition(|i| folds.get(*i) == Some(&fold));
            let (left, kept) = (all.pick(&left), all.pick(&kept));
            let (left, kept) = (left.view(all), kept.view(all));
            let mut model = None;
            let mut score = |strength: &f64| {
                let (next, _) = Softmax::fit(&kept, *strength, ROUGH, model.as_ref());
                let loss = next.log_loss(&left);
                model = Some(next);
                loss
            };
            self.config.strengths.iter().map(&mut score).collect()
        };
        let losses: Vec<Vec<f64>> = (0..self.config.folds).into_par_iter().map(fold).collect();
        (0..self.config.strengths.len()).map(|s| losses.iter().filter_map(|fold| fold.get(s)).sum()).collect()
    }
}

/// The fold of each object: the objects of each class in turn, so that every fold has its share of
/// every class, and the folds of an object depend on the training split alone.
fn folds(labels: &[usize], folds: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|i| labels.get(*i));
    let mut of = vec![0; labels.len()];
    for (place, i) in order.into_iter().enumerate() {
        if let Some(fold) = of.get_mut(i) {
            *fold = place % folds;
        }
    }
    of
}

impl Probe for Logistic {
    fn fit(&self, features: &[f32], width: usize, target: &ProbeTarget) -> Result<Box<dyn Fitted>> {
        let ProbeTarget::Classes { labels, names } = target else {
            return Err(refuse(&self.name, "`logistic` predicts classes; use `ridge` or `neighbours` for numbers"));
        };
        check(&self.name, features, width, target, 2)?;
        let counts = names.iter().enumerate().map(|(class, _)| labels.iter().filter(|l| **l == class).count());
        let counts: Vec<usize> = counts.collect();
        let seen = counts.iter().filter(|count| **count > 0).count();
        if seen < 2 {
            return Err(refuse(&self.name, format!("expected objects of at least two classes to fit on, got {seen}")));
        }
        let weight = |label: &usize| match counts.get(*label) {
            Some(count) if self.config.balanced => labels.len() as f64 / (seen * count) as f64,
            _ => 1.0,
        };
        let weights: Vec<f64> = labels.iter().map(weight).collect();
        let standard = Standard::fit(features, width);
        let objects = Objects { features, labels, weights: &weights, standard: &standard, classes: names.len() };
        let strengths = &self.config.strengths;
        let losses = if strengths.len() > 1 { self.cross_validated(&objects) } else { vec![0.0] };
        let best = strengths.iter().zip(losses).min_by(|a, b| a.1.total_cmp(&b.1));
        let strength = best.map_or(1.0, |(strength, _)| *strength);
        let (model, converged) = Softmax::fit(&objects, strength, EXACT, None);
        Ok(Box::new(FittedLogistic { name: self.name.clone(), standard, model, strength, converged }))
    }
}

struct FittedLogistic {
    name: String,
    standard: Standard,
    model: Softmax,
    strength: f64,
    converged: bool,
}

impl Fitted for FittedLogistic {
    fn predict(&self, features: &[f32]) -> Result<Predictions> {
        check_width(&self.name, features, self.standard.width())?;
        let probabilities = self.model.probabilities(&self.standard.parts(features));
        Ok(Predictions::Classes { probabilities, classes: self.model.total() })
    }

    fn chosen(&self) -> BTreeMap<String, Value> {
        let entry = |key: &str, value: Value| (key.to_owned(), value);
        BTreeMap::from([entry("strength", json!(self.strength)), entry("converged", json!(self.converged))])
    }
}
