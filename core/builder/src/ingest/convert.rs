//! What is done to the values of a column on their way into the catalogue.

use super::arrays::plain_type;
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
    let by = match &value.to {
        None => 1.0,
        Some(to) => {
            let from = value.unit.as_deref().or(unit).ok_or_else(|| {
                format!(
                    "the file does not say its unit, so that it can't be converted to `{to}`; set `unit` in the mapping"
                )
            })?;
            factor(from, to).ok_or_else(|| format!("`{from}` can't be converted to `{to}`"))?
        }
    };
    // Of a logarithm the unit is that of what it is the logarithm of.
    let logarithm = value.transform == Some(Transform::Pow10);
    if by != 1.0 && !logarithm {
        array = map(&array, |v| v * by)?;
    }
    let mut kind = value.kind.or(kind);
    if let Some(transform) = value.transform {
        array = match transform {
            Transform::Pow10 => map(&array, |v| by * 10f64.powf(v))?,
            Transform::Absolute => map(&array, f64::abs)?,
            Transform::InverseSquare => map(&array, |v| {
                let ivar = 1.0 / (v * v);
                if ivar.is_finite() { ivar } else { 0.0 }
            })?,
            Transform::Nonzero => flags(&array, |v| v != 0.0)?,
            Transform::Zero => flags(&array, |v| v == 0.0)?,
        };
        if matches!(transform, Transform::Nonzero | Transform::Zero) {
            kind = value.kind;
        }
    }
    if kind == Some(Kind::Int)
        && array.data_type().is_floating()
        && let Some(odd) = numbers(&array)?.iter().flatten().find(|v| v.fract() != 0.0)
    {
        return Err(format!("expected whole numbers, got {odd}"));
    }
    let target = match kind {
        None => match array.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => DataType::Utf8,
            _ => return Ok(array),
        },
        Some(kind) => plain_type(kind),
    };
    if *array.data_type() == target {
        return Ok(array);
    }
    cast_with_options(&array, &target, &strict()).map_err(|e| e.to_string())
}

/// The unit that a column has in the catalogue, as far as it is known; `file` is what the file says.
pub(super) fn unit_of(value: &Value, file: Option<&str>) -> Option<String> {
    let file = file.filter(|unit| !unit.trim().is_empty() && value.transform != Some(Transform::Pow10));
    let unit = value.to.as_deref().or(value.unit.as_deref()).or(file)?;
    match value.transform {
        Some(Transform::Nonzero | Transform::Zero) => None,
        Some(Transform::InverseSquare) => Some(format!("({unit})^-2")),
        _ => Some(unit.into()),
    }
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
