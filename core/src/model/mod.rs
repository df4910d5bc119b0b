//! Config and registry -> a model whose parts agree, before any data is read.

mod bad_rows;
mod plan;

pub use bad_rows::BadRow;
pub use plan::{HeadPlan, ModalityPlan, Plan};

use bad_rows::BadRows;

use crate::embed::Embed;
use crate::metadata::{self, Metadata};
use crate::random;
use crate::tokens::Forward;
use crate::{
    Arrays, Batch, Column, Error, Experiment, Features, Head, HeadContext, HeadOutput, Modality, ModalityContext, Mode,
    Parameters, PrepareContext, Registry, Result, Rows, TokenSet, TokenSpec, Tokenizer, TokenizerContext, Tokens,
    Trunk, TrunkContext, View,
};
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// One modality with its tokenizer.
struct Part {
    name: String,
    kind: String,
    modality: Box<dyn Modality>,
    tokenizer: Box<dyn Tokenizer>,
    /// What the tokenizer gives.
    tokens: TokenSpec,
    metadata: Metadata,
    /// What goes into the embedding: with the metadata.
    spec: TokenSpec,
    embed: Embed,
}

/// One head with its weight in the loss.
struct NamedHead {
    name: String,
    weight: f64,
    head: Box<dyn Head>,
}

/// What a forward pass of all heads gives.
#[derive(Debug)]
pub struct ModelOutput {
    /// Weighted sum of the heads' losses; `None` if the batch had nothing to learn from.
    pub loss: Option<Tensor>,
    /// Per head, in the config's order.
    pub heads: Vec<(String, HeadOutput)>,
}

/// Modalities, tokenizers, embeddings, trunk and heads.
pub struct Model {
    parts: Vec<Part>,
    trunk: Box<dyn Trunk>,
    heads: Vec<NamedHead>,
    parameters: Parameters,
    device: Device,
    seed: u64,
    bad_rows: BadRows,
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
        let mut built = Vec::new();
        for (name, section) in root.sections("modality")? {
            let own = section.without(&["tokenizer"]).without(&metadata::KEYS);
            let modality = registry.modalities.build(&own, &ModalityContext { name: &name })?;
            // After the modality, so that a misspelt `tokenizer` is not reported as a missing one.
            let tokenizer = section.require("tokenizer")?;
            let arrays = modality.spec();
            let context = TokenizerContext { modality: &name, arrays: &arrays };
            let tokenizer = registry.tokenizers.build(&tokenizer, &context)?;
            let metadata = Metadata::read(&name, &section)?;
            let spec = metadata.extend(&tokenizer.spec());
            built.push((name, section.kind()?, modality, tokenizer, metadata, spec));
        }
        let specs: Vec<(String, TokenSpec)> =
            built.iter().map(|(name, .., spec)| (name.clone(), spec.clone())).collect();
        let names: Vec<String> = specs.iter().map(|(name, _)| name.clone()).collect();
        let section = root.section("trunk")?.ok_or_else(|| root.reject("trunk", "must be a table"))?;
        let trunk = registry
            .trunks
            .build(&section, &TrunkContext { modalities: &specs, parameters: &parameters.pp("trunk") })?;
        let width = trunk.width();
        let mut heads = Vec::new();
        for (name, section) in root.sections("head")? {
            let weight = head_weight(&section)?;
            let context =
                HeadContext { name: &name, modalities: &names, width, parameters: &parameters.pp("head").pp(&name) };
            let head = registry.heads.build(&section.without(&["weight"]), &context)?;
            heads.push(NamedHead { name, weight, head });
        }
        if heads.is_empty() {
            return Err(root.reject("head", "must name at least one head, as `[head.NAME]`"));
        }
        let parts = built
            .into_iter()
            .map(|(name, kind, modality, tokenizer, metadata, spec)| {
                let embed = Embed::new(&name, &spec, width, &parameters.pp("embed").pp(&name))?;
                let tokens = tokenizer.spec();
                Ok(Part { name, kind, modality, tokenizer, tokens, metadata, spec, embed })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            parts,
            trunk,
            heads,
            parameters,
            device: device.clone(),
            seed: experiment.run.seed,
            bad_rows: BadRows::new(experiment.data.bad_rows),
        })
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

    /// The users' names of the heads.
    pub fn heads(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|h| h.name.as_str())
    }

    /// Every column that a modality or head reads, and `more`, each once in each type that it is read
    /// as. A column that somebody requires is required.
    #[must_use]
    pub fn columns(&self, more: &[Column]) -> Vec<Column> {
        let mut columns: BTreeMap<_, Column> = BTreeMap::new();
        let named = |table: &str, name: &str, columns: Vec<Column>| {
            let reader = format!("[{table}.{name}]");
            columns.into_iter().map(move |c| c.read_by(reader.clone()))
        };
        let modalities = self.parts.iter().flat_map(|p| {
            let columns = p.modality.columns().into_iter().chain(p.metadata.columns());
            named("modality", &p.name, columns.collect())
        });
        let heads = self.heads.iter().flat_map(|h| named("head", &h.name, h.head.columns()));
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
        for part in &mut self.parts {
            self.bad_rows.fit(&part.name, part.modality.as_mut(), &mut rows)?;
            part.metadata.fit(&mut rows())?;
        }
        Ok(())
    }

    /// Measurements that were left out since the last call, with `bad_rows = "absent"`.
    #[must_use]
    pub fn new_bad_rows(&self) -> Vec<BadRow> {
        self.bad_rows.news()
    }

    /// What each modality learned, for the checkpoint.
    #[must_use]
    pub fn fitted(&self) -> BTreeMap<String, Value> {
        let modality = self.parts.iter().map(|p| (p.name.clone(), p.modality.fitted()));
        let metadata = self.parts.iter().map(|p| (p.metadata_key(), p.metadata.fitted()));
        modality.chain(metadata.filter(|(_, fitted)| !fitted.is_null())).collect()
    }

    /// Takes back what [`Self::fitted`] gave.
    ///
    /// # Errors
    /// If a modality can't read it.
    pub fn restore(&mut self, fitted: &BTreeMap<String, Value>) -> Result<()> {
        for part in &mut self.parts {
            part.modality.restore(fitted.get(&part.name).unwrap_or(&Value::Null))?;
            part.metadata.restore(fitted.get(&part.metadata_key()).unwrap_or(&Value::Null))?;
        }
        Ok(())
    }

    /// Rows -> arrays -> tokens. Runs on loader threads.
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
            tokens.insert(part.name.clone(), t);
        }
        Ok(Batch { rows, arrays, tokens })
    }

    /// Tokens -> features, with the modalities in `only` (all if empty).
    ///
    /// # Errors
    /// If no object of the batch has one of them, or the trunk fails.
    pub fn features(&self, batch: &Batch, view: View, only: &[String], context: &Forward) -> Result<Features> {
        self.encode(&self.token_set(batch, only)?, view, context)
    }

    /// What heads get is f32, whatever the trunk computes in.
    fn encode(&self, tokens: &TokenSet, view: View, context: &Forward) -> Result<Features> {
        let mut features = self.trunk.forward(tokens, view, context)?;
        for segment in &mut features.tokens.segments {
            segment.embedded = segment.embedded.to_dtype(DType::F32)?;
        }
        Ok(features)
    }

    fn token_set(&self, batch: &Batch, only: &[String]) -> Result<TokenSet> {
        let mut segments = Vec::new();
        for part in self.parts.iter().filter(|p| only.is_empty() || only.contains(&p.name)) {
            if let Some(tokens) = batch.tokens.get(&part.name) {
                segments.extend(part.embed.forward(tokens, &self.device)?);
            }
        }
        Ok(TokenSet { batch: batch.len(), segments })
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
        let of = |part: &Part| {
            let mut random = random::stream(self.seed, "made up", &[part.name.as_bytes()]);
            Ok((part.name.clone(), part.spec.made_up(batch.len(), &mut random)?))
        };
        let tokens = self.parts.iter().map(of).collect::<Result<_>>()?;
        Ok(Batch { tokens, ..batch })
    }

    /// All heads and the loss. The trunk runs once per view that a head asks for.
    ///
    /// # Errors
    /// If the trunk or a head fails.
    pub fn forward(&self, batch: &Batch, context: &Forward) -> Result<ModelOutput> {
        let mut output = ModelOutput { loss: None, heads: Vec::new() };
        if !Self::has_tokens(batch) {
            return Ok(output);
        }
        let tokens = self.token_set(batch, &[])?;
        let mut views: BTreeMap<View, Features> = BTreeMap::new();
        for NamedHead { name, weight, head } in &self.heads {
            let features = match views.entry(head.view()) {
                Entry::Occupied(made) => made.into_mut(),
                Entry::Vacant(place) => place.insert(self.encode(&tokens, head.view(), context)?),
            };
            let out = head.forward(features, batch, context)?;
            if let Some(loss) = &out.loss {
                let loss = (loss * *weight)?;
                output.loss = Some(match output.loss {
                    None => loss,
                    Some(sum) => (sum + loss)?,
                });
            }
            output.heads.push((name.clone(), out));
        }
        Ok(output)
    }
}

impl Part {
    /// Where its metadata's categories are in a checkpoint. No modality's name has a dot.
    fn metadata_key(&self) -> String {
        format!("{}.metadata", self.name)
    }

    fn prepare(&self, rows: &Rows, context: PrepareContext<'_>, bad: &BadRows) -> Result<(Arrays, Tokens)> {
        let arrays = bad.prepare(self.modality.as_ref(), rows, &context)?;
        arrays.check(&self.name, &self.modality.spec())?;
        let forward = Forward { mode: context.mode, seed: context.seed, step: context.epoch };
        let tokens = self.tokenizer.tokenize(&arrays, &forward)?;
        tokens.check(&self.name, &self.tokens)?;
        if tokens.len() != rows.len() {
            return Err(Error::Shape {
                part: format!("tokens of `{}`", self.name),
                expected: format!("{} objects", rows.len()),
                found: tokens.len().to_string(),
            });
        }
        let tokens = self.metadata.add(tokens, rows, &self.spec, &context)?;
        Ok((arrays, tokens))
    }
}

fn head_weight(section: &crate::Section) -> Result<f64> {
    let weight = section.get("weight")?.unwrap_or(1.0);
    if f64::is_finite(weight) && weight > 0.0 { Ok(weight) } else { Err(section.reject("weight", "must be above 0")) }
}
