//! What one thread gathers from a group of files until it is a piece.

use super::journal::Done;
use crate::files::source;
use crate::hats::types::{fit_batch, widen_schemas};
use crate::hats::{Piece, SOURCE};
use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A piece is written when it holds about this many bytes.
const PIECE_BYTES: usize = if cfg!(test) { 1 << 18 } else { 48 << 20 };

/// What all files have said of columns so far: types that go together, and one unit each.
#[derive(Default)]
pub(super) struct Known {
    schema: Option<(SchemaRef, PathBuf)>,
    units: BTreeMap<String, (String, PathBuf)>,
}

impl Known {
    /// Takes what a file says.
    ///
    /// # Errors
    /// If that does not go with what others said, with both files.
    pub(super) fn add(&mut self, schema: &SchemaRef, units: &BTreeMap<String, String>, path: &Path) -> Result<()> {
        let first = self.schema.get_or_insert_with(|| (schema.clone(), path.into()));
        if first.0 != *schema {
            first.0 = widen_schemas(&first.0, schema).map_err(|(column, before, here)| {
                let reason = format!("holds {}, but {} in `{}`", words(&here), words(&before), first.1.display());
                source(path, &format!("column `{column}`"), reason, "set its `type` in the mapping")
            })?;
        }
        for (column, unit) in units {
            let (known, other) = self.units.entry(column.clone()).or_insert_with(|| (unit.clone(), path.into()));
            if known != unit {
                let reason = format!("is in `{unit}`, but in `{known}` in `{}`", other.display());
                return Err(source(
                    path,
                    &format!("column `{column}`"),
                    reason,
                    "set `to` in the mapping, which converts it",
                ));
            }
        }
        Ok(())
    }

    /// Takes what another has gathered of one file.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn join(&mut self, other: Self) -> Result<()> {
        let Some((schema, path)) = other.schema else { return Ok(()) };
        self.add(&schema, &other.units.into_iter().map(|(column, (unit, _))| (column, unit)).collect(), &path)
    }

    /// Unit by dotted column.
    pub(super) fn units(self) -> BTreeMap<String, String> {
        self.units.into_iter().map(|(column, (unit, _))| (column, unit)).collect()
    }
}

fn words(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".into(),
        DataType::Boolean => "flags".into(),
        DataType::List(inner) => format!("lists of {}", words(inner.data_type())),
        other if other.is_numeric() => "numbers".into(),
        other => other.to_string(),
    }
}

/// A group of files on its way to pieces.
pub(super) struct Work<'a> {
    folder: &'a Path,
    batches: Vec<RecordBatch>,
    bytes: usize,
    /// Number of the first piece.
    first: usize,
    pub(super) done: Done,
    pub(super) pieces: Vec<Piece>,
}

impl<'a> Work<'a> {
    pub(super) fn new(folder: &'a Path, done: Done) -> Self {
        Self { folder, batches: Vec::new(), bytes: 0, first: 0, done, pieces: Vec::new() }
    }

    /// The same for one file, to be [taken](Self::take) if it is good and else [thrown away](Self::discard).
    pub(super) fn apart(&self) -> Self {
        let first = self.first + self.pieces.len();
        Self { first, ..Self::new(self.folder, Done { group: self.done.group, ..Done::default() }) }
    }

    /// Takes what a file gave.
    pub(super) fn take(&mut self, own: Self) -> Result<()> {
        self.pieces.extend(own.pieces);
        self.done.pieces.extend(own.done.pieces);
        self.done.units.extend(own.done.units);
        self.done.notes.extend(own.done.notes);
        self.batches.extend(own.batches);
        self.bytes += own.bytes;
        if self.bytes >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Leaves nothing behind.
    pub(super) fn discard(self) -> Result<()> {
        self.done.pieces.iter().try_for_each(|(name, _)| {
            let path = self.folder.join(name);
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))
        })
    }

    /// Takes objects of the file that has this number among all.
    pub(super) fn add(&mut self, batch: &RecordBatch, file: usize) -> Result<()> {
        self.bytes += batch.get_array_memory_size();
        let number = i32::try_from(file).unwrap_or(-1);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![number; batch.num_rows()]));
        let fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let schema = Schema::new([fields, vec![Field::new(SOURCE, DataType::Int32, true)]].concat());
        let columns = batch.columns().iter().cloned().chain([numbers]).collect();
        let batch = RecordBatch::try_new(Arc::new(schema), columns).map_err(arrow)?;
        self.batches.push(batch);
        if self.bytes >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut schemas = self.batches.iter().map(RecordBatch::schema);
        let Some(first) = schemas.next() else { return Ok(()) };
        let schema = schemas.try_fold(first, |whole, next| widen_schemas(&whole, &next)).map_err(|(column, ..)| {
            Error::from(DataError::BadValue {
                object: String::new(),
                column,
                reason: "has types that do not go together".into(),
            })
        })?;
        let fitted = self.batches.drain(..).map(|batch| fit_batch(&batch, &schema));
        let fitted = fitted.collect::<Result<Vec<_>, _>>().map_err(arrow)?;
        let whole = arrow_select::concat::concat_batches(&schema, &fitted).map_err(arrow)?;
        let name = format!("piece-{:06}-{:03}.parquet", self.done.group, self.first + self.pieces.len());
        self.pieces.push(Piece::write(&self.folder.join(&name), &whole, "object_id")?);
        self.done.pieces.push((name, self.bytes as u64));
        self.bytes = 0;
        Ok(())
    }
}

fn arrow(source: arrow_schema::ArrowError) -> Error {
    DataError::Arrow { column: "*".into(), source }.into()
}
