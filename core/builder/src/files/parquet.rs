//! Parquet: one table, with the fields of structs under dotted names.

use super::{Field, Part, SourceFile, ecsv, source};
use crate::describe::{at_once, builder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Fields, Schema};
use panchroma_core::Result;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection, RowSelector};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(super) struct ParquetTable {
    path: PathBuf,
    parts: Vec<Part>,
    /// Numbers of the file's own columns that each field consists of.
    leaves: Vec<Range<usize>>,
    /// By field: rows are asked for one part after the other.
    open: BTreeMap<String, Reading>,
}

/// A column that is being read.
struct Reading {
    reader: ParquetRecordBatchReader,
    /// Read, and not asked for yet.
    rest: Vec<ArrayRef>,
    /// Row that comes next.
    next: usize,
}

pub(super) fn open(path: &Path) -> Result<ParquetTable> {
    let builder = builder(path)?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let (mut fields, mut leaves) = (Vec::new(), Vec::new());
    collect("", builder.schema().fields(), &units(builder.schema()), &mut fields, &mut leaves);
    let parts = vec![Part { name: String::new(), rows, fields }];
    Ok(ParquetTable { path: path.into(), parts, leaves, open: BTreeMap::new() })
}

/// Units by dotted column: as fields say, or astropy for all of them.
pub(crate) fn units(schema: &Schema) -> BTreeMap<String, String> {
    let yaml = schema.metadata().get("table_meta_yaml").map_or("", String::as_str);
    let of_all =
        ecsv::declared(yaml.lines()).into_iter().filter_map(|(column, declared)| Some((column, declared.unit?)));
    let mut found = of_all.collect();
    stated("", schema.fields(), &mut found);
    found
}

fn stated(above: &str, fields: &Fields, into: &mut BTreeMap<String, String>) {
    for field in fields {
        let name = format!("{above}{}", field.name());
        let unit = ["unit", "units"].into_iter().find_map(|key| field.metadata().get(key));
        if let Some(unit) = unit.filter(|unit| !unit.is_empty()) {
            into.insert(name.clone(), unit.clone());
        }
        if let DataType::Struct(inner) = field.data_type() {
            stated(&format!("{name}."), inner, into);
        }
    }
}

fn collect(
    above: &str,
    fields: &Fields,
    units: &BTreeMap<String, String>,
    into: &mut Vec<Field>,
    leaves: &mut Vec<Range<usize>>,
) {
    for field in fields {
        let name = if above.is_empty() { field.name().clone() } else { format!("{above}.{}", field.name()) };
        match field.data_type() {
            DataType::Struct(inner) => collect(&name, inner, units, into, leaves),
            data_type => {
                let unit = units.get(&name).cloned();
                into.push(Field { name, data_type: data_type.clone(), unit, per_row: true });
                let start = leaves.last().map_or(0, |before| before.end);
                leaves.push(start..start + count(data_type));
            }
        }
    }
}

/// How many columns of the file a type takes.
fn count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| count(field.data_type())).sum(),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => count(inner.data_type()),
        _ => 1,
    }
}

impl ParquetTable {
    fn begin(&self, field: &str, first: usize) -> Result<Reading> {
        let place = self.parts.iter().flat_map(|p| &p.fields).position(|f| f.name == field);
        let leaves = place.and_then(|place| self.leaves.get(place)).cloned().unwrap_or(0..0);
        let builder = builder(&self.path)?;
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let rows = at_once(builder.metadata(), &mask);
        let rest = self.parts.first().map_or(0, |p| p.rows).saturating_sub(first);
        let selection = vec![RowSelector::skip(first), RowSelector::select(rest)];
        let reader = builder
            .with_projection(mask)
            .with_row_selection(RowSelection::from(selection))
            .with_batch_size(rows)
            .build()
            .map_err(|e| self.wrong(field, e.to_string()))?;
        Ok(Reading { reader, rest: Vec::new(), next: first })
    }

    fn wrong(&self, field: &str, reason: String) -> panchroma_core::Error {
        source(&self.path, &format!("column `{field}`"), reason, "the file may be damaged")
    }

    /// The next rows of a column.
    fn take(&self, reading: &mut Reading, field: &str, count: usize) -> Result<ArrayRef> {
        let have = |reading: &Reading| reading.rest.iter().map(|part| part.len()).sum::<usize>();
        while have(reading) < count {
            let batch =
                reading.reader.next().ok_or_else(|| self.wrong(field, "has fewer rows than the file says".into()))?;
            let batch = batch.map_err(|e| self.wrong(field, e.to_string()))?;
            let column = batch.columns().first().cloned().ok_or_else(|| self.wrong(field, "is not there".into()))?;
            reading.rest.push(below(column).map_err(|e| self.wrong(field, e))?);
        }
        let parts: Vec<&dyn Array> = reading.rest.iter().map(AsRef::as_ref).collect();
        let whole = match parts.as_slice() {
            // Of what type the column is, no rows say as well as many.
            [] => arrow_array::new_empty_array(&super::find_field(&self.path, &self.parts, 0, field)?.data_type),
            parts => arrow_select::concat::concat(parts).map_err(|e| self.wrong(field, e.to_string()))?,
        };
        reading.rest = vec![whole.slice(count, whole.len() - count)];
        reading.next += count;
        Ok(whole.slice(0, count))
    }
}

/// The one field in structs in structs, null where one of these is.
fn below(mut column: ArrayRef) -> Result<ArrayRef, String> {
    while let Some(structure) = column.as_struct_opt() {
        let inner = structure.columns().first().cloned();
        let nulls = structure.nulls().cloned();
        column = inner.ok_or("is an empty struct")?;
        if let Some(nulls) = nulls.filter(|n| n.null_count() > 0) {
            let flags: arrow_array::BooleanArray = nulls.iter().map(|valid| Some(!valid)).collect();
            column = arrow_select::nullif::nullif(&column, &flags).map_err(|e| e.to_string())?;
        }
    }
    Ok(column)
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
        let field = super::find_field(&self.path, &self.parts, part, field)?.name.clone();
        let mut reading = match self.open.remove(&field) {
            Some(reading) if reading.next == rows.start => reading,
            _ => self.begin(&field, rows.start)?,
        };
        let array = self.take(&mut reading, &field, rows.len())?;
        self.open.insert(field, reading);
        Ok(array)
    }
}
