//! Config and registry -> a model whose parts agree, before any data is read.

mod bad_rows;
mod codec;
mod codes;
mod network;
mod part;
mod plan;
mod tokenize;

pub use bad_rows::BadRow;
pub use plan::{HeadPlan, ModalityPlan, Plan};
pub use tokenize::Codec;

pub(crate) use codec::{FOLDER as CODECS, Trained};

use bad_rows::BadRows;
use network::Network;
use part::Part;

pub(crate) use part::CODEC;

use crate::random;
use crate::sketch::Sketch;
use crate::tokens::Forward;
use crate::{
    Arrays, Batch, Bins, Column, Error, Experiment, Features, HeadOutput, LibraryId, Masks, Mode, Parameters,
    PrepareContext, Registry, Result, Rows, Section, TokenSpec, Tokens, View,
};
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a forward pass of all heads gives.
#[derive(Debug)]
pub struct ModelOutput {
    /// Weighted sum of the heads' losses; `None` if the batch had nothing to learn from.
    pub loss: Option<Tensor>,
    /// Per head, in the config's order; codecs that learn are called `codec.MODALITY`.
    pub heads: Vec<(String, HeadOutput)>,
}

/// Modalities and tokenizers, with embeddings, trunk and heads; without those, codecs that learn.
pub struct Model {
    parts: Vec<Part>,
    network: Option<Network>,
    parameters: Parameters,
    seed: u64,
    bad_rows: BadRows,
    libraries: BTreeMap<String, LibraryId>,
}

impl Model {
    /// Builds what the config names.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(experiment: &Experiment, registry: &Registry, device: &Device) -> Result<Self> {
        let root = experiment.root();
        let activations = experiment.train.precision.activations(device);
        let parameters = Parameters::new(experiment.run.seed, device).with_activations(activations);
        let codecs = parameters.pp(codec::CODEC);
        let sections = root.sections("modality")?;
        let part = |(name, section): &(String, _)| Part::read(name, section, experiment, registry, &codecs.pp(name));
        let parts = sections.iter().map(part).collect::<Result<Vec<Part>>>()?;
        let learning = parts.iter().position(Part::learns);
        let network = match (root.section("trunk")?, learning) {
            (Some(trunk), None) => {
                let specs: Vec<(String, TokenSpec)> = parts.iter().map(|p| (p.name.clone(), p.spec.clone())).collect();
                let layers = parts.iter().map(|p| p.tokenizer.layer()).collect();
                Some(Network::new(&trunk, &specs, layers, experiment, registry, &parameters)?)
            }
            (Some(_), Some(learning)) => {
                let (name, section) = &sections[learning];
                let reason = format!(
                    "is a codec, which is trained alone, in a config without [trunk]; then `codec = \"RUN\"` in [modality.{name}] takes it from its run"
                );
                return Err(section.reject("tokenizer", reason));
            }
            (None, Some(_)) => {
                for key in ["head", "probe", "predict"] {
                    if let Some((name, _)) = root.sections(key)?.first() {
                        let reason = format!(
                            "[{key}.{name}] needs a [trunk]; a codec trains without heads, probes and predictions"
                        );
                        return Err(root.reject(key, reason));
                    }
                }
                None
            }
            (None, None) => {
                return Err(root.reject("trunk", "must be a table, as no tokenizer is a codec that is trained alone"));
            }
        };
        let masked = network.as_ref().is_some_and(Network::is_masked);
        for task in &experiment.predictions {
            if let Some(part) = parts.iter().find(|part| part.name == task.target()) {
                task.check(&part.spec, masked)?;
            }
        }
        let bad_rows = BadRows::new(experiment.data.bad_rows);
        let libraries = libraries(&parts, &root.sections("head")?, registry);
        Ok(Self { parts, network, parameters, seed: experiment.run.seed, bad_rows, libraries })
    }

    /// The plugins of shared libraries that it uses, by name.
    #[must_use]
    pub fn libraries(&self) -> &BTreeMap<String, LibraryId> {
        &self.libraries
    }

    /// The trainable parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The users' names of the modalities.
    pub fn modalities(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|p| p.name.as_str())
    }

    /// The users' names of the heads, or of the codecs that learn.
    pub fn heads(&self) -> Vec<String> {
        let codecs = self.parts.iter().filter(|p| p.learns()).map(Part::codec_name);
        let heads = self.network.iter().flat_map(|n| n.heads.iter().map(|h| h.name.clone()));
        codecs.chain(heads).collect()
    }

    /// Whether a head predicts tokens that are hidden.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.network.as_ref().is_some_and(Network::is_masked)
    }

    /// Whether it is made of codecs that learn, without a trunk.
    #[must_use]
    pub fn is_codec(&self) -> bool {
        self.network.is_none()
    }

    /// The users' names of the modalities whose codecs learn.
    pub fn learning(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(|p| p.learns()).map(|p| p.name.as_str())
    }

    /// The tables of the config that give a loss, for messages.
    pub(crate) fn learning_tables(&self) -> Vec<String> {
        let codecs = self.learning().map(|name| format!("[modality.{name}.tokenizer]"));
        let heads = self.network.iter().flat_map(|n| n.heads.iter().map(|h| format!("[head.{}]", h.name)));
        codecs.chain(heads).collect()
    }

    /// What the tokens of `modality` look like.
    #[must_use]
    pub fn token_spec(&self, modality: &str) -> Option<&TokenSpec> {
        self.part(modality).map(|p| &p.spec)
    }

    /// What the codes of each token of `modality` stand for, where tokens are scalars.
    #[must_use]
    pub fn bins(&self, modality: &str) -> Vec<Bins> {
        self.part(modality).map(|p| p.tokenizer.bins()).unwrap_or_default()
    }

    /// Tokens of `modality` -> arrays; `None` if its tokenizer can't. See [`crate::Tokenizer::reconstruct`].
    ///
    /// # Errors
    /// If there is no such modality, or the tokens don't fit.
    pub fn reconstruct(&self, modality: &str, tokens: &Tokens, like: Option<&Arrays>) -> Result<Option<Arrays>> {
        let part = self.require(modality)?;
        let like = like.filter(|like| !codes::is_codes(like));
        part.tokenizer.reconstruct(&part.own_coordinates(tokens)?, like, &Forward::evaluate())
    }

    /// Tokens of prepared arrays of `modality`, without metadata; `None` if there is no such modality.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, modality: &str, arrays: &Arrays) -> Result<Option<Tokens>> {
        self.part(modality).map(|part| part.tokenizer.tokenize(arrays, &Forward::evaluate())).transpose()
    }

    /// How an object of arrays of `modality` is drawn; see [`crate::Modality::sketch`].
    ///
    /// # Errors
    /// If the arrays are not the modality's.
    pub fn sketch(&self, modality: &str, arrays: &Arrays, row: usize) -> Result<Option<Sketch>> {
        self.part(modality).map_or(Ok(None), |part| part.modality.sketch(arrays, row))
    }

    /// Arrays that ask for the same objects at places close to each other; see [`crate::Modality::closely`].
    ///
    /// # Errors
    /// If the arrays are not the modality's.
    pub fn closely(&self, modality: &str, arrays: &Arrays) -> Result<Option<Arrays>> {
        self.part(modality).map_or(Ok(None), |part| part.modality.closely(arrays))
    }

    fn part(&self, modality: &str) -> Option<&Part> {
        self.parts.iter().find(|p| p.name == modality)
    }

    fn require(&self, modality: &str) -> Result<&Part> {
        self.part(modality).ok_or_else(|| Error::Shape {
            part: "model".into(),
            expected: format!("one of {:?}", self.modalities().collect::<Vec<_>>()),
            found: format!("`{modality}`"),
        })
    }

    /// The codecs that come from other runs, by modality.
    pub(crate) fn trained_codecs(&self) -> impl Iterator<Item = (&str, &Trained)> {
        self.parts.iter().filter_map(|p| Some((p.name.as_str(), p.trained.as_ref()?)))
    }

    fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// Every column that a modality or head reads, and `more`, each once in each type that it is read
    /// as. A column that somebody requires is required.
    #[must_use]
    pub fn columns(&self, more: &[Column]) -> Vec<Column> {
        let mut columns: BTreeMap<_, Column> = BTreeMap::new();
        let modalities = self.parts.iter().flat_map(|p| {
            let reader = format!("[modality.{}]", p.name);
            p.columns().map(move |c| c.read_by(reader.clone()))
        });
        let heads = self.network.iter().flat_map(Network::columns);
        for column in modalities.chain(heads).chain(more.iter().cloned()) {
            let key = (column.path.clone(), column.kind, column.depth);
            columns.entry(key).and_modify(|c| c.required |= column.required).or_insert(column);
        }
        columns.into_values().collect()
    }

    /// Lets each modality learn its scalers; `rows` gives a fresh pass over the training split.
    ///
    /// # Errors
    /// If the data can't be read or used.
    pub fn fit<I: Iterator<Item = Result<Rows>>>(&mut self, mut rows: impl FnMut() -> I) -> Result<()> {
        self.parts.iter_mut().try_for_each(|part| part.fit(self.seed, &self.bad_rows, &mut rows))
    }

    /// Measurements that were left out since the last call, with `bad_rows = "absent"`.
    #[must_use]
    pub fn new_bad_rows(&self) -> Vec<BadRow> {
        self.bad_rows.news()
    }

    /// What each modality learned, for the checkpoint.
    #[must_use]
    pub fn fitted(&self) -> BTreeMap<String, Value> {
        self.parts.iter().flat_map(Part::fitted).collect()
    }

    /// Takes back what [`Self::fitted`] gave.
    ///
    /// # Errors
    /// If a modality can't read it.
    pub fn restore(&mut self, fitted: &BTreeMap<String, Value>) -> Result<()> {
        self.parts.iter_mut().try_for_each(|part| part.restore(fitted))
    }

    /// Rows -> arrays -> tokens, and masks. Runs on loader threads.
    ///
    /// # Errors
    /// If a modality or tokenizer fails or breaks its contract.
    pub fn prepare(&self, rows: Rows, mode: Mode, epoch: u64) -> Result<Batch> {
        let mut arrays = BTreeMap::new();
        let mut tokens = BTreeMap::new();
        for part in &self.parts {
            let context = PrepareContext { mode, seed: self.seed, epoch, modality: &part.name };
            let (a, t) = part.prepare(&rows, context, &self.bad_rows)?;
            arrays.insert(part.name.clone(), a);
            tokens.extend(t.map(|t| (part.name.clone(), t)));
        }
        let masks = match &self.network {
            None => BTreeMap::new(),
            Some(network) => network.masks(&tokens, rows.ids(), &|head, id| {
                random::stream(self.seed, "masks", &[head.as_bytes(), &epoch.to_le_bytes(), id.as_bytes()])
            })?,
        };
        Ok(Batch { rows, arrays, tokens, masks })
    }

    /// Tokens -> features, with the modalities in `only` (all if empty).
    ///
    /// # Errors
    /// If no object of the batch has one of them, or the trunk fails.
    pub fn features(&self, batch: &Batch, view: View, only: &[String], context: &Forward) -> Result<Features> {
        self.network()?.features(batch, view, only, context)
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().ok_or_else(|| Error::Shape {
            part: "model".into(),
            expected: "one with a trunk".into(),
            found: "codecs that are trained alone".into(),
        })
    }

    /// Whether an object of the batch has a modality, without which there is nothing to encode.
    #[must_use]
    pub fn has_tokens(batch: &Batch) -> bool {
        batch.tokens.values().any(|t| t.present.contains(&true))
    }

    /// The same rows with random tokens of every modality, of which nothing is missing: a parameter that then gets no gradient gets none
    /// from any object.
    ///
    /// # Errors
    /// If a tensor can't be made.
    pub(crate) fn made_up(&self, batch: Batch) -> Result<Batch> {
        let Some(network) = &self.network else { return Ok(batch) };
        let of = |part: &Part| {
            let mut random = random::stream(self.seed, "made up", &[part.name.as_bytes()]);
            Ok((part.name.clone(), part.spec.made_up(batch.len(), &mut random)?))
        };
        let tokens = self.parts.iter().map(of).collect::<Result<BTreeMap<_, _>>>()?;
        let masks = network.covering_masks(&tokens)?;
        Ok(Batch { tokens, masks, ..batch })
    }

    /// All heads, or codecs that learn, and the loss.
    ///
    /// # Errors
    /// If the trunk or a head fails.
    pub fn forward(&self, batch: &Batch, context: &Forward) -> Result<ModelOutput> {
        let mut output = ModelOutput { loss: None, heads: Vec::new() };
        for part in self.parts.iter().filter(|p| p.learns()) {
            if let Some(arrays) = batch.arrays.get(&part.name).filter(|arrays| arrays.present.contains(&true)) {
                output.add(&part.codec_name(), 1.0, part.tokenizer.learn(arrays, context)?)?;
            }
        }
        match &self.network {
            Some(network) if Self::has_tokens(batch) => network.forward(batch, context, &mut output)?,
            _ => {}
        }
        Ok(output)
    }

    /// What the masked heads predict where `masks` asks, given what they give: head and output.
    ///
    /// # Errors
    /// If there is no trunk, or it or a head fails.
    pub fn predict(&self, batch: &Batch, masks: &Masks, context: &Forward) -> Result<Vec<(String, HeadOutput)>> {
        self.network()?.predict_with(batch, masks, context)
    }
}

/// The shared libraries that modalities, tokenizers and heads come from.
fn libraries(parts: &[Part], heads: &[(String, Section)], registry: &Registry) -> BTreeMap<String, LibraryId> {
    let of_modalities = parts.iter().filter_map(|p| registry.modalities.get(&p.kinds.modality)?.library.as_ref());
    let of_tokenizers = parts.iter().filter_map(|p| registry.tokenizers.get(&p.kinds.tokenizer)?.library.as_ref());
    let of_heads = heads.iter().filter_map(|(_, head)| registry.heads.get(&head.kind().ok()?)?.library.as_ref());
    let all = of_modalities.chain(of_tokenizers).chain(of_heads);
    all.map(|library| (library.name.clone(), LibraryId::from(&**library))).collect()
}
