//! What a trained model is worth on objects that it never saw: retrieval across modalities against
//! chance, probes on frozen features against the untrained model and the best constant, and predictions of scalars by a masked model
//! against the marginal and a linear model.

mod codecs;
mod embeddings;
mod embeddings_file;
mod inputs;
mod marginal;
mod predict_task;
mod predictions;
mod probe_task;
mod results;
mod retrieval;

pub use embeddings::{EmbeddingTable, Embeddings};
pub use predict_task::{PredictKeys, PredictTask, scalar};
pub use probe_task::{ProbeKeys, ProbeTask, Space, Transform};
pub use results::{
    BaselineResult, CodecMeasure, CodecResult, Confusion, Details, Evaluation, Measured, PosteriorExample, Prediction,
    PredictionResult, ProbeResult, Reconstruction, Regression, Results, RetrievalResult,
};
pub use retrieval::{retrieval, retrieval_share};

use crate::data::{Catalogue, Column, Split};
use crate::{Model, Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[evaluate]`: how the results are measured.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Column by whose values all results are given as well, for example the source catalogue.
    #[serde(default)]
    pub group_by: Option<String>,
    /// Number of bootstrap resamples behind each 95 % interval. 200 to 10000.
    #[serde(default = "default_resamples")]
    pub resamples: usize,
    /// Column that colours the map of embeddings in the report, for example a class.
    #[serde(default)]
    pub label: Option<String>,
    /// Objects per batch. Changes speed and memory only.
    #[serde(default = "default_batch")]
    pub batch: usize,
}

fn default_resamples() -> usize {
    1000
}
fn default_batch() -> usize {
    128
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self { group_by: None, resamples: default_resamples(), label: None, batch: default_batch() }
    }
}

impl EvaluateConfig {
    /// Reads and checks `[evaluate]`.
    ///
    /// # Errors
    /// If a value is out of range.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read_plain()?;
        if !(10..=1_000_000).contains(&config.resamples) {
            return Err(section.reject("resamples", "must be between 10 and 1000000"));
        }
        if config.batch == 0 {
            return Err(section.reject("batch", "must be at least 1"));
        }
        Ok(config)
    }

    /// The columns that the evaluation reads besides those of the model.
    #[must_use]
    pub fn columns(&self, probes: &[ProbeTask]) -> Vec<Column> {
        let groups = self.group_by.iter().chain(&self.label).map(|name| Column::text(name).read_by("[evaluate]"));
        groups.chain(probes.iter().map(ProbeTask::column)).collect()
    }
}

/// Everything that an evaluation reads.
pub struct EvaluateContext<'a> {
    /// The trained model.
    pub model: &'a Model,
    /// The same config with the parameters that it began with; without it, probes are not compared.
    pub untrained: Option<&'a Model>,
    /// The split that nothing was learned from.
    pub held_out: Split,
    /// The data.
    pub catalogue: &'a Catalogue,
    /// How to measure.
    pub config: &'a EvaluateConfig,
    /// What to predict.
    pub probes: &'a [ProbeTask],
    /// What a masked head is to predict.
    pub predictions: &'a [PredictTask],
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Called with the objects embedded so far and their number in all.
    pub progress: &'a mut dyn FnMut(usize, usize),
}

/// Embeds the training and the held-out split with both models and measures; of a model that is made of codecs, what those are worth.
///
/// # Errors
/// If the data can't be read, or a split is empty.
pub fn evaluate(context: EvaluateContext<'_>) -> Result<Evaluation> {
    if context.model.is_codec() {
        return codecs::evaluate(context);
    }
    let EvaluateContext { model, untrained, held_out, catalogue, config, probes, predictions, seed, progress } =
        context;
    let held_out = catalogue.split(held_out)?;
    let asks_train = !probes.is_empty() || !predictions.is_empty();
    let train = if asks_train { Some(catalogue.split(Split::Train)?) } else { None };
    let models = 1 + usize::from(untrained.is_some());
    let of_train = train.as_ref().filter(|_| !probes.is_empty()).map_or(0, |t| t.len());
    let of_predictions = match &train {
        Some(train) if !predictions.is_empty() => predictions::objects(train.len(), held_out.len()),
        _ => 0,
    };
    let total = models * (held_out.len() + of_train) + of_predictions;
    let mut before = 0;
    let mut embed = |model: &Model, rows: &[u32]| -> Result<Embeddings> {
        let embeddings =
            Embeddings::new(model, catalogue, rows, config.batch, &mut |done| progress(before + done, total))?;
        before += rows.len();
        Ok(embeddings)
    };
    let held = embed(model, &held_out)?;
    // Groups, targets and labels; read once, and not at all where nobody asks.
    let asked = config.group_by.is_some() || config.label.is_some() || !probes.is_empty();
    let held_rows = if asked { Some(catalogue.read(&held_out)?) } else { None };
    let texts = |column: &Option<String>| match (&held_rows, column) {
        (Some(rows), Some(column)) => rows.texts(column).map(Some),
        _ => Ok(None),
    };
    let groups = texts(&config.group_by)?;
    let retrieval = retrieval(&held, groups.as_deref(), config, seed)?;
    let mut evaluation = Evaluation {
        results: Results { retrieval: retrieval.0, ..Results::default() },
        details: Details { ranks: retrieval.1, ..Details::default() },
    };
    if let (Some(train), Some(held_rows), false) = (&train, &held_rows, probes.is_empty()) {
        let train_embeddings = embed(model, train)?;
        let untrained = match untrained {
            Some(model) => Some((embed(model, train)?, embed(model, &held_out)?)),
            None => None,
        };
        let train_rows = catalogue.read(train)?;
        for probe in probes {
            let measure = probe_task::Measure {
                train: &train_embeddings,
                held: &held,
                untrained: untrained.as_ref(),
                train_rows: &train_rows,
                held_rows,
                groups: groups.as_deref(),
                config,
                seed,
            };
            probe.measure(&measure, &mut evaluation)?;
        }
    }
    if let (Some(train), false) = (&train, predictions.is_empty()) {
        let (held, groups) = (held_out.as_ref(), groups.as_deref());
        let with = predictions::Measure { model, catalogue, train, held, groups, config, seed };
        predictions::measure(predictions, &with, &mut evaluation, &mut |done| progress(before + done, total))?;
    }
    evaluation.details.labels = texts(&config.label)?.unwrap_or_else(|| vec![None; held_out.len()]);
    evaluation.details.embeddings = Some(held);
    Ok(evaluation)
}
