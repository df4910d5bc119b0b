//! One Parquet file: its footer, whether it has the columns, and decoding a run of its rows.
//!
//! Only the leaf columns that somebody asked for are read: `lightcurve.flux` does not cost the
//! other fields of `lightcurve`. What comes out has the same form for every file: one column per
//! path, named by it, its lists as large lists, nothing hidden under a null.

use super::column::{Column, Found, describe, find, paths};
use super::error::DataError;
use super::extract::{extract, nested};
use super::lists;
use super::storage::Reader;
use crate::Result;
use crate::config::nearest;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::basic::Type as Physical;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::Length;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows decoded at a time. Arrow's lists count their elements in 32 bits, so a whole row group of
/// images may be too much for one.
const DECODE_ROWS: usize = 4096;

/// A column in the form that all files are brought into.
#[derive(Clone, Debug)]
pub(super) struct Canonical {
    pub(super) path: String,
    pub(super) leaf: DataType,
    pub(super) depth: usize,
}

impl Canonical {
    fn data_type(&self) -> DataType {
        nested(&self.leaf, self.depth)
    }
}

/// The schema of decoded rows.
pub(super) fn schema(columns: &[Canonical]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|c| Field::new(&c.path, c.data_type(), true)).collect::<Vec<_>>()))
}

/// A Parquet file whose footer was read.
pub(super) struct ParquetFile {
    pub(super) path: PathBuf,
    /// Size on disk, bytes.
    pub(super) bytes: u64,
    metadata: ArrowReaderMetadata,
}

/// Rows `start..start + rows` of a row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) group: usize,
    pub(super) start: usize,
    pub(super) rows: usize,
}

impl ParquetFile {
    /// Reads the footer.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = Reader::open(path)?;
        let bytes = file.len();
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|e| unreadable(path, e))?;
        Ok(Self { path: path.to_path_buf(), bytes, metadata })
    }

    /// Rows of each row group.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> {
        self.metadata.metadata().row_groups().iter().map(|g| usize::try_from(g.num_rows()).unwrap_or(0))
    }

    /// Where `column` is; none if it is optional and not there.
    ///
    /// # Errors
    /// If it is required and not there, or of another type.
    pub(super) fn find(&self, column: &Column) -> Result<Option<Found>> {
        self.find_as(column, &column.expected(), |found| {
            // A column of nothing but nulls has no lists either.
            (found.depth == column.depth || found.leaf == DataType::Null) && column.kind.accepts(&found.leaf)
        })
    }

    /// Where `column` is, with another idea of what it may hold.
    pub(super) fn find_as(
        &self,
        column: &Column,
        expected: &str,
        accepts: impl Fn(&Found) -> bool,
    ) -> Result<Option<Found>> {
        let fields = self.metadata.schema().fields();
        match find(fields, &column.path) {
            Some(found) if accepts(&found) => Ok(Some(found)),
            Some(found) => Err(DataError::ColumnType {
                file: Some(self.path.clone()),
                column: column.path.clone(),
                expected: expected.to_owned(),
                found: describe(&nested(&found.leaf, found.depth)),
                reader: column.reader.clone(),
            }
            .into()),
            None if column.required => Err(DataError::ColumnMissing {
                file: self.path.clone(),
                column: column.path.clone(),
                reader: column.reader.clone(),
                nearest: nearest(&column.path, paths(fields)),
            }
            .into()),
            None => Ok(None),
        }
    }

    fn leaves(&self, columns: &[Canonical]) -> Vec<usize> {
        let fields = self.metadata.schema().fields();
        columns.iter().filter_map(|c| find(fields, &c.path)).flat_map(|found| found.leaves()).collect()
    }

    /// About how many bytes a row group takes once decoded.
    pub(super) fn decoded_bytes(&self, group: usize, columns: &[Canonical]) -> u64 {
        let Some(group) = self.metadata.metadata().row_groups().get(group) else { return 0 };
        let leaves = self.leaves(columns).into_iter().filter_map(|leaf| group.columns().get(leaf));
        let sizes = leaves.map(|chunk| {
            let values = u64::try_from(chunk.num_values()).unwrap_or(0);
            let stored = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
            match chunk.column_type() {
                Physical::BOOLEAN => values / 8 + 1,
                Physical::INT32 | Physical::FLOAT => 4 * values,
                Physical::INT64 | Physical::DOUBLE => 8 * values,
                // Dictionary coding makes the stored size too small, but 8 bytes are the least.
                _ => stored.max(8 * values) + 8 * values,
            }
        });
        sizes.sum()
    }

    /// Decodes a run of rows into the form that [`schema`] gives.
    pub(super) fn decode(&self, run: Run, columns: &[Canonical]) -> Result<RecordBatch> {
        let mut arrays: Vec<Option<ArrayRef>> = Vec::with_capacity(columns.len());
        for column in columns {
            arrays.push(self.lists(run, column)?);
        }
        let rest: Vec<Canonical> = columns
            .iter()
            .zip(&arrays)
            .filter(|(_, array)| array.is_none())
            .map(|(column, _)| column.clone())
            .collect();
        let mut rest =
            if rest.is_empty() { Vec::new() } else { self.decode_by_arrow(run, &rest)?.columns().to_vec() }.into_iter();
        let arrays = arrays.into_iter().filter_map(|array| array.or_else(|| rest.next())).collect();
        Ok(assemble(&schema(columns), arrays, run.rows).map_err(|e| unreadable(&self.path, e.into()))?)
    }

    /// A column that is lists of floats, read the fast way; none if it is something else.
    fn lists(&self, run: Run, column: &Canonical) -> Result<Option<ArrayRef>> {
        let float = |leaf: &DataType| matches!(leaf, DataType::Float32 | DataType::Float64);
        let Some(found) = find(self.metadata.schema().fields(), &column.path) else { return Ok(None) };
        if column.depth == 0 || found.depth != column.depth || !float(&found.leaf) || !float(&column.leaf) {
            return Ok(None);
        }
        let Some(leaf) = found.leaves().next() else { return Ok(None) };
        let rows = (run.group, run.start..run.start + run.rows);
        let file = Reader::open(&self.path)?;
        let Some(lists) = lists::read(file, &self.metadata, leaf, rows).map_err(|e| unreadable(&self.path, e))? else {
            return Ok(None);
        };
        let failed = |source| DataError::Arrow { column: column.path.clone(), source };
        Ok(Some(lists.rebuild(&column.leaf, column.depth).map_err(failed)?))
    }

    /// The same for columns of any type.
    pub(super) fn decode_by_arrow(&self, run: Run, columns: &[Canonical]) -> Result<RecordBatch> {
        let leaves = self.leaves(columns);
        let to = schema(columns);
        if leaves.is_empty() {
            let arrays = columns.iter().map(|c| new_null_array(&c.data_type(), run.rows)).collect();
            return Ok(assemble(&to, arrays, run.rows).map_err(|e| unreadable(&self.path, e.into()))?);
        }
        let file = Reader::open(&self.path)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let batches = builder
            .with_row_groups(vec![run.group])
            .with_offset(run.start)
            .with_limit(run.rows)
            .with_projection(mask)
            .with_batch_size(run.rows.clamp(1, DECODE_ROWS))
            .build()
            .map_err(|e| unreadable(&self.path, e))?;
        let mut parts = Vec::new();
        for batch in batches {
            let batch = batch.map_err(|e| unreadable(&self.path, e.into()))?;
            parts.push(self.reshape(&batch, columns, &to)?);
        }
        let whole = match parts.len() {
            1 => parts.remove(0),
            _ => arrow_select::concat::concat_batches(&to, &parts).map_err(|e| unreadable(&self.path, e.into()))?,
        };
        if whole.num_rows() != run.rows {
            let reason = format!("{} rows promised, {} found", run.rows, whole.num_rows());
            return Err(unreadable(&self.path, ParquetError::General(reason)).into());
        }
        Ok(whole)
    }

    fn reshape(&self, batch: &RecordBatch, columns: &[Canonical], to: &SchemaRef) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        for column in columns {
            let failed = |source| DataError::Arrow { column: column.path.clone(), source };
            arrays.push(match extract(batch, &column.path)? {
                Some(found) => found.rebuild(&column.leaf, column.depth).map_err(failed)?,
                None => new_null_array(&column.data_type(), batch.num_rows()),
            });
        }
        Ok(assemble(to, arrays, batch.num_rows()).map_err(|e| unreadable(&self.path, e.into()))?)
    }
}

/// A batch that knows its number of rows even without columns.
pub(super) fn assemble(schema: &SchemaRef, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
}

fn unreadable(path: &Path, source: ParquetError) -> DataError {
    DataError::Unreadable { path: path.to_path_buf(), source }
}
