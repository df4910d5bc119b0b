//! Objects on their way into a catalogue: Parquet files below `OUT.partial`, each sorted by pixel, and what
//! must be known of all objects: 16 bytes each.

use super::tiles::{DEEPEST, Tile};
use super::{Batches, PIXEL, Source, failed, writer};
use crate::describe::{at_once, builder};
use crate::names::{hash, repeated};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
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

/// One written file.
#[derive(Clone, Debug)]
pub struct Piece {
    path: PathBuf,
    /// Pixels of order 29, ascending; empty if the objects have no position.
    pixels: Vec<i64>,
    /// Hash of each object's name.
    names: Vec<u64>,
    on_sky: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Pieces {
    folder: PathBuf,
    id: String,
    pieces: Vec<Piece>,
}

impl Pieces {
    /// None so far, in `folder`; `id` is the column of names.
    #[must_use]
    pub fn new(folder: PathBuf, id: &str) -> Self {
        Self { folder, id: id.into(), pieces: Vec::new() }
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
        let twice = repeated(self.pieces.iter().flat_map(|p| &p.names).copied().collect());
        if twice.is_empty() {
            return Ok(());
        }
        // Equal hashes: read the names, which may differ after all.
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        for piece in &self.pieces {
            for batch in part(&piece.path, 0, piece.names.len())? {
                let names = text(&batch, &self.id, &piece.path)?;
                for name in names.as_string::<i32>().iter().flatten().filter(|n| twice.binary_search(&hash(n)).is_ok())
                {
                    if let Some(first) = seen.insert(name.into(), piece.path.clone()) {
                        return Err(
                            DataError::DuplicateId { id: name.into(), first, second: piece.path.clone() }.into()
                        );
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
        let first = self.pieces.first().ok_or_else(|| DataError::NoRows { path: self.folder.clone() })?;
        let schema = builder(&first.path)?.schema().clone();
        for piece in &self.pieces {
            let other = builder(&piece.path)?.schema().clone();
            if other.fields() != schema.fields() {
                let differs = schema.fields().iter().zip(other.fields()).find(|(a, b)| a != b);
                let column = differs.map(|(a, _)| a.name().clone()).unwrap_or_default();
                return Err(DataError::Source {
                    file: piece.path.clone(),
                    place: format!("column `{column}`"),
                    reason: "has another type than in the files before".into(),
                    hint: Some("set its `type` in the mapping".into()),
                }
                .into());
            }
        }
        Ok(schema)
    }

    fn read<'a>(&'a self, tile: Option<&Tile>) -> Result<Batches<'a>> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        let Some(tile) = tile else {
            let each = self.pieces.iter().map(|p| part(&p.path, 0, p.names.len()));
            let flat = each.flat_map(|r| match r {
                Ok(batches) => batches.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(e) => vec![Err(e)],
            });
            return Ok(Box::new(flat));
        };
        let range = tile.range();
        for piece in &self.pieces {
            let from = piece.pixels.partition_point(|p| *p < range.start);
            let to = piece.pixels.partition_point(|p| *p < range.end);
            if from < to {
                batches.extend(part(&piece.path, from, to)?);
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
        writer.close().map_err(failed(&partial))?;
        fs::rename(&partial, path).map_err(Error::io("write", path))?;
        let mut sorted_pixels = pixels.clone().unwrap_or_default();
        sorted_pixels.sort_unstable();
        let hashes = order.iter().map(|&row| hash(names.value(row as usize))).collect();
        Ok(Self { path: path.into(), pixels: sorted_pixels, names: hashes, on_sky: pixels.is_some() })
    }

    /// One that [`Self::write`] finished before.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn open(path: &Path, id: &str) -> Result<Self> {
        let (mut pixels, mut names, mut on_sky) = (Vec::new(), Vec::new(), false);
        for batch in crate::describe::Table::batches(path, Some(&[id, PIXEL]))? {
            let (_, batch) = batch?;
            if let Some(own) = batch.column_by_name(PIXEL).and_then(|c| c.as_primitive_opt::<Int64Type>()) {
                on_sky = true;
                pixels.extend_from_slice(own.values());
            }
            names.extend(text(&batch, id, path)?.as_string::<i32>().iter().flatten().map(hash));
        }
        Ok(Self { path: path.into(), pixels, names, on_sky })
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
