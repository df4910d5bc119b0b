//! The report of a run: one HTML page that needs nothing but itself.
//!
//! What comes in is plain data, [`RunData`], which is also saved as `report.json` so that the page can be made again;
//! what goes out is a file. Nothing here computes a result: numbers arrive measured, and are only drawn.

mod charts;
mod not_a_number;
mod object;
mod page;
mod projection;
#[cfg(test)]
mod tests;

pub(crate) use object::{ObjectPage, Picture};
pub(crate) use projection::project;

use panchroma_core::Result;
use panchroma_core::train::checkpoint::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Everything that the page shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RunData {
    /// Name of the run.
    pub(crate) name: String,
    /// `results.json` as it is. The page shows `verdict` (a sentence), `steps`, `seconds`, `peak_memory_bytes` and
    /// `seed` if they are there.
    pub(crate) summary: Value,
    /// The lines of `log.jsonl`: each has `step`, and `loss`, `learning_rate` and `gradient_norm`, or
    /// `evaluation.loss` and shares such as `evaluation.top10.lightcurve-spectrum`.
    pub(crate) log: Vec<Map<String, Value>>,
    /// Ranks of the true partners, one per direction.
    pub(crate) retrieval: Vec<RetrievalPlot>,
    /// Embeddings in two dimensions.
    pub(crate) map: Option<EmbeddingMap>,
    /// Probes of numbers.
    pub(crate) regressions: Vec<RegressionPlot>,
    /// Posteriors of scalars.
    #[serde(default)]
    pub(crate) predictions: Vec<PredictionPlot>,
    /// Held-out objects and what codecs say of them.
    #[serde(default)]
    pub(crate) reconstructions: Vec<ReconstructionPlot>,
    /// Probes of classes.
    pub(crate) confusions: Vec<ConfusionPlot>,
    /// Numbers as tables, which come first on the page.
    pub(crate) tables: Vec<Table>,
    /// The resolved config.
    pub(crate) config_toml: String,
}

/// How well one modality finds another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RetrievalPlot {
    /// Modality of the query.
    pub(crate) from: String,
    /// Modality of the answers.
    pub(crate) to: String,
    /// Rank of each query's partner, from 1.
    pub(crate) ranks: Vec<usize>,
    /// Number of objects to choose from.
    pub(crate) pool: usize,
}

/// Embeddings of held-out objects in two dimensions; all lists have one entry per object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EmbeddingMap {
    /// Coordinates, for example of [`project`].
    #[serde(deserialize_with = "not_a_number::pairs")]
    pub(crate) points: Vec<[f32; 2]>,
    /// Class; empty or `unknown` is drawn in grey.
    pub(crate) labels: Vec<String>,
    /// A quantity, by name with its unit, that colours a second map.
    #[serde(deserialize_with = "not_a_number::named")]
    pub(crate) numbers: Option<(String, Vec<f64>)>,
    /// Names of the objects.
    pub(crate) ids: Vec<String>,
}

/// A probe of a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RegressionPlot {
    /// What is predicted, with its unit.
    pub(crate) name: String,
    /// Modality, or `joint`.
    pub(crate) from: String,
    /// Truth per object.
    #[serde(deserialize_with = "not_a_number::many")]
    pub(crate) truth: Vec<f64>,
    /// Prediction per object.
    #[serde(deserialize_with = "not_a_number::many")]
    pub(crate) predicted: Vec<f64>,
    /// Their R2.
    #[serde(deserialize_with = "not_a_number::one")]
    pub(crate) r2: f64,
}

/// Posteriors of a scalar; all lists but `examples` have one entry per object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PredictionPlot {
    /// What is predicted, with its unit.
    pub(crate) name: String,
    /// Modalities that were given.
    pub(crate) given: Vec<String>,
    /// Truths.
    #[serde(deserialize_with = "not_a_number::many")]
    pub(crate) truth: Vec<f64>,
    /// Posterior means.
    #[serde(deserialize_with = "not_a_number::many")]
    pub(crate) predicted: Vec<f64>,
    /// Ends of the central 68 %.
    pub(crate) central68: Vec<[f64; 2]>,
    /// Posterior probabilities of values below the truth.
    #[serde(deserialize_with = "not_a_number::many")]
    pub(crate) below: Vec<f64>,
    /// R2 of the means.
    #[serde(deserialize_with = "not_a_number::one")]
    pub(crate) r2: f64,
    /// A few whole posteriors.
    pub(crate) examples: Vec<PosteriorPlot>,
}

/// The posterior of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PosteriorPlot {
    /// Borders of the bins.
    pub(crate) edges: Vec<f64>,
    /// Probability of each bin.
    pub(crate) probabilities: Vec<f64>,
    /// The true value.
    #[serde(deserialize_with = "not_a_number::one")]
    pub(crate) truth: f64,
}

/// A probe of a class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConfusionPlot {
    /// What is predicted.
    pub(crate) name: String,
    /// Modality, or `joint`.
    pub(crate) from: String,
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// `counts[truth][predicted]`.
    pub(crate) counts: Vec<Vec<usize>>,
}

/// What an object measured, and what is left of it in its codes.
pub(crate) type ReconstructionPlot = panchroma_core::evaluate::Reconstruction;

/// Text in rows and columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Heading.
    pub(crate) title: String,
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// Cells; `value [low, high]` is set as a value with its interval.
    pub(crate) rows: Vec<Vec<String>>,
    /// A sentence below.
    pub(crate) note: String,
}

/// Writes the page, so that `path` is either as before or complete.
///
/// # Errors
/// [`panchroma_core::Error::Io`] if the file can't be written.
pub(crate) fn write_report(data: &RunData, path: &Path) -> Result<()> {
    write_atomically(path, page::page(data)?.as_bytes())
}
