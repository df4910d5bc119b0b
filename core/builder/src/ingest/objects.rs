//! One file of a survey -> objects in the columns of the catalogue, some at a time.

use super::arrays::take;
use super::mapping::{Group, Kind, Layout, Mapping, Value};
use crate::files::{self, SourceFile, find_field, find_part, place, source};
use crate::hats::types::untyped;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use panchroma_core::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Objects that are read at once, at first; then as many as take about [`BATCH_BYTES`].
const ROWS: usize = 16;
const MOST_ROWS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// Row of an object's plain columns, and rows of its samples.
type Grouped = (u64, Vec<u64>);

/// Which rows become objects.
pub(super) enum Select {
    File,
    Rows(Range<usize>),
    /// Rows of the plain columns, and rows of the samples of each object.
    Groups {
        objects: Vec<u64>,
        samples: Vec<Vec<u64>>,
    },
}

impl Select {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::File => 1,
            Self::Rows(rows) => rows.len(),
            Self::Groups { objects, .. } => objects.len(),
        }
    }
}

/// A file whose objects are being read.
pub(super) struct Open<'a> {
    pub(super) path: &'a Path,
    pub(super) mapping: &'a Mapping,
    pub(super) file: Box<dyn SourceFile>,
    pub(super) part: usize,
    /// The file with the samples of groups, if it is another.
    samples: Option<(PathBuf, Box<dyn SourceFile>)>,
    pub(super) samples_part: usize,
    /// With groups: all of them.
    groups: Vec<Grouped>,
    /// How many objects were given, and how many come next.
    given: usize,
    at_once: usize,
    /// Unit by dotted column.
    pub(super) units: BTreeMap<String, String>,
    pub(super) notes: BTreeSet<String>,
}

impl<'a> Open<'a> {
    pub(super) fn new(path: &'a Path, mapping: &'a Mapping) -> Result<Self> {
        let file = files::open(path)?;
        let empty = mapping.source.layout != Layout::File;
        let part = default_part(path, file.as_ref(), mapping.source.part.as_deref(), empty)?;
        let (units, notes) = Default::default();
        let (samples, samples_part, groups) = (None, part, Vec::new());
        let mut this =
            Self { path, mapping, file, part, samples, samples_part, groups, given: 0, at_once: ROWS, units, notes };
        if let Some(group) = &mapping.source.group {
            if let (Some(replace), Some(with)) = (&group.replace, &group.with) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().replace(replace.as_str(), with);
                let other = path.with_file_name(name);
                let opened = files::open(&other)?;
                this.samples_part = default_part(&other, opened.as_ref(), group.part.as_deref(), false)?;
                this.samples = Some((other, opened));
            } else if let Some(part) = &group.part {
                this.samples_part = find_part(path, this.file.parts(), part)?;
            }
            this.groups = this.find_groups(group)?;
        }
        Ok(this)
    }

    /// Unit by dotted column, of what was read so far.
    pub(super) fn units(&self) -> &BTreeMap<String, String> {
        &self.units
    }

    /// What the user should know of the file.
    pub(super) fn notes(&self) -> &BTreeSet<String> {
        &self.notes
    }

    /// The next objects; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let total = match self.mapping.source.layout {
            Layout::File => 1,
            Layout::Row => self.rows(),
            Layout::Group => self.groups.len(),
        };
        let range = self.given..total.min(self.given + self.at_once);
        if range.is_empty() {
            return Ok(None);
        }
        let select = match self.mapping.source.layout {
            Layout::File => Select::File,
            Layout::Row => Select::Rows(range.clone()),
            Layout::Group => {
                let (objects, samples) = self.groups.get(range.clone()).unwrap_or_default().iter().cloned().unzip();
                Select::Groups { objects, samples }
            }
        };
        let batch = self.batch(&select)?;
        self.given = range.end;
        let row = batch.get_array_memory_size() / range.len().max(1);
        self.at_once = (BATCH_BYTES / row.max(1)).clamp(1, MOST_ROWS);
        Ok(Some(batch))
    }

    pub(super) fn rows(&self) -> usize {
        self.file.parts().get(self.part).map_or(0, |p| p.rows)
    }

    /// Rows of the objects' plain columns with rows of their samples.
    fn find_groups(&mut self, group: &Group) -> Result<Vec<Grouped>> {
        let rows = self.rows();
        match group {
            Group { key: Some(key), .. } => {
                let keys = self.file.read(self.part, key, 0..rows)?;
                let keys =
                    arrow_cast::cast(&keys, &DataType::Utf8).map_err(|e| self.wrong(self.part, key, e.to_string()))?;
                let mut place_of: HashMap<&str, usize> = HashMap::new();
                let mut found: Vec<Grouped> = Vec::new();
                for (row, key_of_row) in (0u64..).zip(keys.as_string::<i32>().iter()) {
                    let Some(key_of_row) = key_of_row else {
                        return Err(self.wrong(
                            self.part,
                            key,
                            format!("row {row} has no value, so it is of no object"),
                        ));
                    };
                    let place = *place_of.entry(key_of_row).or_insert_with(|| {
                        found.push((row, Vec::new()));
                        found.len() - 1
                    });
                    found[place].1.push(row);
                }
                Ok(found)
            }
            Group { first: Some(first), last: Some(last), .. } => {
                let part = self.samples_part;
                let (_, table) = self.table();
                let have = table.parts().get(part).map_or(0, |p| p.rows) as i64;
                let (from, to) = (self.whole(first)?, self.whole(last)?);
                let mut found = Vec::new();
                for (row, (from, to)) in (0u64..).zip(from.into_iter().zip(to)) {
                    if from < 1 || to < from - 1 || to > have {
                        let reason = format!(
                            "row {row} has samples {from} to {to} by `{first}` and `{last}`, of {have} counted from 1"
                        );
                        return Err(self.wrong(self.part, "", reason));
                    }
                    found.push((row, ((from - 1) as u64..to as u64).collect()));
                }
                Ok(found)
            }
            Group { .. } => Ok(Vec::new()),
        }
    }

    /// A column of whole numbers.
    fn whole(&mut self, name: &str) -> Result<Vec<i64>> {
        let rows = self.rows();
        let array = self.file.read(self.part, name, 0..rows)?;
        let cast =
            arrow_cast::cast(&array, &DataType::Int64).map_err(|e| self.wrong(self.part, name, e.to_string()))?;
        Ok(cast.as_primitive::<Int64Type>().iter().map(|v| v.unwrap_or(-1)).collect())
    }

    /// The file that samples are in.
    pub(super) fn table(&mut self) -> (PathBuf, &mut dyn SourceFile) {
        match &mut self.samples {
            Some((path, file)) => (path.clone(), file.as_mut()),
            None => (self.path.into(), self.file.as_mut()),
        }
    }

    pub(super) fn wrong(&self, part: usize, field: &str, reason: String) -> Error {
        source(self.path, &place(self.file.parts(), part, field), reason, "check the mapping, or leave the file out")
    }

    pub(super) fn part_of(&self, value: &Value) -> Result<usize> {
        value.part.as_ref().map_or(Ok(self.part), |name| find_part(self.path, self.file.parts(), name))
    }

    fn batch(&mut self, select: &Select) -> Result<RecordBatch> {
        let mapping = self.mapping;
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        // The names first, as in the Multimodal Universe.
        let first = ["object_id", "ra", "dec"];
        let rest = mapping.column.keys().map(String::as_str).filter(|name| !first.contains(name));
        for name in first.into_iter().chain(rest) {
            let Some(value) = mapping.column.get(name) else { continue };
            let kind = match name {
                "object_id" => Some(Kind::Text),
                "ra" | "dec" => Some(Kind::F64),
                _ => None,
            };
            let array = self.plain(name, value, kind, select)?;
            let array = if kind.or(value.kind).is_none() { untyped(array) } else { array };
            columns.push((Field::new(name, array.data_type().clone(), true), array));
        }
        self.check_identity(&mut columns)?;
        for (name, fields) in &mapping.measurement {
            let mut inner: Vec<(Field, ArrayRef)> = Vec::new();
            for (field, value) in fields {
                let array = self.list(name, field, value, select)?;
                let array = if value.kind.is_none() { untyped(array) } else { array };
                inner.push((Field::new(field, array.data_type().clone(), true), array));
            }
            super::arrays::spread(&mut inner, |field| fields.get(field).is_some_and(Value::is_one))
                .map_err(|e| self.wrong(self.part, name, e))?;
            let (fields, arrays): (Vec<_>, Vec<_>) = inner.into_iter().unzip();
            let nulls: Vec<bool> = (0..select.len())
                .map(|row| arrays.iter().any(|a| a.logical_nulls().is_none_or(|n| n.is_valid(row))))
                .collect();
            let nulls = nulls.contains(&false).then(|| nulls.into());
            let structure = StructArray::try_new(Fields::from(fields), arrays, nulls)
                .map_err(|e| self.wrong(self.part, name, e.to_string()))?;
            columns.push((Field::new(name, structure.data_type().clone(), true), Arc::new(structure)));
        }
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|e| self.wrong(self.part, "", e.to_string()))
    }

    /// Every object has a name and, where there are positions, one of them; a right ascension of 360 becomes 0.
    fn check_identity(&self, columns: &mut [(Field, ArrayRef)]) -> Result<()> {
        let from = |name: &str| self.mapping.column.get(name).and_then(|v| v.from.clone()).unwrap_or(name.into());
        let Some(names) = named(columns, "object_id") else { return Ok(()) };
        let names = names.as_string::<i32>().clone();
        if let Some(row) = (0..names.len()).find(|row| names.is_null(*row) || names.value(*row).trim().is_empty()) {
            let reason = format!("row {} has no name", self.given + row);
            return Err(self.wrong(self.part, &from("object_id"), reason));
        }
        for (name, low, high) in [("ra", 0.0, 360.0), ("dec", -90.0, 90.0)] {
            let Some(values) = named(columns, name) else { continue };
            let values = values.as_primitive::<Float64Type>().clone();
            let value = |row: usize| if values.is_null(row) { f64::NAN } else { values.value(row) };
            if let Some(row) = (0..values.len()).find(|row| !(low..=high).contains(&value(*row))) {
                let reason = format!(
                    "object `{}`, row {}: expected {low} to {high} degrees, got {}",
                    names.value(row),
                    self.given + row,
                    value(row)
                );
                return Err(self.wrong(self.part, &from(name), reason));
            }
            if name == "ra"
                && let Some((_, array)) = columns.iter_mut().find(|(field, _)| field.name() == "ra")
            {
                *array =
                    Arc::new(values.unary::<_, Float64Type>(|ra| if ra >= 360.0 { 0.0 } else { ra }) as Float64Array);
            }
        }
        Ok(())
    }

    /// Rows of a column of the objects' table.
    pub(super) fn rows_of(&mut self, part: usize, from: &str, select: &Select, text: bool) -> Result<ArrayRef> {
        let have = self.file.parts().get(part).map_or(0, |p| p.rows);
        let mut read = |rows: Range<usize>| match text {
            true => self.file.read_text(part, from, rows),
            false => self.file.read(part, from, rows),
        };
        match select {
            Select::File if have == 0 => Err(self.wrong(part, from, "has no row".into())),
            Select::File => {
                let all = read(0..have)?;
                // Each equals the next, so all are equal.
                let less = all.len().saturating_sub(1);
                if all.slice(0, less).to_data() != all.slice(all.len() - less, less).to_data() {
                    let reason = format!("has {have} rows that differ, but an object has one value");
                    let hint =
                        "if every row is an object, set `layout = \"row\"` in [source]; if some rows are, `\"group\"`";
                    return Err(source(self.path, &place(self.file.parts(), part, from), reason, hint));
                }
                Ok(all.slice(0, all.len().min(1)))
            }
            Select::Rows(rows) => read(rows.clone()),
            Select::Groups { objects, .. } => {
                let (low, high) = bounds(objects.iter());
                let all = read(low as usize..high as usize)?;
                take(&all, objects.iter().map(|row| row - low)).map_err(|e| self.wrong(part, from, e))
            }
        }
    }

    /// A column of the file, or why there is none.
    pub(super) fn field(&self, part: usize, name: &str) -> Result<files::Field> {
        find_field(self.path, self.file.parts(), part, name).cloned()
    }
}

fn named(columns: &[(Field, ArrayRef)], name: &str) -> Option<ArrayRef> {
    columns.iter().find(|(field, _)| field.name() == name).map(|(_, array)| array.clone())
}

/// The smallest number, and the one after the largest.
pub(super) fn bounds<'n>(numbers: impl Iterator<Item = &'n u64>) -> (u64, u64) {
    let (low, high) = numbers.fold((u64::MAX, 0), |(low, high), n| (low.min(*n), high.max(n + 1)));
    (low.min(high), high)
}

/// The named part, or the first that has rows; a table before an image. Where rows are objects, a file may be `empty`.
fn default_part(path: &Path, file: &dyn SourceFile, name: Option<&str>, empty: bool) -> Result<usize> {
    if let Some(name) = name {
        return find_part(path, file.parts(), name);
    }
    let parts = file.parts();
    let table =
        parts.iter().position(|p| p.rows > 0 && !(p.fields.len() == 1 && p.fields.iter().all(|f| f.name == "image")));
    let any = || parts.iter().position(|p| p.rows > 0);
    let none = || (empty && !parts.is_empty()).then_some(0);
    table.or_else(any).or_else(none).ok_or_else(|| source(path, "", "holds no row".into(), "leave the file out"))
}
