//! Tables of any kind that ingest reads, as Parquet, so that they can be matched.

use crate::files;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first table of a file, as Parquet.
pub(super) fn converted(path: &Path, to: &Path) -> Result<PathBuf> {
    let mut file = files::open(path)?;
    let tables =
        file.parts().iter().position(|p| p.rows > 0 && p.fields.iter().any(|f| f.name.eq_ignore_ascii_case("ra")));
    let Some(part) = tables else {
        return Err(files::source(
            path,
            "",
            "has no table with a column `ra`".into(),
            "positions are `ra` and `dec`, in degrees",
        ));
    };
    let (rows, fields) = file.parts().get(part).map(|p| (p.rows, p.fields.clone())).unwrap_or_default();
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for field in fields.iter().filter(|f| f.per_row) {
        columns.push((field.name.clone(), file.read(part, &field.name, 0..rows)?));
    }
    let arrow = |source| Error::from(DataError::Arrow { column: "*".into(), source });
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(n, a.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|c| c.1).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(arrow)?;
    let made = File::create(to).map_err(Error::io("create", to))?;
    let wrong = |e: parquet::errors::ParquetError| Error::Io {
        action: "write",
        path: to.into(),
        source: std::io::Error::other(e),
    };
    let mut writer = ArrowWriter::try_new(made, batch.schema(), None).map_err(wrong)?;
    writer.write(&batch).map_err(wrong)?;
    writer.close().map_err(wrong)?;
    Ok(to.into())
}
