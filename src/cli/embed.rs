//! `panchroma embed RUN --out FILE`.

use super::progress::Progress;
use super::{DeviceArgs, JsonArgs, print, print_json};
use clap::{Args, ValueEnum};
use panchroma_core::data::{Catalogue, Column, Split};
use panchroma_core::evaluate::Embeddings;
use panchroma_core::train::{Event, Observer, load_run};
use panchroma_core::{Error, Registry, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `embed`.
#[derive(Args)]
#[command(after_help = "\
The file has the column `object_id` and one column of lists per vector: `trunk.MODALITY`, `shared.MODALITY` (unit \
vectors that can be compared across modalities) and `joint`. An object without a modality has null there; a catalogue \
may lack whole modalities.

Example: panchroma embed runs/quickstart --out embeddings.parquet --split test")]
pub(super) struct EmbedArgs {
    /// Folder of the run
    run: PathBuf,
    /// Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Objects of which split
    #[arg(long, value_enum, default_value_t = Which::All)]
    split: Which,
    /// Another catalogue than the run's, in place of all that it read
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Change one value of the run's config
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    All,
    Train,
    Validation,
    Test,
}

impl EmbedArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

pub(super) fn run(args: &EmbedArgs) -> Result<()> {
    let folder = args.out.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder {
        // Known before anything is embedded.
        std::fs::metadata(folder).map_err(Error::io("write to", folder))?;
    }
    let registry = Registry::linked()?;
    let (mut experiment, model, _) = load_run(&args.run, &args.set, &registry, &args.device.open(&args.json)?)?;
    if let Some(path) = &args.data {
        experiment.data.path.clone_from(path);
        experiment.data.also.clear();
    }
    // A catalogue may lack whole modalities; the last line says how many objects had which.
    let columns: Vec<Column> = model.columns(&[]).into_iter().map(Column::optional).collect();
    let catalogue = Catalogue::open(&experiment.data, &columns)?;
    let rows = match args.split {
        Which::All => (0..u32::try_from(catalogue.len()).unwrap_or(u32::MAX)).collect(),
        Which::Train => catalogue.split(Split::Train)?,
        Which::Validation => catalogue.split(Split::Validation)?,
        Which::Test => catalogue.split(Split::Test)?,
    };
    let rows: Arc<[u32]> = rows;
    let mut progress = Progress::new(args.json());
    let total = rows.len();
    let embeddings = Embeddings::new(&model, &catalogue, &rows, experiment.evaluate.batch, &mut |done| {
        progress.on(Event::Evaluating { done, total });
    })
    .map_err(|error| catalogue.locate(error))?;
    progress.finish();
    model.new_bad_rows().into_iter().for_each(|bad| progress.on(Event::BadRow(bad)));
    embeddings.write_parquet(&args.out)?;
    let with: BTreeMap<&str, usize> = embeddings
        .trunk
        .iter()
        .map(|(name, table)| (name.as_str(), table.present.iter().filter(|p| **p).count()))
        .collect();
    if args.json() {
        return print_json(&json!({ "objects": total, "with": with, "file": args.out }));
    }
    let with: Vec<String> = with.iter().map(|(name, count)| format!("{name} {count}")).collect();
    print(&format!("{total} objects ({}): {}\n", with.join(", "), args.out.display()))
}
