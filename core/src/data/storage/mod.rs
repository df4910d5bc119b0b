//! Where the files of a catalogue are: on a disk, or behind an address such as `s3://bucket/catalogue`.
//!
//! The rest of the crate names files by path and reads them through [`Reader`]; a path that has a scheme is an
//! address. What is far away needs the feature `remote`.

#[cfg(feature = "remote")]
mod blocks;
#[cfg(feature = "remote")]
mod hub;
#[cfg(feature = "remote")]
mod remote;

use super::error::DataError;
use crate::{Error, Result};
use ::parquet::errors::Result as ParquetResult;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Folders below folders that are looked into.
const MAX_DEPTH: usize = 16;

/// The scheme of an address, such as `s3`; none for a path on a disk.
#[must_use]
pub fn scheme(path: &Path) -> Option<&str> {
    let (scheme, _) = path.to_str()?.split_once("://")?;
    (!scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric())).then_some(scheme)
}

/// A file that Parquet can be read from.
///
/// Two threads must not share one: on a disk, they would share the place in the file too.
#[derive(Debug)]
pub struct Reader(Kind);

#[derive(Debug)]
enum Kind {
    Disk(File),
    #[cfg(feature = "remote")]
    Remote(remote::Object),
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// If it isn't there or can't be read; for an address also [`DataError::Remote`].
    pub fn open(path: &Path) -> Result<Self> {
        if scheme(path).is_none() {
            return Ok(Self(Kind::Disk(File::open(path).map_err(Error::io("read", path))?)));
        }
        #[cfg(feature = "remote")]
        return Ok(Self(Kind::Remote(remote::Object::open(path)?)));
        #[cfg(not(feature = "remote"))]
        Err(without_feature(path))
    }
}

impl Length for Reader {
    fn len(&self) -> u64 {
        match &self.0 {
            Kind::Disk(file) => file.len(),
            #[cfg(feature = "remote")]
            Kind::Remote(object) => object.size(),
        }
    }
}

impl ChunkReader for Reader {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        match &self.0 {
            Kind::Disk(file) => Ok(Box::new(file.get_read(start)?)),
            #[cfg(feature = "remote")]
            Kind::Remote(object) => Ok(Box::new(object.read_from(start))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match &self.0 {
            Kind::Disk(file) => file.get_bytes(start, length),
            #[cfg(feature = "remote")]
            Kind::Remote(object) => Ok(object.bytes(start, length)?),
        }
    }
}

/// A small text file, here or at an address, if it is there; what is no UTF-8 in it is `\u{fffd}`.
#[must_use]
pub fn small_text(path: &Path) -> Option<String> {
    let bytes = match scheme(path) {
        None => fs::read(path).ok()?,
        #[cfg(feature = "remote")]
        Some(_) => remote::bytes(path)?,
        #[cfg(not(feature = "remote"))]
        Some(_) => return None,
    };
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Names, relative to `folder` and parted by `/`, of every `*.parquet` below it that is not hidden or metadata (`.x`,
/// `_metadata`).
pub(super) fn parquet_files(folder: &Path) -> Result<Vec<String>> {
    if scheme(folder).is_none() {
        let mut found = Vec::new();
        collect(folder, "", 0, &mut found)?;
        return Ok(found);
    }
    #[cfg(feature = "remote")]
    {
        let mut found = remote::list(folder)?;
        found.retain(|name| is_parquet(name) && !name.split('/').any(|part| part.starts_with(['.', '_'])));
        Ok(found)
    }
    #[cfg(not(feature = "remote"))]
    Err(without_feature(folder))
}

/// Whether a name ends as Parquet files do.
pub(super) fn is_parquet(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

fn collect(folder: &Path, before: &str, depth: usize, into: &mut Vec<String>) -> Result<()> {
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
                collect(&path, &format!("{before}{name}/"), depth + 1, into)?;
            }
        } else if is_parquet(&name) {
            into.push(format!("{before}{name}"));
        }
    }
    Ok(())
}

/// Refuses an address where a folder is to be written.
///
/// # Errors
/// [`DataError::NotWritable`].
pub fn writable(path: &Path) -> Result<()> {
    match scheme(path) {
        None => Ok(()),
        Some(_) => Err(DataError::NotWritable { path: path.into() }.into()),
    }
}

#[cfg(not(feature = "remote"))]
fn without_feature(path: &Path) -> Error {
    let reason = "this build reads no addresses; build it with `--features remote`";
    DataError::Remote { path: path.into(), source: reason.into() }.into()
}
