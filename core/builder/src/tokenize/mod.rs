//! Runs the codecs of a model over a catalogue, once, and writes their codes as columns of a new catalogue, which training reads
//! in place of the measurements.
//!
//! Loader threads make the codes, batch after batch in the order of the catalogue; the columns that are kept are read beside them
//! (`kept`); both are written as sorted pieces below `OUT.partial` and noted in a journal there, so that the same command goes on
//! where an interrupted one stopped. Then [`crate::hats::assemble`] makes the catalogue, in the tiles of the old one.

mod codes;
mod journal;
mod kept;
#[cfg(test)]
mod tests;

use crate::hats::{Layout, Piece, Pieces, Scratch, Tile, assemble, hexadecimal, rows_per_tile};
use arrow_array::RecordBatch;
use codes::{Coded, Columns};
use journal::{Done, Journal};
use kept::Kept;
use panchroma_core::data::{Catalogue, CodesNote, Column, DataConfig, DataError, Loader, LoaderPlan, Position};
use panchroma_core::model::{BadRow, Codec};
use panchroma_core::{Error, Model, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A piece is written when it holds about this many bytes.
const PIECE_BYTES: usize = 32 << 20;

/// And after this time, so that little is lost with the machine.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// Which columns of the old catalogue go into the new one, beside the objects' names and places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those of one value per object, and these by name.
    Single(Vec<String>),
    /// All.
    All,
}

/// How to do it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which modalities, by the user's names; they have codes.
    pub modalities: Vec<String>,
    /// Which columns stay.
    pub keep: Keep,
    /// Objects that a codec gets at once.
    pub batch: usize,
    /// Where the codecs come from, for the notes: the run or config that the user named.
    pub codec: String,
}

/// A column of codes.
#[derive(Clone, Debug, Serialize)]
pub struct CodesColumn {
    /// Its name.
    pub column: String,
    /// Type of a code: `u8`, `u16` or `u32`.
    pub values: &'static str,
    /// Objects that have codes.
    pub objects: u64,
    /// Where they come from.
    #[serde(flatten)]
    pub note: CodesNote,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Objects in the catalogue.
    pub objects: u64,
    /// Objects whose codes an interrupted run had made.
    pub resumed: u64,
    /// The columns of codes.
    pub codes: Vec<CodesColumn>,
    /// Measurements that made no sense, with `bad_rows = "absent"`: they have no codes.
    pub left_out: Vec<BadRow>,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Objects with codes, of all.
    Tokenizing(u64, u64),
    /// Objects written, of all.
    Writing(u64, u64),
}

/// Makes the codes of the objects of the catalogue at `data.path`, and writes a catalogue with them at `out`. `stop` is looked at
/// between batches.
///
/// # Errors
/// If a file or value is bad; [`Error::Interrupted`]; if another command works on the same catalogue; if the disk refuses. What was
/// done stays in `OUT.partial`, and the same command goes on from there.
pub fn tokenize(
    model: &Arc<Model>,
    data: &DataConfig,
    settings: &Settings,
    out: &Path,
    stop: &AtomicBool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let wanted = |codec: &Codec| settings.modalities.contains(&codec.modality);
    let codecs: Vec<Codec> = model.codecs()?.into_iter().filter(wanted).collect();
    let columns = Columns::new(model, &codecs);
    let read: Vec<Column> = codecs.iter().flat_map(|codec| model.measured_columns(&codec.modality)).collect();
    let catalogue = Arc::new(Catalogue::open(&DataConfig { also: Vec::new(), ..data.clone() }, &read)?);
    let work = Work { model, catalogue: &catalogue, settings, columns: Arc::new(columns), stop };
    work.run(&codecs, out, progress).map_err(|error| catalogue.locate(error))
}

/// What all steps know.
struct Work<'a> {
    model: &'a Arc<Model>,
    catalogue: &'a Arc<Catalogue>,
    settings: &'a Settings,
    columns: Arc<Columns>,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    fn run(&self, codecs: &[Codec], out: &Path, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Report> {
        let data = self.catalogue.config();
        let mut kept = Kept::open(data, &self.settings.keep, &self.columns.names())?;
        let scratch = Scratch::open(out)?;
        let (mut journal, done) = Journal::open(scratch.path(), &self.identity(codecs, &kept))?;
        let mut pieces = Pieces::new(&data.id, Vec::new());
        let (mut with, mut rows, mut bytes) = (vec![0; codecs.len()], 0, 0);
        while let Some(done) = done.get(&rows) {
            match Piece::open(&scratch.path().join(&done.piece), &data.id) {
                Ok(piece) if piece.rows() == done.rows && done.rows > 0 => pieces.push(piece),
                // The rest is made again, over what can't be read.
                _ => break,
            }
            with.iter_mut().zip(&done.with).for_each(|(all, own)| *all += own);
            (rows, bytes) = (rows + done.rows, bytes + done.bytes);
        }
        let (resumed, total) = (rows, self.catalogue.len() as u64);
        progress(Progress::Tokenizing(rows, total));
        let units = std::mem::take(&mut kept.units);
        kept.skip(rows)?;
        for piece in self.pieces(rows, kept, progress)? {
            let (batch, own) = piece?;
            let name = format!("piece-{rows:010}.parquet");
            pieces.push(Piece::write(&scratch.path().join(&name), &batch, &data.id)?);
            let held = batch.get_array_memory_size() as u64;
            let done = Done { piece: name, first: rows, rows: batch.num_rows() as u64, bytes: held, with: own };
            journal.add(&done)?;
            with.iter_mut().zip(&done.with).for_each(|(all, own)| *all += own);
            (rows, bytes) = (rows + done.rows, bytes + done.bytes);
        }
        if rows < total {
            return Err(Error::Interrupted);
        }
        let notes = self.columns.notes(codecs, &self.settings.codec);
        let layout = self.layout(out, &notes, units, rows_per_tile(bytes, rows))?;
        assemble(out, &scratch, &pieces, &layout, &mut |done, total| {
            progress(Progress::Writing(done, total));
            !self.stop.load(Ordering::Relaxed)
        })?;
        scratch.remove()?;
        let codes = notes.into_iter().zip(with).zip(self.columns.types());
        let codes = codes.map(|(((column, note), objects), values)| CodesColumn { column, values, objects, note });
        Ok(Report { objects: total, resumed, codes: codes.collect(), left_out: self.model.new_bad_rows() })
    }

    /// The objects from `first` on as pieces, each with the numbers of objects that have codes. Ends early if asked to stop.
    fn pieces<'a>(
        &'a self,
        first: u64,
        kept: Kept,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<impl Iterator<Item = Result<(RecordBatch, Vec<u64>)>> + 'a> {
        let data = self.catalogue.config();
        let total = self.catalogue.len() as u64;
        // There are no more than 2^32 rows.
        let rows: Arc<[u32]> = (first as u32..total as u32).collect();
        let plan = LoaderPlan {
            catalogue: Arc::clone(self.catalogue),
            rows,
            batch: self.settings.batch.max(1),
            seed: 0,
            threads: data.threads,
            prefetch: data.prefetch,
            position: Position::default(),
            epochs: Some(1),
            shard: (0, 1),
            shuffle: false,
        };
        let (model, columns) = (Arc::clone(self.model), Arc::clone(&self.columns));
        let loader: Loader<Coded> = Loader::start(plan, Arc::new(move |rows, _| columns.of(&model, &rows)))?;
        Ok(Gather { work: self, loader, kept, done: first, total, progress, ended: false })
    }

    /// Changes if anything changes that decides what the pieces hold.
    fn identity(&self, codecs: &[Codec], kept: &Kept) -> String {
        let mut hash = Sha256::new();
        let names = self.columns.names();
        let codecs = codecs.iter().map(|codec| codec.sha256.as_str()).chain(names.iter().map(String::as_str));
        let fingerprint = self.catalogue.fingerprint();
        for part in codecs.chain(kept.names()).chain([fingerprint.as_str(), self.catalogue.config().id.as_str()]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hexadecimal(&hash.finalize())
    }

    fn layout(
        &self,
        out: &Path,
        notes: &[(String, CodesNote)],
        units: BTreeMap<String, String>,
        rows_per_tile: u64,
    ) -> Result<Layout> {
        let data = self.catalogue.config();
        let listing = panchroma_core::data::list(&data.path)?;
        let tiles = listing.files.iter().map(|file| Tile::of(file.strip_prefix(&listing.root).unwrap_or(file)));
        let mut tiles: Vec<Tile> = tiles.collect::<Option<_>>().unwrap_or_default();
        // A tile may be a folder of files.
        tiles.dedup();
        let provenance = BTreeMap::from([
            ("tokenized".to_owned(), data.path.display().to_string()),
            ("codecs".to_owned(), self.settings.codec.clone()),
        ]);
        Ok(Layout {
            name: out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            rows_per_tile,
            tiles,
            codes: notes.iter().cloned().collect(),
            units,
            provenance,
            beside: Vec::new(),
        })
    }
}

/// Puts batches together until they are a piece.
struct Gather<'a> {
    work: &'a Work<'a>,
    loader: Loader<Coded>,
    kept: Kept,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
    ended: bool,
}

impl Gather<'_> {
    fn piece(&mut self) -> Result<Option<(RecordBatch, Vec<u64>)>> {
        let (began, mut bytes) = (Instant::now(), 0);
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut with = vec![0; self.work.settings.modalities.len()];
        let stopped = || self.work.stop.load(Ordering::Relaxed);
        while bytes < PIECE_BYTES && began.elapsed() < PIECE_TIME && !stopped() {
            let Some(coded) = self.loader.next() else {
                self.ended = true;
                break;
            };
            let (_, coded) = coded?;
            let batch = self.kept.with(coded.columns)?;
            with.iter_mut().zip(coded.with).for_each(|(all, own)| *all += own);
            self.done += batch.num_rows() as u64;
            bytes += batch.get_array_memory_size();
            batches.push(batch);
            (self.progress)(Progress::Tokenizing(self.done, self.total));
        }
        self.ended |= stopped();
        let Some(first) = batches.first() else { return Ok(None) };
        let whole = arrow_select::concat::concat_batches(&first.schema(), &batches)
            .map_err(|source| DataError::Arrow { column: "*".into(), source })?;
        Ok(Some((whole, with)))
    }
}

impl Iterator for Gather<'_> {
    type Item = Result<(RecordBatch, Vec<u64>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let piece = self.piece().transpose();
        self.ended |= matches!(piece, Some(Err(_)) | None);
        piece
    }
}
