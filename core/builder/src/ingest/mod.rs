//! Builds a catalogue from the files of a survey, as a [`Mapping`] says.
//!
//! Files are read on all cores, some at a time; what they give is written as sorted pieces below `OUT.partial`
//! and noted in a journal there, so that the same command goes on where an interrupted one stopped. Then
//! [`crate::hats::assemble`] makes the catalogue.

mod arrays;
mod convert;
mod journal;
mod mapping;
mod objects;
#[cfg(test)]
mod tests;
mod units;

pub use mapping::{Constant, Group, Kind, Layout as ObjectLayout, Mapping, OnError, Source, Transform, Value};

use crate::files::source;
use crate::hats::{Layout, Piece, Pieces, Source as _, assemble, partial, rows_per_tile};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use journal::{Done, Journal};
use objects::objects;
use panchroma_core::data::{DataError, writable};
use panchroma_core::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Files that one thread reads before it writes a piece.
const FILES: usize = 128;

/// A piece is written when it holds about this many bytes.
const PIECE_BYTES: usize = 48 << 20;

/// What was done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Objects in the catalogue.
    pub objects: u64,
    /// Files read now.
    pub files: u64,
    /// Files that an interrupted run had read.
    pub resumed: u64,
    /// Files left out, with why.
    pub skipped: Vec<(PathBuf, String)>,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Files read, of all.
    Reading(u64, u64),
    /// Objects written, of all.
    Writing(u64, u64),
}

/// Builds a catalogue at `out`. `stop` is looked at between files.
///
/// # Errors
/// If a file or value is bad, with file, part and column; [`Error::Interrupted`]; if the disk refuses. What was
/// done stays in `OUT.partial`, and the same command goes on from there.
pub fn ingest(
    mapping: &Mapping,
    out: &Path,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    writable(out)?;
    if fs::exists(out).map_err(Error::io("read", out))? {
        return Err(DataError::Exists { path: out.into() }.into());
    }
    let files = find(&mapping.source.files)?;
    let folder = partial(out);
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let journal = Journal::open(&folder, mapping)?;
    let id = "object_id";
    let mut pieces = Pieces::new(folder.clone(), id);
    let mut skipped = Vec::new();
    let mut bytes = 0;
    let done: BTreeMap<PathBuf, ()> = journal.done.iter().flat_map(|d| &d.files).map(|f| (f.clone(), ())).collect();
    for earlier in &journal.done {
        for (name, size) in &earlier.pieces {
            pieces.push(Piece::open(&folder.join(name), id)?);
            bytes += size;
        }
        skipped.extend(earlier.skipped.iter().cloned());
    }
    let left: Vec<PathBuf> = files.iter().filter(|f| !done.contains_key(*f)).cloned().collect();
    let schema = Mutex::new(None);
    let (read, total) = (AtomicU64::new(done.len() as u64), files.len() as u64);
    progress(Progress::Reading(done.len() as u64, total));
    let all = Mutex::new((pieces, skipped, bytes));
    let numbers = journal.done.iter().flat_map(|d| &d.pieces).filter_map(|(name, _)| name.get(6..12)?.parse().ok());
    let first_number = numbers.max().map_or(0, |last: usize| last + 1);
    let journal = Mutex::new(journal);
    // The first file says the types, whichever thread is first to read one.
    if let Some(first) = left.first() {
        let found = objects(first, mapping, &mut |batch| {
            if let Ok(mut schema) = schema.lock() {
                schema.get_or_insert_with(|| batch.schema());
            }
            Ok(())
        });
        if mapping.source.on_error == OnError::Fail {
            found?;
        }
    }
    left.par_chunks(FILES).enumerate().try_for_each(|(number, chunk)| -> Result<()> {
        let mut work = Work::new(&folder, first_number + number, &schema);
        let mut note = Done { files: chunk.to_vec(), pieces: Vec::new(), skipped: Vec::new() };
        for path in chunk {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let mut own = Vec::new();
            let found = objects(path, mapping, &mut |batch| {
                own.push(work.fitted(batch, path)?);
                // A file of many rows is not held as a whole.
                if mapping.source.on_error == OnError::Fail {
                    own.drain(..).try_for_each(|batch| work.add(batch))?;
                }
                Ok(())
            });
            match found {
                Ok(()) => own.into_iter().try_for_each(|batch| work.add(batch))?,
                Err(error @ (Error::Data(_) | Error::Shape { .. })) if mapping.source.on_error == OnError::Skip => {
                    note.skipped.push((path.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            progress(Progress::Reading(read.fetch_add(1, Ordering::Relaxed) + 1, total));
        }
        work.flush()?;
        note.pieces = work.written.iter().map(|(name, _, size)| (name.clone(), *size)).collect();
        if let Ok(mut journal) = journal.lock() {
            journal.add(&note)?;
        }
        if let Ok(mut all) = all.lock() {
            for (_, piece, size) in work.written {
                all.0.push(piece);
                all.2 += size;
            }
            all.1.extend(note.skipped);
        }
        Ok(())
    })?;
    let (mut pieces, mut skipped, bytes) = all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    pieces.sort();
    skipped.sort();
    let objects = pieces.rows();
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut provenance = BTreeMap::from([("files".to_owned(), mapping.source.files.join(", "))]);
    provenance.insert("files_read".into(), (files.len() - skipped.len()).to_string());
    provenance.insert("files_skipped".into(), skipped.len().to_string());
    let rows_per_tile = rows_per_tile(bytes, objects);
    let layout = Layout { name, rows_per_tile, units: mapping.units(), provenance, beside: Vec::new() };
    if objects == 0 {
        let all = if skipped.is_empty() { "" } else { ": all files were skipped" };
        let reason = format!("the files give no object{all}");
        return Err(source(out, "", reason, "see what `panchroma data ingest` says with `on_error = \"fail\"`"));
    }
    pieces.check_unique()?;
    assemble(out, &pieces, &layout, &mut |done, total| progress(Progress::Writing(done, total)))?;
    Ok(Report { objects, files: left.len() as u64, resumed: done.len() as u64, skipped })
}

/// The files that patterns name, sorted, each once.
fn find(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pattern in patterns {
        let wrong = |reason: String| source(Path::new(pattern), "", reason, "patterns are such as `spectra/**/*.fits`");
        let before = files.len();
        for path in glob::glob(pattern).map_err(|e| wrong(e.to_string()))? {
            let path = path.map_err(|e| wrong(e.to_string()))?;
            if path.is_file() {
                files.push(path);
            }
        }
        if files.len() == before {
            return Err(wrong("matches no file".into()));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// What one thread gathers until it is a piece.
struct Work<'a> {
    folder: &'a Path,
    number: usize,
    schema: &'a Mutex<Option<SchemaRef>>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    /// Name, piece, and bytes in memory.
    written: Vec<(String, Piece, u64)>,
}

impl<'a> Work<'a> {
    fn new(folder: &'a Path, number: usize, schema: &'a Mutex<Option<SchemaRef>>) -> Self {
        Self { folder, number, schema, batches: Vec::new(), bytes: 0, written: Vec::new() }
    }

    /// In the types of the first file.
    fn fitted(&self, batch: RecordBatch, path: &Path) -> Result<RecordBatch> {
        let schema = match self.schema.lock() {
            Ok(mut schema) => schema.get_or_insert_with(|| batch.schema()).clone(),
            Err(_) => batch.schema(),
        };
        if batch.schema() == schema {
            return Ok(batch);
        }
        let mut columns = Vec::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let fitted = arrow_cast::cast(column, field.data_type()).map_err(|e| {
                let reason = format!("has another type than in the files before: {e}");
                source(path, &format!("column `{}`", field.name()), reason, "set its `type` in the mapping")
            })?;
            columns.push(fitted);
        }
        RecordBatch::try_new(schema, columns).map_err(|e| source(path, "", e.to_string(), "set `type` in the mapping"))
    }

    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        if self.bytes >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(first) = self.batches.first() else { return Ok(()) };
        let whole = arrow_select::concat::concat_batches(&first.schema(), &self.batches)
            .map_err(|source| DataError::Arrow { column: "*".into(), source })?;
        self.batches.clear();
        let name = format!("piece-{:06}-{:03}.parquet", self.number, self.written.len());
        let piece = Piece::write(&self.folder.join(&name), &whole, "object_id")?;
        self.written.push((name, piece, self.bytes as u64));
        self.bytes = 0;
        Ok(())
    }
}
