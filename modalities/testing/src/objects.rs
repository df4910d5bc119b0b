//! Rows for tests, written as JSON: `{"object_id": "a", "lightcurve": {"time": [1.0, 2.0]}}`.
//!
//! A missing key or `null` is null. JSON has no NaN, so the texts `"NaN"`, `"inf"` and `"-inf"`
//! stand for those numbers in a column of floats.

use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, UInt8Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};
use panchroma_core::Rows;
use serde_json::Value;
use std::sync::Arc;

/// Objects of a test: their names and columns.
#[derive(Clone, Debug)]
pub struct Objects {
    rows: Rows,
    /// The same with NaN and infinities among all floats, in list after list.
    poisoned: Rows,
}

impl Objects {
    /// Objects from a JSON list; `fields` are the columns besides `object_id`. Numbers, texts,
    /// flags, lists of any depth and structs are known.
    ///
    /// # Panics
    /// If `objects` is not a list of maps with `object_id`, has a key that `fields` lacks, or a value of another type.
    #[must_use]
    pub fn new(objects: &Value, fields: Vec<Field>) -> Self {
        let Value::Array(list) = objects else { panic!("expected a list of objects, got {objects}") };
        let name = |object: &Value| object.get("object_id").and_then(text);
        let ids: Vec<String> =
            list.iter().map(|o| name(o).unwrap_or_else(|| panic!("no text `object_id` in {o}"))).collect();
        let fields = Fields::from(fields);
        for key in list.iter().filter_map(Value::as_object).flat_map(|o| o.keys()) {
            assert!(
                key == "object_id" || fields.find(key).is_some(),
                "column `{key}` is not in the fields of the test"
            );
        }
        let parents: Vec<Option<&Value>> = list.iter().map(Some).collect();
        let columns: Vec<ArrayRef> = fields.iter().map(|f| child(&parents, f)).collect();
        let bad = columns.iter().map(poison).collect();
        let rows = |columns| {
            let batch = record_batch(fields.clone(), columns, list.len());
            Rows::new(ids.clone(), batch).unwrap_or_else(|e| panic!("{e}"))
        };
        Self { rows: rows(columns), poisoned: rows(bad) }
    }

    /// Objects that were read from a catalogue; these are never poisoned.
    #[must_use]
    pub fn from_rows(rows: Rows) -> Self {
        Self { poisoned: rows.clone(), rows }
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All objects as rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.rows.clone()
    }

    /// The rows with NaN, infinities and huge numbers among all floats, in list after list.
    #[must_use]
    pub fn poisoned(&self) -> Rows {
        self.poisoned.clone()
    }

    /// The objects at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is out of range.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let take = |rows: &Rows| rows.take(indices).unwrap_or_else(|e| panic!("{e}"));
        Self { rows: take(&self.rows), poisoned: take(&self.poisoned) }
    }
}

fn record_batch(fields: Fields, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .unwrap_or_else(|e| panic!("{e}"))
}

/// The array of `field` in each map of `parents`.
fn child(parents: &[Option<&Value>], field: &Field) -> ArrayRef {
    let values: Vec<Option<&Value>> =
        parents.iter().map(|p| p.and_then(|p| p.get(field.name())).filter(|v| !v.is_null())).collect();
    array(field.name(), field.data_type(), &values)
}

fn array(name: &str, data_type: &DataType, values: &[Option<&Value>]) -> ArrayRef {
    fn each<T>(name: &str, values: &[Option<&Value>], read: impl Fn(&Value) -> Option<T>) -> Vec<Option<T>> {
        let one = |v: &Value| read(v).unwrap_or_else(|| panic!("`{name}`: {v} is of another type"));
        values.iter().map(|v| v.map(one)).collect()
    }
    match data_type {
        DataType::Float32 => Arc::new(Float32Array::from(each(name, values, |v| number(v).map(|x| x as f32)))),
        DataType::Float64 => Arc::new(Float64Array::from(each(name, values, number))),
        DataType::Int32 => {
            Arc::new(Int32Array::from(each(name, values, |v| v.as_i64().and_then(|x| i32::try_from(x).ok()))))
        }
        DataType::Int64 => Arc::new(Int64Array::from(each(name, values, Value::as_i64))),
        DataType::UInt8 => {
            Arc::new(UInt8Array::from(each(name, values, |v| v.as_u64().and_then(|x| u8::try_from(x).ok()))))
        }
        DataType::Boolean => Arc::new(BooleanArray::from(each(name, values, Value::as_bool))),
        DataType::Utf8 => Arc::new(StringArray::from(each(name, values, text))),
        DataType::LargeUtf8 => Arc::new(LargeStringArray::from(each(name, values, text))),
        DataType::List(item) => {
            let lists = each(name, values, |v| v.as_array().cloned());
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|l| l.as_ref().map_or(0, Vec::len)));
            let leaves: Vec<Option<&Value>> =
                lists.iter().flatten().flatten().map(|v| Some(v).filter(|v| !v.is_null())).collect();
            let nulls = NullBuffer::from_iter(lists.iter().map(Option::is_some));
            Arc::new(ListArray::new(item.clone(), offsets, array(name, item.data_type(), &leaves), Some(nulls)))
        }
        DataType::Struct(fields) => {
            let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
            let columns = fields.iter().map(|f| child(values, f)).collect();
            let made = StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), values.len());
            Arc::new(made.unwrap_or_else(|e| panic!("`{name}`: {e}")))
        }
        other => panic!("`{name}`: tests can't make {other}"),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Replaces four floats of every seven; those left let something be measured.
fn poison(column: &ArrayRef) -> ArrayRef {
    const PATTERN: [Option<f64>; 7] =
        [Some(f64::NAN), None, Some(f64::INFINITY), None, Some(f64::NEG_INFINITY), None, Some(f64::MAX)];
    let bad = |i: usize| PATTERN[i % PATTERN.len()];
    if let Some(floats) = column.as_any().downcast_ref::<PrimitiveArray<Float32Type>>() {
        let values = floats.iter().enumerate().map(|(i, v)| v.map(|v| bad(i).map_or(v, |b| b as f32)));
        Arc::new(values.collect::<Float32Array>())
    } else if let Some(floats) = column.as_any().downcast_ref::<PrimitiveArray<Float64Type>>() {
        Arc::new(floats.iter().enumerate().map(|(i, v)| v.map(|v| bad(i).unwrap_or(v))).collect::<Float64Array>())
    } else if let Some(list) = column.as_any().downcast_ref::<ListArray>() {
        let DataType::List(item) = list.data_type() else { return column.clone() };
        Arc::new(ListArray::new(item.clone(), list.offsets().clone(), poison(list.values()), list.nulls().cloned()))
    } else if let Some(group) = column.as_any().downcast_ref::<StructArray>() {
        let columns = group.columns().iter().map(poison).collect();
        Arc::new(StructArray::new(group.fields().clone(), columns, group.nulls().cloned()))
    } else {
        column.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(data_type: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("element", data_type, true)))
    }

    fn some_objects() -> Objects {
        let flux = Field::new("flux", item(DataType::Float32), true);
        let fields = vec![
            Field::new("lightcurve", DataType::Struct(vec![flux].into()), true),
            Field::new("redshift", DataType::Float64, true),
        ];
        let objects = json!([
            {"object_id": "a", "lightcurve": {"flux": [1.0, "NaN", null]}, "redshift": 0.5},
            {"object_id": "b", "redshift": null},
            {"object_id": "c", "lightcurve": {"flux": [2.0]}},
        ]);
        Objects::new(&objects, fields)
    }

    #[test]
    fn json_becomes_rows() {
        let rows = some_objects().rows();
        assert_eq!(rows.ids(), ["a", "b", "c"]);
        assert_eq!(rows.numbers("redshift").unwrap(), [Some(0.5), None, None]);
        let flux = rows.ragged_f32("lightcurve.flux").unwrap();
        assert_eq!(flux.present, [true, false, true]);
        assert_eq!(flux.row(0)[0], 1.0);
        assert!(flux.row(0)[1].is_nan() && flux.row(0)[2].is_nan());
        assert_eq!(flux.row(2), [2.0]);
    }

    #[test]
    fn selection_keeps_rows_whole() {
        let rows = some_objects().select(&[2, 0]).rows();
        assert_eq!(rows.ids(), ["c", "a"]);
        assert_eq!(rows.ragged_f32("lightcurve.flux").unwrap().row(0), [2.0]);
        assert_eq!(rows.numbers("redshift").unwrap(), [None, Some(0.5)]);
    }

    #[test]
    fn poison_reaches_the_leaves() {
        let rows = some_objects().poisoned();
        let flux = rows.ragged_f32("lightcurve.flux").unwrap();
        assert!(flux.row(0)[0].is_nan());
        assert_eq!(flux.row(2), [2.0]); // The fourth leaf stays.
    }
}
