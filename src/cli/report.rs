//! `panchroma report RUN`, and the report that `train` ends with.

use super::{print, tables};
use crate::report::{
    ConfusionPlot, EmbeddingMap, PosteriorPlot, PredictionPlot, RegressionPlot, RetrievalPlot, RunData, Table, project,
    write_report,
};
use clap::Args;
use panchroma_core::evaluate::{Details, Embeddings, Evaluation, Prediction};
use panchroma_core::train::checkpoint::write_atomically;
use panchroma_core::train::{CheckpointError, RunFolder, RunLog};
use panchroma_core::{Error, Experiment, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `report`.
#[derive(Args)]
pub(super) struct ReportArgs {
    /// Folder of the run
    run: PathBuf,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let run = RunFolder::new(&args.run);
    let path = data_path(&run);
    if !path.is_file() {
        return Err(CheckpointError::NotARun { path: args.run.clone(), missing: "report.json" }.into());
    }
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let data: RunData = serde_json::from_slice(&bytes)
        .map_err(|e| CheckpointError::Unreadable { path: path.clone(), reason: e.to_string() })?;
    write_report(&data, &run.report())?;
    print(&format!("{}\n", run.report().display()))
}

fn data_path(run: &RunFolder) -> PathBuf {
    run.path().join("report.json")
}

/// Writes `report.json`, from which the page can be made again, and `report.html`.
pub(super) fn write(experiment: &Experiment, run: &RunFolder, results: &Value, evaluation: &Evaluation) -> Result<()> {
    let data = data(experiment, run, results, evaluation)?;
    let path = data_path(run);
    let bytes = serde_json::to_vec(&data).map_err(|e| unwritable(&path, e))?;
    write_atomically(&path, &bytes)?;
    write_report(&data, &run.report())
}

fn unwritable(path: &Path, source: serde_json::Error) -> Error {
    Error::Io { action: "write", path: path.to_path_buf(), source: source.into() }
}

fn data(experiment: &Experiment, run: &RunFolder, results: &Value, evaluation: &Evaluation) -> Result<RunData> {
    let Details { ranks, regressions, confusions, predictions, embeddings, labels, reconstructions } =
        &evaluation.details;
    let retrieval = ranks
        .iter()
        .map(|m| RetrievalPlot { from: m.from.clone(), to: m.to.clone(), ranks: m.ranks.clone(), pool: m.pool })
        .collect();
    let regressions = regressions
        .iter()
        .map(|r| RegressionPlot {
            name: r.quantity.clone(),
            from: r.from.clone(),
            truth: r.truth.clone(),
            predicted: r.predicted.clone(),
            r2: r.r2,
        })
        .collect();
    let confusions = confusions
        .iter()
        .map(|c| ConfusionPlot {
            name: c.name.clone(),
            from: c.from.clone(),
            classes: c.classes.clone(),
            counts: c.counts.clone(),
        })
        .collect();
    let predictions = predictions.iter().map(prediction).collect();
    let shown = tables::tables(&evaluation.results).into_iter();
    let tables = shown.map(|t| Table { title: t.title, columns: t.columns, rows: t.rows, note: t.note }).collect();
    Ok(RunData {
        name: experiment.run.name.clone(),
        summary: results.clone(),
        log: RunLog::read(run.path())?,
        retrieval,
        map: embeddings.as_ref().and_then(|e| map(e, labels)),
        regressions,
        predictions,
        reconstructions: reconstructions.clone(),
        confusions,
        tables,
        config_toml: experiment.document.to_toml(),
    })
}

fn prediction(of: &Prediction) -> PredictionPlot {
    let examples = of.examples.iter().map(|e| PosteriorPlot {
        edges: e.edges.clone(),
        probabilities: e.probabilities.clone(),
        truth: e.truth,
    });
    PredictionPlot {
        name: of.quantity.clone(),
        given: of.given.clone(),
        truth: of.truth.clone(),
        predicted: of.predicted.clone(),
        central68: of.central68.clone(),
        below: of.below.clone(),
        r2: of.r2,
        examples: examples.collect(),
    }
}

fn map(embeddings: &Embeddings, labels: &[Option<String>]) -> Option<EmbeddingMap> {
    let keep: Vec<usize> = (0..embeddings.ids.len()).filter(|i| embeddings.joint.present[*i]).collect();
    if keep.len() < 3 {
        return None;
    }
    let label = |i: &usize| labels.get(*i).cloned().flatten().unwrap_or_else(|| "unknown".into());
    Some(EmbeddingMap {
        points: project(&embeddings.joint.gather(&keep), embeddings.joint.width),
        labels: keep.iter().map(label).collect(),
        numbers: None,
        ids: keep.iter().map(|i| embeddings.ids[*i].clone()).collect(),
    })
}
