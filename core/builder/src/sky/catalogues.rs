//! Joins catalogues on the sky into one whose rows have the columns of all.

use super::choose::{Chosen, Rule, choose};
use super::input::Input;
use super::positions::mean_position;
use super::zones::pairs;
use crate::files::csv::quoted;
use crate::hats::{Layout, PIXEL, Piece, Pieces, assemble, partial, rows_per_tile};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use panchroma_core::data::{DataError, writable};
use panchroma_core::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of the result are read about this many bytes at a time.
const CHUNK_BYTES: u64 = 48 << 20;

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

/// One row of the result: a row of each catalogue, and the angle to the first in arcseconds.
type Joined = Vec<Option<(u32, f64)>>;

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
    writable(out)?;
    if fs::exists(out).map_err(Error::io("read", out))? {
        return Err(DataError::Exists { path: out.into() }.into());
    }
    let folder = partial(out);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let result = joined(paths, settings, out, &folder, progress);
    if result.is_err() {
        // The first error is the one to show.
        let _ = fs::remove_dir_all(&folder);
    }
    result
}

fn joined(
    paths: &[PathBuf],
    settings: &MatchSettings,
    out: &Path,
    folder: &Path,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<MatchReport> {
    let mut inputs: Vec<Input> = Vec::new();
    let scratch = |number: usize| folder.join(format!("input-{number}.parquet"));
    let opened = paths.par_iter().enumerate().map(|(number, path)| Input::open(path, &settings.id, &scratch(number)));
    for input in opened.collect::<Vec<_>>() {
        let mut input = input?;
        while inputs.iter().any(|other| other.name == input.name) {
            input.name += "_2";
        }
        inputs.push(input);
    }
    let Some((first, others)) = inputs.split_first() else { return Err(DataError::NoRows { path: out.into() }.into()) };
    let mut reports = Vec::new();
    let mut rows: Vec<Joined> = (0..first.ids.len() as u32).map(|row| vec![Some((row, 0.0))]).collect();
    let mut not_kept = String::from("catalogue,object,other_catalogue,other_object,separation_arcsec,reason\n");
    let mut alone: Vec<Joined> = Vec::new();
    for (number, other) in others.iter().enumerate() {
        let found = pairs(&first.positions, &other.positions, settings.radius_arcsec / 3600.0);
        let chosen = choose(found, settings.rule, other.ids.len());
        reports.push(report(first, other, &chosen));
        for dropped in &chosen.dropped {
            let ids = (first.ids.get(dropped.pair.left as usize), other.ids.get(dropped.pair.right as usize));
            let (Some(a), Some(b)) = ids else { continue };
            let reason = serde_json::to_value(dropped.reason).unwrap_or_default();
            let reason = reason.as_str().unwrap_or_default();
            let angle = 3600.0 * dropped.pair.separation;
            // Writing to a string does not fail.
            let _ = writeln!(not_kept, "{},{},{},{},{angle},{reason}", first.name, quoted(a), other.name, quoted(b));
        }
        let mut of: Vec<Vec<(u32, f64)>> = vec![Vec::new(); first.ids.len()];
        let mut used = vec![false; other.ids.len()];
        for pair in &chosen.kept {
            if let (Some(of), Some(used)) = (of.get_mut(pair.left as usize), used.get_mut(pair.right as usize)) {
                of.push((pair.right, 3600.0 * pair.separation));
                *used = true;
            }
        }
        let mut next = Vec::with_capacity(rows.len());
        for row in rows {
            let own =
                row.first().copied().flatten().and_then(|(left, _)| of.get(left as usize)).filter(|o| !o.is_empty());
            let with = |counterpart: Option<(u32, f64)>| row.iter().copied().chain([counterpart]).collect::<Joined>();
            match own {
                Some(own) => next.extend(own.iter().map(|c| with(Some(*c)))),
                None if settings.keep == Keep::Inner => {}
                None => next.push(with(None)),
            }
        }
        rows = next;
        if settings.keep == Keep::Outer {
            let single = |row: usize| {
                let mut joined = vec![None; others.len() + 1];
                joined[number + 1] = u32::try_from(row).ok().map(|row| (row, f64::NAN));
                joined
            };
            alone.extend(used.iter().enumerate().filter(|(_, used)| !**used).map(|(row, _)| single(row)));
        }
    }
    rows.extend(alone);
    let report = MatchReport {
        objects: rows.len() as u64,
        radius_arcsec: settings.radius_arcsec,
        catalogues: inputs.iter().map(|i| (i.name.clone(), i.ids.len())).collect(),
        pairs: reports,
    };
    if rows.is_empty() {
        return Err(DataError::NoMatch { radius_arcsec: settings.radius_arcsec }.into());
    }
    let pieces = write(folder, &inputs, rows, settings)?;
    let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
    let beside = vec![("match.json".to_owned(), json), ("not_kept.csv".to_owned(), not_kept.into_bytes())];
    let bytes: u64 = inputs.iter().map(|i| i.row_bytes + 64).sum::<u64>() * report.objects;
    let layout = Layout {
        name: out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        rows_per_tile: rows_per_tile(bytes, report.objects),
        units: BTreeMap::new(),
        provenance: inputs.iter().zip(paths).map(|(i, p)| (i.name.clone(), p.display().to_string())).collect(),
        beside,
    };
    assemble(out, &pieces, &layout, progress)?;
    Ok(report)
}

fn report(first: &Input, other: &Input, chosen: &Chosen) -> PairReport {
    let mut left = vec![false; first.ids.len()];
    let mut right = vec![false; other.ids.len()];
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
        let reason = serde_json::to_value(d.reason).unwrap_or_default();
        *dropped.entry(reason.as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let mut angles: Vec<f64> = chosen.kept.iter().map(|p| 3600.0 * p.separation).collect();
    angles.par_sort_unstable_by(f64::total_cmp);
    let mut zones: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
    for (row, matched) in left.iter().enumerate() {
        let Some((_, dec)) = first.positions.get(row) else { continue };
        let zone = zones.entry((dec / 10.0).floor() as i64).or_default();
        zone.0 += 1;
        zone.1 += usize::from(*matched);
    }
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    PairReport {
        catalogues: [first.name.clone(), other.name.clone()],
        within_radius: chosen.kept.len() + chosen.dropped.len(),
        kept: chosen.kept.len(),
        dropped,
        completeness: share(left.iter().filter(|l| **l).count(), left.len()),
        completeness_other: share(right.iter().filter(|r| **r).count(), right.len()),
        median_arcsec: angles.get(angles.len() / 2).copied(),
        by_declination: zones
            .into_iter()
            .map(|(zone, (all, with))| (10.0 * zone as f64, all, share(with, all)))
            .collect(),
    }
}

/// The rows of the result, with all columns, as pieces.
fn write(folder: &Path, inputs: &[Input], rows: Vec<Joined>, settings: &MatchSettings) -> Result<Pieces> {
    let mut placed: Vec<(u64, (f64, f64), Joined)> = Vec::with_capacity(rows.len());
    for row in rows {
        let at: Vec<(f64, f64)> =
            row.iter().zip(inputs).filter_map(|(r, i)| i.positions.get((*r)?.0 as usize)).collect();
        let Some(mean) = mean_position(&at).or(at.first().copied()) else { continue };
        placed.push((cdshealpix::nested::hash(29, mean.0.to_radians(), mean.1.to_radians()), mean, row));
    }
    // Neighbours on the sky are neighbours in the files, so that a chunk reads few pages.
    placed.par_sort_by_key(|p| p.0);
    let row_bytes: u64 = inputs.iter().map(|i| i.row_bytes + 64).sum();
    let chunk = usize::try_from(CHUNK_BYTES / row_bytes.max(1)).unwrap_or(usize::MAX).clamp(1, 100_000);
    // Only objects without a counterpart in the first catalogue may need another name.
    let names = inputs.first().filter(|_| settings.keep == Keep::Outer).map(|i| i.ids.iter().map(String::as_str));
    let taken: HashSet<&str> = names.map(Iterator::collect).unwrap_or_default();
    let mut pieces = Pieces::new(folder.into(), "object_id");
    let written = placed.par_chunks(chunk).enumerate().map(|(number, chunk)| {
        let batch = columns(inputs, chunk, settings, &taken)?;
        Piece::write(&folder.join(format!("piece-{number:06}-000.parquet")), &batch, "object_id")
    });
    for piece in written.collect::<Vec<_>>() {
        pieces.push(piece?);
    }
    Ok(pieces)
}

fn columns(
    inputs: &[Input],
    rows: &[(u64, (f64, f64), Joined)],
    settings: &MatchSettings,
    taken: &HashSet<&str>,
) -> Result<RecordBatch> {
    let names = rows.iter().map(|(_, _, row)| {
        let ids = row.iter().zip(inputs).filter_map(|(r, i)| Some((i, i.ids.get((*r)?.0 as usize)?)));
        let ids: Vec<(&Input, &String)> = ids.collect();
        match (ids.first(), row.first().copied().flatten().is_some()) {
            // One object of the first catalogue may be in several rows.
            (Some(_), true) if settings.rule == Rule::All => {
                ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>().join(":")
            }
            (Some((_, id)), true) => (*id).clone(),
            (Some((input, id)), false) if taken.contains(id.as_str()) || inputs.len() > 2 => {
                format!("{id}_{}", input.name)
            }
            (Some((_, id)), false) => (*id).clone(),
            (None, _) => String::new(),
        }
    });
    let mut all: Vec<(String, ArrayRef)> = vec![
        ("object_id".into(), Arc::new(StringArray::from(names.collect::<Vec<_>>()))),
        ("ra".into(), Arc::new(rows.iter().map(|r| Some(r.1.0)).collect::<Float64Array>())),
        ("dec".into(), Arc::new(rows.iter().map(|r| Some(r.1.1)).collect::<Float64Array>())),
    ];
    for (number, input) in inputs.iter().enumerate() {
        let own: Vec<Option<u32>> = rows.iter().map(|r| r.2.get(number).copied().flatten().map(|c| c.0)).collect();
        let batch = input.read(&own)?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if field.name() == PIXEL {
                continue;
            }
            let clash = all.iter().any(|(name, _)| name == field.name());
            let name = if clash { format!("{}_{}", field.name(), input.name) } else { field.name().clone() };
            all.push((name, column.clone()));
        }
        if number > 0 {
            let angles = rows.iter().map(|r| r.2.get(number).copied().flatten().map(|c| c.1).filter(|a| a.is_finite()));
            all.push((format!("separation_arcsec_{}", input.name), Arc::new(angles.collect::<Float64Array>())));
        }
    }
    let fields: Vec<Field> =
        all.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let arrays = all.into_iter().map(|column| column.1).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
}
