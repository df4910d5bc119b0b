//! CSV, TSV, ECSV and tables in columns of text: one table, held in memory as text.
//!
//! The separator is what the first line has most of: comma, tab, semicolon, bar or blanks. Lines that start
//! with `#` are comments; the names and units of ECSV (Astropy APE 6) are read from there.

use super::{Field, Part, SourceFile, source};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::DataType;
use panchroma_core::{Error, Result};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Larger text belongs into Parquet.
const MOST: u64 = 2 << 30;

/// What stands for no value.
const MISSING: [&str; 10] = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "N/A", "NA", "--"];

/// A field as CSV wants it (RFC 4180).
#[must_use]
pub fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}

pub(super) struct Text {
    path: PathBuf,
    parts: Vec<Part>,
    /// By column; none where there is no value.
    columns: Vec<Vec<Option<String>>>,
}

pub(super) fn open(path: &Path, packed: bool) -> Result<Text> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = Vec::new();
    let read = if packed {
        flate2::read::MultiGzDecoder::new(file).take(MOST + 1).read_to_end(&mut bytes)
    } else {
        file.take(MOST + 1).read_to_end(&mut bytes)
    };
    read.map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MOST {
        return Err(source(path, "", "is more than 2 GiB of text".into(), "convert it to Parquet first"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches('\u{feff}');
    let units = ecsv_units(text);
    let body: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with('#') && !l.trim().is_empty()).collect();
    let Some(first) = body.first() else {
        return Err(source(path, "", "has no line".into(), "expected a line of column names, then a line per row"));
    };
    let count = |c: char| first.matches(c).count();
    let separator = [',', '\t', ';', '|'].into_iter().filter(|c| count(*c) > 0).max_by_key(|c| count(*c));
    let records: Vec<Vec<String>> = match separator {
        Some(separator) => records(path, &body.join("\n"), separator)?,
        None => body.iter().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect(),
    };
    let numeric = |r: &Vec<String>| r.iter().all(|v| MISSING.contains(&v.as_str()) || v.parse::<f64>().is_ok());
    // Without names: a table of numbers from its first line on.
    let named = !records.first().is_some_and(numeric);
    let width = records.first().map_or(0, Vec::len);
    let names: Vec<String> = match records.first().filter(|_| named) {
        Some(names) => names.iter().map(|n| n.trim().to_owned()).collect(),
        None => (1..=width).map(|i| format!("column{i}")).collect(),
    };
    let rows = &records[usize::from(named)..];
    if let Some((line, odd)) = rows.iter().enumerate().find(|(_, r)| r.len() != width) {
        let reason = format!("row {} has {} values, the first line {width}", line + 1, odd.len());
        return Err(source(path, "", reason, "is a separator part of a value, without quotes?"));
    }
    let column = |i: usize| -> Vec<Option<String>> {
        let values = rows.iter().map(|r| r.get(i).map(|v| v.trim()).filter(|v| !MISSING.contains(v)));
        values.map(|v| v.map(str::to_owned)).collect()
    };
    let columns: Vec<_> = (0..width).map(column).collect();
    let fields = names.into_iter().zip(&columns).map(|(name, values)| {
        let unit = units.get(&name).cloned();
        Field { name, data_type: kind(values), unit, per_row: true }
    });
    let part = Part { name: String::new(), rows: rows.len(), fields: fields.collect() };
    Ok(Text { path: path.into(), parts: vec![part], columns })
}

fn records(path: &Path, body: &str, separator: char) -> Result<Vec<Vec<String>>> {
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(separator as u8)
        .has_headers(false)
        .flexible(true)
        .from_reader(body.as_bytes());
    let parse = |r: std::result::Result<::csv::StringRecord, ::csv::Error>| {
        let record = r.map_err(|e| source(path, "", e.to_string(), "is it a table of text?"))?;
        Ok(record.iter().map(str::to_owned).collect())
    };
    reader.records().map(parse).collect()
}

/// The narrowest type that holds every value.
fn kind(values: &[Option<String>]) -> DataType {
    let all = |test: &dyn Fn(&str) -> bool| values.iter().flatten().all(|v| test(v));
    if values.iter().all(Option::is_none) {
        DataType::Float64
    } else if all(&|v| v.parse::<i64>().is_ok()) {
        DataType::Int64
    } else if all(&|v| v.parse::<f64>().is_ok()) {
        DataType::Float64
    } else if all(&|v| flag(v).is_some()) {
        DataType::Boolean
    } else {
        DataType::Utf8
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// `# - {name: ra, unit: deg, datatype: float64}`, on one line each as Astropy writes them.
fn ecsv_units(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().take_while(|l| l.starts_with('#')).filter_map(|l| l.split_once('{'));
    let entry = |inside: &str, key: &str| {
        let pairs = inside.trim_end().trim_end_matches('}').split(", ");
        let found = pairs.filter_map(|p| p.split_once(':')).find(|(k, _)| k.trim() == key);
        found.map(|(_, v)| v.trim().trim_matches(['\'', '"']).to_owned())
    };
    lines.filter_map(|(_, inside)| Some((entry(inside, "name")?, entry(inside, "unit")?))).collect()
}

impl SourceFile for Text {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn keyword(&self, _part: usize, _key: &str) -> Option<Value> {
        None
    }

    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        super::check(&self.path, &self.parts, part, field, &rows)?;
        let found = super::find_field(&self.path, &self.parts, part, field)?;
        let place = self.parts.iter().flat_map(|p| &p.fields).position(|f| f.name == found.name).unwrap_or(0);
        let values = self.columns.get(place).and_then(|c| c.get(rows)).unwrap_or_default();
        let values = values.iter().map(Option::as_deref);
        Ok(match found.data_type {
            DataType::Int64 => Arc::new(values.map(|v| v?.parse().ok()).collect::<Int64Array>()),
            DataType::Float64 => Arc::new(values.map(|v| v?.parse().ok()).collect::<Float64Array>()),
            DataType::Boolean => Arc::new(values.map(|v| flag(v?)).collect::<BooleanArray>()),
            _ => Arc::new(values.collect::<StringArray>()),
        })
    }
}
