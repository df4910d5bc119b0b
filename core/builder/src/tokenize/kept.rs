//! The columns of the old catalogue that go into the new one: read in the order of the catalogue, as many rows as are wanted.

use super::Keep;
use crate::describe::{Notes, at_once, builder};
use crate::hats::PIXEL;
use crate::hats::types::{fit_batch, widen};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use panchroma_core::config::nearest;
use panchroma_core::data::{DataConfig, DataError, Reader, list, position_columns};
use panchroma_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// A reader of kept columns.
pub(super) struct Kept {
    /// Columns of the new catalogue, with the column of the old one that each is.
    columns: Vec<(Field, String)>,
    schema: SchemaRef,
    /// Files that were not begun, with their numbers of rows.
    files: VecDeque<(PathBuf, u64)>,
    open: Option<Open>,
    /// Units by dotted column, where the catalogue says them.
    pub(super) units: BTreeMap<String, String>,
}

/// A file that is being read.
struct Open {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// What was read and not given yet.
    rest: RecordBatch,
}

impl Kept {
    /// Of the catalogue that `data` names; columns called as one of `made` are replaced and not kept.
    ///
    /// # Errors
    /// If a column that is to be kept is not there, or a file is damaged.
    pub(super) fn open(data: &DataConfig, keep: &Keep, made: &[String]) -> Result<Self> {
        let listing = list(&data.path)?;
        let mut files = VecDeque::new();
        let mut fields: Vec<Field> = Vec::new();
        let mut units = BTreeMap::new();
        for path in &listing.files {
            let builder = builder(path)?;
            files.push_back((path.clone(), builder.metadata().file_metadata().num_rows().unsigned_abs()));
            units.extend(crate::files::units(builder.schema()));
            for field in builder.schema().fields() {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    // What the fields are numbered with in one file means nothing in another.
                    None => fields.push(Field::new(field.name(), field.data_type().clone(), true)),
                    Some(known) => {
                        let both = widen(known.data_type(), field.data_type());
                        known.set_data_type(both.unwrap_or_else(|| known.data_type().clone()));
                    }
                }
            }
        }
        let there = |name: &str| fields.iter().any(|field| field.name() == name);
        if let Keep::Single(more) = keep
            && let Some(missing) = more.iter().find(|name| !there(name))
        {
            return Err(DataError::ColumnMissing {
                file: listing.files.first().cloned().unwrap_or_default(),
                column: missing.clone(),
                reader: "`--keep`".into(),
                nearest: nearest(missing, fields.iter().map(|field| field.name().clone())),
            }
            .into());
        }
        let stated = position_columns(&listing.root).filter(|both| both.iter().all(|name| there(name)));
        let usual = || Some(["ra", "dec"].map(str::to_owned)).filter(|both| both.iter().all(|name| there(name)));
        let position = stated.or_else(usual);
        let places = position.iter().flatten().zip(["ra", "dec"]);
        let places = places.map(|(from, to)| (Field::new(to, DataType::Float64, true), from.clone()));
        let places: Vec<(Field, String)> = places.collect();
        let wanted = |field: &Field| {
            let name = field.name().as_str();
            let taken = name == PIXEL || made.iter().any(|made| made == name);
            let placed = places.iter().any(|(place, _)| place.name() == name);
            name == data.id
                || !taken
                    && !placed
                    && match keep {
                        Keep::All => true,
                        Keep::Single(more) => !field.data_type().is_nested() || more.iter().any(|more| more == name),
                    }
        };
        let (mut columns, others): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .filter(wanted)
            .map(|field| (field.clone(), field.name().clone()))
            .partition(|(field, _)| *field.name() == data.id);
        columns.extend(places.iter().cloned());
        columns.extend(others);
        let schema = Arc::new(Schema::new(columns.iter().map(|(field, _)| field.clone()).collect::<Vec<_>>()));
        // What can't be read is not known.
        units.extend(Notes::read(&listing.root).ok().flatten().unwrap_or_default().units);
        let own = |path: &str, name: &str| path.strip_prefix(name).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        units.retain(|path, _| columns.iter().any(|(field, _)| own(path, field.name())));
        units.extend(places.into_iter().map(|(field, _)| (field.name().clone(), "deg".to_owned())));
        Ok(Self { columns, schema, files, open: None, units })
    }

    /// Names of the columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(field, _)| field.name().as_str())
    }

    /// Leaves out the next `rows` rows.
    pub(super) fn skip(&mut self, mut rows: u64) -> Result<()> {
        while let Some((_, own)) = self.files.front() {
            match rows.checked_sub(*own) {
                Some(left) => rows = left,
                None => break,
            }
            self.files.pop_front();
        }
        if rows > 0 { self.begin(usize::try_from(rows).unwrap_or(usize::MAX)) } else { Ok(()) }
    }

    /// Opens the next file, without its first `skip` rows.
    fn begin(&mut self, skip: usize) -> Result<()> {
        let Some((path, _)) = self.files.pop_front() else { return Ok(()) };
        let builder: ParquetRecordBatchReaderBuilder<Reader> = builder(&path)?;
        let names = self.columns.iter().map(|(_, from)| from.as_str());
        let mask = roots(&builder, &names.collect::<Vec<_>>());
        let rows = at_once(builder.metadata(), &mask);
        let reader = builder.with_projection(mask).with_batch_size(rows).with_offset(skip).build();
        let reader = reader.map_err(|source| DataError::Unreadable { path: path.clone(), source })?;
        self.open = Some(Open { path, reader, rest: RecordBatch::new_empty(self.schema.clone()) });
        Ok(())
    }

    /// The next rows beside `more`, which says how many.
    pub(super) fn with(&mut self, more: Vec<(Field, ArrayRef)>) -> Result<RecordBatch> {
        let wanted = more.first().map_or(0, |(_, array)| array.len());
        let mut parts: Vec<RecordBatch> = Vec::new();
        let mut missing = wanted;
        while missing > 0 {
            let Some(open) = &mut self.open else {
                if self.files.is_empty() {
                    return Err(DataError::NoSuchRow { row: wanted, rows: wanted - missing }.into());
                }
                self.begin(0)?;
                continue;
            };
            if open.rest.num_rows() == 0 {
                match open.reader.next() {
                    None => self.open = None,
                    Some(batch) => {
                        let path = open.path.clone();
                        let damaged = |e| DataError::Unreadable { path, source: ParquetError::from(e) };
                        open.rest = select(&batch.map_err(damaged)?, &self.columns, &self.schema)?;
                    }
                }
                continue;
            }
            let own = missing.min(open.rest.num_rows());
            parts.push(open.rest.slice(0, own));
            open.rest = open.rest.slice(own, open.rest.num_rows() - own);
            missing -= own;
        }
        let arrow = |source| Error::from(DataError::Arrow { column: "*".into(), source });
        let kept = arrow_select::concat::concat_batches(&self.schema, &parts).map_err(arrow)?;
        let fields = self.schema.fields().iter().map(|field| field.as_ref().clone());
        let (new, arrays): (Vec<Field>, Vec<ArrayRef>) = more.into_iter().unzip();
        let schema = Schema::new(fields.chain(new).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), kept.columns().iter().cloned().chain(arrays).collect()).map_err(arrow)
    }
}

/// Whole columns by their names, which may have dots.
fn roots(builder: &ParquetRecordBatchReaderBuilder<Reader>, names: &[&str]) -> ProjectionMask {
    let fields = builder.schema().fields().iter().enumerate();
    let wanted = fields.filter(|(_, field)| names.contains(&field.name().as_str())).map(|(place, _)| place);
    ProjectionMask::roots(builder.parquet_schema(), wanted)
}

/// The columns of a batch under their new names, in the types of `schema`; nulls where the batch lacks one.
fn select(batch: &RecordBatch, columns: &[(Field, String)], schema: &SchemaRef) -> Result<RecordBatch> {
    let arrow = |source| Error::from(DataError::Arrow { column: "*".into(), source });
    let found = columns.iter().filter_map(|(field, from)| {
        let array = batch.column_by_name(from)?;
        Some((Field::new(field.name(), array.data_type().clone(), true), array.clone()))
    });
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = found.unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let own = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(arrow)?;
    fit_batch(&own, schema).map_err(arrow)
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("columns", &self.columns).field("files", &self.files.len()).finish_non_exhaustive()
    }
}
