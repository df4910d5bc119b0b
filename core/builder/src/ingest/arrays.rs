//! Small things on arrays that objects are made of.

use super::mapping::Kind;
use crate::files::nest::ragged;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, UInt64Array};
use arrow_schema::DataType;
use std::sync::Arc;

/// Measured numbers are single precision, but times are not: days since 1858 need more.
pub(super) fn default_kind(field: &str, array: &ArrayRef) -> Option<Kind> {
    let mut inner = array.clone();
    while let Some((_, values)) = crate::describe::list(&inner) {
        inner = values;
    }
    let number = inner.data_type().is_numeric();
    number.then_some(if matches!(field, "time" | "mjd" | "phase") { Kind::F64 } else { Kind::F32 })
}

pub(super) fn plain_type(kind: Option<Kind>) -> DataType {
    match kind {
        Some(Kind::F32) => DataType::Float32,
        Some(Kind::Int) => DataType::Int64,
        Some(Kind::Bool) => DataType::Boolean,
        Some(Kind::Text) => DataType::Utf8,
        Some(Kind::F64) | None => DataType::Float64,
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
