//! Small things on arrays that objects are made of.

use super::mapping::Kind;
use crate::files::nest::ragged;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, UInt64Array};
use arrow_schema::{DataType, Field};
use std::sync::Arc;

/// Measured numbers are single precision, but times are not: days since 1858 need more. Whole numbers stay what they are.
pub(super) fn default_kind(field: &str, array: &ArrayRef) -> Option<Kind> {
    let mut inner = array.clone();
    while let Some((_, values)) = crate::describe::list(&inner) {
        inner = values;
    }
    let name = field.to_ascii_lowercase();
    let time = name == "t" || ["time", "mjd", "jd", "phase", "date", "epoch"].iter().any(|word| name.contains(word));
    inner.data_type().is_floating().then_some(if time { Kind::F64 } else { Kind::F32 })
}

pub(super) fn plain_type(kind: Kind) -> DataType {
    match kind {
        Kind::F32 => DataType::Float32,
        Kind::F64 => DataType::Float64,
        Kind::Int => DataType::Int64,
        Kind::Bool => DataType::Boolean,
        Kind::Text => DataType::Utf8,
    }
}

pub(super) fn repeated(value: &serde_json::Value, rows: usize) -> ArrayRef {
    match value {
        serde_json::Value::Bool(flag) => Arc::new(BooleanArray::from(vec![*flag; rows])),
        serde_json::Value::Number(n) if n.is_i64() => {
            Arc::new(arrow_array::Int64Array::from(vec![n.as_i64().unwrap_or_default(); rows]))
        }
        serde_json::Value::Number(n) => Arc::new(Float64Array::from(vec![n.as_f64().unwrap_or(f64::NAN); rows])),
        other => Arc::new(StringArray::from(vec![other.as_str().unwrap_or_default(); rows])),
    }
}

pub(super) fn take(array: &ArrayRef, rows: impl Iterator<Item = u64>) -> Result<ArrayRef, String> {
    let rows: UInt64Array = rows.map(Some).collect();
    arrow_select::take::take(array.as_ref(), &rows, None).map_err(|e| e.to_string())
}

/// A list per row of what each array has there.
pub(super) fn stack(arrays: &[ArrayRef]) -> Result<ArrayRef, String> {
    let rows = arrays.first().map_or(0, |a| a.len());
    let each: Vec<&dyn Array> = arrays.iter().map(|a| a.as_ref()).collect();
    let picks: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..arrays.len()).map(move |a| (a, row))).collect();
    let values = arrow_select::interleave::interleave(&each, &picks).map_err(|e| e.to_string())?;
    ragged(values, std::iter::repeat_n(arrays.len(), rows)).map_err(|e| e.to_string())
}

/// Makes lists of one value, which say the same of all samples, as long as the other lists of the measurement; `is_one` says of
/// which fields that is meant.
pub(super) fn spread(fields: &mut [(Field, ArrayRef)], is_one: impl Fn(&str) -> bool) -> Result<(), String> {
    let others = fields.iter().filter(|(field, _)| !is_one(field.name())).filter_map(|(_, a)| a.as_list_opt::<i32>());
    let Some(longest) = others.max_by_key(|list| list.values().len()).cloned() else { return Ok(()) };
    for (_, array) in fields.iter_mut().filter(|(field, _)| is_one(field.name())) {
        let Some(list) = array.as_list_opt::<i32>().filter(|list| list.values().len() == list.len()) else { continue };
        let lengths: Vec<usize> = (0..longest.len())
            .map(|row| if longest.is_null(row) { 0 } else { usize::try_from(longest.value_length(row)).unwrap_or(0) })
            .collect();
        let rows = lengths.iter().enumerate().flat_map(|(row, length)| std::iter::repeat_n(row as u64, *length));
        let values = take(list.values(), rows)?;
        *array = ragged(values, lengths).map_err(|e| e.to_string())?;
    }
    Ok(())
}
