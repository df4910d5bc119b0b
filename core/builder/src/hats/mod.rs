//! Writes HATS catalogues (Hierarchical Adaptive Tiling Scheme, IVOA note) that `hats` validates and `lsdb`
//! opens, or plain folders of Parquet files where objects have no position.
//!
//! [`assemble`] knows every object's pixel, chooses tiles, asks a [`Source`] for each tile's objects, and renames the
//! folder when all is there. [`Pieces`] are the source for objects that come in any order: Parquet files of some
//! megabytes below `OUT.partial`, each sorted by pixel, so that memory does not grow with the catalogue.

mod checksum;
mod metadata;
mod pieces;
mod scratch;
#[cfg(test)]
mod tests;
mod tiles;
pub(crate) mod types;

pub(crate) use checksum::{Checksum, hexadecimal};
pub use pieces::{Piece, Pieces, SOURCE};
pub use scratch::Scratch;
pub(crate) use tiles::DEEPEST;
pub use tiles::Tile;

use crate::describe::{Gatherer, Stats};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use panchroma_core::data::{CodesNote, DataError};
use panchroma_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where HATS has an object's pixel of order 29.
pub const PIXEL: &str = "_healpix_29";

/// Rows of a group are decoded together when one is read: about this many bytes of them.
const GROUP_BYTES: usize = 32 << 20;

/// Tiles hold about this many bytes, decoded.
const TILE_BYTES: u64 = 192 << 20;

/// Tiles hold at most this many objects.
const TILE_ROWS: u64 = 200_000;

/// How a catalogue is written.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Its name.
    pub name: String,
    /// Tiles hold at most this many objects.
    pub rows_per_tile: u64,
    /// Tiles to keep where they hold all objects, such as those of the catalogue that it is made of; else they are chosen.
    pub tiles: Vec<Tile>,
    /// Where columns of codes come from, for `panchroma.toml`.
    pub codes: BTreeMap<String, CodesNote>,
    /// Units by dotted column, for `panchroma.toml`.
    pub units: BTreeMap<String, String>,
    /// Where the data comes from, for `panchroma.toml`.
    pub provenance: BTreeMap<String, String>,
    /// Files that go with it, such as a report: name and contents.
    pub beside: Vec<(String, Vec<u8>)>,
}

/// How many objects a tile may have, by the decoded bytes of all of them: a tile is held in memory when it is written.
#[must_use]
pub fn rows_per_tile(bytes: u64, objects: u64) -> u64 {
    let per_row = bytes.checked_div(objects).unwrap_or(1).max(1);
    (TILE_BYTES / per_row).clamp(1, TILE_ROWS)
}

/// The path that an unfinished catalogue has.
#[must_use]
pub fn partial(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    out.with_file_name(name)
}

/// What `panchroma.toml` says.
#[derive(Serialize)]
struct Notes<'a> {
    name: &'a str,
    made_by: String,
    objects: u64,
    provenance: &'a BTreeMap<String, String>,
    units: &'a BTreeMap<String, String>,
    codes: &'a BTreeMap<String, CodesNote>,
    modalities: BTreeMap<String, u64>,
    percentiles: BTreeMap<String, [f64; 7]>,
    file: Vec<FileNote>,
}

#[derive(Serialize)]
struct FileNote {
    path: String,
    rows: u64,
    sha256: String,
}

/// Objects that are to become a catalogue.
pub trait Source: Sync {
    /// Their columns.
    ///
    /// # Errors
    /// If they have not all the same.
    fn schema(&self) -> Result<SchemaRef>;

    /// Number of objects.
    fn rows(&self) -> u64;

    /// Pixels of order 29 of all objects, ascending; none if objects have no positions.
    fn pixels(&self) -> Option<Vec<i64>>;

    /// The objects of a tile, or all, in the order of their pixels.
    ///
    /// # Errors
    /// If something can't be read.
    fn read<'a>(&'a self, tile: Option<&Tile>) -> Result<Batches<'a>>;
}

/// Objects in the order in which they are written.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>;

/// Writes the objects of a source as a catalogue at `out`, by way of `scratch`. `progress` gets the number of objects
/// written and of all, and says whether to go on.
///
/// # Errors
/// If there is no object, if the disk refuses, or [`Error::Interrupted`]; what the source has in the folder stays, so
/// that the same command can go on.
pub fn assemble(
    out: &Path,
    scratch: &Scratch,
    source: &dyn Source,
    layout: &Layout,
    progress: &mut (dyn FnMut(u64, u64) -> bool + Send),
) -> Result<()> {
    let total = source.rows();
    if total == 0 {
        return Err(DataError::NoRows { path: out.into() }.into());
    }
    let root = scratch.path().join("catalogue");
    if root.exists() {
        fs::remove_dir_all(&root).map_err(Error::io("remove", &root))?;
    }
    fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
    let schema = source.schema()?;
    for (name, bytes) in &layout.beside {
        fs::write(root.join(name), bytes).map_err(Error::io("write", &root.join(name)))?;
    }
    let done = Mutex::new((0, progress));
    let wrote = |rows: u64| {
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 += rows;
        let written = done.0;
        if (done.1)(written, total) { Ok(()) } else { Err(Error::Interrupted) }
    };
    let whole = Mutex::new(Gatherer::new(u64::MAX));
    let file = |number: usize, path: &str, tile: Option<&Tile>| {
        let mut gatherer = Gatherer::new(number as u64);
        let (metadata, sha256) = write(&root.join(path), &schema, source.read(tile)?, &mut gatherer, &wrote)?;
        whole.lock().unwrap_or_else(PoisonError::into_inner).merge(gatherer);
        let rows = metadata.file_metadata().num_rows().unsigned_abs();
        Ok((metadata, FileNote { path: path.into(), rows, sha256 }))
    };
    let notes = match source.pixels() {
        None => vec![file(0, "part-00000.parquet", None)?.1],
        Some(pixels) => {
            let kept = tiles::filled(&layout.tiles, &pixels);
            let tiles = kept.unwrap_or_else(|| tiles::choose(&pixels, layout.rows_per_tile));
            drop(pixels);
            let each = tiles.par_iter().enumerate();
            let each = each.map(|(i, tile)| file(i, &format!("dataset/{}", tile.path()), Some(tile)));
            let files = each.collect::<Result<Vec<_>>>()?;
            let paths: Vec<String> = tiles.iter().map(Tile::path).collect();
            let parts: Vec<_> =
                paths.iter().zip(&files).map(|(path, (metadata, _))| (path.as_str(), metadata)).collect();
            metadata::write(&root, &tiles, &parts, total, layout)?;
            files.into_iter().map(|(_, note)| note).collect()
        }
    };
    let found = whole.into_inner().unwrap_or_else(PoisonError::into_inner).finish(notes.len());
    note(&root, &found, notes, layout)?;
    fs::rename(&root, out).map_err(Error::io("create", out))?;
    if let Some(folder) = out.parent().filter(|f| !f.as_os_str().is_empty()) {
        // Makes the rename durable where a system can; the files are synced already.
        let _ = File::open(folder).and_then(|f| f.sync_all());
    }
    Ok(())
}

/// Writes one file and syncs it; its metadata and checksum.
fn write(
    path: &Path,
    schema: &SchemaRef,
    batches: Batches<'_>,
    gatherer: &mut Gatherer,
    wrote: &(dyn Fn(u64) -> Result<()> + Sync),
) -> Result<(ParquetMetaData, String)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let file = File::create(path).map_err(Error::io("create", path))?;
    let synced = file.try_clone().map_err(Error::io("create", path))?;
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let file = Checksum::new(BufWriter::with_capacity(1 << 20, file));
    let mut writer = writer(file, schema, Compression::ZSTD(level)).map_err(failed(path))?;
    for batch in batches {
        let batch = batch?;
        writer.write(&batch).map_err(failed(path))?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().map_err(failed(path))?;
        }
        gatherer.add(&batch);
        wrote(batch.num_rows() as u64)?;
    }
    let metadata = writer.finish().map_err(failed(path))?;
    let sum = writer.inner_mut().finish().map_err(Error::io("write", path))?;
    synced.sync_all().map_err(Error::io("write", path))?;
    Ok((metadata, sum))
}

fn writer<W: Write + Send>(file: W, schema: &SchemaRef, how: Compression) -> parquet::errors::Result<ArrowWriter<W>> {
    // Dictionaries don't pay for measured numbers or for names, which all differ, and cost time.
    let numbers = WriterProperties::builder().set_compression(how).set_dictionary_enabled(false);
    let texts = schema.fields().iter().filter(|f| f.data_type().is_string() && !f.name().starts_with("object_id"));
    let properties = texts.fold(numbers, |p, f| {
        p.set_column_dictionary_enabled(parquet::schema::types::ColumnPath::from(f.name().clone()), true)
    });
    ArrowWriter::try_new(file, schema.clone(), Some(properties.build()))
}

/// An error while a file is written: the disk's own where it is one.
fn failed(path: &Path) -> impl Fn(parquet::errors::ParquetError) -> Error {
    let path = path.to_path_buf();
    move |e| {
        let text = e.to_string();
        let source = match e {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(io) => *io,
                Err(other) => std::io::Error::other(other),
            },
            _ => std::io::Error::other(text),
        };
        Error::Io { action: "write", path: path.clone(), source }
    }
}

fn note(root: &Path, found: &Stats, file: Vec<FileNote>, layout: &Layout) -> Result<()> {
    let notes = Notes {
        name: &layout.name,
        made_by: format!("panchroma {}", env!("CARGO_PKG_VERSION")),
        objects: found.objects,
        provenance: &layout.provenance,
        units: &layout.units,
        codes: &layout.codes,
        modalities: found.modalities.iter().map(|m| (m.name.clone(), m.objects)).collect(),
        percentiles: found.columns.iter().filter_map(|c| Some((c.column.clone(), c.percentiles?))).collect(),
        file,
    };
    let path = root.join("panchroma.toml");
    let text = toml::to_string(&notes).map_err(|e| Error::Io {
        action: "write",
        path: path.clone(),
        source: std::io::Error::other(e.to_string()),
    })?;
    let about = "# Percentiles: smallest, 1, 16, 50, 84, 99, largest of the finite values.\n";
    fs::write(&path, format!("{about}{text}")).map_err(Error::io("write", &path))
}
