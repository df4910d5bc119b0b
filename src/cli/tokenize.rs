//! `panchroma tokenize CONFIG --out DIR`: codecs run once over a catalogue.

use super::progress::{Counter, MOST_LEFT_OUT, left_out};
use super::{DeviceArgs, JsonArgs, print, print_json};
use clap::Args;
use panchroma_builder::tokenize::{Keep, Progress, Report, Settings, tokenize};
use panchroma_core::config::Document;
use panchroma_core::data::{Catalogue, Split};
use panchroma_core::reexport::candle_core::Device;
use panchroma_core::train::{CheckpointError, load_run};
use panchroma_core::{Error, Experiment, Model, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows read at once while tokenizers learn.
const FIT_ROWS: usize = 1024;

const NOTES: &str = "\
CONFIG is a run folder (of a codec, or of a model with codecs) or a config that names codecs:

  [modality.spectrum]
  codec = \"runs/spectrum_codec\"

For each modality whose tokens are codes, the new catalogue has a column NAME_codes: a list of whole numbers in the \
smallest type that holds the vocabulary (u8, u16 or u32), null where the object lacks the modality. Beside it are the \
name of the object, ra and dec, and all columns of one value per object; --keep carries more columns over. It is a \
HATS catalogue with the tiles of the old one, which `lsdb` opens, or a plain folder of Parquet files where objects have no \
position. Its panchroma.toml says which codec made each column, with a SHA-256 of the codec.

Training reads the codes in place of the measurement:

  [modality.spectrum]
  codec = \"runs/spectrum_codec\"
  codes = \"spectrum_codes\"

Codes of another codec are refused. Stopped by Ctrl-C or a full disk, the same command goes on where it was.

Examples:
  panchroma tokenize runs/spectrum_codec --out spectra_codes
  panchroma tokenize codecs.toml --data survey --out survey_codes --modality image --keep lightcurve";

/// Arguments of `tokenize`.
#[derive(Args)]
#[command(after_help = NOTES)]
pub(super) struct TokenizeArgs {
    /// Folder of a run, or TOML file that names codecs
    config: PathBuf,
    /// Folder of the new catalogue
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// Another catalogue than that of the config
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Only this modality, by its name in the config; may be repeated. Default: all that have codes
    #[arg(long, value_name = "NAME")]
    modality: Vec<String>,
    /// Also keep this column of the catalogue, for example a measurement; may be repeated
    #[arg(long, value_name = "COLUMN")]
    keep: Vec<String>,
    /// Keep all columns of the catalogue
    #[arg(long, conflicts_with = "keep")]
    keep_all: bool,
    /// Objects that a codec gets at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Change one value of the config; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl TokenizeArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }

    /// The run that is meant, if it is one: its folder, or the config in it.
    fn run(&self) -> Option<&Path> {
        if self.config.is_dir() {
            return Some(&self.config);
        }
        let folder = self.config.parent()?;
        (self.config.ends_with("config.toml") && folder.join("checkpoints").is_dir()).then_some(folder)
    }

    /// The model, whose codecs can be used.
    fn model(&self, device: &Device) -> Result<(Experiment, Model)> {
        if let Some(run) = self.run() {
            let registry = super::registry::of_run(run, &self.set)?;
            let (experiment, model, _) = load_run(run, &self.set, &registry, device)?;
            return Ok((experiment, model));
        }
        let document = Document::load(&self.config, &self.set)?;
        let registry = super::registry::of(&document)?;
        let experiment = Experiment::read(document, &registry)?;
        let model = Model::of_tokenizers(&experiment, &registry, device)?;
        Ok((experiment, model))
    }
}

pub(super) fn run(args: &TokenizeArgs) -> Result<()> {
    let device = args.device.open(&args.json)?;
    let (mut experiment, mut model) = args.model(&device)?;
    let codecs = model.codecs()?;
    let names: Vec<String> = codecs.iter().map(|codec| codec.modality.clone()).collect();
    if names.is_empty() {
        return Err(experiment
            .root()
            .reject("modality", "has no tokenizer that gives codes: there is nothing to write"));
    }
    if let Some(name) = args.modality.iter().find(|name| !names.contains(name)) {
        return Err(Error::UnknownName { what: "modality with codes", name: name.clone(), known: names });
    }
    let wanted = |name: &String| args.modality.is_empty() || args.modality.contains(name);
    let modalities: Vec<String> = names.into_iter().filter(wanted).collect();
    if args.run().is_none() {
        let own = codecs.iter().filter(|codec| modalities.contains(&codec.modality) && codec.run.is_none());
        let own: Vec<_> = own.collect();
        if own.iter().any(|codec| codec.learns) {
            // Its weights would be those that training starts with.
            return Err(CheckpointError::NotARun { path: args.config.clone(), missing: "checkpoints" }.into());
        }
        if !own.is_empty() {
            fit(&mut model, &experiment)?;
        }
    }
    match &args.data {
        Some(path) => experiment.data.path.clone_from(path),
        None if !experiment.data.also.is_empty() => {
            let reason = "names more catalogues: say which one is meant by `--data`, and tokenize each";
            return Err(experiment.root().require("data")?.reject("also", reason));
        }
        None => {}
    }
    let settings = Settings {
        modalities,
        keep: if args.keep_all { Keep::All } else { Keep::Single(args.keep.clone()) },
        batch: args.batch as usize,
        codec: args.run().unwrap_or(&args.config).display().to_string(),
    };
    let report = work(args, &Arc::new(model), &experiment, &settings)?;
    if args.json() {
        return print_json(&report);
    }
    print(&text(&report, &args.out))
}

/// Lets tokenizers learn from the training split, as training would.
fn fit(model: &mut Model, experiment: &Experiment) -> Result<()> {
    let catalogue = Catalogue::open(&experiment.data, &model.columns(&[]))?;
    let rows = catalogue.split(Split::Train)?;
    let read = || rows.chunks(FIT_ROWS).map(|chunk| catalogue.read(chunk));
    model.fit(read).map_err(|error| catalogue.locate(error))
}

fn work(args: &TokenizeArgs, model: &Arc<Model>, experiment: &Experiment, settings: &Settings) -> Result<Report> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    // Only the first handler counts; there is no other before this command.
    let _ = ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    let mut counters = (Some(Counter::new(args.json(), "objects tokenized")), None);
    let report = tokenize(model, &experiment.data, settings, &args.out, &stop, &mut |progress| match progress {
        Progress::Tokenizing(done, total) => {
            if let Some(counter) = &mut counters.0 {
                counter.at(done, total);
            }
        }
        Progress::Writing(done, total) => {
            if let Some(counter) = counters.0.take() {
                counter.finish();
            }
            counters.1.get_or_insert_with(|| Counter::new(args.json(), "objects written")).at(done, total);
        }
    });
    counters.0.into_iter().chain(counters.1).for_each(Counter::finish);
    match report {
        Err(Error::Interrupted) => {
            Err(Error::Stopped { what: "tokenize", resume: "run the same command again to go on".into() })
        }
        other => other,
    }
}

fn text(report: &Report, out: &Path) -> String {
    let mut text = String::new();
    for bad in report.left_out.iter().take(MOST_LEFT_OUT) {
        text += &format!("{}\n", left_out(bad));
    }
    if report.left_out.len() > MOST_LEFT_OUT {
        text += &format!("left out: {} more\n", report.left_out.len() - MOST_LEFT_OUT);
    }
    for codes in &report.codes {
        text += &format!(
            "{}: up to {} codes of {} as {}, of {} objects\n",
            codes.column, codes.note.tokens, codes.note.vocabulary, codes.values, codes.objects
        );
    }
    let resumed = if report.resumed > 0 { format!(" ({} before)", report.resumed) } else { String::new() };
    text + &format!("{} objects{resumed} in `{}`\n", report.objects, out.display())
}
