//! Whether a catalogue can be trained on and matched: what is wrong in it, where, and how often.

use super::leaves::{Leaf, leaves, numbers, texts};
use super::table::{Table, builder};
use arrow_array::Array;
use arrow_schema::DataType;
use panchroma_core::Result;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Order of the pixels in `_healpix_29`.
const DEEPEST: u8 = 29;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Column of names.
    pub id: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether training or matching would fail or be wrong; otherwise it is only odd.
    pub error: bool,
    /// The first file in which it was found, relative to the catalogue.
    pub file: String,
    /// The column, or empty.
    pub column: String,
    /// What is wrong.
    pub problem: String,
    /// How many objects have it; 0 if it is about a whole file.
    pub objects: u64,
    /// Name of the first of them.
    pub first: Option<String>,
}

/// Key of a kind of finding: column and problem.
type Found = BTreeMap<(String, String), Finding>;

struct Report<'a> {
    found: Found,
    file: &'a str,
}

impl Report<'_> {
    fn add(&mut self, error: bool, column: &str, problem: &str, object: Option<&str>) {
        let file = self.file.to_owned();
        let new = Finding {
            error,
            file,
            column: column.into(),
            problem: problem.into(),
            objects: 0,
            first: object.map(Into::into),
        };
        let finding = self.found.entry((column.into(), problem.into())).or_insert(new);
        finding.objects += u64::from(object.is_some());
    }
}

/// Reads a whole catalogue and checks it; what is wrong comes first. Empty means that nothing was found.
///
/// Checked: every file can be read to its end; all files have the same columns; names are there and
/// unique; positions are finite and in range, and agree with `_healpix_29` and with the file's pixel; the
/// number of rows is what the properties say; the lists of one measurement have one length; inverse
/// variances and errors are not negative; wavelengths are positive and ascending; numbers are finite where
/// they are not flagged.
///
/// # Errors
/// If the catalogue can't be opened at all. A damaged file is a finding.
pub fn validate(path: &Path, checks: &Checks, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Finding>> {
    let listing = panchroma_core::data::list(path)?;
    let mut report = Report { found: Found::new(), file: "" };
    let mut ids = HashSet::new();
    let mut schema: Option<(String, Vec<(String, DataType)>)> = None;
    let (mut rows, mut complete) = (0u64, true);
    for (number, file) in listing.files.iter().enumerate() {
        let name = file.strip_prefix(&listing.root).unwrap_or(file).display().to_string();
        report.file = &name;
        progress(number as u64, listing.files.len() as u64);
        if let Err(error) = check_file(file, checks, &mut report, &mut ids, &mut schema, &mut rows) {
            complete = false;
            let cause = std::error::Error::source(&error).map(|e| format!(": {e}")).unwrap_or_default();
            report.add(true, "", &format!("{error}{cause}"), None);
        }
        let found = std::mem::take(&mut report.found);
        report = Report { found, file: "" };
    }
    if let Some(expected) = listing.expected_rows.filter(|e| complete && *e != rows) {
        report.file = "hats.properties";
        report.add(true, "", &format!("says {expected} objects, the files hold {rows}"), None);
    }
    if complete && rows == 0 {
        report.add(true, "", "the catalogue holds no object", None);
    }
    let mut findings: Vec<Finding> = report.found.into_values().collect();
    findings.sort_by(|a, b| b.error.cmp(&a.error).then(b.objects.cmp(&a.objects)));
    Ok(findings)
}

fn check_file(
    file: &Path,
    checks: &Checks,
    report: &mut Report<'_>,
    ids: &mut HashSet<String>,
    schema: &mut Option<(String, Vec<(String, DataType)>)>,
    rows: &mut u64,
) -> Result<()> {
    let fields: Vec<(String, DataType)> =
        builder(file)?.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
    match schema {
        None => *schema = Some((report.file.to_owned(), fields)),
        Some((first, known)) => {
            for (name, kind) in known.iter().filter(|k| !fields.contains(k)) {
                let problem = match fields.iter().find(|(other, _)| other == name) {
                    None => format!("is missing, but `{first}` has it"),
                    Some((_, other)) => format!("has the type {other}, but {kind} in `{first}`"),
                };
                report.add(true, name, &problem, None);
            }
            for (name, _) in fields.iter().filter(|(name, _)| known.iter().all(|(other, _)| other != name)) {
                report.add(false, name, &format!("`{first}` lacks it"), None);
            }
        }
    }
    let mut before = i64::MIN;
    for batch in Table::batches(file, None)? {
        let (_, batch) = batch?;
        *rows += batch.num_rows() as u64;
        let leaves = leaves(&batch);
        let find = |path: &str| leaves.iter().find(|leaf| leaf.path == path);
        let names = find(&checks.id).and_then(|leaf| texts(&leaf.values));
        if names.is_none() {
            report.add(true, &checks.id, "there is no such column of names; say which with `--id`", None);
        }
        let names = names.unwrap_or_else(|| vec![None; batch.num_rows()]);
        let object = |row: usize| names.get(row).and_then(Option::as_deref).unwrap_or("(without a name)");
        for (row, name) in names.iter().enumerate().filter(|_| find(&checks.id).is_some()) {
            match name {
                None => report.add(true, &checks.id, "has no value", Some(&format!("row {row}"))),
                Some(name) if !ids.insert(name.clone()) => {
                    report.add(true, &checks.id, "names two objects", Some(name));
                }
                Some(_) => {}
            }
        }
        positions(&leaves, report, file, &mut before, &object);
        for leaf in &leaves {
            samples(leaf, &leaves, report, &object);
        }
    }
    Ok(())
}

fn positions<'a>(
    leaves: &[Leaf],
    report: &mut Report<'_>,
    file: &Path,
    before: &mut i64,
    object: &impl Fn(usize) -> &'a str,
) {
    let column = |name: &str| leaves.iter().find(|l| l.path == name && l.depth == 0);
    let (Some(ra), Some(dec)) = (column("ra"), column("dec")) else { return };
    let (Some(ra), Some(dec)) = (numbers(&ra.values), numbers(&dec.values)) else { return };
    let pixels: Option<Vec<i64>> = column("_healpix_29").and_then(|leaf| {
        let cast = arrow_cast::cast(&leaf.values, &DataType::Int64).ok()?;
        Some(arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&cast).values().to_vec())
    });
    let own = tile(file);
    for (row, (ra, dec)) in ra.into_iter().zip(dec).enumerate() {
        if !ra.is_finite() || !dec.is_finite() {
            report.add(true, "ra, dec", "not a position: empty, NaN or infinite", Some(object(row)));
            continue;
        }
        if !(0.0..360.0).contains(&ra) {
            report.add(true, "ra", "not in 0 to 360 degrees", Some(object(row)));
            continue;
        }
        if !(-90.0..=90.0).contains(&dec) {
            report.add(true, "dec", "not in -90 to 90 degrees", Some(object(row)));
            continue;
        }
        let Some(&pixel) = pixels.as_ref().and_then(|p| p.get(row)) else { continue };
        // Pixels of order 29 are 0.4 milliarcseconds wide, so that rounding may put an object into the next.
        let expected = cdshealpix::nested::hash(DEEPEST, ra.to_radians(), dec.to_radians());
        if pixel >> 16 != (expected >> 16) as i64 {
            report.add(true, "_healpix_29", "is another pixel than that of `ra` and `dec`", Some(object(row)));
        }
        if pixel < *before {
            report.add(false, "_healpix_29", "rows are not sorted by it", Some(object(row)));
        }
        *before = pixel;
        if let Some((order, number)) = own
            && pixel >> (2 * (i64::from(DEEPEST) - order)) != number
        {
            report.add(true, "_healpix_29", "the object belongs into another file", Some(object(row)));
        }
    }
}

/// Order and number of the pixel that a file of a HATS catalogue is for.
fn tile(file: &Path) -> Option<(i64, i64)> {
    let part = |prefix: &str| {
        file.components().rev().find_map(|c| {
            let name = c.as_os_str().to_string_lossy();
            name.strip_prefix(prefix)?.trim_end_matches(".parquet").parse::<i64>().ok()
        })
    };
    Some((part("Norder=").filter(|o| (0..=i64::from(DEEPEST)).contains(o))?, part("Npix=")?))
}

/// Checks of the lists of measurements.
fn samples<'a>(leaf: &Leaf, all: &[Leaf], report: &mut Report<'_>, object: &impl Fn(usize) -> &'a str) {
    let (Some(lengths), Some((column, field))) = (&leaf.lengths, leaf.path.split_once('.')) else { return };
    if field == "flux" {
        for other in all.iter().filter(|o| o.path.split_once('.').is_some_and(|(c, _)| c == column)) {
            let Some(beside) = other.lengths.as_ref().filter(|_| other.path != leaf.path) else { continue };
            for row in (0..lengths.len()).filter(|&row| leaf.present[row] && other.present[row]) {
                if lengths[row] != beside[row] {
                    let problem = format!("has another length than `{}`", leaf.path);
                    report.add(true, &other.path, &problem, Some(object(row)));
                }
            }
        }
    }
    if leaf.depth != 1 || matches!(leaf.values.data_type(), DataType::Boolean) {
        return;
    }
    let Some(values) = numbers(&leaf.values) else { return };
    let mut end = 0;
    for (row, &length) in lengths.iter().enumerate() {
        let start = end;
        end += length;
        let Some(own) = values.get(start..end).filter(|own| !own.is_empty()) else { continue };
        let mut say = |error: bool, problem: &str| report.add(error, &leaf.path, problem, Some(object(row)));
        match field {
            "ivar" | "flux_err" | "error" if own.iter().any(|v| *v < 0.0) => say(true, "is negative"),
            "ivar" if !own.iter().any(|v| *v > 0.0) => say(false, "is 0 everywhere: no sample can be used"),
            "lambda" | "wavelength" if !own.iter().all(|v| *v > 0.0) => say(true, "is not positive"),
            "lambda" | "wavelength" if !ascending(own) => say(true, "is neither ascending nor descending"),
            "flux" if own.iter().all(|v| !v.is_finite()) => say(false, "has no finite value"),
            "time" if own.iter().any(|v| !v.is_finite()) => say(false, "has values that are not finite"),
            _ => {}
        }
    }
}

/// Whether values go up all the way, or down.
pub(super) fn ascending(values: &[f64]) -> bool {
    values.windows(2).all(|w| w[0] < w[1]) || values.windows(2).all(|w| w[0] > w[1])
}
