//! CSV, TSV, ECSV and tables in columns of text: one table, whose cells are held in memory as text.
//!
//! The separator is what the first line has most of: comma, tab, semicolon, bar or blanks. Lines that start with `#` before
//! the column names are comments; between rows they are in tables parted by blanks, where names never start so.

use super::ecsv::{self, Declared};
use super::{Field, Part, SourceFile, source};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow_schema::DataType;
use panchroma_core::{Error, Result};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Larger text belongs into Parquet.
const MOST: u64 = 2 << 30;

/// What stands for no value in columns of numbers and flags; in text, only an empty cell does.
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
    cells: Cells,
}

/// All cells, row after row.
#[derive(Default)]
struct Cells {
    width: usize,
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    /// What values each column has.
    kinds: Vec<Kinds>,
}

/// Which types hold every value of a column so far.
#[derive(Clone, Copy)]
struct Kinds {
    any: bool,
    whole: bool,
    unsigned: bool,
    number: bool,
    flag: bool,
    /// Some whole number is larger than any type holds: an identifier.
    huge: bool,
}

impl Cells {
    fn new(width: usize) -> Self {
        let kinds = Kinds { any: false, whole: true, unsigned: true, number: true, flag: true, huge: false };
        Self { width, kinds: vec![kinds; width], ..Self::default() }
    }

    fn rows(&self) -> usize {
        self.ends.len().checked_div(self.width).unwrap_or(0)
    }

    fn get(&self, row: usize, column: usize) -> &str {
        let place = row * self.width + column;
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(place).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    fn push<'a>(&mut self, cells: impl Iterator<Item = &'a str>) {
        for (cell, kinds) in cells.zip(&mut self.kinds) {
            let cell = cell.trim();
            kinds.add(cell);
            self.text.push_str(cell);
            // The file is below 2 GiB.
            self.ends.push(self.text.len() as u32);
        }
    }
}

impl Kinds {
    fn add(&mut self, cell: &str) {
        if MISSING.contains(&cell) {
            return;
        }
        let digits = cell.trim_start_matches(['+', '-']);
        let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let (signed, unsigned) = (whole && cell.parse::<i64>().is_ok(), whole && cell.parse::<u64>().is_ok());
        self.any = true;
        self.whole &= signed;
        self.unsigned &= unsigned;
        self.number &= cell.parse::<f64>().is_ok();
        self.flag &= flag(cell).is_some();
        self.huge |= whole && !signed && !unsigned;
    }

    /// The narrowest type that holds every value.
    fn data_type(self) -> DataType {
        match self {
            Self { any: false, .. } => DataType::Float64,
            Self { whole: true, .. } => DataType::Int64,
            Self { unsigned: true, .. } => DataType::UInt64,
            Self { number: true, huge: false, .. } => DataType::Float64,
            Self { flag: true, .. } => DataType::Boolean,
            _ => DataType::Utf8,
        }
    }
}

pub(super) fn open(path: &Path, packed: bool) -> Result<Text> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let bytes: Box<dyn Read> = match packed {
        true => Box::new(flate2::read::MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let mut lines = Lines { path, reader: BufReader::with_capacity(1 << 16, bytes), read: 0, number: 0 };
    let (mut comments, mut first) = (Vec::new(), None);
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        if !line.trim_start().starts_with('#') {
            first = Some(line);
            break;
        }
        comments.push(line);
    }
    let Some(first) = first else {
        let (reason, hint) = match lines.number {
            0 => ("is empty", "leave it out"),
            _ => ("has no line", "expected a line of column names, then a line per row"),
        };
        return Err(source(path, "", reason.into(), hint));
    };
    let declared = ecsv::header(&comments);
    let count = |c: char| first.matches(c).count();
    let separator = [',', '\t', ';', '|'].into_iter().filter(|c| count(*c) > 0).max_by_key(|c| count(*c));
    let mut rows = Rows { separator, lines };
    let first = rows.split(first)?;
    let number = |cell: &String| cell.trim().parse::<f64>().is_ok();
    let numeric = first.iter().all(|cell| MISSING.contains(&cell.trim()) || number(cell));
    // Names may stand behind the sign of a comment, above a line that is no names.
    let commented = comments.last().filter(|_| declared.is_empty() && first.iter().any(number)).map(|line| {
        let line = line.trim_start().trim_start_matches('#').to_owned();
        rows.split(line)
    });
    let commented = commented.transpose()?.filter(|names| names.len() == first.len() && !names.iter().any(number));
    let named = commented.is_none() && !numeric;
    let width = first.len();
    let names: Vec<String> = match commented {
        Some(names) => names,
        None if named => first.clone(),
        None => (1..=width).map(|i| format!("column{i}")).collect(),
    };
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    let mut known = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !known.insert(name.as_str())) {
        return Err(source(path, "", format!("has two columns `{twice}`"), "rename one of them"));
    }
    let mut cells = Cells::new(width);
    if !named {
        cells.push(first.iter().map(String::as_str));
    }
    while let Some((line, row)) = rows.next()? {
        if row.len() != width {
            let reason = format!("line {line} has {} values, expected {width}", row.len());
            return Err(source(path, "", reason, "is a separator part of a value, without quotes?"));
        }
        cells.push(row.iter().map(String::as_str));
    }
    let fields = names.into_iter().zip(&cells.kinds).map(|(name, kinds)| {
        let Declared { unit, data_type } = declared.get(&name).cloned().unwrap_or_default();
        Field { name, data_type: data_type.unwrap_or(kinds.data_type()), unit, per_row: true }
    });
    let part = Part { name: String::new(), rows: cells.rows(), fields: fields.collect() };
    Ok(Text { path: path.into(), parts: vec![part], cells })
}

/// Lines of a file, with their numbers from 1.
struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<Box<dyn Read>>,
    read: u64,
    number: usize,
}

impl Lines<'_> {
    /// The next line, without its end.
    fn next(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let read = self.reader.read_until(b'\n', &mut bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
                source(self.path, "", format!("can't be unpacked: {e}"), "the file may be cut short: copy it again")
            }
            _ => Error::io("read", self.path)(e),
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.read += read as u64;
        if self.read > MOST {
            return Err(source(self.path, "", "is more than 2 GiB of text".into(), "convert it to Parquet first"));
        }
        let bytes = match (self.number, bytes.as_slice()) {
            (0, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => {
                return Err(source(self.path, "", "is UTF-16".into(), "save it as UTF-8"));
            }
            (0, [0xef, 0xbb, 0xbf, rest @ ..]) => rest.to_vec(),
            _ => bytes,
        };
        self.number += 1;
        let line = String::from_utf8(bytes).map_err(|_| {
            let hint = "save it as UTF-8; from Latin-1 by `iconv -f latin1 -t utf-8`";
            source(self.path, "", format!("line {} is no UTF-8", self.number), hint)
        })?;
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

/// Rows of cells.
struct Rows<'a> {
    /// None: blanks.
    separator: Option<char>,
    lines: Lines<'a>,
}

impl Rows<'_> {
    /// The next row that is not empty, with the number of its first line.
    fn next(&mut self) -> Result<Option<(usize, Vec<String>)>> {
        while let Some(line) = self.lines.next()? {
            let comment = self.separator.is_none() && line.trim_start().starts_with('#');
            if line.trim().is_empty() || comment {
                continue;
            }
            return Ok(Some((self.lines.number, self.split(line)?)));
        }
        Ok(None)
    }

    /// Cells of a line, and of the lines below it that a quoted cell reaches into.
    fn split(&mut self, mut line: String) -> Result<Vec<String>> {
        let start = self.lines.number;
        loop {
            if let Some(cells) = cells(&line, self.separator) {
                return Ok(cells);
            }
            let Some(more) = self.lines.next()? else {
                let reason = format!("line {start} opens a quote that nothing closes");
                return Err(source(
                    self.lines.path,
                    "",
                    reason,
                    "close it, or double a quote that belongs to the text",
                ));
            };
            line.push('\n');
            line.push_str(&more);
        }
    }
}

/// Cells of a line (RFC 4180, or parted by any number of blanks); none if a quote is open at its end.
fn cells(line: &str, separator: Option<char>) -> Option<Vec<String>> {
    let parts = |c: char| separator.map_or(c.is_whitespace(), |s| c == s);
    let mut cells = Vec::new();
    let mut rest = if separator.is_none() { line.trim() } else { line };
    loop {
        let (cell, after) = match rest.trim_start_matches(' ').strip_prefix('"') {
            None => match rest.find(parts) {
                Some(end) => (rest.get(..end)?.to_owned(), rest.get(end..)?),
                None => (rest.to_owned(), ""),
            },
            Some(mut quoted) => {
                let mut cell = String::new();
                loop {
                    let end = quoted.find('"')?;
                    cell.push_str(quoted.get(..end)?);
                    quoted = quoted.get(end + 1..)?;
                    match quoted.strip_prefix('"') {
                        Some(more) => {
                            cell.push('"');
                            quoted = more;
                        }
                        None => break,
                    }
                }
                // What stands between the closing quote and the separator belongs to the cell.
                let end = quoted.find(parts).unwrap_or(quoted.len());
                cell.push_str(quoted.get(..end)?);
                (cell, quoted.get(end..)?)
            }
        };
        cells.push(cell);
        let Some(first) = after.chars().next() else { return Some(cells) };
        rest = after.get(first.len_utf8()..)?;
        if separator.is_none() {
            rest = rest.trim_start();
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

impl Text {
    /// Number and cells of a column.
    fn column(&self, part: usize, field: &str, rows: &Range<usize>) -> Result<(Field, usize)> {
        super::check(&self.path, &self.parts, part, field, rows)?;
        let found = super::find_field(&self.path, &self.parts, part, field)?;
        let place = self.parts.iter().flat_map(|p| &p.fields).position(|f| f.name == found.name).unwrap_or(0);
        Ok((found.clone(), place))
    }
}

impl SourceFile for Text {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn keyword(&self, _part: usize, _key: &str) -> Option<Value> {
        None
    }

    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        let (found, place) = self.column(part, field, &rows)?;
        let cells = || rows.clone().map(|row| self.cells.get(row, place));
        let values = || cells().map(|cell| Some(cell).filter(|cell| !MISSING.contains(cell)));
        // A file may declare another type than its cells have.
        let bad = |cell: &str| {
            let reason = format!("`{cell}` is no {}", found.data_type);
            Err(source(&self.path, &format!("column `{field}`"), reason, "correct the value, or its declared type"))
        };
        macro_rules! parsed {
            ($array:ty, $parse:expr) => {{
                if let Some(odd) = values().flatten().find(|cell| $parse(cell).is_none()) {
                    return bad(odd);
                }
                Arc::new(values().map(|cell| $parse(cell?)).collect::<$array>())
            }};
        }
        Ok(match found.data_type {
            DataType::Int64 => parsed!(Int64Array, |c: &str| c.parse::<i64>().ok()),
            DataType::UInt64 => parsed!(UInt64Array, |c: &str| c.parse::<u64>().ok()),
            DataType::Float64 => parsed!(Float64Array, |c: &str| c.parse::<f64>().ok()),
            DataType::Boolean => parsed!(BooleanArray, flag),
            _ => return self.read_text(part, field, rows),
        })
    }

    fn read_text(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        let (_, place) = self.column(part, field, &rows)?;
        let cells = rows.map(|row| Some(self.cells.get(row, place)).filter(|cell| !cell.is_empty()));
        Ok(Arc::new(cells.collect::<StringArray>()))
    }
}
