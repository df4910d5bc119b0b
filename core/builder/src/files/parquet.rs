//! Parquet: one table, with the fields of structs under dotted names.

use super::{Field, Part, SourceFile, source};
use crate::describe::builder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Fields};
use panchroma_core::Result;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use serde_json::Value;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(super) struct ParquetTable {
    path: PathBuf,
    parts: Vec<Part>,
}

pub(super) fn open(path: &Path) -> Result<ParquetTable> {
    let builder = builder(path)?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mut fields = Vec::new();
    collect("", builder.schema().fields(), &mut fields);
    Ok(ParquetTable { path: path.into(), parts: vec![Part { name: String::new(), rows, fields }] })
}

fn collect(above: &str, fields: &Fields, into: &mut Vec<Field>) {
    for field in fields {
        let name = if above.is_empty() { field.name().clone() } else { format!("{above}.{}", field.name()) };
        match field.data_type() {
            DataType::Struct(inner) => collect(&name, inner, into),
            data_type => {
                let unit = field.metadata().get("unit").cloned();
                into.push(Field { name, data_type: data_type.clone(), unit, per_row: true });
            }
        }
    }
}

impl SourceFile for ParquetTable {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn keyword(&self, _part: usize, _key: &str) -> Option<Value> {
        None
    }

    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        super::check(&self.path, &self.parts, part, field, &rows)?;
        let builder = builder(&self.path)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), [field]);
        let selection = vec![RowSelector::skip(rows.start), RowSelector::select(rows.len())];
        let wrong = |e: String| source(&self.path, &format!("column `{field}`"), e, "the file may be damaged");
        let reader = builder
            .with_projection(mask)
            .with_row_selection(RowSelection::from(selection))
            .with_batch_size(rows.len().max(1))
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        let schema = arrow_array::RecordBatchReader::schema(&reader);
        let batches = reader.collect::<Result<Vec<RecordBatch>, _>>().map_err(|e| wrong(e.to_string()))?;
        let batch = arrow_select::concat::concat_batches(&schema, &batches).map_err(|e| wrong(e.to_string()))?;
        let mut column = batch.columns().first().cloned().ok_or_else(|| wrong("is not there".into()))?;
        while let Some(structure) = column.as_struct_opt() {
            let inner = structure.columns().first().cloned();
            let nulls = structure.nulls().cloned();
            column = inner.ok_or_else(|| wrong("is an empty struct".into()))?;
            // What is below a null is no value.
            if let Some(nulls) = nulls.filter(|n| n.null_count() > 0) {
                let flags: arrow_array::BooleanArray = nulls.iter().map(|valid| Some(!valid)).collect();
                column = arrow_select::nullif::nullif(&column, &flags).map_err(|e| wrong(e.to_string()))?;
            }
        }
        Ok(column)
    }
}
