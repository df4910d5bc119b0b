//! A catalogue that is to be matched: names and positions of all its objects in memory (about 50 bytes each), the
//! rest read when it is asked for.

use super::positions::Positions;
use crate::describe::{Table, builder};
use crate::files;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use panchroma_core::config::nearest;
use panchroma_core::data::{DataError, scheme};
use panchroma_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One of the catalogues.
#[derive(Debug)]
pub struct Input {
    /// What it is called in the result.
    pub name: String,
    /// Names of its objects.
    pub ids: Vec<String>,
    /// Where they are.
    pub positions: Positions,
    pub(super) schema: SchemaRef,
    /// File and number of its first row.
    files: Vec<(PathBuf, usize)>,
    /// Bytes of a row, about.
    pub(super) row_bytes: u64,
}

impl Input {
    /// Opens a HATS catalogue, a folder of Parquet files, or a file of any kind that ingest reads; a table that is not
    /// Parquet is converted to the file `scratch` first. `id` is the column of names; positions are `ra` and `dec`, in any case.
    ///
    /// # Errors
    /// If a column is missing, a position is none, or two objects have one name.
    pub fn open(path: &Path, id: &str, scratch: &Path) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name: String = stem.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let parquet = scheme(path).is_some()
            || path.is_dir()
            || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        let table = match parquet || !path.exists() {
            true => Table::open(path)?,
            false => Table::open(&converted(path, scratch)?)?,
        };
        let Some(first) = table.files.first() else { return Err(DataError::NoRows { path: path.into() }.into()) };
        let schema = builder(first)?.schema().clone();
        let find = |wanted: &str| -> Result<String> {
            let fields = schema.fields();
            let found = fields.iter().find(|f| f.name() == wanted);
            let found = found.or_else(|| fields.iter().find(|f| f.name().eq_ignore_ascii_case(wanted)));
            found.map(|f| f.name().clone()).ok_or_else(|| {
                let near = nearest(wanted, fields.iter().map(|f| f.name().as_str()));
                let column = wanted.to_owned();
                DataError::ColumnMissing { file: first.clone(), column, reader: String::new(), nearest: near }.into()
            })
        };
        let (id, ra, dec) = (find(id)?, find("ra")?, find("dec")?);
        let (mut ids, mut ras, mut decs, mut files, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0);
        for file in &table.files {
            files.push((file.clone(), ids.len()));
            bytes +=
                builder(file)?.metadata().row_groups().iter().map(|g| g.total_byte_size().unsigned_abs()).sum::<u64>();
            for batch in Table::batches(file, Some(&[&id, &ra, &dec]))? {
                let (_, batch) = batch?;
                let names = column(&batch, &id, &DataType::Utf8)?;
                for name in names.as_string::<i32>() {
                    let row = ids.len();
                    let null = || DataError::NullId { file: file.clone(), column: id.clone(), row };
                    ids.push(name.ok_or_else(null)?.to_owned());
                }
                for (name, values) in [(&ra, &mut ras), (&dec, &mut decs)] {
                    let found = column(&batch, name, &DataType::Float64)?;
                    values.extend(found.as_primitive::<Float64Type>().iter().map(|v| v.unwrap_or(f64::NAN)));
                }
            }
        }
        if ids.is_empty() {
            return Err(DataError::NoRows { path: path.into() }.into());
        }
        let mut seen = HashSet::with_capacity(ids.len());
        if let Some(twice) = ids.iter().find(|id| !seen.insert(id.as_str())) {
            return Err(DataError::DuplicateId { id: twice.clone(), first: path.into(), second: path.into() }.into());
        }
        let positions = Positions::new(ras, decs, |row| ids.get(row).cloned().unwrap_or_default())?;
        let row_bytes = bytes / ids.len() as u64;
        Ok(Self { name, positions, schema, files, row_bytes, ids })
    }

    /// Rows by number, in any order, in the schema of the first file; a row that is `None` is all null.
    pub(super) fn read(&self, rows: &[Option<u32>]) -> Result<RecordBatch> {
        let mut wanted: Vec<usize> = rows.iter().flatten().map(|r| *r as usize).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut parts = vec![nulls(&self.schema)?];
        // Of each wanted row, its part and place there.
        let mut at: Vec<(usize, usize)> = Vec::with_capacity(wanted.len());
        let mut next = 0;
        for (number, (file, first)) in self.files.iter().enumerate() {
            let end = self.files.get(number + 1).map_or(self.ids.len(), |f| f.1);
            let from = next;
            while wanted.get(next).is_some_and(|row| *row < end) {
                next += 1;
            }
            let Some(own) = wanted.get(from..next).filter(|own| !own.is_empty()) else { continue };
            let mut selectors = Vec::new();
            let mut before = *first;
            for row in own {
                if *row > before {
                    selectors.push(RowSelector::skip(row - before));
                }
                selectors.push(RowSelector::select(1));
                before = row + 1;
            }
            let damaged = |source| Error::from(DataError::Unreadable { path: file.clone(), source });
            let reader = builder(file)?
                .with_row_selection(RowSelection::from(selectors))
                .with_batch_size(own.len())
                .build()
                .map_err(damaged)?;
            for batch in reader {
                let batch = batch.map_err(|e| damaged(e.into()))?;
                at.extend((0..batch.num_rows()).map(|place| (parts.len(), place)));
                parts.push(self.fitted(batch, file)?);
            }
        }
        let number = |row: u32| wanted.binary_search(&(row as usize)).ok();
        let place = |row: &Option<u32>| row.and_then(number).and_then(|n| at.get(n).copied()).unwrap_or((0, 0));
        let picks: Vec<(usize, usize)> = rows.iter().map(place).collect();
        let parts: Vec<&RecordBatch> = parts.iter().collect();
        arrow_select::interleave::interleave_record_batch(&parts, &picks)
            .map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
    }

    /// In the columns of the first file, all of which may be null.
    fn fitted(&self, batch: RecordBatch, file: &Path) -> Result<RecordBatch> {
        let schema = nullable(&self.schema);
        let arrays = schema.fields().iter().map(|field| -> Result<ArrayRef> {
            let missing = || DataError::ColumnMissing {
                file: file.into(),
                column: field.name().clone(),
                reader: String::new(),
                nearest: Vec::new(),
            };
            let column = batch.column_by_name(field.name()).ok_or_else(missing)?;
            if column.data_type() == field.data_type() {
                return Ok(column.clone());
            }
            Ok(cast(column, field.data_type())
                .map_err(|source| DataError::Arrow { column: field.name().clone(), source })?)
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(schema, arrays).map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
    }
}

fn column(batch: &RecordBatch, name: &str, to: &DataType) -> Result<ArrayRef> {
    let found =
        batch.column_by_name(name).ok_or_else(|| DataError::ColumnNotAsked { column: name.into(), nearest: vec![] })?;
    Ok(cast(found, to).map_err(|source| DataError::Arrow { column: name.into(), source })?)
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// One row of nulls.
fn nulls(schema: &SchemaRef) -> Result<RecordBatch> {
    let schema = nullable(schema);
    let arrays = schema.fields().iter().map(|f| arrow_array::new_null_array(f.data_type(), 1)).collect();
    RecordBatch::try_new(schema, arrays).map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
}

/// The first table of a file, as Parquet.
fn converted(path: &Path, to: &Path) -> Result<PathBuf> {
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
