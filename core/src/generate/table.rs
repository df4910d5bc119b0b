//! A Parquet file that is written batch by batch and appears when it is complete.

use crate::{Error, Result};
use arrow_array::builder::{Float32Builder, ListBuilder, UInt32Builder};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The values of a column, one per row.
#[derive(Clone, Debug)]
pub enum Cells {
    /// Texts.
    Text(Vec<String>),
    /// Whole numbers.
    Whole(Vec<u32>),
    /// Numbers, null where unknown.
    Number(Vec<Option<f64>>),
    /// Lists of codes.
    Codes(Vec<Vec<u32>>),
    /// Lists of values, null where there is none.
    Values(Vec<Option<Vec<f32>>>),
}

/// A column with what is to be known of it.
#[derive(Clone, Debug)]
pub struct ColumnOf {
    /// Its name.
    pub name: String,
    /// Its values.
    pub cells: Cells,
    /// What goes into the metadata of its field: unit, shape, edges of bins.
    pub metadata: BTreeMap<String, String>,
}

impl ColumnOf {
    /// Without metadata.
    #[must_use]
    pub fn plain(name: impl Into<String>, cells: Cells) -> Self {
        Self { name: name.into(), cells, metadata: BTreeMap::new() }
    }

    /// With one more entry of metadata; none if it says nothing.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.metadata.insert(key.into(), value);
        }
        self
    }

    fn array(&self) -> (ArrayRef, bool) {
        match &self.cells {
            Cells::Text(texts) => (Arc::new(StringArray::from_iter_values(texts)), false),
            Cells::Whole(numbers) => (Arc::new(UInt32Array::from(numbers.clone())), false),
            Cells::Number(numbers) => (Arc::new(Float64Array::from(numbers.clone())), true),
            Cells::Codes(lists) => {
                let mut builder = ListBuilder::new(UInt32Builder::new());
                for list in lists {
                    builder.values().append_slice(list);
                    builder.append(true);
                }
                (Arc::new(builder.finish()), true)
            }
            Cells::Values(lists) => {
                let mut builder = ListBuilder::new(Float32Builder::new());
                for list in lists {
                    builder.values().append_slice(list.as_deref().unwrap_or_default());
                    builder.append(list.is_some());
                }
                (Arc::new(builder.finish()), true)
            }
        }
    }
}

/// Writes a table under another name until it is complete.
pub struct TableWriter {
    path: PathBuf,
    temporary: PathBuf,
    schema: Option<Arc<Schema>>,
    writer: Option<ArrowWriter<File>>,
    rows: usize,
}

impl TableWriter {
    /// Of the file `path`, whose folder exists.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            temporary: path.with_extension("partial"),
            schema: None,
            writer: None,
            rows: 0,
        }
    }

    /// Adds rows; the columns are the same each time.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, columns: &[ColumnOf]) -> Result<()> {
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
            .iter()
            .map(|column| {
                let (array, nullable) = column.array();
                let metadata: HashMap<String, String> = column.metadata.clone().into_iter().collect();
                (Field::new(&column.name, array.data_type().clone(), nullable).with_metadata(metadata), array)
            })
            .unzip();
        // What is said of columns the first time stays.
        let schema = self.schema.get_or_insert_with(|| Arc::new(Schema::new(fields))).clone();
        let batch = RecordBatch::try_new(schema, arrays).map_err(|e| self.failed(e))?;
        if self.writer.is_none() {
            let properties =
                WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
            let file = File::create(&self.temporary).map_err(Error::io("create", &self.temporary))?;
            let writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(|e| self.failed(e))?;
            self.writer = Some(writer);
        }
        if let Some(writer) = &mut self.writer {
            let path = &self.path;
            writer.write(&batch).map_err(|e| failed(path, e))?;
            self.rows += batch.num_rows();
        }
        Ok(())
    }

    /// Makes the file appear; gives the number of its rows, of which there must be one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<usize> {
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|e| self.failed(e))?;
            file.sync_all().map_err(Error::io("write", &self.path))?;
            fs::rename(&self.temporary, &self.path).map_err(Error::io("write", &self.path))?;
        }
        Ok(self.rows)
    }

    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        failed(&self.path, error)
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            // Best effort: an error was shown already.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io { action: "write", path: path.to_path_buf(), source: std::io::Error::other(error) }
}
