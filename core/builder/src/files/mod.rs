//! Files that surveys publish, all behind one trait: parts (HDUs, groups, the one table of a Parquet or
//! CSV file) with fields (columns, data sets, the pixels of an image), and keywords beside them.
//!
//! One file per format; a new format is a new file here and one line in [`open`].

pub mod csv;
mod ecsv;
mod fits;
mod hdf5;
mod hdf5_attributes;
pub(crate) mod nest;
mod parquet;
#[cfg(test)]
mod tests;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use panchroma_core::config::{nearest, suggestion};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
pub(crate) use parquet::units;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// One column or data set of a [`Part`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name as the file has it; a nested Parquet field has dots in it. The pixels of an image HDU are `image`.
    pub name: String,
    /// Arrow type of one row: a number, bool, text, or (nested) lists of these.
    pub data_type: DataType,
    /// Unit as the file writes it, if it does.
    pub unit: Option<String>,
    /// Whether it has one value per row of the part. Otherwise (a wavelength grid that all objects
    /// share) it has one row.
    pub per_row: bool,
}

/// One table or image in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// `EXTNAME` of an HDU, path of an HDF5 group, empty for files of one table.
    pub name: String,
    /// Number of rows; 1 for an image.
    pub rows: usize,
    /// In the file's order.
    pub fields: Vec<Field>,
}

/// An open file.
pub trait SourceFile {
    /// What is in it, in the file's order: part `i` of a FITS file is HDU `i`.
    fn parts(&self) -> &[Part];

    /// A keyword of a FITS header or an attribute of an HDF5 group: number, text or bool.
    fn keyword(&self, part: usize, key: &str) -> Option<Value>;

    /// Rows of one field, in the type that [`Field::data_type`] says; nulls and NaN where the file says
    /// that there is no value. `rows` is ignored where [`Field::per_row`] is false.
    ///
    /// # Errors
    /// If the file is damaged there; the message names file, part and field.
    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef>;

    /// As [`Self::read`], as text as the file has it.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_text(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        let array = self.read(part, field, rows)?;
        arrow_cast::cast(&array, &DataType::Utf8)
            .map_err(|source| DataError::Arrow { column: field.into(), source }.into())
    }
}

/// Opens a file by its first bytes, or its name where these say nothing.
///
/// # Errors
/// If it can't be read, or is of no known kind.
pub fn open(path: &Path) -> Result<Box<dyn SourceFile>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut start = [0; 8];
    let mut length = 0;
    // Short files are of no kind below, but text may be short.
    while length < start.len() {
        match file.read(&mut start[length..]).map_err(Error::io("read", path))? {
            0 => break,
            read => length += read,
        }
    }
    drop(file);
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let packed = start.starts_with(&[0x1f, 0x8b]);
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let ends = |endings: &[&str]| endings.iter().any(|e| plain.ends_with(e));
    // A packed FITS file may have any name.
    let packed_fits = || {
        let mut inside = [0; 8];
        let file = File::open(path).map(flate2::read::MultiGzDecoder::new);
        packed && file.and_then(|mut file| file.read_exact(&mut inside)).is_ok() && inside == *b"SIMPLE  "
    };
    let packed_name = packed && ends(&[".fits", ".fit", ".fts"]);
    if length == 0 {
        return Err(source(path, "", "is empty".into(), "leave it out"));
    }
    Ok(if start.starts_with(b"SIMPLE  ") || packed_name || packed_fits() {
        Box::new(fits::open(path, packed)?)
    } else if start.starts_with(b"\x89HDF\r\n\x1a\n") {
        Box::new(hdf5::open(path)?)
    } else if start.starts_with(b"PAR1") {
        Box::new(parquet::open(path)?)
    } else if ends(&[".csv", ".tsv", ".ecsv", ".txt", ".dat", ".flm"]) {
        Box::new(csv::open(path, packed)?)
    } else {
        let hint = "known kinds: FITS, HDF5, Parquet, and .csv, .tsv, .ecsv, .txt, .dat, also packed as .gz";
        return Err(source(path, "", "is of no known kind, or cut short".into(), hint));
    })
}

/// The number of a part by its name, or by its number as text.
///
/// # Errors
/// If there is none, with the names that there are.
pub fn find_part(path: &Path, parts: &[Part], name: &str) -> Result<usize> {
    let same = |p: &Part| p.name.trim_matches('/').eq_ignore_ascii_case(name.trim_matches('/'));
    let number = || name.parse::<usize>().ok().filter(|n| *n < parts.len());
    parts.iter().position(same).or_else(number).ok_or_else(|| {
        let known: Vec<String> = parts.iter().enumerate().map(|(i, p)| format!("{i} `{}`", p.name)).collect();
        let hint = format!("its parts: {}; if there should be more, the file may be cut short", known.join(", "));
        source(path, "", format!("has no part `{name}`"), &hint)
    })
}

/// A field of a part, whatever its case.
///
/// # Errors
/// If there is none, with similar names.
pub fn find_field<'a>(path: &Path, parts: &'a [Part], part: usize, name: &str) -> Result<&'a Field> {
    let fields = parts.get(part).map(|p| p.fields.as_slice()).unwrap_or_default();
    let exact = fields.iter().find(|f| f.name == name);
    exact.or_else(|| fields.iter().find(|f| f.name.eq_ignore_ascii_case(name))).ok_or_else(|| {
        let near = nearest(name, fields.iter().map(|f| f.name.as_str()));
        let known: Vec<&str> = fields.iter().map(|f| f.name.as_str()).take(12).collect();
        let hint = suggestion(name, "columns", &near).unwrap_or_else(|| format!("it has {}", known.join(", ")));
        source(path, &place(parts, part, ""), format!("has no column `{name}`"), &hint)
    })
}

/// An error about a file.
pub(crate) fn source(path: &Path, place: &str, reason: String, hint: &str) -> Error {
    DataError::Source { file: path.into(), place: place.into(), reason, hint: Some(hint.into()) }.into()
}

/// A place in a file, for messages.
pub(crate) fn place(parts: &[Part], part: usize, field: &str) -> String {
    let name = parts.get(part).map(|p| p.name.as_str()).unwrap_or_default();
    let mut place = match (parts.len(), name) {
        (0 | 1, "") => String::new(),
        (_, "") => format!("part {part}"),
        (_, name) => format!("part {part} ({name})"),
    };
    if !field.is_empty() {
        let comma = if place.is_empty() { "" } else { ", " };
        place += &format!("{comma}column `{field}`");
    }
    place
}

/// Whether rows can be read.
fn check(path: &Path, parts: &[Part], part: usize, field: &str, rows: &Range<usize>) -> Result<()> {
    let found = find_field(path, parts, part, field)?;
    let have = parts.get(part).map_or(0, |p| p.rows);
    if found.per_row && (rows.start > rows.end || rows.end > have) {
        let reason = format!("rows {} to {} asked for, of {have}", rows.start, rows.end);
        return Err(source(path, &place(parts, part, field), reason, "the file changed while it was read"));
    }
    Ok(())
}
