//! `panchroma probe RUN`.

use super::progress::Progress;
use super::{DeviceArgs, JsonArgs, print, print_json, tables};
use clap::Args;
use panchroma_core::data::{Catalogue, Split};
use panchroma_core::evaluate::{EvaluateContext, evaluate};
use panchroma_core::train::{CheckpointError, Event, Observer, load_run};
use panchroma_core::{Model, Result};
use std::path::PathBuf;

/// Arguments of `probe`.
#[derive(Args)]
#[command(
    after_help = "Example: panchroma probe runs/quickstart --set 'probe.type.kind=\"neighbours\"' --set evaluate.group_by=catalogue"
)]
pub(super) struct ProbeArgs {
    /// Folder of the run
    run: PathBuf,
    /// Change one value of the run's config, for example another kind of probe or `data.path`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl ProbeArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

pub(super) fn run(args: &ProbeArgs) -> Result<()> {
    let registry = super::registry::of_run(&args.run, &args.set)?;
    let device = args.device.open(&args.json)?;
    let (experiment, model, state) = load_run(&args.run, &args.set, &registry, &device)?;
    if model.is_codec() {
        return Err(CheckpointError::OnlyCodec { path: args.run.clone() }.into());
    }
    let mut untrained = Model::new(&experiment, &registry, &device)?;
    untrained.restore(&state.fitted)?;
    let columns = model.columns(&experiment.evaluate.columns(&experiment.probes));
    let catalogue = Catalogue::open(&experiment.data, &columns)?;
    let mut progress = Progress::new(args.json());
    let evaluation = evaluate(EvaluateContext {
        model: &model,
        untrained: Some(&untrained),
        held_out: Split::Test,
        catalogue: &catalogue,
        config: &experiment.evaluate,
        probes: &experiment.probes,
        predictions: &experiment.predictions,
        seed: experiment.run.seed,
        progress: &mut |done, total| progress.on(Event::Evaluating { done, total }),
    })
    .map_err(|error| catalogue.locate(error))?;
    progress.finish();
    model.new_bad_rows().into_iter().for_each(|bad| progress.on(Event::BadRow(bad)));
    if args.json() {
        return print_json(&evaluation.results);
    }
    print(&tables::print(&evaluation.results, true))
}
