//! One modality with its tokenizer: made from its table, or taken with its codec from another run.

use super::bad_rows::BadRows;
use super::codec::{self, Trained};
use super::codes::{self, StoredCodes};
use crate::data::Column;
use crate::metadata::{self, Metadata};
use crate::tokens::Forward;
use crate::{
    Arrays, Error, Experiment, Modality, ModalityContext, Mode, Parameters, PrepareContext, Registry, Result, Rows,
    Section, TokenSpec, Tokenizer, TokenizerContext, Tokens,
};
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// What stands before the name of a modality where its codec is meant, beside heads.
pub(crate) const CODEC: &str = "codec.";

/// One modality with its tokenizer.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) kinds: Kinds,
    /// Its table without what the framework reads, in one form for whatever is the same.
    pub(super) config: String,
    pub(super) modality: Box<dyn Modality>,
    pub(super) tokenizer: Box<dyn Tokenizer>,
    /// What the tokenizer gives.
    pub(super) tokens: TokenSpec,
    pub(super) metadata: Metadata,
    /// What goes into the embedding: with the metadata.
    pub(super) spec: TokenSpec,
    /// Where the codec was trained, if it was in another run: it stays as it is.
    pub(super) trained: Option<Trained>,
    /// Where its codes are, if they were computed before.
    pub(super) codes: Option<StoredCodes>,
}

/// Kinds of a modality and its tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) modality: String,
    pub(super) tokenizer: String,
}

impl Part {
    /// Makes what the table of a modality says; codecs make their parameters below `parameters`.
    pub(super) fn read(
        name: &str,
        section: &Section,
        experiment: &Experiment,
        registry: &Registry,
        parameters: &Parameters,
    ) -> Result<Self> {
        let metadata = Metadata::read(name, section)?;
        if section.contains(codec::KEY) {
            return codec::part(name, section, metadata, experiment, registry);
        }
        if section.contains(codes::KEY) {
            return Err(section.reject(codes::KEY, "are of a codec: name its run by `codec = \"RUN\"` beside it"));
        }
        let own = section.without(&["tokenizer", codec::KEY, codes::KEY]).without(&metadata::KEYS);
        let modality = registry.modalities.build(&own, &ModalityContext { name })?;
        // After the modality, so that a misspelt `tokenizer` is not reported as a missing one.
        let tokenizer = section.require("tokenizer")?;
        let arrays = modality.spec();
        let context = TokenizerContext { modality: name, arrays: &arrays, parameters };
        let kinds = Kinds { modality: section.kind()?, tokenizer: tokenizer.kind()? };
        let tokenizer = registry.tokenizers.build(&tokenizer, &context)?;
        let config = section.without(&metadata::KEYS).to_toml().parse::<toml::Table>().unwrap_or_default();
        Ok(Self::new(name, kinds, config.to_string(), modality, tokenizer, metadata))
    }

    pub(super) fn new(
        name: &str,
        kinds: Kinds,
        config: String,
        modality: Box<dyn Modality>,
        tokenizer: Box<dyn Tokenizer>,
        metadata: Metadata,
    ) -> Self {
        let tokens = tokenizer.spec();
        let spec = metadata.extend(&tokens);
        let (name, trained, codes) = (name.to_owned(), None, None);
        Self { name, kinds, config, modality, tokenizer, tokens, metadata, spec, trained, codes }
    }

    /// Whether its tokenizer is a codec that learns in this run.
    pub(super) fn learns(&self) -> bool {
        self.trained.is_none() && self.tokenizer.learns()
    }

    /// What the codec's loss is called in logs and messages.
    pub(super) fn codec_name(&self) -> String {
        format!("{CODEC}{}", self.name)
    }

    /// `tokens` with as many coordinates as the tokenizer gives: those of the metadata are behind them, and others than its own are
    /// unknown to it.
    pub(super) fn own_coordinates(&self, tokens: &Tokens) -> Result<Tokens> {
        let (b, t, c) = tokens.coordinates.dims3()?;
        let own = self.tokens.coordinates.len();
        let same = self.spec.coordinates.get(..own) == Some(&self.tokens.coordinates[..]);
        let coordinates = match () {
            () if c == own && same => return Ok(tokens.clone()),
            () if c >= own && same => tokens.coordinates.narrow(2, 0, own)?.contiguous()?,
            () => Tensor::full(f32::NAN, (b, t, own), &Device::Cpu)?,
        };
        Ok(Tokens { coordinates, ..tokens.clone() })
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = Column> {
        let own = match &self.codes {
            Some(codes) => codes.columns(),
            None => self.modality.columns(),
        };
        own.into_iter().chain(self.metadata.columns())
    }

    /// Where its metadata's categories are in a checkpoint. No modality's name has a dot.
    fn metadata_key(&self) -> String {
        format!("{}.metadata", self.name)
    }

    /// Where that is what its tokenizer learned without gradients.
    fn tokenizer_key(&self) -> String {
        format!("{}.tokenizer", self.name)
    }

    /// Where that is which codec it has.
    fn trained_key(&self) -> String {
        format!("{}.codec", self.name)
    }

    /// Learns scalers and quantiles; `rows` gives a fresh pass over the training split.
    pub(super) fn fit<I: Iterator<Item = Result<Rows>>>(
        &mut self,
        seed: u64,
        bad: &BadRows,
        mut rows: impl FnMut() -> I,
    ) -> Result<()> {
        if self.trained.is_none() {
            bad.fit(&self.name, self.modality.as_mut(), &mut rows)?;
            if self.tokenizer.fits() {
                let context = PrepareContext { mode: Mode::Evaluate, seed, epoch: 0, modality: &self.name };
                let modality = self.modality.as_ref();
                let mut arrays = rows().map(|rows| bad.prepare(modality, &rows?, &context));
                self.tokenizer.fit(&mut arrays)?;
            }
        }
        self.metadata.fit(&mut rows())
    }

    /// What it learned, for the checkpoint.
    pub(super) fn fitted(&self) -> impl Iterator<Item = (String, Value)> {
        let codec = self.trained.as_ref().map_or(Value::Null, Trained::to_json);
        let own = [
            (self.name.clone(), self.modality.fitted()),
            (self.metadata_key(), self.metadata.fitted()),
            (self.tokenizer_key(), self.tokenizer.fitted()),
            (self.trained_key(), codec),
        ];
        // The modality's own is there even if it learned nothing.
        own.into_iter().enumerate().filter(|(i, (_, fitted))| *i == 0 || !fitted.is_null()).map(|(_, own)| own)
    }

    /// Takes back what [`Self::fitted`] gave.
    pub(super) fn restore(&mut self, fitted: &BTreeMap<String, Value>) -> Result<()> {
        let of = |key: &str| fitted.get(key).unwrap_or(&Value::Null);
        if let Some(trained) = &self.trained {
            trained.require_same(&self.name, of(&self.trained_key()))?;
        }
        self.modality.restore(of(&self.name))?;
        self.metadata.restore(of(&self.metadata_key()))?;
        self.tokenizer.restore(of(&self.tokenizer_key()))
    }

    /// Rows -> arrays, and tokens unless the tokenizer is still to learn.
    pub(super) fn prepare(
        &self,
        rows: &Rows,
        context: PrepareContext<'_>,
        bad: &BadRows,
    ) -> Result<(Arrays, Option<Tokens>)> {
        let reader: &dyn Modality = match &self.codes {
            Some(codes) => codes,
            None => self.modality.as_ref(),
        };
        let mut arrays = bad.prepare(reader, rows, &context)?;
        arrays.check(&self.name, &reader.spec())?;
        if self.learns() {
            return Ok((arrays, None));
        }
        let tokens = match &self.codes {
            Some(codes) => codes.tokens(&arrays)?,
            None => loop {
                match self.tokenize(&arrays, &context) {
                    Ok(tokens) => break tokens,
                    Err(Error::Foreign(plugin)) => {
                        let error = plugin.of_rows(rows.ids()).into();
                        arrays = bad.without(&self.name, rows, &arrays, error)?;
                    }
                    Err(other) => return Err(other),
                }
            },
        };
        let tokens = self.metadata.add(tokens, rows, &self.spec, &context)?;
        Ok((arrays, Some(tokens)))
    }

    /// Arrays -> tokens, checked, without the metadata.
    pub(super) fn tokenize(&self, arrays: &Arrays, context: &PrepareContext<'_>) -> Result<Tokens> {
        let forward = Forward { mode: context.mode, seed: context.seed, step: context.epoch };
        let tokens = self.tokenizer.tokenize(arrays, &forward)?;
        tokens.check(&self.name, &self.tokens)?;
        if tokens.len() != arrays.len() {
            return Err(Error::Shape {
                part: format!("tokens of `{}`", self.name),
                expected: format!("{} objects", arrays.len()),
                found: tokens.len().to_string(),
            });
        }
        Ok(tokens)
    }
}
