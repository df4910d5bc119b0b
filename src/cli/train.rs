//! `panchroma train CONFIG`.

use super::progress::Progress;
use super::{ConfigArgs, DeviceArgs, JsonArgs, print, print_json, report, tables};
use clap::Args;
use panchroma_core::data::Split;
use panchroma_core::train::checkpoint::write_atomically;
use panchroma_core::train::{Outcome, TrainOptions, train};
use panchroma_core::{Error, Experiment, LibraryId, Result, ops};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Arguments of `train`.
#[derive(Args)]
#[command(after_help = "Ctrl-C writes a checkpoint and stops; `--resume` goes on as if nothing had happened.

Examples:
  panchroma train configs/quickstart.toml
  panchroma train configs/quickstart.toml --set run.seed=2 --set run.output=runs/second
  panchroma train runs/quickstart/config.toml --resume")]
pub(super) struct TrainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
    /// Go on with the run in the output folder
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace the run in the output folder
    #[arg(long)]
    overwrite: bool,
    /// Stop early after this many steps in all; the schedule stays that of the config
    #[arg(long, value_name = "STEPS")]
    max_steps: Option<u64>,
    /// Stop early after this many seconds
    #[arg(long, value_name = "SECONDS")]
    max_time: Option<f64>,
}

impl TrainArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    let (registry, experiment) = args.config.read()?;
    for library in registry.libraries().values().filter(|_| !args.json()) {
        eprintln!("plugin: {} {} from {}", library.name, LibraryId::from(*library), library.path.display());
    }
    let options = TrainOptions {
        resume: args.resume,
        overwrite: args.overwrite,
        device: args.device.open(&args.json)?,
        max_steps: args.max_steps,
        max_time: args.max_time.filter(|s| *s > 0.0 && *s < 1e9).map(Duration::from_secs_f64),
        stop: stop_on_signal(),
    };
    let mut progress = Progress::new(args.json());
    let outcome = train(&experiment, &registry, &options, &mut progress);
    progress.finish();
    let outcome = outcome?;
    let results = finish(&experiment, &outcome)?;
    if args.json() {
        return print_json(&results);
    }
    let (run, seconds, first) = (outcome.run.path().display(), outcome.seconds, outcome.first_step_seconds);
    let memory =
        ops::peak_memory_bytes().map_or_else(String::new, |b| format!(", peak memory {:.0} MiB", b as f64 / 1048576.0));
    if experiment.data.split.of(Split::Test) == 0.0 {
        print("no results: `data.split.test` is 0, so there is no object to measure on\n")?;
    }
    print(&tables::print(&outcome.evaluation.results, false))?;
    if let Some(verdict) = results["verdict"].as_str() {
        print(&format!("\n{verdict}\n"))?;
    }
    print(&format!(
        "\n{} steps in {seconds:.0} s, first step after {first:.1} s{memory}\nrun: {run}\nreport: {}\n",
        outcome.steps,
        outcome.run.report().display()
    ))
}

/// The first Ctrl-C asks the loop to stop after its step, the second ends the process.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Without a handler Ctrl-C ends the process at once, which loses nothing but the last steps.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
    });
    stop
}

/// Writes `results.json` and the report; gives what `results.json` holds.
fn finish(experiment: &Experiment, outcome: &Outcome) -> Result<serde_json::Value> {
    let path = outcome.run.results();
    let results = json!({
        "name": experiment.run.name,
        "seed": experiment.run.seed,
        "verdict": tables::verdict(&outcome.evaluation.results),
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "first_step_seconds": outcome.first_step_seconds,
        "peak_memory_bytes": ops::peak_memory_bytes(),
        "retrieval": outcome.evaluation.results.retrieval,
        "probes": outcome.evaluation.results.probes,
        "predictions": outcome.evaluation.results.predictions,
        "codecs": outcome.evaluation.results.codecs,
        "notes": outcome.evaluation.results.notes,
    });
    let text = serde_json::to_vec_pretty(&results).map_err(|e| Error::Io {
        action: "write",
        path: path.clone(),
        source: e.into(),
    })?;
    write_atomically(&path, &text)?;
    report::write(experiment, &outcome.run, &results, &outcome.evaluation)?;
    Ok(results)
}
