//! `panchroma data split`: which objects train, and which judge.

use super::CatalogueArgs;
use crate::cli::{JsonArgs, print, print_json};
use clap::{Args, ValueEnum};
use panchroma_builder::files::csv::quoted;
use panchroma_builder::sky::{Positions, nearest};
use panchroma_core::data::{Catalogue, DataConfig, DataError, Split};
use panchroma_core::train::checkpoint::write_atomically;
use panchroma_core::{Column, Result, Section};
use serde::Serialize;
use std::path::PathBuf;

const NOTES: &str = "\
An object's split is a hash of its name, or of its place on the sky: it stays there when the catalogue grows, and \
training with the same `[data]` table, which is printed, agrees. Objects of different splits that are close on the \
sky may be one object twice: they are counted.

Examples:
  panchroma data split data/supernovae
  panchroma data split data/supernovae --by healpix --order 3 --out splits.csv";

/// Arguments of `panchroma data split`.
#[derive(Args)]
#[command(after_help = NOTES)]
pub(crate) struct SplitArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Shares of train, validation and test; together 1
    #[arg(long, num_args = 3, value_names = ["TRAIN", "VALIDATION", "TEST"], default_values_t = [0.8, 0.1, 0.1])]
    shares: Vec<f64>,
    /// What is kept together
    #[arg(long, value_enum, default_value_t = By::Object)]
    by: By,
    /// With `--by healpix`: order of the pixels, 0 to 29; 5 is 1.8 degrees wide
    #[arg(long, default_value_t = 5)]
    order: u8,
    /// Any text: another one gives another split
    #[arg(long, default_value = "panchroma")]
    salt: String,
    /// Column of the objects' names
    #[arg(long, default_value = "object_id")]
    id: String,
    /// Angle in arcseconds within which objects of two splits count as close
    #[arg(long, default_value_t = 5.0, value_parser = super::matching::radius)]
    radius: f64,
    /// CSV file with the name and the split of each object
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Replace the CSV file if it is there
    #[arg(long, requires = "out")]
    overwrite: bool,
    #[command(flatten)]
    pub(super) json: JsonArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// Each object by itself
    Object,
    /// All objects of a pixel of the sky
    Healpix,
}

/// What was found.
#[derive(Serialize)]
struct Found {
    train: usize,
    validation: usize,
    test: usize,
    /// Objects with one of another split within the radius; none without positions.
    close: Option<usize>,
    /// For a config.
    data: String,
}

pub(super) fn run(args: &SplitArgs) -> Result<()> {
    if let Some(out) = args.out.as_ref().filter(|out| !args.overwrite && out.exists()) {
        return Err(DataError::Exists { path: out.clone() }.into());
    }
    let table = toml(args);
    let config = DataConfig::read(&Section::from_toml("data", &table)?)?;
    let place = ["ra", "dec"].map(|name| Column::number(name).optional());
    let catalogue = Catalogue::open(&config, &place)?;
    let rows = Split::ALL.map(|split| catalogue.split(split).map(|rows| rows.to_vec()).unwrap_or_default());
    if let Some(out) = &args.out {
        let mut named: Vec<(u32, Split)> =
            rows.iter().zip(Split::ALL).flat_map(|(rows, split)| rows.iter().map(move |row| (*row, split))).collect();
        named.sort_unstable();
        let ids = catalogue.ids();
        let name = |row: u32| quoted(ids.get(row as usize).map_or("", String::as_str));
        let line = |(row, split): &(u32, Split)| format!("{},{split}\n", name(*row));
        let lines: String = named.iter().map(line).collect();
        write_atomically(out, format!("{},split\n{lines}", args.id).as_bytes())?;
    }
    let close = close(&catalogue, &rows, args.radius)?;
    let [train, validation, test] = rows.map(|rows| rows.len());
    let found = Found { train, validation, test, close, data: table };
    if args.json.json {
        return print_json(&found);
    }
    let mut text = format!("train {train}, validation {validation}, test {test} objects\n");
    if let Some(close) = close {
        text += &format!("{close} objects have one of another split within {} arcsec\n", args.radius);
    }
    if close.is_some_and(|close| close > 0) {
        text += "these may be one object twice: `--by healpix` keeps neighbours together\n";
    }
    print(&format!("{text}\n[data]\n{}", found.data))
}

/// The table `[data]` that says the same.
fn toml(args: &SplitArgs) -> String {
    let shares: Vec<String> = args.shares.iter().map(|s| format!("{s:?}")).collect();
    let names = Split::ALL.map(Split::name);
    let split: Vec<String> = names.iter().zip(shares).map(|(name, share)| format!("{name} = {share}")).collect();
    let path = args.catalogue.catalogue.display().to_string();
    let mut text = format!("path = {path:?}\nsplit = {{ {} }}\n", split.join(", "));
    if let By::Healpix = args.by {
        text += &format!("split_by = \"healpix\"\nhealpix_order = {}\n", args.order);
    }
    for (key, value, usual) in [("split_salt", &args.salt, "panchroma"), ("id", &args.id, "object_id")] {
        if value != usual {
            text += &format!("{key} = {value:?}\n");
        }
    }
    text
}

/// Objects with one of another split within `radius` arcseconds; none if the catalogue has no positions.
fn close(catalogue: &Catalogue, rows: &[Vec<u32>; 3], radius: f64) -> Result<Option<usize>> {
    let mut places: Vec<(Positions, Vec<bool>)> = Vec::with_capacity(3);
    for rows in rows {
        let (mut ra, mut dec, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        // A part at a time: there may be many.
        for part in rows.chunks(65_536) {
            let read = catalogue.read(part)?;
            for ((id, r), d) in read.ids().iter().zip(read.numbers("ra")?).zip(read.numbers("dec")?) {
                // NaN is no position, as null is none.
                if let (Some(r), Some(d)) = (r.filter(|r| !r.is_nan()), d.filter(|d| !d.is_nan())) {
                    ra.push(r);
                    dec.push(d);
                    ids.push(id.clone());
                }
            }
        }
        let bad = |row: usize, column: &str, reason| {
            let object = ids.get(row).cloned().unwrap_or_default();
            catalogue.locate(DataError::BadValue { object, column: column.into(), reason }.into())
        };
        let count = ra.len();
        places.push((Positions::new(ra, dec, bad)?, vec![false; count]));
    }
    if places.iter().all(|(positions, _)| positions.is_empty()) {
        return Ok(None);
    }
    for left in 0..3 {
        for right in (0..3).filter(|right| *right != left) {
            let pairs = nearest(&places[left].0, &places[right].0, radius / 3600.0);
            for pair in pairs.iter().flatten() {
                if let Some(seen) = places[left].1.get_mut(pair.left as usize) {
                    *seen = true;
                }
            }
        }
    }
    Ok(Some(places.iter().flat_map(|(_, close)| close).filter(|close| **close).count()))
}
