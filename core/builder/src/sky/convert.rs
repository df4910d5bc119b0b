//! Tables of any kind that ingest reads, as Parquet, so that they can be matched.

use super::columns::{InputSettings, no_position};
use crate::files;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Metadata, Schema};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first table of a file that has positions, as Parquet.
pub(super) fn converted(path: &Path, settings: &InputSettings, to: &Path) -> Result<PathBuf> {
    let mut file = files::open(path)?;
    let columns = |part: &files::Part| -> Vec<String> {
        part.fields.iter().filter(|f| f.per_row).map(|f| f.name.clone()).collect()
    };
    fn short(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }
    let placed = |part: &&files::Part| settings.position_in(&short(&columns(part))).is_some();
    let all = || file.parts().iter().enumerate();
    let Some((number, part)) =
        all().filter(|(_, part)| placed(part)).max_by_key(|(number, part)| (part.rows > 0, usize::MAX - number))
    else {
        let most = file.parts().iter().map(columns).max_by_key(Vec::len).unwrap_or_default();
        settings.find(path, &short(&most))?;
        return Err(no_position(path, &short(&most)));
    };
    if part.rows == 0 {
        return Err(files::source(path, "", "has columns but no rows".into(), "check what wrote it"));
    }
    let [id, ..] = settings.find(path, &short(&columns(part)))?;
    let (rows, per_row) = (part.rows, part.fields.iter().filter(|f| f.per_row).cloned().collect::<Vec<_>>());
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for files::Field { name, unit, .. } in per_row {
        // Names stay what the file says: `007` is no number.
        let array =
            if name == id { file.read_text(number, &name, 0..rows)? } else { file.read(number, &name, 0..rows)? };
        let unit: Metadata = unit.map(|unit| ("unit", unit)).into_iter().collect();
        fields.push(Field::new(name, array.data_type().clone(), true).with_metadata(unit));
        arrays.push(array);
    }
    let arrow = |source| Error::from(DataError::Arrow { column: "*".into(), source });
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
