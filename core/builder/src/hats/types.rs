//! One type for a column that files write in several: nothing that a file says is lost.

use crate::files::nest::{list_of, ragged};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, NullArray, RecordBatch, StructArray, UInt32Array, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use std::sync::Arc;

/// The narrowest type that holds the values of both; none if there is no such type.
///
/// [`DataType::Null`] is what a column is of while it has no value.
pub(crate) fn widen(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Float16, Float32, Float64, Int8, Int16, Int32, Int64, List, Null, Struct, UInt8, UInt16, UInt32, UInt64,
    };
    // Bits of whole numbers, and whether they are signed.
    let bits = |t: &DataType| match t {
        Int8 => Some((8, true)),
        Int16 => Some((16, true)),
        Int32 => Some((32, true)),
        Int64 => Some((64, true)),
        UInt8 => Some((8, false)),
        UInt16 => Some((16, false)),
        UInt32 => Some((32, false)),
        UInt64 => Some((64, false)),
        _ => None,
    };
    let float = |t: &DataType| matches!(t, Float16 | Float32 | Float64);
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (List(a), List(b)) => Some(list_of(widen(a.data_type(), b.data_type())?)),
        (Struct(a), Struct(b)) => {
            let each = a.iter().zip(b.iter()).map(|(a, b)| {
                let data_type = (a.name() == b.name()).then(|| widen(a.data_type(), b.data_type()))??;
                Some(Field::new(a.name(), data_type, true))
            });
            (a.len() == b.len()).then(|| each.collect::<Option<Fields>>().map(Struct))?
        }
        _ if float(a) && float(b) => Some(if *a == Float64 || *b == Float64 { Float64 } else { Float32 }),
        _ => match (bits(a), bits(b)) {
            (Some((a, signed)), Some((b, other))) => Some(match (a.max(b), signed, other) {
                (most, false, false) => {
                    [UInt16, UInt32, UInt64].into_iter().find(|t| bits(t) >= Some((most, false)))?
                }
                (most, true, true) => [Int16, Int32, Int64].into_iter().find(|t| bits(t) >= Some((most, true)))?,
                // A sign takes the place of a bit; beyond 64 there is nothing.
                (_, signed, _) => match if signed { 2 * b } else { 2 * a }.max(a).max(b) {
                    ..=16 => Int16,
                    17..=32 => Int32,
                    33..=64 => Int64,
                    _ => Float64,
                },
            }),
            // Single precision holds 24 bits.
            (Some((bits, _)), None) if float(b) => Some(if bits <= 16 { b.clone() } else { Float64 }),
            (None, Some((bits, _))) if float(a) => Some(if bits <= 16 { a.clone() } else { Float64 }),
            _ => None,
        },
    }
}

/// The columns of two batches of one mapping; an error names the column whose types have nothing in common.
pub(crate) fn widen_schemas(a: &Schema, b: &Schema) -> Result<SchemaRef, (String, DataType, DataType)> {
    let each = a.fields().iter().zip(b.fields()).map(|(a, b)| match widen(a.data_type(), b.data_type()) {
        Some(data_type) => Ok(Field::new(a.name(), data_type, a.is_nullable() || b.is_nullable())),
        None => Err(conflict(a.name(), a.data_type(), b.data_type())),
    });
    Ok(Arc::new(Schema::new(each.collect::<Result<Vec<_>, _>>()?)))
}

/// The innermost column that differs, dotted.
fn conflict(name: &str, a: &DataType, b: &DataType) -> (String, DataType, DataType) {
    if let (DataType::Struct(a), DataType::Struct(b)) = (a, b)
        && let Some((a, b)) = a.iter().zip(b.iter()).find(|(a, b)| widen(a.data_type(), b.data_type()).is_none())
    {
        return conflict(&format!("{name}.{}", a.name()), a.data_type(), b.data_type());
    }
    (name.to_owned(), a.clone(), b.clone())
}

/// A column in a wider type; fields of structs by name.
fn fit(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    match (to, array.as_struct_opt()) {
        (DataType::Struct(fields), Some(from)) => {
            let columns = fields.iter().map(|field| match from.column_by_name(field.name()) {
                Some(column) => fit(column, field.data_type()),
                None => Ok(new_null_array(field.data_type(), from.len())),
            });
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, from.nulls().cloned())?))
        }
        _ => cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() }),
    }
}

/// A batch in the columns and types of `schema`. Lists of a measurement that an object lacks are as long as the others: `lsdb`
/// wants lists of one length.
pub(crate) fn fit_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => level(fit(column, field.data_type())?),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, _>>()?)
}

/// Fills lists of plain values that are null beside lists that are not, with nulls.
fn level(array: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(structure) = array.as_struct_opt() else { return Ok(array) };
    let lists = || structure.columns().iter().filter_map(|column| column.as_list_opt::<i32>());
    let length = |row: usize| lists().find(|list| list.is_valid(row)).map_or(0, |list| list.value_length(row));
    let uneven = |list: &ListArray| (0..list.len()).any(|row| list.is_null(row) && length(row) > 0);
    if !lists().any(|list| list.null_count() > 0 && uneven(list)) {
        return Ok(array);
    }
    let columns = structure.columns().iter().map(|column| -> Result<ArrayRef, ArrowError> {
        match column.as_list_opt::<i32>() {
            Some(list) if !list.value_type().is_nested() && list.null_count() > 0 && uneven(list) => {
                let mut picks: Vec<Option<u32>> = Vec::new();
                let mut lengths = Vec::with_capacity(list.len());
                for row in 0..list.len() {
                    let own = if list.is_valid(row) { list.value_length(row) } else { length(row) };
                    let first = list.value_offsets().get(row).copied().unwrap_or_default();
                    picks.extend((0..own).map(|i| list.is_valid(row).then_some((first + i) as u32)));
                    lengths.push(own as usize);
                }
                let values = arrow_select::take::take(list.values(), &UInt32Array::from(picks), None)?;
                let valid = (0..list.len()).map(|row| list.is_valid(row) || length(row) > 0).collect::<Vec<_>>();
                ragged_with_nulls(values, lengths, valid)
            }
            _ => Ok(column.clone()),
        }
    });
    let (fields, _, nulls) = structure.clone().into_parts();
    Ok(Arc::new(StructArray::try_new(fields, columns.collect::<Result<Vec<_>, _>>()?, nulls)?))
}

fn ragged_with_nulls(values: ArrayRef, lengths: Vec<usize>, valid: Vec<bool>) -> Result<ArrayRef, ArrowError> {
    let lists = ragged(values, lengths)?;
    let (field, offsets, values, _) = lists.as_list::<i32>().clone().into_parts();
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(valid.into()))?))
}

/// A column without values is of no type, whatever the file calls it.
pub(crate) fn untyped(array: ArrayRef) -> ArrayRef {
    if array.null_count() == array.len() { Arc::new(NullArray::new(array.len())) } else { array }
}

/// What is left of columns of no type when all is read: numbers, or nothing where there are other fields.
pub(crate) fn settled(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().filter_map(|field| {
        let data_type = match field.data_type() {
            DataType::Null => DataType::Float64,
            DataType::Struct(fields) => {
                let kept: Fields = fields.iter().filter(|f| *f.data_type() != DataType::Null).cloned().collect();
                if kept.is_empty() {
                    return None;
                }
                DataType::Struct(kept)
            }
            other => other.clone(),
        };
        Some(Field::new(field.name(), data_type, field.is_nullable()))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int64Array};

    #[test]
    fn types_widen_as_far_as_they_must_and_no_further() {
        use DataType::{Boolean, Float32, Float64, Int8, Int16, Int32, Int64, Null, UInt8, UInt32, UInt64, Utf8};
        for (a, b, both) in [
            (Int16, Int32, Some(Int32)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int8, Some(Int64)),
            (UInt64, Int8, Some(Float64)),
            (UInt8, UInt32, Some(UInt32)),
            (Int16, Float32, Some(Float32)),
            (Int64, Float32, Some(Float64)),
            (Float32, Float64, Some(Float64)),
            (Null, Utf8, Some(Utf8)),
            (Int64, Utf8, None),
            (Boolean, Int64, None),
            (list_of(Int64), list_of(Float64), Some(list_of(Float64))),
            (list_of(Int64), Float64, None),
        ] {
            assert_eq!(widen(&a, &b), both, "{a} and {b}");
            assert_eq!(widen(&b, &a), both, "{b} and {a}");
        }
    }

    #[test]
    fn lists_that_an_object_lacks_are_as_long_as_its_others() {
        let list = |rows: Vec<Option<Vec<Option<f32>>>>| {
            let list = ListArray::from_iter_primitive::<arrow_array::types::Float32Type, _, _>(rows);
            fit(&(Arc::new(list) as ArrayRef), &list_of(DataType::Float32)).expect("lists")
        };
        let flux = list(vec![Some(vec![Some(1.0), None]), None, Some(vec![Some(3.0)])]);
        let ivar = list(vec![None, None, Some(vec![Some(9.0)])]);
        let fields = Fields::from(vec![
            Field::new("flux", flux.data_type().clone(), true),
            Field::new("ivar", ivar.data_type().clone(), true),
        ]);
        let structure = Arc::new(StructArray::new(fields, vec![flux.clone(), ivar], None)) as ArrayRef;
        let level = level(structure).expect("levelled");
        assert_eq!(level.as_struct().column(0), &flux);
        let expected = list(vec![Some(vec![None, None]), None, Some(vec![Some(9.0)])]);
        assert_eq!(level.as_struct().column(1), &expected);
    }

    #[test]
    fn columns_without_values_take_any_type_and_conflicts_are_named() {
        let schema = |data_type: DataType| {
            let inner = DataType::Struct(Fields::from(vec![Field::new("flux", data_type, true)]));
            Schema::new(vec![Field::new("spectrum", inner, true)])
        };
        let both = widen_schemas(&schema(DataType::Null), &schema(DataType::Int64)).expect("one type");
        assert_eq!(*both, schema(DataType::Int64));
        let wrong = widen_schemas(&schema(DataType::Utf8), &schema(DataType::Int64)).expect_err("no type");
        assert_eq!(wrong.0, "spectrum.flux");
        assert!(settled(&schema(DataType::Null)).fields().is_empty());
        let whole = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
        let fitted = fit(&whole, &DataType::Float64).expect("numbers");
        assert_eq!(*fitted.as_primitive::<arrow_array::types::Float64Type>(), Float64Array::from(vec![1.0, 2.0]));
    }
}
