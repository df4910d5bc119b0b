//! What `panchroma.toml` beside a catalogue says of it.

use panchroma_core::data::Reader;
use parquet::file::reader::{ChunkReader, Length};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The part of it that is read.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Notes {
    /// Units by dotted column.
    #[serde(default)]
    pub(crate) units: BTreeMap<String, String>,
    /// The files as they were written.
    #[serde(default)]
    pub(crate) file: Vec<Written>,
}

/// A file as it was written.
#[derive(Debug, Deserialize)]
pub(crate) struct Written {
    /// Relative to the catalogue.
    pub(crate) path: String,
    /// Number of objects.
    pub(crate) rows: u64,
    /// Hexadecimal digits.
    pub(crate) sha256: String,
}

impl Notes {
    /// What stands beside the files in `root`; nothing, if nothing does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(root: &Path) -> Result<Option<Self>, String> {
        let Some(text) = text(&root.join("panchroma.toml")) else { return Ok(None) };
        toml::from_str(&text).map(Some).map_err(|e| e.message().to_owned())
    }
}

/// A small text file, here or at an address, if it is there.
pub(super) fn text(path: &Path) -> Option<String> {
    let reader = Reader::open(path).ok()?;
    let bytes = reader.get_bytes(0, usize::try_from(reader.len()).ok()?).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
