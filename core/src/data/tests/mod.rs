//! What several tests write and build.

mod catalogue;
mod lists;
mod loader;
mod real;
mod rows;

use super::*;
use crate::Result;
use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow_array::{Array, ArrayRef, Float32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use std::path::Path;
use std::sync::Arc;

/// Named arrays as a batch.
fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn strings<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// A list array over `values`, from where lists end and which are null.
fn lists(ends: &[i32], valid: &[bool], values: ArrayRef) -> ArrayRef {
    let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends.iter().copied()).collect());
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    Arc::new(ListArray::new(field, offsets, values, Some(NullBuffer::from(valid))))
}

/// A struct of one field, null where `valid` is false; what the field holds there stays.
fn structure(name: &str, values: ArrayRef, valid: &[bool]) -> ArrayRef {
    let field = Field::new(name, values.data_type().clone(), true);
    Arc::new(StructArray::new(vec![field].into(), vec![values], Some(NullBuffer::from(valid))))
}

fn floats(values: &[f32]) -> ArrayRef {
    Arc::new(Float32Array::from(values.to_vec()))
}

/// Writes a Parquet file with row groups of `group` rows.
fn write(path: &Path, batch: &RecordBatch, group: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Objects `from..to`: object `i` is called `o{i}`, has `x = i` and a light curve of `i % 4` fluxes
/// `i, i + 1, ..`; it has none at all where `i % 5 == 4`.
fn objects(from: usize, to: usize) -> RecordBatch {
    let mut flux: Vec<f32> = Vec::new();
    let (mut ends, mut valid) = (Vec::new(), Vec::new());
    for i in from..to {
        flux.extend((0..i % 4).map(|k| (i + k) as f32));
        ends.push(flux.len() as i32);
        valid.push(i % 5 != 4);
    }
    let all = vec![true; to - from];
    let pixels: Int64Array = (from..to).map(|i| (i as i64) << 50).collect();
    batch(vec![
        ("object_id", strings((from..to).map(|i| format!("o{i}")))),
        ("x", Arc::new((from..to).map(|i| i as i64).collect::<Int64Array>())),
        ("lightcurve", structure("flux", lists(&ends, &all, floats(&flux)), &valid)),
        ("_healpix_29", Arc::new(pixels)),
    ])
}

/// A folder with objects 0 to 100 in three files and row groups of 7.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, from, to) in [("a", 0, 40), ("b", 40, 41), ("c", 41, 100)] {
        write(&folder.path().join(format!("{name}.parquet")), &objects(from, to), 7);
    }
    folder
}

fn columns() -> Vec<Column> {
    vec![Column::number("x"), Column::number("lightcurve.flux").list()]
}

fn open(path: &Path) -> Result<Catalogue> {
    Catalogue::open(&DataConfig::at(path), &columns())
}

/// The data error that `result` must be.
fn data_error<T: std::fmt::Debug>(result: Result<T>) -> DataError {
    match result {
        Err(crate::Error::Data(error)) => *error,
        other => panic!("a data error was expected, got {other:?}"),
    }
}
