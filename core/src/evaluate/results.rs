//! What an evaluation gives: numbers for people and machines, and what the report draws.

use super::Embeddings;
use crate::metrics::Interval;
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
    /// Of the held-out objects.
    pub embeddings: Option<Embeddings>,
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
