//! Joins catalogues on the sky into one whose rows have the columns of all.

use super::choose::{Chosen, Rule, choose};
use super::input::Input;
use super::join::{Join, Rows};
use super::zones::pairs;
use crate::files::csv::quoted;
use crate::hats::{Layout, Scratch, assemble, rows_per_tile};
use crate::ingest::Journal;
use panchroma_core::Result;
use panchroma_core::data::DataError;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Pairs that are named at once.
const NAMED: usize = 1 << 16;

/// Which objects the result has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Those of the first catalogue that have a counterpart in every other.
    #[default]
    Inner,
    /// All of the first catalogue.
    Left,
    /// All of all catalogues.
    Outer,
}

/// How to match.
#[derive(Clone, Debug)]
pub struct MatchSettings {
    /// Largest angle between counterparts, in arcseconds.
    pub radius_arcsec: f64,
    /// Which pairs are kept.
    pub rule: Rule,
    /// Which objects are kept.
    pub keep: Keep,
    /// Column of names in every catalogue.
    pub id: String,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct MatchReport {
    /// Objects in the result.
    pub objects: u64,
    /// Radius, in arcseconds.
    pub radius_arcsec: f64,
    /// Objects per catalogue.
    pub catalogues: Vec<(String, usize)>,
    /// The first catalogue with each other one.
    pub pairs: Vec<PairReport>,
}

/// The first catalogue with another.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// Their names.
    pub catalogues: [String; 2],
    /// Pairs within the radius.
    pub within_radius: usize,
    /// Pairs kept.
    pub kept: usize,
    /// Pairs not kept, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// Share of the first catalogue's objects with a counterpart.
    pub completeness: f64,
    /// Share of the other's objects with one.
    pub completeness_other: f64,
    /// Median angle between counterparts, in arcseconds.
    pub median_arcsec: Option<f64>,
    /// The completeness by zones of 10 degrees of declination, where the first catalogue has objects: lower edge, objects, share.
    pub by_declination: Vec<(f64, usize, f64)>,
}

/// Matches catalogues into a new one at `out`: `match.json` there has the report, `not_kept.csv` every pair within
/// the radius that is not in the result, and why. `progress` gets the number of objects written and of all.
///
/// Each other catalogue is matched with the first. Columns keep their names, with `_CATALOGUE` behind where two
/// catalogues have one name; `ra` and `dec` are the mean position of the counterparts.
///
/// # Errors
/// If a catalogue can't be read, has positions that are none, or the disk refuses; then `out` does not exist.
pub fn match_catalogues(
    paths: &[PathBuf],
    settings: &MatchSettings,
    out: &Path,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<MatchReport> {
    let scratch = Scratch::open(out)?;
    if Journal::is_in(scratch.path()) {
        return Err(DataError::Exists { path: scratch.path().into() }.into());
    }
    scratch.clear()?;
    let result = joined(paths, settings, out, &scratch, progress);
    // The first error is the one to show.
    let removed = scratch.remove();
    result.and_then(|report| removed.map(|()| report))
}

fn joined(
    paths: &[PathBuf],
    settings: &MatchSettings,
    out: &Path,
    scratch: &Scratch,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<MatchReport> {
    let mut inputs: Vec<Input> = Vec::new();
    let converted = |number: usize| scratch.path().join(format!("input-{number}.parquet"));
    let opened = paths.par_iter().enumerate().map(|(number, path)| Input::open(path, &settings.id, &converted(number)));
    for input in opened.collect::<Vec<_>>() {
        let mut input = input?;
        while inputs.iter().any(|other| other.name == input.name) {
            input.name += "_2";
        }
        inputs.push(input);
    }
    let Some((first, others)) = inputs.split_first() else { return Err(DataError::NoRows { path: out.into() }.into()) };
    let mut reports = Vec::new();
    let mut rows = Rows::of_first(first.positions.len());
    let mut not_kept = String::from("catalogue,object,other_catalogue,other_object,separation_arcsec,reason\n");
    let mut alone = Vec::new();
    for (number, other) in others.iter().enumerate() {
        let found = pairs(&first.positions, &other.positions, settings.radius_arcsec / 3600.0);
        let chosen = choose(found, settings.rule, other.positions.len());
        reports.push(report(first, other, &chosen));
        name_dropped(first, other, &chosen, &mut not_kept)?;
        rows = rows.with(&chosen, settings.keep != Keep::Inner);
        if settings.keep == Keep::Outer {
            let mut used = vec![false; other.positions.len()];
            for pair in &chosen.kept {
                if let Some(used) = used.get_mut(pair.right as usize) {
                    *used = true;
                }
            }
            alone.push((number + 1, used));
        }
    }
    for (number, used) in alone {
        rows.add_alone(number, used.iter().zip(0..).filter(|(used, _)| !**used).map(|(_, row)| row));
    }
    let report = MatchReport {
        objects: rows.len() as u64,
        radius_arcsec: settings.radius_arcsec,
        catalogues: inputs.iter().map(|i| (i.name.clone(), i.positions.len())).collect(),
        pairs: reports,
    };
    if report.objects == 0 {
        return Err(DataError::NoMatch { radius_arcsec: settings.radius_arcsec }.into());
    }
    let join = Join::new(&inputs, rows, settings.rule);
    join.check_unique(out)?;
    let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
    let beside = vec![("match.json".to_owned(), json), ("not_kept.csv".to_owned(), not_kept.into_bytes())];
    let layout = Layout {
        name: out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        rows_per_tile: rows_per_tile(join.row_bytes() * report.objects, report.objects),
        units: BTreeMap::new(),
        provenance: inputs.iter().zip(paths).map(|(i, p)| (i.name.clone(), p.display().to_string())).collect(),
        beside,
    };
    assemble(out, scratch, &join, &layout, &mut |done, total| {
        progress(done, total);
        true
    })?;
    Ok(report)
}

/// Adds a line of `not_kept.csv` for each pair that was not kept.
fn name_dropped(first: &Input, other: &Input, chosen: &Chosen, csv: &mut String) -> Result<()> {
    for dropped in chosen.dropped.chunks(NAMED) {
        let a = first.names(&dropped.iter().map(|d| d.pair.left).collect::<Vec<_>>())?;
        let b = other.names(&dropped.iter().map(|d| d.pair.right).collect::<Vec<_>>())?;
        for (dropped, (a, b)) in dropped.iter().zip(a.iter().flatten().zip(b.iter().flatten())) {
            let reason = dropped.reason.as_str();
            let angle = 3600.0 * dropped.pair.separation;
            // Writing to a string does not fail.
            let _ = writeln!(csv, "{},{},{},{},{angle},{reason}", first.name, quoted(a), other.name, quoted(b));
        }
    }
    Ok(())
}

fn report(first: &Input, other: &Input, chosen: &Chosen) -> PairReport {
    let mut left = vec![false; first.positions.len()];
    let mut right = vec![false; other.positions.len()];
    for pair in &chosen.kept {
        if let Some(left) = left.get_mut(pair.left as usize) {
            *left = true;
        }
        if let Some(right) = right.get_mut(pair.right as usize) {
            *right = true;
        }
    }
    let mut dropped = BTreeMap::new();
    for d in &chosen.dropped {
        *dropped.entry(d.reason.as_str().to_owned()).or_default() += 1;
    }
    let mut angles: Vec<f64> = chosen.kept.iter().map(|p| 3600.0 * p.separation).collect();
    let half = angles.len() / 2;
    let median = (half < angles.len()).then(|| *angles.select_nth_unstable_by(half, f64::total_cmp).1);
    // Zones of 10 degrees from -90 on, and one more for the pole itself.
    let mut zones = [(0usize, 0usize); 19];
    for (row, matched) in left.iter().enumerate() {
        let Some((_, dec)) = first.positions.get(row) else { continue };
        if let Some(zone) = zones.get_mut(((dec + 90.0) / 10.0).floor() as usize) {
            zone.0 += 1;
            zone.1 += usize::from(*matched);
        }
    }
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let zones = zones.iter().enumerate().filter(|(_, (all, _))| *all > 0);
    PairReport {
        catalogues: [first.name.clone(), other.name.clone()],
        within_radius: chosen.kept.len() + chosen.dropped.len(),
        kept: chosen.kept.len(),
        dropped,
        completeness: share(left.iter().filter(|l| **l).count(), left.len()),
        completeness_other: share(right.iter().filter(|r| **r).count(), right.len()),
        median_arcsec: median,
        by_declination: zones.map(|(i, (all, with))| (10.0 * i as f64 - 90.0, *all, share(*with, *all))).collect(),
    }
}
