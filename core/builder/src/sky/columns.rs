//! Which columns of a catalogue tell an object's name and place.

use crate::ingest::factor;
use arrow_schema::{DataType, Field};
use panchroma_core::config::nearest;
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use std::path::Path;

/// What right ascension and declination are called, in any case: the first pair that is there counts. The last are those
/// of VizieR, of machine-readable tables, and of SExtractor.
const POSITIONS: [[&str; 2]; 8] = [
    ["ra", "dec"],
    ["raj2000", "dej2000"],
    ["ra_icrs", "de_icrs"],
    ["_ra", "_de"],
    ["_raj2000", "_dej2000"],
    ["radeg", "decdeg"],
    ["radeg", "dedeg"],
    ["alpha_j2000", "delta_j2000"],
];

/// How one of the catalogues is read.
#[derive(Clone, Debug)]
pub struct InputSettings {
    /// Column of names.
    pub id: String,
    /// Columns of right ascension and declination; if none is said, those that the catalogue says, `ra` and `dec`, or
    /// what surveys call these.
    pub position: Option<[String; 2]>,
    /// Whether objects whose position is none are left out; otherwise they are an error.
    pub drop_bad: bool,
}

impl Default for InputSettings {
    fn default() -> Self {
        Self { id: "object_id".into(), position: None, drop_bad: false }
    }
}

/// The name that a column has in the file, whatever its case.
fn find<'a>(columns: &[&'a str], wanted: &str) -> Option<&'a str> {
    let exact = columns.iter().find(|name| **name == wanted);
    exact.or_else(|| columns.iter().find(|name| name.eq_ignore_ascii_case(wanted))).copied()
}

impl InputSettings {
    /// Columns of right ascension and declination among `columns`.
    pub(super) fn position_in(&self, columns: &[&str]) -> Option<[String; 2]> {
        let both = |ra: &str, dec: &str| Some([find(columns, ra)?.to_owned(), find(columns, dec)?.to_owned()]);
        match &self.position {
            Some([ra, dec]) => both(ra, dec),
            None => POSITIONS.iter().find_map(|[ra, dec]| both(ra, dec)),
        }
    }

    /// Columns of names, right ascension and declination among those of a file.
    ///
    /// # Errors
    /// If one is missing.
    pub(super) fn find(&self, file: &Path, columns: &[&str]) -> Result<[String; 3]> {
        let missing = |column: &str| -> Error {
            let nearest = nearest(column, columns.iter().copied());
            DataError::ColumnMissing { file: file.into(), column: column.into(), reader: String::new(), nearest }.into()
        };
        let id = find(columns, &self.id).ok_or_else(|| missing(&self.id))?.to_owned();
        if let Some(column) = self.position.iter().flatten().find(|column| find(columns, column).is_none()) {
            return Err(missing(column));
        }
        let [ra, dec] = self.position_in(columns).ok_or_else(|| no_position(file, columns))?;
        Ok([id, ra, dec])
    }
}

/// The error of a table without positions.
pub(super) fn no_position(file: &Path, columns: &[&str]) -> Error {
    let known: Vec<&str> = columns.iter().copied().take(12).collect();
    let hint = format!("`--ra` and `--dec` say which columns these are; it has {}", known.join(", "));
    crate::files::source(file, "", "has no columns `ra` and `dec`, nor others that surveys call so".into(), &hint)
}

/// What numbers of a column of angles are multiplied by to be degrees.
///
/// # Errors
/// If it is text, or its unit is none of angles.
pub(super) fn to_degrees(file: &Path, column: &Field, unit: Option<&String>) -> Result<f64> {
    let place = format!("column `{}`", column.name());
    if column.data_type().is_string() || matches!(column.data_type(), DataType::Dictionary(..)) {
        let hint = "name another column by `--ra` and `--dec`, or write degrees as numbers";
        return Err(crate::files::source(file, &place, "holds text, expected degrees".into(), hint));
    }
    let Some(unit) = unit else { return Ok(1.0) };
    factor(unit, "deg").ok_or_else(|| {
        let hint = "known are `deg`, `hourangle`, `rad`, `arcmin` and `arcsec`";
        crate::files::source(file, &place, format!("is in `{unit}`, which is no unit of angles"), hint)
    })
}
