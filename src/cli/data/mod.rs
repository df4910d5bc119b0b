//! `panchroma data`: from files that surveys publish to a catalogue that can be trusted.

mod ingest;
mod matching;
mod show;
mod split;
mod stats;
mod validate;

pub(super) use ingest::EXAMPLE;

use clap::{Args, Subcommand};
use panchroma_core::Result;
use std::path::PathBuf;

/// Commands on catalogues.
#[derive(Subcommand)]
pub(super) enum DataCommand {
    /// Build a catalogue from the files of a survey: FITS, HDF5, Parquet, CSV and ECSV
    Ingest(ingest::IngestArgs),
    /// Join catalogues on the sky: nearest, mutual nearest or all within a radius
    Match(matching::MatchArgs),
    /// Count what a catalogue holds: percentiles per column, what is missing, which modalities overlap
    Stats(stats::StatsArgs),
    /// Say which objects train and which judge, and whether neighbours are kept together
    Split(split::SplitArgs),
    /// Draw everything that a catalogue has of one object, as PNG or HTML
    Show(show::ShowArgs),
    /// Check a catalogue: files and checksums, names, positions, pixels, shapes, noise, wavelengths, flags, bands
    Validate(validate::ValidateArgs),
}

impl DataCommand {
    /// Whether errors are printed for machines.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Ingest(args) => args.json.json,
            Self::Match(args) => args.json.json,
            Self::Stats(args) => args.json.json,
            Self::Split(args) => args.json.json,
            Self::Show(args) => args.json.json,
            Self::Validate(args) => args.json.json,
        }
    }
}

/// A catalogue on disk.
#[derive(Args)]
struct CatalogueArgs {
    /// HATS catalogue, folder of Parquet files, or one such file
    catalogue: PathBuf,
}

/// Runs a command.
pub(super) fn run(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Ingest(args) => ingest::run(args),
        DataCommand::Match(args) => matching::run(args),
        DataCommand::Stats(args) => stats::run(args),
        DataCommand::Split(args) => split::run(args),
        DataCommand::Show(args) => show::run(args),
        DataCommand::Validate(args) => validate::run(args),
    }
}
