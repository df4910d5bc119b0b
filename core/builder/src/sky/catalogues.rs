//! Joins catalogues on the sky into one whose rows have the columns of all.

use super::choose::{Chosen, Rule, choose};
use super::columns::InputSettings;
use super::input::Input;
use super::join::{Join, Rows};
use super::unique::Names;
use super::zones::{Pair, pairs};
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
    /// How catalogues are read: one for all, or one for each in their order.
    pub inputs: Vec<InputSettings>,
    /// Whether only to say what would come of it.
    pub dry_run: bool,
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
    /// Those of them that were left out because their position is none, by catalogue.
    pub without_position: BTreeMap<String, usize>,
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
    /// Pairs not kept, by reason: `not_nearest`, `not_mutual`, or `no_counterpart_in_CATALOGUE`.
    pub dropped: BTreeMap<String, usize>,
    /// Objects of the first catalogue that are not in the result because they have no counterpart here; what already lacks one in
    /// a catalogue before is not counted again.
    pub left_out: usize,
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
/// the radius that is not in the result, and why; with `dry_run` nothing stands there in the end. `progress` gets the
/// number of objects written and of all.
///
/// Each other catalogue is matched with the first. Columns keep their names and units, with `_CATALOGUE` behind the name where
/// two catalogues have one; `ra` and `dec` are the mean position of the counterparts.
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
    let scratch_file = |number: usize| scratch.path().join(format!("input-{number}.parquet"));
    let usual = InputSettings::default();
    let opened = paths.par_iter().enumerate().map(|(number, path)| {
        let own = settings.inputs.get(number).or(settings.inputs.last()).unwrap_or(&usual);
        Input::open(path, own, &scratch_file(number))
    });
    let (mut inputs, mut names): (Vec<Input>, _) = (Vec::new(), Names::default());
    for input in opened.collect::<Vec<_>>() {
        let mut input = input?;
        input.name = names.take(&input.name, "");
        inputs.push(input);
    }
    let Some((first, others)) = inputs.split_first() else { return Err(DataError::NoRows { path: out.into() }.into()) };
    let (mut reports, mut matched) = (Vec::new(), Vec::new());
    let mut rows = Rows::of_first(&first.positions);
    let mut not_kept = String::from("catalogue,object,other_catalogue,other_object,separation_arcsec,reason\n");
    let mut name = |other: &Input, pairs: &[(Pair, &str)]| match settings.dry_run {
        true => Ok(()),
        false => name_dropped(first, other, pairs, &mut not_kept),
    };
    let mut alone = Vec::new();
    for (number, other) in others.iter().enumerate() {
        let found = pairs(&first.positions, &other.positions, settings.radius_arcsec / 3600.0);
        let mut chosen = choose(found, settings.rule, other.positions.len());
        let left_out;
        (rows, left_out) = rows.with(&chosen, settings.keep != Keep::Inner);
        reports.push(report(first, other, &chosen, left_out));
        let dropped: Vec<(Pair, &str)> = chosen.dropped.iter().map(|d| (d.pair, d.reason.as_str())).collect();
        name(other, &dropped)?;
        if settings.keep == Keep::Outer {
            let mut used: Vec<bool> =
                (0..other.positions.len()).map(|row| other.positions.get(row).is_none()).collect();
            for pair in &chosen.kept {
                if let Some(used) = used.get_mut(pair.right as usize) {
                    *used = true;
                }
            }
            alone.push((number + 1, used));
        }
        chosen.dropped = Vec::new();
        matched.push(chosen);
    }
    // With two catalogues, and where objects stay without a counterpart, every pair that a rule keeps is in the result.
    if settings.keep == Keep::Inner && others.len() > 1 {
        let lost = lost(&matched, &rows);
        for ((other, lost), report) in others.iter().zip(&lost).zip(&mut reports) {
            let reason =
                |lacking: &usize| others.get(*lacking).map(|other| format!("no_counterpart_in_{}", other.name));
            let reasons: Vec<String> = lost.iter().filter_map(|(_, lacking)| reason(lacking)).collect();
            for reason in &reasons {
                *report.dropped.entry(reason.clone()).or_default() += 1;
            }
            report.kept -= lost.len();
            let lost: Vec<(Pair, &str)> = lost.iter().map(|l| l.0).zip(reasons.iter().map(String::as_str)).collect();
            name(other, &lost)?;
        }
    }
    drop(matched);
    for (number, used) in alone {
        rows.add_alone(number, used.iter().zip(0..).filter(|(used, _)| !**used).map(|(_, row)| row));
    }
    let without = inputs.iter().filter(|input| input.positions.without() > 0);
    let report = MatchReport {
        objects: rows.len() as u64,
        radius_arcsec: settings.radius_arcsec,
        catalogues: inputs.iter().map(|i| (i.name.clone(), i.positions.len())).collect(),
        without_position: without.map(|input| (input.name.clone(), input.positions.without())).collect(),
        pairs: reports,
    };
    if report.objects == 0 {
        return Err(DataError::NoMatch { radius_arcsec: settings.radius_arcsec }.into());
    }
    if settings.dry_run {
        return Ok(report);
    }
    let mut join = Join::new(&inputs, rows, settings.rule);
    join.number_repeated()?;
    let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
    let beside = vec![("match.json".to_owned(), json), ("not_kept.csv".to_owned(), not_kept.into_bytes())];
    let layout = Layout {
        name: out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        rows_per_tile: rows_per_tile(join.row_bytes() * report.objects, report.objects),
        units: std::mem::take(&mut join.units),
        provenance: inputs.iter().zip(paths).map(|(i, p)| (i.name.clone(), p.display().to_string())).collect(),
        beside,
        ..Layout::default()
    };
    assemble(out, scratch, &join, &layout, &mut |done, total| {
        progress(done, total);
        true
    })?;
    Ok(report)
}

/// The kept pairs of each catalogue whose object of the first is not in the result, with the number of the first catalogue
/// that has no counterpart.
fn lost(matched: &[Chosen], rows: &Rows) -> Vec<Vec<(Pair, usize)>> {
    let of = |chosen: &Chosen| {
        // Both ascend by the row of the first catalogue.
        let mut there = rows.lefts().peekable();
        let gone = chosen.kept.iter().filter(|pair| {
            while there.next_if(|left| *left < pair.left).is_some() {}
            there.peek() != Some(&pair.left)
        });
        let lacks = |left: u32, other: &Chosen| other.kept.binary_search_by_key(&left, |pair| pair.left).is_err();
        gone.filter_map(|pair| Some((*pair, matched.iter().position(|other| lacks(pair.left, other))?))).collect()
    };
    matched.iter().map(of).collect()
}

/// Adds a line of `not_kept.csv` for each pair that was not kept, which has a reason.
fn name_dropped(first: &Input, other: &Input, dropped: &[(Pair, &str)], csv: &mut String) -> Result<()> {
    for dropped in dropped.chunks(NAMED) {
        let a = first.names(&dropped.iter().map(|d| d.0.left).collect::<Vec<_>>())?;
        let b = other.names(&dropped.iter().map(|d| d.0.right).collect::<Vec<_>>())?;
        for ((pair, reason), (a, b)) in dropped.iter().zip(a.iter().flatten().zip(b.iter().flatten())) {
            let angle = 3600.0 * pair.separation;
            // Writing to a string does not fail.
            let _ = writeln!(csv, "{},{},{},{},{angle},{reason}", first.name, quoted(a), other.name, quoted(b));
        }
    }
    Ok(())
}

fn report(first: &Input, other: &Input, chosen: &Chosen, left_out: usize) -> PairReport {
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
        left_out,
        completeness: share(left.iter().filter(|l| **l).count(), left.len() - first.positions.without()),
        completeness_other: share(right.iter().filter(|r| **r).count(), right.len() - other.positions.without()),
        median_arcsec: median,
        by_declination: zones.map(|(i, (all, with))| (10.0 * i as f64 - 90.0, *all, share(*with, *all))).collect(),
    }
}
