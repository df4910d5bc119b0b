//! Which files a catalogue consists of.
//!
//! HATS (Hierarchical Adaptive Tiling Scheme, IVOA note, <https://www.ivoa.net/documents/Notes/HATS/>):
//! `dataset/Norder=k/Dir=d/Npix=p.parquet`, or a folder `Npix=p` of such files, beside
//! `hats.properties`. Anything else is a folder of Parquet files. Nothing is opened here but the
//! properties.

use super::error::DataError;
use crate::config::nearest::nearest_paths;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders in folders: deeper is a loop of links.
const MAX_DEPTH: usize = 16;

/// The files of a catalogue.
#[derive(Debug)]
pub struct Listing {
    /// Names are relative to this.
    pub root: PathBuf,
    /// Sorted.
    pub files: Vec<PathBuf>,
    /// Number of objects that the properties state, if there are any.
    pub expected_rows: Option<u64>,
}

/// Finds the Parquet files of the catalogue at `path`: HATS, a collection of such, a folder, or one file.
///
/// # Errors
/// [`DataError::Missing`] or [`DataError::NoParquet`], or if a folder can't be read.
pub fn list(path: &Path) -> Result<Listing> {
    let Ok(metadata) = fs::metadata(path) else {
        return Err(DataError::Missing { path: path.to_path_buf(), nearest: nearest_paths(path) }.into());
    };
    if metadata.is_file() {
        let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
        return Ok(Listing { root, files: vec![path.to_path_buf()], expected_rows: None });
    }
    let root = primary(path);
    let dataset = root.join("dataset");
    let mut files = Vec::new();
    let tiles = [dataset.as_path(), root.as_path()].into_iter().find_map(|base| {
        let orders = folders(base, "Norder=");
        (!orders.is_empty()).then_some(orders)
    });
    match tiles {
        // The folder above may hold a thumbnail of the catalogue, which has some objects twice.
        Some(orders) => orders.iter().try_for_each(|order| collect(order, 0, &mut files))?,
        None => collect(&root, 0, &mut files)?,
    }
    if files.is_empty() {
        return Err(DataError::NoParquet { path: path.to_path_buf() }.into());
    }
    files.sort();
    let expected_rows = ["hats.properties", "properties"]
        .iter()
        .find_map(|name| property(&root.join(name), "hats_nrows"))
        .and_then(|rows| rows.parse().ok());
    Ok(Listing { root, files, expected_rows })
}

/// The main catalogue of a HATS collection, which may have margins and indices beside it; or `path`.
fn primary(path: &Path) -> PathBuf {
    match property(&path.join("collection.properties"), "hats_primary_table_url") {
        Some(table) if path.join(&table).is_dir() => path.join(table),
        _ => path.to_path_buf(),
    }
}

/// The value of `key` in a Java-style properties file, if the file can be read and has it.
fn property(file: &Path, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

fn folders(base: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Every `*.parquet` below `folder`, but what is hidden or metadata (`.x`, `_metadata`).
fn collect(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth + 1, into)?;
            }
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) {
            into.push(path);
        }
    }
    Ok(())
}
