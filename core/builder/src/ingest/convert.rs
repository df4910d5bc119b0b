//! What is done to the values of a column on their way into the catalogue.

use super::mapping::{Kind, Transform, Value};
use super::units::factor;
use crate::files::nest::list_of;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, ListArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use std::sync::Arc;

/// Applies unit, transform and type to the innermost values.
///
/// `unit` is what the file says; `kind` the type where the mapping says none.
pub(super) fn convert(
    array: &ArrayRef,
    value: &Value,
    unit: Option<&str>,
    kind: Option<Kind>,
) -> Result<ArrayRef, String> {
    if let Some(list) = array.as_list_opt::<i32>() {
        let inner = convert(list.values(), value, unit, kind)?;
        let DataType::List(field) = list_of(inner.data_type().clone()) else { return Err("expected a list".into()) };
        let nested = ListArray::try_new(field, list.offsets().clone(), inner, list.nulls().cloned());
        return Ok(Arc::new(nested.map_err(|e| e.to_string())?));
    }
    // Lists from Parquet come in other forms, too.
    if let DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) = array.data_type() {
        let list =
            cast_with_options(array, &list_of(inner.data_type().clone()), &strict()).map_err(|e| e.to_string())?;
        return convert(&list, value, unit, kind);
    }
    let mut array = array.clone();
    if let Some(to) = &value.to {
        let from = value.unit.as_deref().or(unit).ok_or_else(|| {
            format!(
                "the file does not say its unit, so that it can't be converted to `{to}`; set `unit` in the mapping"
            )
        })?;
        let by = factor(from, to).ok_or_else(|| format!("`{from}` can't be converted to `{to}`"))?;
        if by != 1.0 {
            array = map(&array, |v| v * by)?;
        }
    }
    if let Some(transform) = value.transform {
        array = match transform {
            Transform::Pow10 => map(&array, |v| 10f64.powf(v))?,
            Transform::Absolute => map(&array, f64::abs)?,
            Transform::InverseSquare => map(&array, |v| {
                let ivar = 1.0 / (v * v);
                if ivar.is_finite() { ivar } else { 0.0 }
            })?,
            Transform::Nonzero => flags(&array, |v| v != 0.0)?,
            Transform::Zero => flags(&array, |v| v == 0.0)?,
        };
    }
    let target = match value.kind.or(kind) {
        None => match array.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => DataType::Utf8,
            _ => return Ok(array),
        },
        Some(Kind::F32) => DataType::Float32,
        Some(Kind::F64) => DataType::Float64,
        Some(Kind::Int) => DataType::Int64,
        Some(Kind::Bool) => DataType::Boolean,
        Some(Kind::Text) => DataType::Utf8,
    };
    if *array.data_type() == target {
        return Ok(array);
    }
    cast_with_options(&array, &target, &strict()).map_err(|e| e.to_string())
}

/// What can't be converted is an error, not a null.
fn strict() -> CastOptions<'static> {
    CastOptions { safe: false, ..Default::default() }
}

fn numbers(array: &ArrayRef) -> Result<Float64Array, String> {
    let cast = cast_with_options(array, &DataType::Float64, &strict()).map_err(|e| format!("expected numbers: {e}"))?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

fn map(array: &ArrayRef, by: impl Fn(f64) -> f64) -> Result<ArrayRef, String> {
    Ok(Arc::new(numbers(array)?.unary::<_, Float64Type>(by)))
}

fn flags(array: &ArrayRef, test: impl Fn(f64) -> bool) -> Result<ArrayRef, String> {
    Ok(Arc::new(numbers(array)?.iter().map(|v| v.map(&test)).collect::<BooleanArray>()))
}
