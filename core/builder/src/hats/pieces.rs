//! Objects on their way into a catalogue: Parquet files below `OUT.partial`, each sorted by pixel, and what
//! must be known of all objects: 16 bytes each.

use super::tiles::{DEEPEST, Tile};
use super::types::{fit_batch, settled, widen_schemas};
use super::{Batches, PIXEL, Source, failed, writer};
use crate::describe::{Table, at_once, builder};
use crate::names::{hash, repeated};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that are encoded at once.
const ROWS: usize = 512;

/// Bytes of merged pieces that are written at once, about.
const CHUNK_BYTES: usize = 8 << 20;

/// Column of a piece that says from which source file an object is: its number in the list of all. Not in the catalogue.
pub const SOURCE: &str = "_source_file";

/// One written file.
#[derive(Clone, Debug)]
pub struct Piece {
    path: PathBuf,
    schema: SchemaRef,
    /// Pixels of order 29, ascending; empty if the objects have no position.
    pixels: Vec<i64>,
    /// Hash of each object's name.
    names: Vec<u64>,
    on_sky: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Pieces {
    id: String,
    /// The files that objects come from.
    sources: Vec<PathBuf>,
    pieces: Vec<Piece>,
}

impl Pieces {
    /// None so far; `id` is the column of names, and `sources` the files that the column [`SOURCE`] counts, for messages.
    #[must_use]
    pub fn new(id: &str, sources: Vec<PathBuf>) -> Self {
        Self { id: id.into(), sources, pieces: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    /// In the order of the source files, whichever thread wrote them first.
    pub fn sort(&mut self) {
        self.pieces.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// Fails if two objects have one name.
    ///
    /// # Errors
    /// With that name and the pieces that hold it.
    pub fn check_unique(&self) -> Result<()> {
        let twice = repeated(&mut self.pieces.iter().flat_map(|p| &p.names).copied().collect::<Vec<u64>>());
        if twice.is_empty() {
            return Ok(());
        }
        // Equal hashes: read the names, which may differ after all.
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        for piece in &self.pieces {
            for batch in Table::batches(&piece.path, Some(&[&self.id, SOURCE]))? {
                let (_, batch) = batch?;
                let names = text(&batch, &self.id, &piece.path)?;
                let sources = batch.column_by_name(SOURCE).and_then(|c| c.as_primitive_opt::<Int32Type>());
                for (row, name) in names.as_string::<i32>().iter().enumerate() {
                    let Some(name) = name.filter(|n| twice.binary_search(&hash(n)).is_ok()) else { continue };
                    let number = sources.and_then(|s| usize::try_from(s.value(row)).ok());
                    let source = number.and_then(|number| self.sources.get(number)).unwrap_or(&piece.path);
                    if let Some(first) = seen.insert(name.into(), source.clone()) {
                        return Err(DataError::DuplicateId { id: name.into(), first, second: source.clone() }.into());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Source for Pieces {
    fn rows(&self) -> u64 {
        self.pieces.iter().map(|p| p.names.len() as u64).sum()
    }

    fn pixels(&self) -> Option<Vec<i64>> {
        self.pieces.first().filter(|p| p.on_sky)?;
        let mut pixels: Vec<i64> = self.pieces.iter().flat_map(|p| &p.pixels).copied().collect();
        pixels.par_sort_unstable();
        Some(pixels)
    }

    fn schema(&self) -> Result<SchemaRef> {
        let none = || DataError::NoRows { path: PathBuf::new() };
        let mut pieces = self.pieces.iter();
        let first = pieces.next().ok_or_else(none)?.schema.clone();
        let whole = pieces.try_fold(first, |schema, piece| {
            widen_schemas(&schema, &piece.schema).map_err(|(column, a, b)| DataError::Source {
                file: piece.path.clone(),
                place: format!("column `{column}`"),
                reason: format!("holds {b}, but {a} in the files before"),
                hint: Some("set its `type` in the mapping".into()),
            })
        })?;
        let kept: Vec<_> = whole.fields().iter().filter(|field| field.name() != SOURCE).cloned().collect();
        Ok(settled(&Schema::new(kept)))
    }

    fn read<'a>(&'a self, tile: Option<&Tile>) -> Result<Batches<'a>> {
        let schema = self.schema()?;
        let fit = move |batch: &RecordBatch| {
            fit_batch(batch, &schema).map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
        };
        let mut batches: Vec<RecordBatch> = Vec::new();
        let Some(tile) = tile else {
            let each = self.pieces.iter().map(|p| part(&p.path, 0, p.names.len()));
            let flat = each.flat_map(move |r| match r {
                Ok(batches) => batches.iter().map(&fit).collect::<Vec<_>>(),
                Err(e) => vec![Err(e)],
            });
            return Ok(Box::new(flat));
        };
        let range = tile.range();
        for piece in &self.pieces {
            let from = piece.pixels.partition_point(|p| *p < range.start);
            let to = piece.pixels.partition_point(|p| *p < range.end);
            if from < to {
                for batch in part(&piece.path, from, to)? {
                    batches.push(fit(&batch)?);
                }
            }
        }
        let mut order: Vec<(i64, usize, usize)> = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let pixels = batch.column_by_name(PIXEL).and_then(|c| c.as_primitive_opt::<Int64Type>());
            order.extend(pixels.iter().flat_map(|p| p.values().iter()).enumerate().map(|(row, p)| (*p, number, row)));
        }
        // Stable: objects of one pixel keep the order of the pieces.
        order.sort_by_key(|o| o.0);
        let picks: Vec<(usize, usize)> = order.into_iter().map(|o| (o.1, o.2)).collect();
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let rows = (CHUNK_BYTES * picks.len() / bytes.max(1)).clamp(1, 8 * ROWS);
        let chunks = picks.chunks(rows).map(<[_]>::to_vec).collect::<Vec<_>>();
        Ok(Box::new(chunks.into_iter().map(move |picks| {
            let batches: Vec<&RecordBatch> = batches.iter().collect();
            let chosen = arrow_select::interleave::interleave_record_batch(&batches, &picks);
            chosen.map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
        })))
    }
}

impl Piece {
    /// Writes objects, sorted by pixel, under a temporary name, and renames the file. Columns `ra` and `dec`, if
    /// there, are degrees.
    ///
    /// # Errors
    /// If a position is none, with the object's name, or the disk refuses.
    pub fn write(path: &Path, batch: &RecordBatch, id: &str) -> Result<Self> {
        let names = text(batch, id, path)?;
        let names = names.as_string::<i32>();
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if field.name() != PIXEL {
                columns.push((field.as_ref().clone(), column.clone()));
            }
        }
        let pixels = pixels(batch, names)?;
        let order: Vec<u64> = match &pixels {
            None => (0..batch.num_rows() as u64).collect(),
            Some(pixels) => {
                let mut order: Vec<u64> = (0..pixels.len() as u64).collect();
                order.sort_by_key(|&row| pixels.get(row as usize));
                columns.push((Field::new(PIXEL, DataType::Int64, false), Arc::new(Int64Array::from(pixels.clone()))));
                order
            }
        };
        let arrow = |source| Error::from(DataError::Arrow { column: "*".into(), source });
        let picks = UInt64Array::from(order.clone());
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let arrays = arrow_select::take::take_arrays(&arrays, &picks, None).map_err(arrow)?;
        let sorted = RecordBatch::try_new(schema.clone(), arrays).map_err(arrow)?;
        let partial = path.with_extension("writing");
        let file = File::create(&partial).map_err(Error::io("create", &partial))?;
        let mut writer = writer(file, &schema, Compression::UNCOMPRESSED).map_err(failed(&partial))?;
        for start in (0..sorted.num_rows()).step_by(ROWS) {
            writer.write(&sorted.slice(start, ROWS.min(sorted.num_rows() - start))).map_err(failed(&partial))?;
        }
        let written = writer.into_inner().map_err(failed(&partial))?;
        // What the journal says of a piece must be true after a power cut.
        written.sync_all().map_err(Error::io("write", &partial))?;
        fs::rename(&partial, path).map_err(Error::io("write", path))?;
        let mut sorted_pixels = pixels.clone().unwrap_or_default();
        sorted_pixels.sort_unstable();
        let hashes = order.iter().map(|&row| hash(names.value(row as usize))).collect();
        Ok(Self { path: path.into(), schema, pixels: sorted_pixels, names: hashes, on_sky: pixels.is_some() })
    }

    /// Number of its objects.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.names.len() as u64
    }

    /// Its columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// One that [`Self::write`] finished before.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn open(path: &Path, id: &str) -> Result<Self> {
        let (mut pixels, mut names, mut on_sky) = (Vec::new(), Vec::new(), false);
        for batch in Table::batches(path, Some(&[id, PIXEL]))? {
            let (_, batch) = batch?;
            if let Some(own) = batch.column_by_name(PIXEL).and_then(|c| c.as_primitive_opt::<Int64Type>()) {
                on_sky = true;
                pixels.extend_from_slice(own.values());
            }
            names.extend(text(&batch, id, path)?.as_string::<i32>().iter().flatten().map(hash));
        }
        Ok(Self { path: path.into(), schema: builder(path)?.schema().clone(), pixels, names, on_sky })
    }
}

/// The column of names as text without nulls.
fn text(batch: &RecordBatch, id: &str, file: &Path) -> Result<ArrayRef> {
    let missing =
        || DataError::ColumnMissing { file: file.into(), column: id.into(), reader: String::new(), nearest: vec![] };
    let column = batch.column_by_name(id).ok_or_else(missing)?;
    let names = cast(column, &DataType::Utf8).map_err(|source| DataError::Arrow { column: id.into(), source })?;
    match (0..names.len()).find(|row| names.is_null(*row)) {
        Some(row) => Err(DataError::NullId { file: file.into(), column: id.into(), row }.into()),
        None => Ok(names),
    }
}

/// Pixels of order 29, checked; none if there are no positions.
fn pixels(batch: &RecordBatch, names: &arrow_array::StringArray) -> Result<Option<Vec<i64>>> {
    let column = |name: &str| {
        let column = batch.column_by_name(name)?;
        cast(column, &DataType::Float64).ok()
    };
    let (Some(ra), Some(dec)) = (column("ra"), column("dec")) else { return Ok(None) };
    let (ra, dec) = (ra.as_primitive::<Float64Type>(), dec.as_primitive::<Float64Type>());
    let mut pixels = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let object = names.value(row);
        let value = |a: &arrow_array::Float64Array| if a.is_null(row) { f64::NAN } else { a.value(row) };
        let (ra, dec) = (value(ra), value(dec));
        let bad = |column: &str, reason: String| -> Result<_> {
            Err(DataError::BadValue { object: object.into(), column: column.into(), reason }.into())
        };
        if !ra.is_finite() || !(0.0..=360.0).contains(&ra) {
            return bad("ra", format!("expected 0 to 360 degrees, got {ra}"));
        }
        if !dec.is_finite() || !(-90.0..=90.0).contains(&dec) {
            return bad("dec", format!("expected -90 to 90 degrees, got {dec}"));
        }
        pixels.push(cdshealpix::nested::hash(DEEPEST, ra.to_radians(), dec.to_radians()) as i64);
    }
    Ok(Some(pixels))
}

/// Rows `from..to` of a piece. Its page index says where they are, so that no others are decoded.
fn part(path: &Path, from: usize, to: usize) -> Result<Vec<RecordBatch>> {
    let damaged = |source| Error::from(DataError::Unreadable { path: path.into(), source });
    let file = File::open(path).map_err(Error::io("read", path))?;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(damaged)?;
    let selection = RowSelection::from(vec![RowSelector::skip(from), RowSelector::select(to - from)]);
    let rows = at_once(builder.metadata(), &ProjectionMask::all());
    let reader = builder.with_row_selection(selection).with_batch_size(rows).build().map_err(damaged)?;
    reader.map(|batch| batch.map_err(|e| damaged(e.into()))).collect()
}
