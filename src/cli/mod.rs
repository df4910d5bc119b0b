//! One file per command, and what they share: arguments, exit codes, one printer for errors.

#![expect(clippy::print_stderr, reason = "this is the command line: here is where things are said")]

mod bench;
mod check;
mod completions;
mod data;
mod docs;
mod embed;
mod generate;
mod import;
mod parity;
mod plugins;
mod probe;
mod progress;
mod registry;
mod report;
mod schema;
mod tables;
mod tokenize;
mod train;

use crate::message;
use clap::{Args, Parser, Subcommand};
use panchroma_core::config::Document;
use panchroma_core::device::{DeviceChoice, OpenDevice};
use panchroma_core::reexport::candle_core::Device;
use panchroma_core::{Error, Experiment, Registry, Result};
use std::fs::File;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Multimodal transformers on scientific data, composed from one TOML file.
#[derive(Parser)]
#[command(name = "panchroma", version, about, long_about = None, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  a fault of the machine or of Panchroma
  2  the command line or the config is wrong
  3  the data is wrong
  4  a run folder or checkpoint is wrong
  5  training can't go on (loss not finite, a parameter without gradient, shapes that disagree)
  6  a plugin of a shared library failed
  130  interrupted; `train --resume`, or `tokenize` or `data ingest` again, goes on";

#[derive(Subcommand)]
enum Command {
    /// Train what a config says, evaluate it, and write a run folder with a report
    Train(train::TrainArgs),
    /// Show what training would do and cost, and check config and data, without training
    Check(check::CheckArgs),
    /// Measure how fast a config trains and embeds on this machine; nothing is written
    Bench(bench::BenchArgs),
    /// Write the embeddings of a catalogue's objects to a Parquet file
    Embed(embed::EmbedArgs),
    /// Draw modalities that objects lack from those that they have, or write posteriors of scalars
    Generate(generate::GenerateArgs),
    /// Run codecs over a catalogue once, and write their codes as columns of a catalogue to train on
    Tokenize(tokenize::TokenizeArgs),
    /// Measure a trained run again: retrieval and probes on held-out objects
    Probe(probe::ProbeArgs),
    /// Make catalogues and look at them: ingest, match, split, count, draw, check
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Make a run folder of published weights
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Compare what is computed here with what the Python package of AION-1 computes
    Parity(parity::ParityArgs),
    /// Make the report page of a run again
    Report(report::ReportArgs),
    /// List the plugins that can be named in a config
    #[command(subcommand)]
    Plugins(plugins::PluginsCommand),
    /// Explain the config: all tables, or one kind of plugin
    Docs(docs::DocsArgs),
    /// Print the JSON schema of a config, for editors
    Schema(schema::SchemaArgs),
    /// Print tab completions for a shell
    Completions(completions::CompletionsArgs),
}

/// A config and changes to it.
#[derive(Args)]
struct ConfigArgs {
    /// TOML file that says it all; see `panchroma docs`
    config: PathBuf,
    /// Change one value of the config, for example `--set train.batch=64`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    fn read(&self) -> Result<(Registry, Experiment)> {
        let document = Document::load(&self.config, &self.set)?;
        let registry = registry::of(&document)?;
        let experiment = Experiment::read(document, &registry)?;
        Ok((registry, experiment))
    }
}

/// Where to compute.
#[derive(Args)]
struct DeviceArgs {
    /// Where to compute: `cpu`, `cuda:N` (the CUDA device of this number, from 0), or `auto` (`cuda:0` if there is
    /// one, else `cpu`). CUDA needs a build with it: see docs/cuda.md
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Cpu)]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// Opens the device, and says which one it is where that is not the default.
    fn open(&self, json: &JsonArgs) -> Result<Device> {
        let OpenDevice { device, name, passed_over } = self.device.open()?;
        if self.device != DeviceChoice::Cpu && !json.json {
            let why = passed_over.map_or_else(String::new, |cause| format!(" (no CUDA: {cause})"));
            eprintln!("device: {name}{why}");
        }
        Ok(device)
    }
}

/// Whether to print for machines.
#[derive(Args)]
struct JsonArgs {
    /// Print JSON on standard output, and errors as JSON on standard error
    #[arg(long)]
    json: bool,
}

/// Runs the command line with the plugins that are compiled in; what `main` calls.
#[must_use]
pub fn main() -> ExitCode {
    panchroma_core::ops::limit_spinning();
    let cli = Cli::parse();
    let (json, result) = match cli.command {
        Command::Train(args) => (args.json(), train::run(&args)),
        Command::Check(args) => (args.json(), check::run(&args)),
        Command::Bench(args) => (args.json(), bench::run(&args)),
        Command::Embed(args) => (args.json(), embed::run(&args)),
        Command::Generate(args) => (args.json(), generate::run(&args)),
        Command::Tokenize(args) => (args.json(), tokenize::run(&args)),
        Command::Probe(args) => (args.json(), probe::run(&args)),
        Command::Data(command) => (command.json(), data::run(&command)),
        Command::Import(command) => (command.json(), import::run(&command)),
        Command::Parity(args) => (args.json(), parity::run(&args)),
        Command::Report(args) => (false, report::run(&args)),
        Command::Plugins(args) => (args.json(), plugins::run(&args)),
        Command::Docs(args) => (false, docs::run(&args)),
        Command::Schema(args) => (false, schema::run(&args)),
        Command::Completions(args) => (false, completions::run(&args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if json {
                eprintln!("{}", message::as_json(&error));
            } else {
                let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                eprintln!("{}", message::render(&error, color));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Io {
        action: "write",
        path: "standard output".into(),
        source: e.into(),
    })?;
    print(&format!("{text}\n"))
}

/// Standard output, where plugins can't print into it.
static OUTPUT: OnceLock<Option<File>> = OnceLock::new();

/// Keeps what plugins print from getting among what is printed here: that goes to standard error.
fn keep_output() {
    // Where the system refuses, both go to the same place, as ever.
    OUTPUT.get_or_init(|| panchroma_host::own_output().ok());
}

/// Prints; a reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let written = match OUTPUT.get() {
        Some(Some(file)) => (&*file).write_all(text.as_bytes()),
        _ => std::io::stdout().write_all(text.as_bytes()),
    };
    match written {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "write", path: "standard output".into(), source: e })
        }
        _ => Ok(()),
    }
}
