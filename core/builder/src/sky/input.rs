//! A catalogue that is to be matched: positions of all its objects in memory (16 bytes each), the rest read when it is
//! asked for.

use super::columns::{InputSettings, to_degrees};
use super::convert::converted;
use super::positions::Positions;
use crate::describe::{Notes, Table, builder};
use crate::names::{hash, repeated};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use panchroma_core::data::{DataError, position_columns, scheme};
use panchroma_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Decoding so many bytes that nobody asked for is as quick as passing over them.
const GAP_BYTES: u64 = 1 << 16;

/// Rows whose names are read at once.
const NAMES: usize = 1 << 16;

/// One of the catalogues.
#[derive(Debug)]
pub struct Input {
    /// What it is called in the result.
    pub name: String,
    /// Where its objects are.
    pub positions: Positions,
    /// Units by dotted column, where the catalogue says them.
    pub units: BTreeMap<String, String>,
    /// Column of names.
    id: String,
    pub(super) schema: SchemaRef,
    /// File and number of its first row.
    files: Vec<(PathBuf, usize)>,
    /// What the user calls the one file, if it was converted.
    origin: Option<PathBuf>,
    /// Bytes of a row, about.
    pub(super) row_bytes: u64,
    /// Hash of each object's name, ascending.
    names: Vec<u64>,
}

/// What is read of a row group at first.
#[derive(Default)]
struct Part {
    names: Vec<u64>,
    /// The first row without a name.
    nameless: Option<usize>,
    ra: Vec<f64>,
    dec: Vec<f64>,
}

impl Input {
    /// Opens a HATS catalogue, a folder of Parquet files, or a file of any kind that ingest reads; a table that is not
    /// Parquet is converted to the file `scratch` first. Positions in other units of angles become degrees.
    ///
    /// # Errors
    /// If a column is missing, an object has no name or no position, or two objects have one name.
    pub fn open(path: &Path, settings: &InputSettings, scratch: &Path) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name: String = stem.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let parquet = scheme(path).is_some()
            || path.is_dir()
            || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        let origin = (!parquet && path.exists()).then(|| path.to_path_buf());
        let table = match origin {
            None => Table::open(path)?,
            Some(_) => Table::open(&converted(path, settings, scratch)?)?,
        };
        let Some(first) = table.files.first().filter(|_| table.rows > 0) else {
            return Err(DataError::NoRows { path: path.into() }.into());
        };
        let schema = builder(first)?.schema().clone();
        let file = origin.as_deref().unwrap_or(first);
        let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let stated = || position_columns(&table.root).filter(|both| both.iter().all(|c| columns.contains(&c.as_str())));
        let position = settings.position.clone().or_else(stated);
        let [id, ra, dec] = InputSettings { position, ..settings.clone() }.find(file, &columns)?;
        let mut units = crate::files::units(&schema);
        // What can't be read is not known.
        units.extend(Notes::read(&table.root).ok().flatten().unwrap_or_default().units);
        let size = |column: &str| match schema.field_with_name(column) {
            Ok(field) => to_degrees(file, field, units.get(column)),
            Err(source) => Err(DataError::Arrow { column: column.into(), source }.into()),
        };
        let sizes = [size(&ra)?, size(&dec)?];
        let parts = table.groups.par_iter().map(|group| {
            let mut part = Part::default();
            for batch in table.group(*group, Some(&[&id, &ra, &dec]))? {
                let (row, batch) = batch?;
                let names = column(&batch, &id, &DataType::Utf8)?;
                let names = names.as_string::<i32>();
                if names.null_count() > 0 && part.nameless.is_none() {
                    part.nameless = (0..names.len()).find(|i| names.is_null(*i)).map(|i| row + i);
                }
                part.names.extend(names.iter().map(|name| hash(name.unwrap_or_default())));
                for ((name, values), size) in [(&ra, &mut part.ra), (&dec, &mut part.dec)].into_iter().zip(sizes) {
                    let found = column(&batch, name, &DataType::Float64)?;
                    values.extend(found.as_primitive::<Float64Type>().iter().map(|v| v.map_or(f64::NAN, |v| v * size)));
                }
            }
            Ok(part)
        });
        let parts = parts.collect::<Result<Vec<Part>>>()?;
        let files = table.files.into_iter().zip(table.starts).map(|(file, start)| (file, start as usize)).collect();
        let (row_bytes, positions, names) = (table.bytes / table.rows, Positions::default(), Vec::new());
        let mut input = Self { name, positions, units, id, schema, files, origin, row_bytes, names };
        let mut start = 0;
        for part in &parts {
            if let Some(row) = part.nameless {
                let (file, row) = input.place(start + row);
                return Err(DataError::NullId { file, column: input.id, row }.into());
            }
            start += part.names.len();
        }
        let hashes: Vec<u64> = parts.iter().flat_map(|p| &p.names).copied().collect();
        let all = |of: fn(&Part) -> &Vec<f64>| parts.iter().flat_map(of).copied().collect::<Vec<f64>>();
        let places = (all(|p| &p.ra), all(|p| &p.dec));
        input.positions = if settings.drop_bad {
            Positions::leaving_out(places.0, places.1)
        } else {
            Positions::new(places.0, places.1, |row, coordinate, reason| {
                let object =
                    u32::try_from(row).ok().and_then(|row| Some(input.names(&[row]).ok()?.value(0).to_owned()));
                let column = if coordinate == "ra" { ra.clone() } else { dec.clone() };
                let (file, row) = input.place(row);
                DataError::BadPosition { file, row, object: object.unwrap_or_default(), column, reason }.into()
            })?
        };
        let mut names = hashes.clone();
        input.check_unique(&hashes, &repeated(&mut names))?;
        input.names = names;
        Ok(input)
    }

    /// The file that has a row, as the user calls it, and the row's number there.
    fn place(&self, row: usize) -> (PathBuf, usize) {
        let number = self.files.partition_point(|(_, first)| *first <= row);
        let (file, first) = number.checked_sub(1).and_then(|n| self.files.get(n)).cloned().unwrap_or_default();
        (self.origin.clone().unwrap_or(file), row - first)
    }

    /// Fails if two objects have one name; their hash then is there `twice`.
    fn check_unique(&self, hashes: &[u64], twice: &[u64]) -> Result<()> {
        if twice.is_empty() {
            return Ok(());
        }
        // Equal hashes: read the names, which may differ after all.
        let rows = hashes.iter().zip(0u32..).filter(|(hash, _)| twice.binary_search(hash).is_ok());
        let rows: Vec<u32> = rows.map(|(_, row)| row).collect();
        let mut seen = HashMap::new();
        for rows in rows.chunks(NAMES) {
            for (name, row) in self.names(rows)?.iter().flatten().zip(rows) {
                if let Some(earlier) = seen.insert(name.to_owned(), *row) {
                    let (first, second) = (self.place(earlier as usize).0, self.place(*row as usize).0);
                    return Err(DataError::DuplicateId { id: name.into(), first, second }.into());
                }
            }
        }
        Ok(())
    }

    /// Whether an object may have this name; if not, none has.
    pub(super) fn may_have(&self, name: &str) -> bool {
        self.names.binary_search(&hash(name)).is_ok()
    }

    /// Names of rows.
    pub(super) fn names(&self, rows: &[u32]) -> Result<StringArray> {
        let rows: Vec<Option<u32>> = rows.iter().copied().map(Some).collect();
        self.names_in(&self.read(&rows, Some(&self.id))?)
    }

    /// Names of the rows of a batch of this catalogue; null for what is no row.
    pub(super) fn names_in(&self, batch: &RecordBatch) -> Result<StringArray> {
        Ok(column(batch, &self.id, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    /// Rows by number, in any order, in the schema of the first file; a row that is `None` is all null. All columns, or `only` one.
    pub(super) fn read(&self, rows: &[Option<u32>], only: Option<&str>) -> Result<RecordBatch> {
        let schema = match only {
            None => nullable(&self.schema),
            Some(name) => nullable(
                &Schema::new(self.schema.field_with_name(name).cloned().into_iter().collect::<Vec<_>>()).into(),
            ),
        };
        // Places in the result by the row that they want.
        let mut wanted: Vec<(usize, usize)> =
            rows.iter().enumerate().filter_map(|(place, row)| Some(((*row)? as usize, place))).collect();
        wanted.sort();
        let mut parts = vec![nulls(&schema)?];
        let mut picks = vec![(0, 0); rows.len()];
        let mut next = 0;
        for (number, (file, first)) in self.files.iter().enumerate() {
            let end = self.files.get(number + 1).map_or(usize::MAX, |f| f.1);
            let from = next;
            next += wanted.get(from..).unwrap_or_default().partition_point(|(row, _)| *row < end);
            let Some(own) = wanted.get(from..next).filter(|own| !own.is_empty()) else { continue };
            let runs = runs(own.iter().map(|(row, _)| row - first), GAP_BYTES / self.row_bytes.max(1));
            let batches = read_runs(file, &runs, only)?;
            // Batches follow each other, and so do runs: both are walked along with the wanted rows.
            let (mut part, mut part_start, mut run, mut run_start) = (0, 0, 0, 0);
            for (row, place) in own {
                while runs.get(run).is_some_and(|r: &Range<usize>| r.end <= row - first) {
                    run_start += runs.get(run).map_or(0, Range::len);
                    run += 1;
                }
                let at = run_start + (row - first) - runs.get(run).map_or(0, |r| r.start);
                while batches.get(part).is_some_and(|b: &RecordBatch| part_start + b.num_rows() <= at) {
                    part_start += batches.get(part).map_or(0, RecordBatch::num_rows);
                    part += 1;
                }
                if let Some(pick) = picks.get_mut(*place) {
                    *pick = (parts.len() + part, at - part_start);
                }
            }
            for batch in batches {
                parts.push(fitted(batch, &schema, file)?);
            }
        }
        let arrow = |source| Error::from(DataError::Arrow { column: "*".into(), source });
        // One part that has all rows is the rule, and quicker.
        if let [_, only] = parts.as_slice()
            && picks.iter().all(|(part, _)| *part == 1)
        {
            let places: UInt64Array = picks.iter().map(|(_, row)| *row as u64).collect();
            let columns = arrow_select::take::take_arrays(only.columns(), &places, None).map_err(arrow)?;
            return RecordBatch::try_new(schema, columns).map_err(arrow);
        }
        let parts: Vec<&RecordBatch> = parts.iter().collect();
        arrow_select::interleave::interleave_record_batch(&parts, &picks).map_err(arrow)
    }
}

/// Runs of rows that hold all of `rows`, which ascend; runs less than `gap` apart are one.
fn runs(rows: impl Iterator<Item = usize>, gap: u64) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some(last) if row < last.end.saturating_add(gap as usize).saturating_add(1) => {
                last.end = last.end.max(row + 1)
            }
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

/// The rows of runs, one after the other.
fn read_runs(file: &Path, runs: &[Range<usize>], only: Option<&str>) -> Result<Vec<RecordBatch>> {
    let mut selectors = Vec::new();
    let (mut before, mut count) = (0, 0);
    for run in runs {
        selectors.push(RowSelector::skip(run.start - before));
        selectors.push(RowSelector::select(run.len()));
        before = run.end;
        count += run.len();
    }
    let damaged = |source| Error::from(DataError::Unreadable { path: file.into(), source });
    let builder = builder(file)?;
    let mask = match only {
        Some(name) => ProjectionMask::columns(builder.parquet_schema(), [name]),
        None => ProjectionMask::all(),
    };
    let reader = builder
        .with_projection(mask)
        .with_row_selection(RowSelection::from(selectors))
        .with_batch_size(count)
        .build()
        .map_err(damaged)?;
    reader.map(|batch| batch.map_err(|e| damaged(e.into()))).collect()
}

/// In the columns of `schema`.
fn fitted(batch: RecordBatch, schema: &SchemaRef, file: &Path) -> Result<RecordBatch> {
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
    RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
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

/// One row of nulls, of columns that may be null.
fn nulls(schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = schema.fields().iter().map(|f| arrow_array::new_null_array(f.data_type(), 1)).collect();
    RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int32Array};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use proptest::prelude::*;
    use std::fs::File;

    #[test]
    fn runs_hold_every_row_and_join_across_small_gaps() {
        assert_eq!(runs([3, 4, 4, 7, 20].into_iter(), 0), [3..5, 7..8, 20..21]);
        assert_eq!(runs([3, 4, 4, 7, 20].into_iter(), 2), [3..8, 20..21]);
        assert!(runs(std::iter::empty(), u64::MAX).is_empty());
        assert_eq!(runs([0, 9].into_iter(), u64::MAX), vec![0..10]);
    }

    /// Two files of 50 and 30 rows in groups of 16, with their row number in a column.
    fn catalogue(folder: &Path) -> Input {
        for (file, from, to) in [("a", 0, 50), ("b", 50, 80)] {
            let rows = from..to;
            let names: StringArray = rows.clone().map(|i| Some(format!("name {i}"))).collect();
            let batch = RecordBatch::try_from_iter([
                ("object_id", Arc::new(names) as ArrayRef),
                ("ra", Arc::new(Float64Array::from_iter_values(rows.clone().map(f64::from)))),
                ("dec", Arc::new(Float64Array::from_iter_values(rows.clone().map(|_| 0.0)))),
                ("row", Arc::new(Int32Array::from_iter_values(rows))),
            ])
            .expect("a batch");
            let to = File::create(folder.join(format!("{file}.parquet"))).expect("a file");
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(16)).build();
            let mut writer = ArrowWriter::try_new(to, batch.schema(), Some(properties)).expect("a writer");
            writer.write(&batch).expect("written");
            writer.close().expect("closed");
        }
        Input::open(folder, &InputSettings::default(), &folder.join("scratch")).expect("a catalogue")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn rows_come_as_they_are_asked_for(
            rows in proptest::collection::vec(proptest::option::weighted(0.9, 0u32..80), 0..40),
            row_bytes in prop_oneof![Just(1u64), Just(GAP_BYTES), Just(GAP_BYTES / 3)],
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut input = catalogue(folder.path());
            input.row_bytes = row_bytes;
            let batch = input.read(&rows, None).expect("rows");
            let found = batch.column_by_name("row").expect("the column").as_primitive::<arrow_array::types::Int32Type>();
            let found: Vec<Option<u32>> = found.iter().map(|v| v.map(|v| v as u32)).collect();
            prop_assert_eq!(&found, &rows);
            let names = input.names_in(&input.read(&rows, Some("object_id")).expect("rows")).expect("names");
            let expected: Vec<Option<String>> = rows.iter().map(|r| r.map(|r| format!("name {r}"))).collect();
            prop_assert_eq!(names.iter().map(|n| n.map(str::to_owned)).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn two_objects_of_one_name_are_refused_wherever_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        catalogue(folder.path());
        std::fs::copy(folder.path().join("b.parquet"), folder.path().join("c.parquet")).expect("copied");
        let error =
            Input::open(folder.path(), &InputSettings::default(), &folder.path().join("scratch")).expect_err("double");
        assert!(error.to_string().contains("two objects are called `name 50`"), "{error}");
    }
}
