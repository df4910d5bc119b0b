//! `panchroma embed RUN --out FILE`.

use super::progress::Progress;
use super::{DeviceArgs, JsonArgs, print, print_json};
use clap::{Args, ValueEnum};
use panchroma_core::data::{Catalogue, Column, Split};
use panchroma_core::evaluate::Embeddings;
use panchroma_core::train::{CheckpointError, Event, Observer, load_run};
use panchroma_core::{Error, Result};
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
With --given, everything else is as if objects did not have it: `joint` is then the vector of that subset, from one pass of a trunk that \
joins modalities, and no other modality has a column.

Examples:
  panchroma embed runs/quickstart --out embeddings.parquet --split test
  panchroma embed runs/quickstart --given spectrum,host --out spectra.parquet")]
pub(super) struct EmbedArgs {
    /// Folder of the run
    run: PathBuf,
    /// Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Objects of which split
    #[arg(long, value_enum, default_value_t = Which::All)]
    split: Which,
    /// Only from these modalities, with commas between
    #[arg(long, value_name = "MODALITIES", value_delimiter = ',', alias = "modalities")]
    given: Vec<String>,
    /// How tokens become one vector, in place of `trunk.pool` of the run: another pool than it was trained with must be one without
    /// parameters, such as `mean`, or `registers` where the trunk `encoder_decoder` has some
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
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
pub(super) enum Which {
    All,
    Train,
    Validation,
    Test,
}

impl Which {
    /// The rows of the catalogue that are in it.
    pub(super) fn rows(self, catalogue: &Catalogue) -> Result<Arc<[u32]>> {
        match self {
            Self::All => Ok((0..u32::try_from(catalogue.len()).unwrap_or(u32::MAX)).collect()),
            Self::Train => catalogue.split(Split::Train),
            Self::Validation => catalogue.split(Split::Validation),
            Self::Test => catalogue.split(Split::Test),
        }
    }
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
    let pool = args.pool.as_ref().map(|pool| format!("trunk.pool=\"{pool}\""));
    let changes: Vec<String> = args.set.iter().cloned().chain(pool).collect();
    let registry = super::registry::of_run(&args.run, &changes)?;
    let (mut experiment, model, _) = load_run(&args.run, &changes, &registry, &args.device.open(&args.json)?)?;
    if model.is_codec() {
        return Err(CheckpointError::OnlyCodec { path: args.run.clone() }.into());
    }
    if let Some(name) = args.given.iter().find(|name| model.token_spec(name).is_none()) {
        let known = model.modalities().map(str::to_owned).collect();
        return Err(Error::UnknownName { what: "modality of the run", name: name.clone(), known });
    }
    if let Some(path) = &args.data {
        experiment.data.path.clone_from(path);
        experiment.data.also.clear();
    }
    // A catalogue may lack whole modalities; the last line says how many objects had which.
    let columns: Vec<Column> = model.columns(&[]).into_iter().map(Column::optional).collect();
    let catalogue = Catalogue::open(&experiment.data, &columns)?;
    let rows = args.split.rows(&catalogue)?;
    let mut progress = Progress::new(args.json());
    let total = rows.len();
    let (batch, given) = (experiment.evaluate.batch, args.given.as_slice());
    let embeddings = Embeddings::with_only(&model, &catalogue, &rows, batch, given, &mut |done| {
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
