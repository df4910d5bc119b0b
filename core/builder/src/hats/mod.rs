//! Writes HATS catalogues (Hierarchical Adaptive Tiling Scheme, IVOA note) that `hats` validates and `lsdb`
//! opens, or plain folders of Parquet files where objects have no position.
//!
//! In two steps, so that memory does not grow with the catalogue: [`Pieces`] are Parquet files of some
//! megabytes below `OUT.partial`, each sorted by pixel; [`assemble`] knows every object's pixel (24 bytes
//! each), chooses tiles, merges the pieces tile by tile, and renames the folder when all is there.

mod metadata;
mod pieces;
#[cfg(test)]
mod tests;
mod tiles;

pub use pieces::{Piece, Pieces};
pub use tiles::Tile;

use crate::describe::{Table, stats};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use panchroma_core::data::{DataError, writable};
use panchroma_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Where HATS has an object's pixel of order 29.
pub const PIXEL: &str = "_healpix_29";

/// Rows of a group are decoded together when one is read: about this many bytes of them.
const GROUP_BYTES: usize = 32 << 20;

/// Tiles hold about this many bytes, decoded.
const TILE_BYTES: u64 = 192 << 20;

/// Tiles hold at most this many objects.
const TILE_ROWS: u64 = 200_000;

/// How a catalogue is written.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Its name.
    pub name: String,
    /// Tiles hold at most this many objects.
    pub rows_per_tile: u64,
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

/// Merges the pieces into a catalogue at `out`. `progress` gets the number of objects written and of all.
///
/// Objects of one pixel keep the order of the pieces. An existing `out` is an error, and stays.
///
/// # Errors
/// If two objects have one name, if nothing was written, or if the disk refuses; the pieces stay, so that
/// the same command can go on.
pub fn assemble(
    out: &Path,
    pieces: &Pieces,
    layout: &Layout,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<()> {
    writable(out)?;
    if fs::exists(out).map_err(Error::io("read", out))? {
        return Err(DataError::Exists { path: out.into() }.into());
    }
    pieces.check_unique()?;
    let total = pieces.rows();
    if total == 0 {
        return Err(DataError::NoRows { path: out.into() }.into());
    }
    let root = pieces.folder().join("catalogue");
    if root.exists() {
        fs::remove_dir_all(&root).map_err(Error::io("remove", &root))?;
    }
    fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
    let schema = pieces.schema()?;
    for (name, bytes) in &layout.beside {
        fs::write(root.join(name), bytes).map_err(Error::io("write", &root.join(name)))?;
    }
    let tiles = if pieces.on_sky() { tiles::choose(&pieces.pixels(), layout.rows_per_tile) } else { Vec::new() };
    let done = Mutex::new((0, progress));
    let wrote = |rows: u64| {
        if let Ok(mut done) = done.lock() {
            done.0 += rows;
            let written = done.0;
            (done.1)(written, total);
        }
    };
    let files = if pieces.on_sky() {
        let tile = |tile: &Tile| {
            let path = format!("dataset/{}", tile.path());
            let metadata = write(&root.join(&path), &schema, pieces.read(Some(tile))?, &wrote)?;
            Ok((path, tile.path(), metadata))
        };
        let files = tiles.par_iter().map(tile).collect::<Result<Vec<_>>>()?;
        let parts: Vec<_> = files.iter().map(|(_, path, m)| (path.as_str(), m)).collect();
        metadata::write(&root, &tiles, &parts, total, layout)?;
        files
    } else {
        let metadata = write(&root.join("part-00000.parquet"), &schema, pieces.read(None)?, &wrote)?;
        vec![("part-00000.parquet".into(), String::new(), metadata)]
    };
    note(&root, &files, layout)?;
    fs::rename(&root, out).map_err(Error::io("create", out))?;
    if let Some(folder) = out.parent().filter(|f| !f.as_os_str().is_empty()) {
        // Makes the rename durable where a system can; the files are synced already.
        let _ = File::open(folder).and_then(|f| f.sync_all());
    }
    fs::remove_dir_all(pieces.folder()).map_err(Error::io("remove", pieces.folder()))
}

/// Writes one file and syncs it.
fn write(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    wrote: &(dyn Fn(u64) + Sync),
) -> Result<ParquetMetaData> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let file = File::create(path).map_err(Error::io("create", path))?;
    let synced = file.try_clone().map_err(Error::io("create", path))?;
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut writer = writer(file, schema, Compression::ZSTD(level)).map_err(failed(path))?;
    for batch in batches {
        let batch = batch?;
        writer.write(&batch).map_err(failed(path))?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().map_err(failed(path))?;
        }
        wrote(batch.num_rows() as u64);
    }
    let metadata = writer.close().map_err(failed(path))?;
    synced.sync_all().map_err(Error::io("write", path))?;
    Ok(metadata)
}

fn writer(file: File, schema: &SchemaRef, how: Compression) -> parquet::errors::Result<ArrowWriter<File>> {
    // Dictionaries don't pay for measured numbers, and cost time.
    let numbers = WriterProperties::builder().set_compression(how).set_dictionary_enabled(false);
    let texts = schema.fields().iter().filter(|f| f.data_type().is_string());
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

fn note(root: &Path, files: &[(String, String, ParquetMetaData)], layout: &Layout) -> Result<()> {
    let table = Table::open(root)?;
    let one = |(path, _, metadata): &(String, String, ParquetMetaData)| {
        let rows = metadata.file_metadata().num_rows().unsigned_abs();
        Ok(FileNote { path: path.clone(), rows, sha256: sha256(&root.join(path))? })
    };
    let (found, file) =
        rayon::join(|| stats(&table, &mut |_, _| {}), || files.par_iter().map(one).collect::<Result<Vec<_>>>());
    let (found, file) = (found?, file?);
    let notes = Notes {
        name: &layout.name,
        made_by: format!("panchroma {}", env!("CARGO_PKG_VERSION")),
        objects: found.objects,
        provenance: &layout.provenance,
        units: &layout.units,
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

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        match buffer.get(..read).filter(|b| !b.is_empty()) {
            None => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Some(bytes) => hash.update(bytes),
        }
    }
}
