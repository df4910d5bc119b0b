//! Embeddings as a Parquet file, which every table tool reads.

use super::{EmbeddingTable, Embeddings};
use crate::{Error, Result};
use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

impl Embeddings {
    /// Writes `object_id` and one column of lists per table: `trunk.MODALITY`, `shared.MODALITY`,
    /// `joint`; null where an object lacks the modality. The file appears when it is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_parquet(&self, path: &Path) -> Result<()> {
        let temporary = path.with_extension("partial");
        let result = self.batch().and_then(|batch| {
            let properties =
                WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
            let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
            let mut writer =
                ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(|e| other(path, e))?;
            writer.write(&batch).map_err(|e| other(path, e))?;
            let file = writer.into_inner().map_err(|e| other(path, e))?;
            file.sync_all().map_err(Error::io("write", path))?;
            fs::rename(&temporary, path).map_err(Error::io("write", path))
        });
        if result.is_err() {
            // Best effort: the first error is the one to show.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn batch(&self) -> Result<RecordBatch> {
        let mut columns: Vec<(String, ArrayRef)> =
            vec![("object_id".into(), Arc::new(StringArray::from_iter_values(&self.ids)))];
        for (name, table) in &self.trunk {
            columns.push((format!("trunk.{name}"), list(table)));
        }
        for (name, table) in &self.shared {
            columns.push((format!("shared.{name}"), list(table)));
        }
        columns.push(("joint".into(), list(&self.joint)));
        RecordBatch::try_from_iter(columns).map_err(|e| other(Path::new("embeddings"), e))
    }
}

fn list(table: &EmbeddingTable) -> ArrayRef {
    let width = i32::try_from(table.width).unwrap_or(i32::MAX);
    let mut builder = FixedSizeListBuilder::new(Float32Builder::new(), width);
    for (row, present) in table.vectors.chunks(table.width.max(1)).zip(&table.present) {
        builder.values().append_slice(row);
        builder.append(*present);
    }
    Arc::new(builder.finish())
}

fn other(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io { action: "write", path: path.to_path_buf(), source: std::io::Error::other(error) }
}
