//! One object of a catalogue, by name.

use super::leaves::texts;
use super::notes::Notes;
use super::table::{Table, builder};
use arrow_array::RecordBatch;
use panchroma_core::config::nearest;
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names that are suggested when there is no such object are looked for among this many.
const CANDIDATES: usize = 100_000;

/// One object with everything that the catalogue has of it.
#[derive(Debug)]
pub struct Object {
    /// Its name.
    pub id: String,
    /// The file that holds it.
    pub file: PathBuf,
    /// One row.
    pub row: RecordBatch,
    /// Units by dotted column, where `panchroma.toml` beside the catalogue states them.
    pub units: BTreeMap<String, String>,
}

/// Finds the object called `id` by the column `column` of names.
///
/// # Errors
/// [`Error::UnknownName`] with similar names, or if a file can't be read.
pub fn find(table: &Table, column: &str, id: &str) -> Result<Object> {
    let mut names = Vec::new();
    for file in &table.files {
        for batch in Table::batches(file, Some(&[column]))? {
            let (first, batch) = batch?;
            let missing = || DataError::ColumnMissing {
                file: file.clone(),
                column: column.into(),
                reader: String::new(),
                nearest: builder(file)
                    .map(|b| nearest(column, b.schema().fields().iter().map(|f| f.name().as_str())))
                    .unwrap_or_default(),
            };
            let ids = batch.column_by_name(column).and_then(texts).ok_or_else(missing)?;
            if let Some(place) = ids.iter().position(|name| name.as_deref() == Some(id)) {
                // What can't be read is not known.
                let units = Notes::read(&table.root).ok().flatten().unwrap_or_default().units;
                return Ok(Object { id: id.into(), file: file.clone(), row: row(file, first + place)?, units });
            }
            if names.len() < CANDIDATES {
                names.extend(ids.into_iter().flatten());
            }
        }
    }
    let close = nearest(id, names.iter().map(String::as_str));
    let known = if close.is_empty() { names.into_iter().take(3).collect() } else { close };
    Err(Error::UnknownName { what: "object", name: id.into(), known })
}

fn row(file: &Path, row: usize) -> Result<RecordBatch> {
    let damaged = |source| Error::from(DataError::Unreadable { path: file.to_path_buf(), source });
    let selection = RowSelection::from(vec![RowSelector::skip(row), RowSelector::select(1)]);
    let mut reader = builder(file)?.with_row_selection(selection).build().map_err(damaged)?;
    match reader.next() {
        Some(batch) => batch.map_err(|e| damaged(e.into())),
        None => Err(DataError::NoSuchRow { row, rows: row }.into()),
    }
}
