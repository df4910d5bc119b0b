//! The keys of any modality's table that the framework reads.

use super::MetadataConfig;
use crate::{Coordinate, Result, TokenSpec, Tokens, tokens};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Keys of `[modality.NAME]` that the framework reads, for any modality.
pub const KEYS: [&str; 3] = ["metadata", "metadata_dropout", "positions"];

/// Keys of `[modality.NAME]` beside those of its kind.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModalityKeys {
    /// How the measurement becomes tokens: a table with the `kind` of a tokenizer and its keys.
    pub tokenizer: BTreeMap<String, Value>,
    /// In place of `kind`, its keys and `tokenizer`: the folder of a run that trained a codec. Modality and codec are then those of that
    /// run, as they are after its training; the new run keeps a copy. Default none.
    #[serde(default)]
    pub codec: Option<String>,
    /// With `codec`: the name that the modality has in that run. Default NAME, or the only one that there is.
    #[serde(default)]
    pub part: Option<String>,
    /// Beside `codec`: the column with its codes, as `panchroma tokenize` writes it; the codec is then not run. Default none, also `""`.
    #[serde(default)]
    pub codes: Option<String>,
    /// What is known about the measurement, as `[modality.NAME.metadata.KEY]`: every token of the object is told it. Default none.
    #[serde(default)]
    pub metadata: BTreeMap<String, MetadataConfig>,
    /// Training only: the share of the objects for which each `metadata` is hidden, drawn anew each epoch and for each KEY by itself, so
    /// that the model can be used where it is unknown. So is what the tokenizer tells about the measurement: its own `metadata`, and a
    /// table's `error`. 0 (nothing is hidden) to below 1, default 0.1.
    #[serde(default = "dropout")]
    pub metadata_dropout: f64,
    /// How tokens are told apart: by the `tokenizer`'s own coordinates (default), or by their number alone, `index`, each with a learned
    /// vector of its own, as in 4M and AION-1: for tokenizers that give every object the same tokens in the same order.
    #[serde(default)]
    pub positions: Positions,
}

/// How tokens are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// By the coordinates that the tokenizer gives.
    #[default]
    Tokenizer,
    /// By their number.
    Index,
}

pub(super) fn dropout() -> f64 {
    0.1
}

impl Positions {
    /// What tells tokens of this `spec` apart.
    pub(super) fn coordinates(self, spec: &TokenSpec) -> Vec<Coordinate> {
        match self {
            Self::Tokenizer => spec.coordinates.clone(),
            Self::Index => vec![Coordinate::index(spec.max_tokens)],
        }
    }

    /// The same of tokens.
    pub(super) fn tell(self, given: Tokens) -> Result<Tokens> {
        if self == Self::Tokenizer {
            return Ok(given);
        }
        let (batch, count) = given.valid.dims2()?;
        Ok(Tokens { coordinates: tokens::numbered(batch, count)?, ..given })
    }
}
