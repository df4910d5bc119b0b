//! `panchroma generate RUN --given A,B --predict C --out FILE`.

use super::embed::Which;
use super::progress::Counter;
use super::{DeviceArgs, JsonArgs};
use crate::report::{PredictionPlot, RunData, write_report};
use clap::{Args, ValueEnum};
use panchroma_core::data::{Catalogue, Column};
use panchroma_core::evaluate::scalar;
use panchroma_core::generate::{GenerateError, Request, Sampling, Schedule, check_given};
use panchroma_core::train::load_run;
use panchroma_core::{Batch, Bins, Error, Mode, Model, Result};
use std::path::{Path, PathBuf};

mod posteriors;
mod samples;

/// Arguments of `generate`.
#[derive(Args)]
#[command(after_help = "\
The run must have a head of kind `masked`. Objects are those of the run's catalogue (or --data) that have one of the given \
modalities at least; the others are counted and left out. What an object measured of the predicted modalities is not looked at, \
except as the truth in the report.

--predict writes one row per object and sample: `object_id`, `sample`, `MODALITY.codes`, and what they stand for: \
`MODALITY.COLUMN` for scalars, `MODALITY.FIELD` (lists, with their shape in the metadata of the field) for curves, spectra and \
images. Several modalities are predicted one after the other; each sees what was drawn of those before.
--likelihood writes one row per object with the posterior over the codes of a scalar, its moments and intervals, and, where the \
catalogue knows the truth, that and its log-likelihood; edges and centres of the bins are in the metadata of the field.

Schedules: `one_step` draws all tokens at once, each by itself; `autoregressive` one after the other; `maskgit` draws all that are left \
and keeps the surest, --steps times; `roar` draws in random order in --steps steps. More steps cost more and give tokens that go together.
The same --seed gives the same samples of an object, whichever others are asked for.

Examples:
  panchroma generate runs/masked --given lightcurve,spectrum --likelihood z --out z.parquet --report z.html
  panchroma generate runs/masked --given lightcurve --predict spectrum,z --schedule maskgit --steps 8 --samples 16 --out samples.parquet
  panchroma generate runs/masked --given spectrum --predict z --object ZTF18aaqcugm --samples 100 --out z.parquet")]
pub(super) struct GenerateArgs {
    /// Folder of the run
    run: PathBuf,
    /// Modalities that are given, with commas between
    #[arg(long, value_name = "MODALITIES", value_delimiter = ',')]
    given: Vec<String>,
    /// Modalities to draw, with commas between
    #[arg(long, value_name = "MODALITIES", value_delimiter = ',', required_unless_present = "likelihood")]
    predict: Vec<String>,
    /// A modality of scalars of which to write the posterior; of several columns one, as MODALITY.COLUMN
    #[arg(long, value_name = "MODALITY", conflicts_with = "predict")]
    likelihood: Option<String>,
    /// Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Objects of which split
    #[arg(long, value_enum, default_value_t = Which::Test)]
    split: Which,
    /// Only the object of this name; may be repeated, and goes beyond --split
    #[arg(long, value_name = "ID")]
    object: Vec<String>,
    /// At most so many objects
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Samples per object
    #[arg(long, value_name = "N", default_value_t = 1)]
    samples: usize,
    /// In which steps tokens are drawn
    #[arg(long, value_enum, default_value_t = ScheduleName::OneStep)]
    schedule: ScheduleName,
    /// Number of steps of `maskgit` and `roar`; never more than there are tokens
    #[arg(long, value_name = "N", default_value_t = 8)]
    steps: usize,
    /// Logits are divided by this; 0 takes the most probable code
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    temperature: f64,
    /// Draw only from so many of the most probable codes; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw only from the most probable codes that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// Classifier-free guidance: above 1, what is due to the given modalities is exaggerated
    #[arg(long, value_name = "G", default_value_t = 1.0)]
    guidance: f64,
    /// Seed of the drawing
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Decode at the places (times, wavelengths) where an object was measured itself, instead of the tokenizer's own
    #[arg(long)]
    as_measured: bool,
    /// A page of what was drawn against the truth
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
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
#[value(rename_all = "snake_case")]
enum ScheduleName {
    OneStep,
    Autoregressive,
    Maskgit,
    Roar,
}

impl GenerateArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }

    fn request(&self) -> Request {
        Request {
            given: self.given.clone(),
            targets: self.predict.clone(),
            schedule: match self.schedule {
                ScheduleName::OneStep => Schedule::OneStep,
                ScheduleName::Autoregressive => Schedule::Autoregressive,
                ScheduleName::Maskgit => Schedule::MaskGit { steps: self.steps },
                ScheduleName::Roar => Schedule::Roar { steps: self.steps },
            },
            sampling: Sampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p },
            guidance: self.guidance,
            samples: self.samples,
            seed: self.seed,
        }
    }

    /// Rows of the catalogue that are asked for.
    fn rows(&self, catalogue: &Catalogue) -> Result<Vec<u32>> {
        let mut rows: Vec<u32> = if self.object.is_empty() {
            self.split.rows(catalogue)?.to_vec()
        } else {
            let place = |id: &String| {
                let found = catalogue.ids().iter().zip(0..).find(|(own, _)| *own == id);
                found.map(|(_, row)| row).ok_or_else(|| GenerateError::NoSuchObject { id: id.clone() })
            };
            self.object.iter().map(place).collect::<Result<_, _>>()?
        };
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        Ok(rows)
    }
}

/// What both ways of asking share: the model, the data, and how far it is.
struct Work<'a> {
    args: &'a GenerateArgs,
    model: &'a Model,
    catalogue: &'a Catalogue,
    rows: Vec<u32>,
    batch: usize,
}

/// Objects that were left out.
#[derive(Default)]
struct Skipped {
    count: usize,
    first: Vec<String>,
}

impl Skipped {
    /// So many are named.
    const NAMED: usize = 5;

    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(id.to_owned());
        }
    }

    fn text(&self) -> String {
        match self.count {
            0 => String::new(),
            count => {
                let more = if count > Self::NAMED { ", ..." } else { "" };
                format!("; {count} left out that have nothing that is given ({}{more})", self.first.join(", "))
            }
        }
    }
}

impl Work<'_> {
    /// Every batch of objects, one after the other.
    fn batches(&self, mut each: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
        let mut counter = Counter::new(self.args.json(), "objects done");
        let mut done = 0;
        for chunk in self.rows.chunks(self.batch.max(1)) {
            each(&self.model.prepare(self.catalogue.read(chunk)?, Mode::Evaluate, 0)?)?;
            done += chunk.len();
            counter.at(done as u64, self.rows.len() as u64);
        }
        counter.finish();
        Ok(())
    }

    fn nobody(&self) -> Error {
        GenerateError::NoObject { objects: self.rows.len(), given: self.args.given.clone() }.into()
    }
}

pub(super) fn run(args: &GenerateArgs) -> Result<()> {
    for path in [Some(&args.out), args.report.as_ref()].into_iter().flatten() {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            // Known before anything is computed.
            std::fs::metadata(folder).map_err(Error::io("write to", folder))?;
        }
    }
    let registry = super::registry::of_run(&args.run, &args.set)?;
    let (mut experiment, model, _) = load_run(&args.run, &args.set, &registry, &args.device.open(&args.json)?)?;
    check_given(&model, &args.given)?;
    let likelihood = args.likelihood.as_ref().map(|name| place(&model, name)).transpose()?;
    match &likelihood {
        Some((target, _, _)) if args.given.contains(target) => {
            return Err(GenerateError::Twice { modality: target.clone() }.into());
        }
        Some(_) => {}
        None => args.request().check(&model)?,
    }
    if let Some(path) = &args.data {
        experiment.data.path.clone_from(path);
        experiment.data.also.clear();
    }
    // A catalogue may lack whole modalities.
    let columns: Vec<Column> = model.columns(&[]).into_iter().map(Column::optional).collect();
    let catalogue = Catalogue::open(&experiment.data, &columns)?;
    let rows = args.rows(&catalogue)?;
    // Each object takes the place of as many as it has samples.
    let batch = if likelihood.is_some() { 1 } else { args.samples * if args.guidance == 1.0 { 1 } else { 2 } };
    let batch = (experiment.evaluate.batch / batch.max(1)).max(1);
    let work = Work { args, model: &model, catalogue: &catalogue, rows, batch };
    let result = match &likelihood {
        Some((target, token, bins)) => posteriors::write(&work, target, *token, bins),
        None => samples::write(&work),
    };
    result.map_err(|error| catalogue.locate(error))
}

/// Modality, token and bins of `MODALITY` or `MODALITY.COLUMN`.
fn place(model: &Model, name: &str) -> Result<(String, usize, Bins)> {
    let (target, column) = match name.split_once('.') {
        Some((target, column)) => (target, Some(column)),
        None => (name, None),
    };
    if model.token_spec(target).is_none() {
        let known = model.modalities().map(str::to_owned).collect();
        return Err(Error::UnknownName { what: "modality of the run", name: target.into(), known });
    }
    let (token, bins) = scalar(model, target, column)?;
    Ok((target.to_owned(), token, bins))
}

/// Name and unit.
fn named(bins: &Bins) -> String {
    if bins.unit.is_empty() { bins.name.clone() } else { format!("{} ({})", bins.name, bins.unit) }
}

/// The page of what was drawn.
fn page(
    args: &GenerateArgs,
    path: &Path,
    predictions: Vec<PredictionPlot>,
    tables: Vec<crate::report::Table>,
) -> Result<()> {
    let asked = args.likelihood.clone().unwrap_or_else(|| args.predict.join(", "));
    let name = format!("{asked} from {}", args.given.join(", "));
    write_report(&RunData { name, predictions, tables, ..RunData::default() }, path)
}
