//! Builds a catalogue from the files of a survey, as a [`Mapping`] says.
//!
//! Groups of files are read on all cores; what they give is written as sorted pieces below `OUT.partial` and noted in a
//! journal there, so that the same command goes on where an interrupted one stopped. Then [`crate::hats::assemble`] makes
//! the catalogue. Which files are a group depends on the files alone, so that the catalogue does too.

mod arrays;
mod columns;
mod convert;
mod journal;
mod mapping;
mod objects;
mod sources;
#[cfg(test)]
mod tests;
mod units;
mod work;

pub(crate) use journal::Journal;
pub use mapping::{Constant, Group, Kind, Layout as ObjectLayout, Mapping, OnError, Source, Transform, Value};
pub(crate) use units::factor;

use crate::files::source;
use crate::hats::{Layout, Pieces, Scratch, Source as _, assemble, rows_per_tile};
use journal::Done;
use objects::Open;
use panchroma_core::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use work::{Known, Work};

/// Column of the objects' names.
const ID: &str = "object_id";

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
    /// What the user should know.
    pub notes: Vec<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Files read, of all.
    Reading(u64, u64),
    /// Objects written, of all.
    Writing(u64, u64),
}

/// Builds a catalogue at `out`. `stop` is looked at between batches of objects.
///
/// # Errors
/// If a file or value is bad, with file, part and column; [`Error::Interrupted`]; if another command works on the same
/// catalogue; if the disk refuses. What was done stays in `OUT.partial`, and the same command goes on from there.
pub fn ingest(
    mapping: &Mapping,
    out: &Path,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    let groups = sources::groups(&mapping.source.files)?;
    let scratch = Scratch::open(out)?;
    let mut journal = Journal::open(scratch.path(), mapping, &groups, ID)?;
    let total = groups.iter().map(Vec::len).sum::<usize>() as u64;
    // Number of each group's first file among all.
    let firsts: Vec<usize> =
        groups.iter().scan(0, |next, group| Some(std::mem::replace(next, *next + group.len()))).collect();
    let mut known = Known::default();
    let mut done = std::mem::take(&mut journal.done);
    if mapping.source.on_error == OnError::Fail {
        // What another try left out must be read now.
        done.retain(|(done, _)| done.skipped.is_empty());
    }
    for (done, pieces) in &done {
        let path = done.files.first().map(|file| file.path.clone()).unwrap_or_default();
        pieces.iter().try_for_each(|piece| known.add(piece.schema(), &done.units, &path))?;
    }
    let finished: BTreeSet<usize> = done.iter().map(|(done, _)| done.group).collect();
    let resumed = done.iter().map(|(done, _)| done.files.len() as u64).sum();
    let run = Run { mapping, stop, known: Mutex::new(known), read: AtomicU64::new(resumed), total, progress };
    progress(Progress::Reading(resumed, total));
    let all = Mutex::new((journal, done));
    let left: Vec<usize> = (0..groups.len()).filter(|group| !finished.contains(group)).collect();
    left.par_iter().try_for_each(|&group| -> Result<()> {
        let files = groups.get(group).cloned().unwrap_or_default();
        let mut work = Work::new(scratch.path(), Done { group, files, ..Done::default() });
        run.read(&mut work, firsts.get(group).copied().unwrap_or(0))?;
        let mut all = lock(&all);
        all.0.add(&work.done)?;
        all.1.push((work.done, work.pieces));
        Ok(())
    })?;
    let (_, mut done) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(done, _)| done.group);
    let bytes = done.iter().flat_map(|(done, _)| &done.pieces).map(|(_, size)| size).sum();
    let skipped: Vec<(PathBuf, String)> = done.iter().flat_map(|(done, _)| done.skipped.clone()).collect();
    let notes: BTreeSet<String> = done.iter().flat_map(|(done, _)| done.notes.clone()).collect();
    let mut pieces = Pieces::new(ID, groups.into_iter().flatten().map(|file| file.path).collect());
    done.into_iter().flat_map(|(_, pieces)| pieces).for_each(|piece| pieces.push(piece));
    let objects = pieces.rows();
    if objects == 0 {
        let (reason, hint) = match (skipped.len() as u64, mapping.source.on_error) {
            (n, _) if n == total => ("all files were skipped", "see what it says with `on_error = \"fail\"`"),
            _ => ("the files hold no row", "check `files`, `part` and `layout` in [source]"),
        };
        return Err(source(out, "", reason.into(), hint));
    }
    pieces.check_unique()?;
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut provenance = BTreeMap::from([("files".to_owned(), mapping.source.files.join(", "))]);
    provenance.insert("files_read".into(), (total - skipped.len() as u64).to_string());
    provenance.insert("files_skipped".into(), skipped.len().to_string());
    let units = run.known.into_inner().unwrap_or_else(PoisonError::into_inner).units();
    let rows_per_tile = rows_per_tile(bytes, objects);
    let layout = Layout { name, rows_per_tile, units, provenance, ..Layout::default() };
    assemble(out, &scratch, &pieces, &layout, &mut |done, total| {
        progress(Progress::Writing(done, total));
        !stop.load(Ordering::Relaxed)
    })?;
    scratch.remove()?;
    Ok(Report { objects, files: total - resumed, resumed, skipped, notes: notes.into_iter().collect() })
}

/// What threads that read files share.
struct Run<'a> {
    mapping: &'a Mapping,
    stop: &'a AtomicBool,
    known: Mutex<Known>,
    /// Files read so far, of so many.
    read: AtomicU64,
    total: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Run<'_> {
    /// Reads the files of a group; `first` is the number of the first among all.
    fn read(&self, work: &mut Work<'_>, first: usize) -> Result<()> {
        for (number, file) in work.done.files.clone().into_iter().enumerate() {
            match self.file(work, first + number, &file.path) {
                Ok(()) => {}
                Err(Failed::Skip(error)) => work.done.skipped.push((file.path, said(&error))),
                Err(Failed::Stop(error)) => return Err(error),
            }
            (self.progress)(Progress::Reading(self.read.fetch_add(1, Ordering::Relaxed) + 1, self.total));
        }
        work.flush()
    }

    /// A file that turns out to be bad leaves nothing behind.
    fn file(&self, work: &mut Work<'_>, number: usize, path: &Path) -> std::result::Result<(), Failed> {
        let mut own = work.apart();
        match self.objects(&mut own, number, path) {
            Ok(known) => lock(&self.known).join(known).and_then(|()| work.take(own)).map_err(Failed::Stop),
            Err(Failed::Skip(error)) => {
                own.discard().map_err(Failed::Stop)?;
                Err(Failed::Skip(error))
            }
            Err(stop) => Err(stop),
        }
    }

    /// What a file holds. Types or units that do not go with those of other files always stop: which of the files would be left
    /// out depends on which was read first.
    fn objects(&self, own: &mut Work<'_>, number: usize, path: &Path) -> std::result::Result<Known, Failed> {
        let skip = self.mapping.source.on_error == OnError::Skip;
        let failed = |error| if skip { Failed::Skip(error) } else { Failed::Stop(error) };
        let mut known = Known::default();
        let mut open = Open::new(path, self.mapping).map_err(failed)?;
        while let Some(batch) = open.next().map_err(failed)? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Failed::Stop(Error::Interrupted));
            }
            // The sooner the better, but what a bad file says does not count.
            let add = |known: &mut Known| known.add(&batch.schema(), open.units(), path);
            if skip { add(&mut known) } else { add(&mut lock(&self.known)) }.map_err(Failed::Stop)?;
            own.add(&batch, number).map_err(Failed::Stop)?;
        }
        own.done.units.extend(open.units().clone());
        own.done.notes.extend(open.notes().iter().cloned());
        Ok(known)
    }
}

/// Why a file was not taken.
enum Failed {
    /// It is bad, and is left out.
    Skip(Error),
    /// The whole ends.
    Stop(Error),
}

/// An error with its cause.
fn said(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// The only change that a thread makes is one insertion: one that panicked left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
