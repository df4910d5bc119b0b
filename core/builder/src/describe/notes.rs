//! What `panchroma.toml` beside a catalogue says of it.

use panchroma_core::data::small_text;
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
        let Some(text) = small_text(&root.join("panchroma.toml")) else { return Ok(None) };
        toml::from_str(&text).map(Some).map_err(|e| e.message().to_owned())
    }
}
