//! The files of a catalogue, read in record batches.

use arrow_array::RecordBatch;
use panchroma_core::data::{DataError, Reader, list};
use panchroma_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use std::path::{Path, PathBuf};

/// Rows that are decoded at once: images of one object can take a megabyte.
const ROWS: usize = 256;

/// A catalogue as files.
#[derive(Debug)]
pub struct Table {
    /// Where it is.
    pub root: PathBuf,
    /// Its Parquet files, sorted.
    pub files: Vec<PathBuf>,
    /// Number of objects that its properties state.
    pub expected_rows: Option<u64>,
    /// Number of objects that the footers of the files state.
    pub rows: u64,
}

impl Table {
    /// Finds the files and reads their footers.
    ///
    /// # Errors
    /// If there is none, or one is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let listing = list(path)?;
        let mut rows = 0;
        for file in &listing.files {
            rows += builder(file)?.metadata().file_metadata().num_rows().unsigned_abs();
        }
        Ok(Self { root: listing.root, files: listing.files, expected_rows: listing.expected_rows, rows })
    }

    /// Every batch of a file with the columns `only` (all if `None`), with the number of its first row.
    ///
    /// # Errors
    /// If the file is damaged; the iterator stops after an error.
    pub fn batches(file: &Path, only: Option<&[&str]>) -> Result<impl Iterator<Item = Result<(usize, RecordBatch)>>> {
        let builder = builder(file)?;
        let mask = match only {
            Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
            None => ProjectionMask::all(),
        };
        let reader = builder.with_projection(mask).with_batch_size(ROWS).build().map_err(unreadable(file))?;
        let path = file.to_path_buf();
        let mut first = 0;
        Ok(reader.map(move |batch| {
            let batch = batch.map_err(|e| unreadable(&path)(ParquetError::from(e)))?;
            let start = first;
            first += batch.num_rows();
            Ok((start, batch))
        }))
    }
}

/// The footer of a file.
pub(crate) fn builder(file: &Path) -> Result<ParquetRecordBatchReaderBuilder<Reader>> {
    ParquetRecordBatchReaderBuilder::try_new(Reader::open(file)?).map_err(unreadable(file))
}

fn unreadable(file: &Path) -> impl Fn(ParquetError) -> Error {
    let path = file.to_path_buf();
    move |source| DataError::Unreadable { path: path.clone(), source }.into()
}
