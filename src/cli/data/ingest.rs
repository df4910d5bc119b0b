//! `panchroma data ingest`: files of a survey -> catalogue.

use crate::cli::progress::Counter;
use crate::cli::{JsonArgs, print, print_json};
use clap::Args;
use panchroma_builder::ingest::{Mapping, Progress, ingest};
use panchroma_core::config::Document;
use panchroma_core::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A mapping, for the help and the manual.
pub(crate) const EXAMPLE: &str = "\
[source]
files = [\"spectra/**/spec-*.fits\"]
part = \"COADD\"                              # HDU, group or table; by name or number

[column]
object_id = { file_name = \"spec-\" }         # from the file's name
ra = { keyword = \"PLUG_RA\", part = \"0\" }    # from a header
dec = { keyword = \"PLUG_DEC\", part = \"0\" }
redshift = { from = \"Z\", part = \"2\" }       # from a table

[measurement.spectrum]
flux = { from = \"flux\" }
ivar = { from = \"ivar\" }
lambda = { from = \"loglam\", transform = \"pow10\" }
mask = { from = \"and_mask\", transform = \"nonzero\" }";

fn notes() -> String {
    format!(
        "A mapping says which column of the files is which column of the catalogue:\n\n  {}\n\n\
         `panchroma docs ingest` explains every key; there are more mappings in configs/ingest.\n\n\
         Stopped by Ctrl-C or a full disk, the same command goes on where it was.",
        EXAMPLE.replace('\n', "\n  ")
    )
}

/// Arguments of `panchroma data ingest`.
#[derive(Args)]
#[command(after_help = notes())]
pub(crate) struct IngestArgs {
    /// TOML file that says which files, and what is in them
    mapping: PathBuf,
    /// Folder of the new catalogue
    #[arg(long, short)]
    out: PathBuf,
    /// Change one value of the mapping, for example `--set 'source.files=["a/*.fits"]'`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) json: JsonArgs,
}

pub(super) fn run(args: &IngestArgs) -> Result<()> {
    let mapping = Mapping::read(&Document::load(&args.mapping, &args.set)?)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    // Only the first handler counts; there is no other before this command.
    let _ = ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    let quiet = args.json.json;
    let counters = Mutex::new((Some(Counter::new(quiet, "files read")), None));
    let report = ingest(&mapping, &args.out, &stop, &|progress| {
        let Ok(mut counters) = counters.lock() else { return };
        let (reading, writing) = &mut *counters;
        match progress {
            Progress::Reading(done, total) => {
                if let Some(counter) = reading {
                    counter.at(done, total);
                }
            }
            Progress::Writing(done, total) => {
                if let Some(counter) = reading.take() {
                    counter.finish();
                }
                writing.get_or_insert_with(|| Counter::new(quiet, "objects written")).at(done, total);
            }
        }
    });
    if let Ok((reading, writing)) = counters.into_inner() {
        reading.into_iter().chain(writing).for_each(Counter::finish);
    }
    let report = match report {
        Err(Error::Interrupted) => {
            return Err(Error::Stopped { what: "ingest", resume: "run the same command again to go on".into() });
        }
        other => other?,
    };
    if quiet {
        return print_json(&report);
    }
    for (path, reason) in &report.skipped {
        print(&format!("skipped {}: {reason}\n", path.display()))?;
    }
    for note in &report.notes {
        print(&format!("note: {note}\n"))?;
    }
    let resumed = if report.resumed > 0 { format!(", {} before", report.resumed) } else { String::new() };
    print(&format!(
        "{} objects from {} files{resumed} in `{}`\n",
        report.objects,
        report.files - (report.skipped.len() as u64).min(report.files),
        args.out.display()
    ))
}
