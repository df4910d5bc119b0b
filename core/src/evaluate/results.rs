//! What an evaluation gives: numbers for people and machines, and what the report draws.

use super::Embeddings;
use crate::metrics::{CodeUse, Interval};
use crate::sketch::Sketch;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The numbers of an evaluation; `results.json` holds them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Retrieval of an object by another modality of it, per direction and group.
    pub retrieval: Vec<RetrievalResult>,
    /// Probes, per target, modality and group.
    pub probes: Vec<ProbeResult>,
    /// Predictions of scalars by a masked model, per target, given modalities and group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<PredictionResult>,
    /// Codecs, where a run trained some.
    #[serde(default)]
    pub codecs: Vec<CodecResult>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How well one modality of an object finds another among held-out objects that have both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RetrievalResult {
    /// Modality of the query.
    pub from: String,
    /// Modality of the answers.
    pub to: String,
    /// Value of `evaluate.group_by`; `None` for all objects. The pool is the group's own.
    pub group: Option<String>,
    /// Number of objects to choose from.
    pub pool: usize,
    /// Share of queries whose partner is the first answer.
    pub top1: Interval,
    /// Share of queries whose partner is among the first five.
    pub top5: Interval,
    /// Share of queries whose partner is among the first ten.
    pub top10: Interval,
    /// What chance gives for the first ten.
    pub chance10: f64,
    /// Median rank of the partner, from 1.
    pub median_rank: f64,
}

/// One probe from one modality.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The user's name of the probe.
    pub name: String,
    /// Modality, or `joint`.
    pub from: String,
    /// Value of `evaluate.group_by`; `None` for all objects.
    pub group: Option<String>,
    /// `R2` or `balanced accuracy`.
    pub metric: String,
    /// Objects that it was fitted on.
    pub train: usize,
    /// Objects that it was measured on.
    pub held_out: usize,
    /// From the trained model's features.
    pub trained: Interval,
    /// From the untrained model's features.
    pub untrained: Interval,
    /// From the mean or the most frequent class.
    pub constant: f64,
    /// What the probe chose while it was fitted.
    pub chosen: BTreeMap<String, Value>,
}

/// How well a masked model knows a scalar of held-out objects from other modalities.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PredictionResult {
    /// The user's name of the prediction.
    pub name: String,
    /// What is predicted, for example `log10 redshift`.
    pub quantity: String,
    /// Unit of its values.
    pub unit: String,
    /// Modalities that were given; all objects have them.
    pub given: Vec<String>,
    /// Value of `evaluate.group_by`; `None` for all objects.
    pub group: Option<String>,
    /// Objects that the marginal and the baseline were fitted on.
    pub train: usize,
    /// Objects that it was measured on.
    pub held_out: usize,
    /// Mean natural logarithm of the model's density at the truth, in 1 / unit.
    pub log_likelihood: Interval,
    /// The same of the distribution of the training split, which knows nothing of the object.
    pub marginal: f64,
    /// The former minus the latter, nats per object: above 0, something was learned.
    pub gain: Interval,
    /// Of the posterior means.
    pub r2: Interval,
    /// Of the posterior means, in the unit of the quantity.
    pub rmse: Interval,
    /// Share of objects whose truth is in the central 68.27 % of the posterior.
    pub coverage68: Interval,
    /// Share of objects whose truth is in the central 95 % of the posterior.
    pub coverage95: Interval,
    /// A probe on plain numbers about the given tokens, if the config asks for one.
    pub baseline: Option<BaselineResult>,
}

/// What a probe knows of the same objects from plain numbers about the given tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaselineResult {
    /// Kind of the probe.
    pub kind: String,
    /// Numbers per object that it reads.
    pub features: usize,
    /// Log-likelihood over that of the marginal, nats per object.
    pub gain: Interval,
    /// Log-likelihood of the model over that of this, nats per object.
    pub advantage: Interval,
    /// Of its predictions.
    pub r2: Interval,
    /// Of its predictions.
    pub rmse: Interval,
}

/// One prediction of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prediction {
    /// The user's name.
    pub name: String,
    /// What the axes show.
    pub quantity: String,
    /// Modalities that were given.
    pub given: Vec<String>,
    /// Truth per object.
    pub truth: Vec<f64>,
    /// Posterior mean per object.
    pub predicted: Vec<f64>,
    /// Ends of the central 68.27 % of each posterior.
    pub central68: Vec<[f64; 2]>,
    /// Posterior probability of values below the truth, per object.
    pub below: Vec<f64>,
    /// Of the means.
    pub r2: f64,
    /// Whole posteriors of a few objects.
    pub examples: Vec<PosteriorExample>,
}

/// The posterior of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PosteriorExample {
    /// Borders of the bins.
    pub edges: Vec<f64>,
    /// Probability of each.
    pub probabilities: Vec<f64>,
    /// The true value.
    pub truth: f64,
}

/// What a codec is worth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodecResult {
    /// Modality.
    pub modality: String,
    /// Held-out objects that have it.
    pub objects: usize,
    /// Mean loss.
    #[serde(deserialize_with = "crate::metrics::number_or_null")]
    pub loss: f64,
    /// What is lost, by measure.
    pub measures: Vec<CodecMeasure>,
    /// Means of other numbers that the codec gives.
    pub metrics: BTreeMap<String, f64>,
    /// How the codes are used.
    pub codes: CodeUse,
}

/// One measure of what a codec loses, with simpler guesses beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodecMeasure {
    /// For example `chi2`, or `held_back.chi2` for what the encoder did not see.
    pub name: String,
    /// Of the codec.
    pub value: Interval,
    /// Of guesses without a codec, by name.
    pub baselines: BTreeMap<String, Interval>,
    /// 1 less the codec's over that of the best constant, where that is among the guesses.
    pub r2: Option<Interval>,
}

/// What an object measured, and what is left of it in its codes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reconstruction {
    /// Modality.
    pub modality: String,
    /// Name of the object.
    pub object: String,
    /// As it was measured.
    pub measured: Sketch,
    /// As the codec tells it.
    pub told: Sketch,
}

/// One scatter of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Regression {
    /// Probe.
    pub name: String,
    /// Modality.
    pub from: String,
    /// What the axes show, for example `log10 redshift`.
    pub quantity: String,
    /// Truth.
    pub truth: Vec<f64>,
    /// Prediction.
    pub predicted: Vec<f64>,
    /// Their R2.
    pub r2: f64,
}

/// One confusion matrix of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confusion {
    /// Probe.
    pub name: String,
    /// Modality.
    pub from: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// `counts[truth][predicted]`.
    pub counts: Vec<Vec<usize>>,
}

/// Ranks of the true partners, for one direction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Modality of the query.
    pub from: String,
    /// Modality of the answers.
    pub to: String,
    /// Rank of each query's partner, from 1.
    pub ranks: Vec<usize>,
    /// Number of objects to choose from.
    pub pool: usize,
}

/// What the report draws.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Ranks over all groups.
    pub ranks: Vec<Measured>,
    /// Scatters.
    pub regressions: Vec<Regression>,
    /// Confusion matrices.
    pub confusions: Vec<Confusion>,
    /// Predictions of scalars.
    pub predictions: Vec<Prediction>,
    /// Of the held-out objects.
    pub embeddings: Option<Embeddings>,
    /// A few held-out objects, per codec.
    pub reconstructions: Vec<Reconstruction>,
    /// `evaluate.label` of each held-out object.
    pub labels: Vec<Option<String>>,
}

/// Numbers and details.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// For people and machines.
    pub results: Results,
    /// For the report.
    pub details: Details,
}
