//! One file of a survey -> objects in the columns of the catalogue.

use super::arrays::{default_kind, plain_type, repeated, stack, take};
use super::convert::convert;
use super::mapping::{Constant, Group, Kind, Layout, Mapping, Value};
use crate::files::nest::{list_of, ragged};
use crate::files::{self, SourceFile, find_field, find_part, place, source};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, StructArray, new_null_array};
use arrow_schema::{DataType, Field, Fields, Schema};
use panchroma_core::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a table that become objects at once.
const ROWS: usize = 256;

/// Gives the objects of `path` to `emit`, some at a time.
pub(super) fn objects(path: &Path, mapping: &Mapping, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    let mut open = Open::new(path, mapping)?;
    match mapping.source.layout {
        Layout::File => emit(open.batch(&Select::File)?),
        Layout::Row => {
            let rows = open.rows();
            (0..rows).step_by(ROWS).try_for_each(|from| emit(open.batch(&Select::Rows(from..rows.min(from + ROWS)))?))
        }
        Layout::Group => {
            for (objects, samples) in open.groups()? {
                emit(open.batch(&Select::Groups { objects, samples })?)?;
            }
            Ok(())
        }
    }
}

/// Rows of plain columns, and rows of the samples of each.
type Grouped = (Vec<u64>, Vec<Vec<u64>>);

/// Which rows become objects.
enum Select {
    File,
    Rows(Range<usize>),
    /// Rows of the plain columns, and rows of the samples of each object.
    Groups {
        objects: Vec<u64>,
        samples: Vec<Vec<u64>>,
    },
}

impl Select {
    fn len(&self) -> usize {
        match self {
            Self::File => 1,
            Self::Rows(rows) => rows.len(),
            Self::Groups { objects, .. } => objects.len(),
        }
    }
}

struct Open<'a> {
    path: &'a Path,
    mapping: &'a Mapping,
    file: Box<dyn SourceFile>,
    part: usize,
    /// The file with the samples of groups, if it is another.
    samples: Option<(PathBuf, Box<dyn SourceFile>)>,
    samples_part: usize,
}

impl<'a> Open<'a> {
    fn new(path: &'a Path, mapping: &'a Mapping) -> Result<Self> {
        let file = files::open(path)?;
        let part = default_part(path, file.as_ref(), mapping.source.part.as_deref())?;
        let mut this = Self { path, mapping, file, part, samples: None, samples_part: part };
        if let Some(group) = &mapping.source.group {
            if let (Some(replace), Some(with)) = (&group.replace, &group.with) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().replace(replace.as_str(), with);
                let other = path.with_file_name(name);
                let opened = files::open(&other)?;
                this.samples_part = default_part(&other, opened.as_ref(), group.part.as_deref())?;
                this.samples = Some((other, opened));
            } else if let Some(part) = &group.part {
                this.samples_part = find_part(path, this.file.parts(), part)?;
            }
        }
        Ok(this)
    }

    fn rows(&self) -> usize {
        self.file.parts().get(self.part).map_or(0, |p| p.rows)
    }

    /// Rows of the objects' plain columns with rows of their samples, some objects at a time.
    fn groups(&mut self) -> Result<Vec<Grouped>> {
        let Some(group) = &self.mapping.source.group else { return Ok(Vec::new()) };
        let rows = self.rows();
        let found: Vec<(u64, Vec<u64>)> = match group {
            Group { key: Some(key), .. } => {
                let keys = self.file.read(self.part, key, 0..rows)?;
                let keys =
                    arrow_cast::cast(&keys, &DataType::Utf8).map_err(|e| self.wrong(self.part, key, e.to_string()))?;
                let mut place_of: HashMap<&str, usize> = HashMap::new();
                let mut found: Vec<(u64, Vec<u64>)> = Vec::new();
                for (row, key) in (0u64..).zip(keys.as_string::<i32>().iter()) {
                    let Some(key) = key else { continue };
                    let place = *place_of.entry(key).or_insert_with(|| {
                        found.push((row, Vec::new()));
                        found.len() - 1
                    });
                    found[place].1.push(row);
                }
                found
            }
            Group { first: Some(first), last: Some(last), .. } => {
                let part = self.samples_part;
                let (_, table) = self.table();
                let have = table.parts().get(part).map_or(0, |p| p.rows) as i64;
                let (first_name, last_name) = (first.clone(), last.clone());
                let first = self.whole(first)?;
                let last = self.whole(last)?;
                let mut found = Vec::new();
                for (row, (from, to)) in (0u64..).zip(first.into_iter().zip(last)) {
                    if from < 1 || to < from - 1 || to > have {
                        let reason = format!(
                            "row {row} has samples {from} to {to} by `{first_name}` and `{last_name}`, of {have} counted from 1"
                        );
                        return Err(self.wrong(self.part, "", reason));
                    }
                    found.push((row, ((from - 1) as u64..to as u64).collect()));
                }
                found
            }
            Group { .. } => Vec::new(),
        };
        Ok(found.chunks(ROWS).map(|chunk| chunk.iter().cloned().unzip()).collect())
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
    fn table(&mut self) -> (PathBuf, &mut dyn SourceFile) {
        match &mut self.samples {
            Some((path, file)) => (path.clone(), file.as_mut()),
            None => (self.path.into(), self.file.as_mut()),
        }
    }

    fn wrong(&self, part: usize, field: &str, reason: String) -> Error {
        source(self.path, &place(self.file.parts(), part, field), reason, "check the mapping, or leave the file out")
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
            columns.push((Field::new(name, array.data_type().clone(), true), array));
        }
        for (name, fields) in &mapping.measurement {
            let mut inner: Vec<(Arc<Field>, ArrayRef)> = Vec::new();
            for (field, value) in fields {
                let array = self.list(name, field, value, select)?;
                inner.push((Arc::new(Field::new(field, array.data_type().clone(), true)), array));
            }
            let (fields, arrays): (Vec<_>, Vec<_>) = inner.into_iter().unzip();
            let nulls: Vec<bool> = (0..select.len()).map(|row| arrays.iter().any(|a| a.is_valid(row))).collect();
            let nulls = nulls.contains(&false).then(|| nulls.into());
            let structure = StructArray::try_new(Fields::from(fields), arrays, nulls)
                .map_err(|e| self.wrong(self.part, name, e.to_string()))?;
            columns.push((Field::new(name, structure.data_type().clone(), true), Arc::new(structure)));
        }
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|e| self.wrong(self.part, "", e.to_string()))
    }

    fn part_of(&self, value: &Value) -> Result<usize> {
        value.part.as_ref().map_or(Ok(self.part), |name| find_part(self.path, self.file.parts(), name))
    }

    /// One value per object.
    fn plain(&mut self, name: &str, value: &Value, kind: Option<Kind>, select: &Select) -> Result<ArrayRef> {
        let rows = select.len();
        let (part, mut unit) = (self.part_of(value)?, None);
        let array: ArrayRef = if let Some(from) = &value.from {
            let found = find_field(self.path, self.file.parts(), part, from);
            let found = match found {
                Err(_) if value.optional => return Ok(new_null_array(&plain_type(value.kind.or(kind)), rows)),
                found => found?.clone(),
            };
            unit = found.unit.clone();
            let have = self.file.parts().get(part).map_or(0, |p| p.rows);
            match select {
                Select::File if have == 0 => return Err(self.wrong(part, from, "has no row".into())),
                Select::File => self.file.read(part, from, 0..1)?,
                Select::Rows(rows) => self.file.read(part, from, rows.clone())?,
                Select::Groups { objects, .. } => {
                    let all = self.file.read(part, from, 0..have)?;
                    take(&all, objects.iter().copied()).map_err(|e| self.wrong(part, from, e))?
                }
            }
        } else if let Some(key) = &value.keyword {
            match self.file.keyword(part, key) {
                Some(found) => repeated(&found, rows),
                None if value.optional => return Ok(new_null_array(&plain_type(value.kind.or(kind)), rows)),
                None => return Err(self.wrong(part, "", format!("has no keyword `{key}`"))),
            }
        } else if let Some(after) = &value.file_name {
            let text = self.name_part(after, value.until.as_deref())?;
            Arc::new(StringArray::from(vec![text; rows]))
        } else {
            match &value.constant {
                Some(Constant::Flag(flag)) => Arc::new(BooleanArray::from(vec![*flag; rows])),
                Some(Constant::Number(number)) => Arc::new(Float64Array::from(vec![*number; rows])),
                Some(Constant::Text(text)) => Arc::new(StringArray::from(vec![text.as_str(); rows])),
                _ => return Err(self.wrong(part, name, "expected one value per object, not a list".into())),
            }
        };
        if array.as_list_opt::<i32>().is_some() && matches!(name, "object_id" | "ra" | "dec") {
            return Err(self.wrong(part, name, "expected one value per object, got a list".into()));
        }
        convert(&array, value, unit.as_deref(), kind)
            .map_err(|e| self.wrong(part, value.from.as_deref().unwrap_or(name), e))
    }

    /// Text of the file's name.
    fn name_part(&self, after: &str, until: Option<&str>) -> Result<String> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let rest = match after {
            "" => Some(name.as_ref()),
            after => name.split_once(after).map(|(_, rest)| rest),
        };
        let found = rest.and_then(|rest| match until {
            Some(until) => rest.split_once(until).map(|(found, _)| found),
            None => Some(rest.rsplit_once('.').map_or(rest, |(found, _)| found)),
        });
        let reason = || format!("its name has nothing between `{after}` and `{}`", until.unwrap_or("."));
        found.filter(|f| !f.is_empty()).map(str::to_owned).ok_or_else(|| self.wrong(usize::MAX, "", reason()))
    }

    /// A list per object.
    fn list(&mut self, measurement: &str, field: &str, value: &Value, select: &Select) -> Result<ArrayRef> {
        let rows = select.len();
        if let Some(constant) = &value.constant {
            let values: ArrayRef = match constant {
                Constant::Flag(flag) => Arc::new(BooleanArray::from(vec![*flag; rows])),
                Constant::Number(number) => Arc::new(Float64Array::from(vec![*number; rows])),
                Constant::Text(text) => Arc::new(StringArray::from(vec![text.as_str(); rows])),
                Constant::Texts(texts) => Arc::new((0..rows).flat_map(|_| texts).map(Some).collect::<StringArray>()),
                Constant::Numbers(numbers) => {
                    Arc::new((0..rows).flat_map(|_| numbers).copied().map(Some).collect::<Float64Array>())
                }
            };
            let lists = ragged(values.clone(), std::iter::repeat_n(values.len().checked_div(rows).unwrap_or(0), rows));
            let lists = lists.map_err(|e| self.wrong(self.part, field, e.to_string()))?;
            return convert(&lists, value, None, default_kind(field, &lists))
                .map_err(|e| self.wrong(self.part, field, e));
        }
        if let (Some(start), Some(step), Some(along)) = (&value.start, &value.step, &value.along) {
            return self.axis(field, value, (start, step, along), select);
        }
        if let Some(planes) = &value.planes {
            let mut each = Vec::new();
            for plane in planes {
                let (from, part) =
                    plane.split_once('@').map_or((plane.as_str(), None), |(f, p)| (f, Some(p.to_owned())));
                let value = Value { from: Some(from.into()), part, ..Value::default() };
                each.push(self.samples(measurement, field, &value, select)?.0);
            }
            let stacked = stack(&each).map_err(|e| self.wrong(self.part, field, e))?;
            return convert(&stacked, value, None, default_kind(field, &stacked))
                .map_err(|e| self.wrong(self.part, field, e));
        }
        let Some(from) = &value.from else {
            let place = format!("{measurement}.{field}");
            let reason = "expected `from`, `planes`, `constant` or `start` for a measurement".to_owned();
            return Err(self.wrong(self.part, &place, reason));
        };
        let part = self.part_of(value)?;
        let grouped = matches!(select, Select::Groups { .. });
        let lacks = !grouped && value.optional && find_field(self.path, self.file.parts(), part, from).is_err();
        if lacks {
            let kind = value.kind.unwrap_or(if field == "time" { Kind::F64 } else { Kind::F32 });
            return Ok(new_null_array(&list_of(plain_type(Some(kind))), rows));
        }
        let (lists, unit) = self.samples(measurement, field, value, select)?;
        convert(&lists, value, unit.as_deref(), default_kind(field, &lists)).map_err(|e| self.wrong(part, from, e))
    }

    /// Lists of a column as the file has them, and its unit.
    fn samples(
        &mut self,
        measurement: &str,
        field: &str,
        value: &Value,
        select: &Select,
    ) -> Result<(ArrayRef, Option<String>)> {
        let from = value.from.as_deref().unwrap_or_default();
        if let Select::Groups { samples, .. } = select {
            let part = self.samples_part;
            let (path, table) = self.table();
            let unit = find_field(&path, table.parts(), part, from)?.unit.clone();
            let all = || samples.iter().flatten().copied();
            let (low, high) = (all().min().unwrap_or(0), all().max().map_or(0, |h| h + 1));
            let read = table.read(part, from, low as usize..high as usize)?;
            let values = take(&read, all().map(|row| row - low)).map_err(|e| self.wrong(part, from, e))?;
            let lists = ragged(values, samples.iter().map(Vec::len));
            return Ok((lists.map_err(|e| self.wrong(part, from, e.to_string()))?, unit));
        }
        let part = self.part_of(value)?;
        let found = find_field(self.path, self.file.parts(), part, from)?.clone();
        let have = self.file.parts().get(part).map_or(0, |p| p.rows);
        let nested =
            matches!(found.data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..));
        let array = match select {
            Select::File if nested && have == 1 => self.file.read(part, from, 0..1)?,
            Select::File => {
                let values = self.file.read(part, from, 0..have)?;
                ragged(values, [have]).map_err(|e| self.wrong(part, from, e.to_string()))?
            }
            Select::Rows(rows) if !found.per_row => {
                let one = self.file.read(part, from, 0..1)?;
                take(&one, rows.clone().map(|_| 0)).map_err(|e| self.wrong(part, from, e))?
            }
            Select::Rows(rows) => self.file.read(part, from, rows.clone())?,
            Select::Groups { .. } => return Err(self.wrong(part, from, "no group".into())),
        };
        if array.as_list_opt::<i32>().is_none() && !nested {
            let reason = format!("has one value per row, but `{measurement}.{field}` needs a list; is `layout` right?");
            return Err(self.wrong(part, from, reason));
        }
        Ok((array, found.unit))
    }

    /// An evenly spaced axis from keywords.
    fn axis(&mut self, field: &str, value: &Value, keys: (&str, &str, &str), select: &Select) -> Result<ArrayRef> {
        let part = self.part_of(value)?;
        let number = |key: &str| {
            let found = self.file.keyword(part, key).and_then(|v| v.as_f64());
            found.ok_or_else(|| self.wrong(part, "", format!("has no keyword `{key}` with a number")))
        };
        let (start, step) = (number(keys.0)?, number(keys.1)?);
        let along = Value { from: Some(keys.2.into()), part: value.part.clone(), ..Value::default() };
        let (lists, _) = self.samples(field, field, &along, select)?;
        let lengths: Vec<usize> =
            (0..lists.len()).map(|row| lists.as_list::<i32>().value_length(row) as usize).collect();
        let points = lengths.iter().flat_map(|length| (0..*length).map(|i| start + step * i as f64));
        let values: ArrayRef = Arc::new(points.map(Some).collect::<Float64Array>());
        let axis = ragged(values, lengths).map_err(|e| self.wrong(part, field, e.to_string()))?;
        convert(&axis, value, None, default_kind(field, &axis)).map_err(|e| self.wrong(part, field, e))
    }
}

/// The named part, or the first that has rows; a table before an image.
fn default_part(path: &Path, file: &dyn SourceFile, name: Option<&str>) -> Result<usize> {
    if let Some(name) = name {
        return find_part(path, file.parts(), name);
    }
    let parts = file.parts();
    let table =
        parts.iter().position(|p| p.rows > 0 && !(p.fields.len() == 1 && p.fields.iter().all(|f| f.name == "image")));
    let any = || parts.iter().position(|p| p.rows > 0);
    table.or_else(any).ok_or_else(|| source(path, "", "holds no row".into(), "leave the file out"))
}
