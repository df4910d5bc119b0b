//! The columns of objects: plain values, and lists of samples.

use super::arrays::{default_kind, plain_type, repeated, stack, take};
use super::convert::{convert, unit_of};
use super::mapping::{Constant, Kind, Value};
use super::objects::{Open, Select, bounds};
use super::units::factor;
use crate::files::find_field;
use crate::files::nest::ragged;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, NullArray, StringArray, new_null_array};
use arrow_schema::DataType;
use panchroma_core::Result;
use std::sync::Arc;

impl Open<'_> {
    /// One value per object.
    pub(super) fn plain(&mut self, name: &str, value: &Value, kind: Option<Kind>, select: &Select) -> Result<ArrayRef> {
        let rows = select.len();
        let kind = value.kind.or(kind);
        let missing = |kind: Option<Kind>| match kind {
            Some(kind) => new_null_array(&plain_type(kind), rows),
            None => Arc::new(NullArray::new(rows)),
        };
        let (part, mut unit) = (self.part_of(value)?, None);
        let array: ArrayRef = if let Some(from) = &value.from {
            match self.field(part, from) {
                Err(_) if value.optional => return Ok(missing(kind)),
                found => unit = found?.unit,
            }
            // Text as the file has it: a name is no number, even if it looks like one.
            self.rows_of(part, from, select, kind == Some(Kind::Text) && value.transform.is_none())?
        } else if let Some(key) = &value.keyword {
            match self.file.keyword(part, key) {
                Some(found) => repeated(&found, rows),
                None if value.optional => return Ok(missing(kind)),
                None => return Err(self.wrong(part, "", format!("has no keyword `{key}`"))),
            }
        } else if let Some(after) = &value.file_name {
            let text = self.name_part(after, value.until.as_deref())?;
            Arc::new(StringArray::from(vec![text; rows]))
        } else {
            match value.constant.as_ref().and_then(|constant| one(constant, rows)) {
                Some(array) => array,
                None => return Err(self.wrong(part, name, "expected one value per object, not a list".into())),
            }
        };
        let place = value.from.as_deref().unwrap_or(name);
        if array.as_list_opt::<i32>().is_some() && matches!(name, "object_id" | "ra" | "dec") {
            return Err(self.wrong(part, place, "expected one value per object, got a list".into()));
        }
        let mut value = value.clone();
        if matches!(name, "ra" | "dec") && value.to.is_none() && value.unit.as_ref().or(unit.as_ref()).is_some() {
            value.to = Some("deg".into());
        }
        self.note_unit(name, &value, unit.as_deref());
        convert(&array, &value, unit.as_deref(), kind).map_err(|e| self.wrong(part, place, e))
    }

    /// Remembers a column's unit; what the file says itself and the mapping says otherwise is worth a note.
    fn note_unit(&mut self, column: &str, value: &Value, file: Option<&str>) {
        if let Some(unit) = unit_of(value, file) {
            self.units.insert(column.into(), unit);
        }
        let transformed = value.transform.is_some_and(|t| t.changes_unit());
        if let (Some(file), Some(mapping), false) = (file, &value.unit, transformed)
            && factor(file, mapping) != Some(1.0)
        {
            let note = format!("column `{column}`: files say `{file}`, the mapping says `{mapping}` and is believed");
            self.notes.insert(note);
        }
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
            None => {
                let plain = rest.strip_suffix(".gz").unwrap_or(rest);
                Some(plain.rsplit_once('.').map_or(plain, |(found, _)| found))
            }
        });
        let reason = || format!("its name has nothing between `{after}` and `{}`", until.unwrap_or("."));
        found.filter(|f| !f.is_empty()).map(str::to_owned).ok_or_else(|| self.wrong(usize::MAX, "", reason()))
    }

    /// A list per object.
    pub(super) fn list(&mut self, measurement: &str, field: &str, value: &Value, select: &Select) -> Result<ArrayRef> {
        let rows = select.len();
        let column = format!("{measurement}.{field}");
        let (lists, unit): (ArrayRef, Option<String>) = if let Some(constant) = &value.constant {
            (self.ragged(field, &many(constant, rows), rows)?, None)
        } else if value.keyword.is_some() || value.file_name.is_some() {
            // The same for all samples: as long as the other lists, in the end.
            let same = Value { kind: None, transform: None, to: None, ..value.clone() };
            let array = self.plain(&column, &same, None, select)?;
            if array.data_type() == &DataType::Null {
                return Ok(array);
            }
            (self.ragged(field, &array, rows)?, None)
        } else if let (Some(start), Some(step), Some(along)) = (&value.start, &value.step, &value.along) {
            (self.axis(field, value, (start, step, along), select)?, None)
        } else if let Some(planes) = &value.planes {
            let (mut each, mut unit) = (Vec::new(), None);
            for plane in planes {
                let (from, part) =
                    plane.split_once('@').map_or((plane.as_str(), None), |(f, p)| (f, Some(p.to_owned())));
                let value = Value { from: Some(from.into()), part, ..Value::default() };
                let (array, own) = self.samples(&column, &value, select)?;
                if each.is_empty() {
                    unit = own;
                } else if own != unit {
                    let (a, b) = (unit.unwrap_or_default(), own.unwrap_or_default());
                    return Err(self.wrong(self.part, plane, format!("is in `{b}`, the first plane in `{a}`")));
                }
                each.push(array);
            }
            (stack(&each).map_err(|e| self.wrong(self.part, field, e))?, unit)
        } else if let Some(from) = &value.from {
            if value.optional && self.lacks(value, from, select)? {
                return Ok(Arc::new(NullArray::new(rows)));
            }
            self.samples(&column, value, select)?
        } else {
            let reason = "expected `from`, `planes`, `constant` or `start` for a measurement".to_owned();
            return Err(self.wrong(self.part, &column, reason));
        };
        self.note_unit(&column, value, unit.as_deref());
        let part = self.part_of(value)?;
        convert(&lists, value, unit.as_deref(), default_kind(field, &lists))
            .map_err(|e| self.wrong(part, value.from.as_deref().unwrap_or(field), e))
    }

    /// As many values per object, in lists.
    fn ragged(&self, field: &str, values: &ArrayRef, rows: usize) -> Result<ArrayRef> {
        let length = values.len().checked_div(rows).unwrap_or(0);
        ragged(values.clone(), std::iter::repeat_n(length, rows))
            .map_err(|e| self.wrong(self.part, field, e.to_string()))
    }

    /// Whether the file has no such column.
    fn lacks(&mut self, value: &Value, from: &str, select: &Select) -> Result<bool> {
        if matches!(select, Select::Groups { .. }) {
            let part = self.samples_part;
            let (path, table) = self.table();
            return Ok(find_field(&path, table.parts(), part, from).is_err());
        }
        let part = self.part_of(value)?;
        Ok(self.field(part, from).is_err())
    }

    /// Lists of a column as the file has them, and its unit.
    fn samples(&mut self, column: &str, value: &Value, select: &Select) -> Result<(ArrayRef, Option<String>)> {
        let from = value.from.as_deref().unwrap_or_default();
        if let Select::Groups { samples, .. } = select {
            let part = self.samples_part;
            let (path, table) = self.table();
            let unit = find_field(&path, table.parts(), part, from)?.unit.clone();
            let (low, high) = bounds(samples.iter().flatten());
            let read = table.read(part, from, low as usize..high as usize)?;
            let all = samples.iter().flatten().map(|row| row - low);
            let values = take(&read, all).map_err(|e| self.wrong(part, from, e))?;
            let lists = ragged(values, samples.iter().map(Vec::len));
            return Ok((lists.map_err(|e| self.wrong(part, from, e.to_string()))?, unit));
        }
        let part = self.part_of(value)?;
        let found = self.field(part, from)?;
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
            let reason = format!("has one value per row, but `{column}` needs a list; is `layout` right?");
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
        let (lists, _) = self.samples(field, &along, select)?;
        let lengths: Vec<usize> =
            (0..lists.len()).map(|row| lists.as_list::<i32>().value_length(row) as usize).collect();
        let points = lengths.iter().flat_map(|length| (0..*length).map(|i| start + step * i as f64));
        let values: ArrayRef = Arc::new(points.map(Some).collect::<Float64Array>());
        ragged(values, lengths).map_err(|e| self.wrong(part, field, e.to_string()))
    }
}

/// One value per object; none if it is a list.
fn one(constant: &Constant, rows: usize) -> Option<ArrayRef> {
    Some(match constant {
        Constant::Flag(flag) => Arc::new(BooleanArray::from(vec![*flag; rows])),
        Constant::Number(number) => Arc::new(Float64Array::from(vec![*number; rows])),
        Constant::Text(text) => Arc::new(StringArray::from(vec![text.as_str(); rows])),
        Constant::Texts(_) | Constant::Numbers(_) => return None,
    })
}

/// The values of all objects' lists.
fn many(constant: &Constant, rows: usize) -> ArrayRef {
    match constant {
        Constant::Texts(texts) => Arc::new((0..rows).flat_map(|_| texts).map(Some).collect::<StringArray>()),
        Constant::Numbers(numbers) => {
            Arc::new((0..rows).flat_map(|_| numbers).copied().map(Some).collect::<Float64Array>())
        }
        plain => one(plain, rows).unwrap_or_else(|| Arc::new(NullArray::new(rows))),
    }
}
