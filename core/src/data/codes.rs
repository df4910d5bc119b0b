//! Columns of codes that a codec made once: what `panchroma.toml` beside a catalogue says of them, and whether that is the
//! codec that is meant.

use super::column::{CodecId, Column};
use super::error::DataError;
use super::storage::small_text;
use crate::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Digits of a hash that messages show.
const SHOWN: usize = 12;

/// `[codes.COLUMN]` of `panchroma.toml`: where the codes of a column come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodesNote {
    /// The modality, as the config calls it.
    pub modality: String,
    /// Kind of the modality.
    pub kind: String,
    /// Kind of the tokenizer.
    pub tokenizer: String,
    /// Codes are below this.
    pub vocabulary: usize,
    /// Most codes of an object.
    pub tokens: usize,
    /// Columns of the coordinates of the codes, if they have others than their number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coordinates: Vec<String>,
    /// The run or config that the codec was taken from.
    pub codec: String,
    /// Of the codec's config, weights and all that it learned.
    pub sha256: String,
}

#[derive(Default, Deserialize)]
struct Notes {
    #[serde(default)]
    codes: BTreeMap<String, CodesNote>,
}

/// The columns of codes that the catalogue in the folder `root` says it has; none if it says nothing.
///
/// # Errors
/// If what it says can't be read.
pub fn codes_of(root: &Path) -> Result<BTreeMap<String, CodesNote>> {
    let file = root.join("panchroma.toml");
    let Some(text) = small_text(&file) else { return Ok(BTreeMap::new()) };
    let notes: Notes = toml::from_str(&text).map_err(|e| DataError::Source {
        file,
        place: String::new(),
        reason: format!("can't be read: {}", e.message()),
        hint: Some("it says which codec made the codes: copy it again, or tokenize again".into()),
    })?;
    Ok(notes.codes)
}

/// Refuses columns whose codes are of another codec than the one that reads them.
pub(super) fn check(root: &Path, columns: &[Column]) -> Result<()> {
    let wanted: Vec<(&Column, &CodecId)> = columns.iter().filter_map(|c| Some((c, c.codec.as_ref()?))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let notes = codes_of(root)?;
    for (column, codec) in wanted {
        let Some(note) = notes.get(&column.path).filter(|note| note.sha256 != codec.sha256) else { continue };
        let short = |sha256: &str| sha256.get(..SHOWN).unwrap_or(sha256).to_owned();
        let (made, reads) = (short(&note.sha256), short(&codec.sha256));
        let reason = format!(
            "the codec in `{}` ({made}) made it, but {} reads it with the codec in `{}` ({reads})",
            note.codec, column.reader, codec.run
        );
        return Err(DataError::Source {
            file: root.join("panchroma.toml"),
            place: format!("column `{}`", column.path),
            reason,
            hint: Some("name that codec in `codec`, or make the codes again by `panchroma tokenize`".into()),
        }
        .into());
    }
    Ok(())
}
