//! The files of a catalogue, read in record batches.

use arrow_array::RecordBatch;
use panchroma_core::data::{DataError, Reader, list};
use panchroma_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use std::path::{Path, PathBuf};

/// Bytes that are decoded at once, about: images of one object can take a megabyte, a row of a table 100 bytes.
const BATCH_BYTES: i64 = 4 << 20;

/// More rows at once are no faster.
const BATCH_ROWS: i64 = 8192;

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
    /// Row groups: number of the file, and of the group in it.
    pub(crate) groups: Vec<(usize, usize)>,
    /// Number of the first row of each file.
    pub(crate) starts: Vec<u64>,
    /// Bytes of all columns before compression.
    pub(crate) bytes: u64,
}

impl Table {
    /// Finds the files and reads their footers.
    ///
    /// # Errors
    /// If there is none, or one is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let listing = list(path)?;
        let (mut rows, mut bytes, mut groups, mut starts) = (0, 0, Vec::new(), Vec::new());
        for (number, file) in listing.files.iter().enumerate() {
            let builder = builder(file)?;
            let metadata = builder.metadata();
            starts.push(rows);
            rows += metadata.file_metadata().num_rows().unsigned_abs();
            groups.extend((0..metadata.num_row_groups()).map(|group| (number, group)));
            bytes += metadata.row_groups().iter().map(|g| g.total_byte_size().unsigned_abs()).sum::<u64>();
        }
        let (root, files, expected_rows) = (listing.root, listing.files, listing.expected_rows);
        Ok(Self { root, files, expected_rows, rows, groups, starts, bytes })
    }

    /// Every batch of a file with the columns `only` (all if `None`), with the number of its first row.
    ///
    /// # Errors
    /// If the file is damaged; the iterator stops after an error.
    pub fn batches(
        file: &Path,
        only: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<(usize, RecordBatch)>> + use<>> {
        Self::read(builder(file)?, file, only)
    }

    /// As [`Self::batches`], of one row group; rows are counted from its first.
    pub(crate) fn group(
        &self,
        (file, group): (usize, usize),
        only: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<(usize, RecordBatch)>> + use<>> {
        let none = || DataError::NoRows { path: self.root.clone() };
        let file = self.files.get(file).ok_or_else(none)?;
        Self::read(builder(file)?.with_row_groups(vec![group]), file, only)
    }

    fn read(
        builder: ParquetRecordBatchReaderBuilder<Reader>,
        file: &Path,
        only: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<(usize, RecordBatch)>> + use<>> {
        let mask = match only {
            Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
            None => ProjectionMask::all(),
        };
        let rows = at_once(builder.metadata(), &mask);
        let reader = builder.with_projection(mask).with_batch_size(rows).build().map_err(unreadable(file))?;
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

/// How many rows are decoded at once.
pub(crate) fn at_once(metadata: &ParquetMetaData, mask: &ProjectionMask) -> usize {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns().iter().enumerate());
    // Values that are all the same take no space in the file, but do when decoded.
    let size = |column: &ColumnChunkMetaData| column.uncompressed_size().max(4 * column.num_values());
    let bytes: i64 = columns.filter(|(i, _)| mask.leaf_included(*i)).map(|(_, c)| size(c)).sum();
    let row = bytes / metadata.file_metadata().num_rows().max(1);
    usize::try_from((BATCH_BYTES / row.max(1)).clamp(1, BATCH_ROWS)).unwrap_or(1)
}

/// The footer of a file.
pub(crate) fn builder(file: &Path) -> Result<ParquetRecordBatchReaderBuilder<Reader>> {
    ParquetRecordBatchReaderBuilder::try_new(Reader::open(file)?).map_err(unreadable(file))
}

fn unreadable(file: &Path) -> impl Fn(ParquetError) -> Error {
    let path = file.to_path_buf();
    move |source| DataError::Unreadable { path: path.clone(), source }.into()
}
