//! Whether a catalogue can be trained on and matched: what is wrong in it, where, and how often.

use super::findings::{Finding, Report};
use super::integrity::{self, Found, tile};
use super::leaves::{Leaf, leaves, numbers, texts};
use super::measurements::Measurements;
use super::table::{Table, builder};
use crate::hats::{DEEPEST, PIXEL};
use arrow_schema::DataType;
use panchroma_core::Result;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Column of names.
    pub id: String,
}

/// What is carried from file to file.
#[derive(Default)]
struct Walk {
    /// Names so far.
    ids: HashSet<String>,
    /// The first file, and its columns.
    first: Option<(String, Vec<(String, DataType)>)>,
    measurements: Measurements,
    /// Columns of right ascension and declination.
    position: Option<[String; 2]>,
    rows: u64,
}

/// Reads a whole catalogue and checks it; what is wrong comes first. Empty means that nothing was found.
///
/// Checked: every file can be read to its end; files are those that `panchroma.toml` lists, with its rows and SHA-256;
/// `partition_info.csv` and `dataset/_metadata` agree with them; all files have the same columns; names are there and
/// unique; positions are finite and in range, and agree with `_healpix_29` and with the file's pixel; the
/// number of rows is what the properties say; the lists of one measurement have one shape; inverse
/// variances and errors are not negative; wavelengths are positive and ascending where they are not flagged; flags leave
/// something; bands are known.
///
/// # Errors
/// If the catalogue can't be opened at all. A damaged file is a finding.
pub fn validate(path: &Path, checks: &Checks, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Finding>> {
    let listing = panchroma_core::data::list(path)?;
    let (mut report, mut walk, mut files) = (Report::default(), Walk::default(), Vec::new());
    walk.position = panchroma_core::data::position_columns(&listing.root);
    let notes = integrity::notes(&listing.root, &mut report);
    let written: BTreeMap<_, _> = notes.iter().flat_map(|n| &n.file).map(|w| (w.path.as_str(), w)).collect();
    let mut complete = true;
    for (number, file) in listing.files.iter().enumerate() {
        let name = file.strip_prefix(&listing.root).unwrap_or(file).display().to_string();
        report.file.clone_from(&name);
        progress(number as u64, listing.files.len() as u64);
        let mut found = Found { name, groups: None };
        let mut read = check_file(file, checks, &mut report, &mut walk, &mut found.groups);
        if notes.is_some() {
            let written = written.get(found.name.as_str()).copied();
            read = read.and(integrity::same_as_written(file, &found, written, &mut report));
        }
        if let Err(error) = read {
            complete = false;
            let cause = std::error::Error::source(&error).map(|e| format!(": {e}")).unwrap_or_default();
            report.error("", &format!("{error}{cause}"), None);
        }
        files.push(found);
    }
    walk.measurements.finish(&mut report);
    // One file of a catalogue is not to be compared with what is said of all.
    if listing.files != [path] {
        integrity::lists(&listing.root, &files, notes.as_ref(), &mut report);
    }
    report.file = "hats.properties".into();
    if let Some(expected) = listing.expected_rows.filter(|e| complete && *e != walk.rows) {
        report.error("", &format!("says {expected} objects, the files hold {}", walk.rows), None);
    }
    if complete && walk.rows == 0 {
        report.file = String::new();
        report.error("", "the catalogue holds no object", None);
    }
    Ok(report.findings())
}

fn check_file(
    file: &Path,
    checks: &Checks,
    report: &mut Report,
    walk: &mut Walk,
    groups: &mut Option<Vec<u64>>,
) -> Result<()> {
    let builder = builder(file)?;
    *groups = Some(builder.metadata().row_groups().iter().map(|g| g.num_rows().unsigned_abs()).collect());
    let fields: Vec<(String, DataType)> =
        builder.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
    for (place, (name, _)) in fields.iter().enumerate() {
        if fields.iter().take(place).any(|(other, _)| other == name) {
            report.error(name, "is the name of two columns", None);
        }
    }
    match &walk.first {
        None => walk.first = Some((report.file.clone(), fields)),
        Some((first, known)) => {
            for (name, kind) in known.iter().filter(|k| !fields.contains(k)) {
                let problem = match fields.iter().find(|(other, _)| other == name) {
                    None => format!("is missing, but `{first}` has it"),
                    Some((_, other)) => format!("has the type {other}, but {kind} in `{first}`"),
                };
                report.error(name, &problem, None);
            }
            for (name, _) in fields.iter().filter(|(name, _)| known.iter().all(|(other, _)| other != name)) {
                report.odd(name, &format!("`{first}` lacks it"), None);
            }
        }
    }
    let mut before = i64::MIN;
    for batch in Table::batches(file, None)? {
        let (start, batch) = batch?;
        walk.rows += batch.num_rows() as u64;
        let leaves = leaves(&batch);
        let find = |path: &str| leaves.iter().find(|leaf| leaf.path == path);
        let names = find(&checks.id).and_then(|leaf| texts(&leaf.values));
        if names.is_none() {
            report.error(&checks.id, "there is no such column of names; say which with `--id`", None);
        }
        let names = names.unwrap_or_else(|| vec![None; batch.num_rows()]);
        let object = |row: usize| names.get(row).and_then(Option::as_deref).unwrap_or("(without a name)");
        for (row, name) in names.iter().enumerate().filter(|_| find(&checks.id).is_some()) {
            match name {
                None => report.error(&checks.id, "has no value", Some(&format!("row {}", start + row))),
                Some(name) if !walk.ids.insert(name.clone()) => {
                    report.error(&checks.id, "names two objects", Some(name));
                }
                Some(_) => {}
            }
        }
        let columns = walk.position.as_ref().map_or(["ra", "dec"], |stated| stated.each_ref().map(String::as_str));
        positions(&leaves, columns, report, file, &mut before, &object);
        walk.measurements.check(&leaves, report, &object);
    }
    Ok(())
}

fn positions<'a>(
    leaves: &[Leaf],
    columns: [&str; 2],
    report: &mut Report,
    file: &Path,
    before: &mut i64,
    object: &impl Fn(usize) -> &'a str,
) {
    let column = |name: &str| leaves.iter().find(|l| l.path == name && l.levels.is_empty());
    let (Some(ra), Some(dec)) = (column(columns[0]), column(columns[1])) else { return };
    let (Some(ra), Some(dec)) = (numbers(&ra.values), numbers(&dec.values)) else { return };
    let pixels: Option<Vec<i64>> = column(PIXEL).and_then(|leaf| {
        let cast = arrow_cast::cast(&leaf.values, &DataType::Int64).ok()?;
        Some(arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&cast).values().to_vec())
    });
    let own = tile(file);
    for (row, (ra, dec)) in ra.into_iter().zip(dec).enumerate() {
        if !ra.is_finite() || !dec.is_finite() {
            report.error(&columns.join(", "), "not a position: empty, NaN or infinite", Some(object(row)));
            continue;
        }
        if !(0.0..=360.0).contains(&ra) {
            report.error(columns[0], "not in 0 to 360 degrees", Some(object(row)));
            continue;
        }
        if !(-90.0..=90.0).contains(&dec) {
            report.error(columns[1], "not in -90 to 90 degrees", Some(object(row)));
            continue;
        }
        let Some(&pixel) = pixels.as_ref().and_then(|p| p.get(row)) else { continue };
        // Pixels of order 29 are 0.4 milliarcseconds wide, so that rounding may put an object into the next.
        let expected = cdshealpix::nested::hash(DEEPEST, ra.to_radians(), dec.to_radians());
        if pixel >> 16 != (expected >> 16) as i64 {
            report.error(PIXEL, "is another pixel than that of `ra` and `dec`", Some(object(row)));
        }
        if pixel < *before {
            report.odd(PIXEL, "rows are not sorted by it", Some(object(row)));
        }
        *before = pixel;
        if let Some((order, number)) = own
            && pixel >> (2 * (i64::from(DEEPEST) - order)) != number
        {
            report.error(PIXEL, "the object belongs into another file", Some(object(row)));
        }
    }
}
