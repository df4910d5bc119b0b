//! A model used for its codecs alone: rows -> codes, without a trunk.

use super::bad_rows::BadRows;
use super::codec::CODEC;
use super::codes;
use super::part::Part;
use super::{Model, libraries};
use crate::data::Column;
use crate::{Experiment, Mode, Parameters, PrepareContext, Registry, Result, Rows, TokenKind, Tokens};
use candle_core::Device;
use std::path::{Path, PathBuf};

/// A modality whose tokens are codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The user's name of the modality.
    pub modality: String,
    /// Kind of the modality.
    pub kind: String,
    /// Kind of the tokenizer.
    pub tokenizer: String,
    /// Codes are below this.
    pub vocabulary: usize,
    /// Most codes of an object.
    pub tokens: usize,
    /// The run that it was trained in, if that is another one.
    pub run: Option<PathBuf>,
    /// Whether it is trained by gradient in the run of this model.
    pub learns: bool,
    /// Of its config, weights and all that it learned.
    pub sha256: String,
}

impl Codec {
    /// The columns of the codes' coordinates, for codes in `column`: none if codes are told apart by their number alone, as with
    /// most codecs; else one for each of [`Tokens::coordinates`].
    #[must_use]
    pub fn coordinates(&self, model: &Model, column: &str) -> Vec<String> {
        model.part(&self.modality).map(|part| codes::coordinates(column, &part.tokens)).unwrap_or_default()
    }
}

impl Model {
    /// The modalities of a config with their tokenizers alone: no embedding, no trunk, no head.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn of_tokenizers(experiment: &Experiment, registry: &Registry, device: &Device) -> Result<Self> {
        let parameters = Parameters::new(experiment.run.seed, device);
        let codecs = parameters.pp(CODEC);
        let sections = experiment.root().sections("modality")?;
        let part = |(name, section): &(String, _)| Part::read(name, section, experiment, registry, &codecs.pp(name));
        let parts = sections.iter().map(part).collect::<Result<Vec<Part>>>()?;
        let bad_rows = BadRows::new(experiment.data.bad_rows);
        let (network, libraries) = (None, libraries(&parts, &[], registry));
        Ok(Self { parts, network, parameters, seed: experiment.run.seed, bad_rows, libraries })
    }

    /// Its modalities whose tokens are codes, in the config's order.
    ///
    /// # Errors
    /// If weights can't be read from their device.
    pub fn codecs(&self) -> Result<Vec<Codec>> {
        let mut found = Vec::new();
        for (place, part) in self.parts.iter().enumerate() {
            let TokenKind::Codes { vocabulary } = part.tokens.kind else { continue };
            found.push(Codec {
                modality: part.name.clone(),
                kind: part.kinds.modality.clone(),
                tokenizer: part.kinds.tokenizer.clone(),
                vocabulary,
                tokens: part.tokens.max_tokens,
                run: part.trained.as_ref().map(|trained| Path::to_path_buf(&trained.run)),
                learns: part.learns(),
                sha256: self.identity(place)?,
            });
        }
        Ok(found)
    }

    /// The columns that a modality makes its codes of, also if the config reads stored codes. A catalogue may lack them.
    #[must_use]
    pub fn measured_columns(&self, modality: &str) -> Vec<Column> {
        let columns = self.part(modality).map(|part| part.modality.columns()).unwrap_or_default();
        let reader = format!("[modality.{modality}]");
        columns.into_iter().map(|column| column.optional().read_by(reader.clone())).collect()
    }

    /// Rows -> tokens of one modality, without metadata; by the codec also if the config reads stored codes, and also if the codec is
    /// trained in this run. Nothing is augmented.
    ///
    /// # Errors
    /// If there is no such modality, or it or its tokenizer fails.
    pub fn tokenize(&self, modality: &str, rows: &Rows) -> Result<Tokens> {
        let part = self.require(modality)?;
        let context = PrepareContext { mode: Mode::Evaluate, seed: self.seed, epoch: 0, modality };
        let arrays = self.bad_rows.prepare(part.modality.as_ref(), rows, &context)?;
        arrays.check(modality, &part.modality.spec())?;
        part.tokenize(&arrays, &context)
    }
}
