//! Which files a catalogue consists of.
//!
//! HATS (Hierarchical Adaptive Tiling Scheme, IVOA note, <https://www.ivoa.net/documents/Notes/HATS/>):
//! `dataset/Norder=k/Dir=d/Npix=p.parquet`, or a folder `Npix=p` of such files, beside
//! `hats.properties`. Anything else is a folder of Parquet files. Nothing is opened here but the
//! properties.

use super::error::DataError;
use super::storage::{is_parquet, parquet_files, scheme, small_text};
use crate::Result;
use crate::config::nearest::nearest_paths;
use std::fs;
use std::path::{Path, PathBuf};

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
    let one_file = match scheme(path) {
        Some(_) => path.to_str().is_some_and(is_parquet),
        None => match fs::metadata(path) {
            Ok(metadata) => metadata.is_file(),
            Err(_) => return Err(DataError::Missing { path: path.into(), nearest: nearest_paths(path) }.into()),
        },
    };
    if one_file {
        let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
        return Ok(Listing { root, files: vec![path.to_path_buf()], expected_rows: None });
    }
    let root = primary(path);
    let mut names = parquet_files(&root)?;
    // The folder above the tiles may hold a thumbnail of the catalogue, which has some objects twice.
    if let Some(tiles) =
        ["dataset/Norder=", "Norder="].iter().find(|tiles| names.iter().any(|name| name.starts_with(**tiles)))
    {
        names.retain(|name| name.starts_with(tiles));
    }
    if names.is_empty() {
        return Err(DataError::NoParquet { path: path.to_path_buf() }.into());
    }
    let mut files: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
    files.sort();
    let expected_rows = property(&root, "hats_nrows").and_then(|rows| rows.parse().ok());
    Ok(Listing { root, files, expected_rows })
}

/// The main catalogue of a HATS collection, which may have margins and indices beside it; or `path`.
fn primary(path: &Path) -> PathBuf {
    match value(&path.join("collection.properties"), "hats_primary_table_url") {
        Some(table) if scheme(path).is_some() || path.join(&table).is_dir() => path.join(table),
        _ => path.to_path_buf(),
    }
}

/// Columns of right ascension and declination, if the HATS catalogue in the folder `root` says which these are.
pub fn position_columns(root: &Path) -> Option<[String; 2]> {
    Some([property(root, "hats_col_ra")?, property(root, "hats_col_dec")?])
}

/// What a catalogue says about itself, if it does.
pub(super) fn property(root: &Path, key: &str) -> Option<String> {
    ["hats.properties", "properties"].iter().find_map(|name| value(&root.join(name), key))
}

/// The value of `key` in a Java-style properties file, if the file can be read and has it.
fn value(file: &Path, key: &str) -> Option<String> {
    let text = small_text(file)?;
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}
