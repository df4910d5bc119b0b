//! What learns across modalities: embeddings, trunk and heads.

use super::ModelOutput;
use crate::data::Column;
use crate::embed::Embed;
use crate::{
    Batch, Error, Experiment, Features, Forward, Head, HeadContext, HeadOutput, Layer, MaskContext, Masks, Parameters,
    Registry, Result, Section, TokenSet, TokenSpec, Tokens, Trunk, TrunkContext, View,
};
use candle_core::{DType, Device, Tensor};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One head with its weight in the loss.
pub(super) struct NamedHead {
    pub(super) name: String,
    pub(super) weight: f64,
    pub(super) head: Box<dyn Head>,
}

/// Embeddings, trunk and heads.
pub(super) struct Network {
    /// By modality, in the config's order.
    embed: Vec<(String, Embed)>,
    pub(super) trunk: Box<dyn Trunk>,
    pub(super) heads: Vec<NamedHead>,
    device: Device,
}

impl Network {
    /// Makes what `[trunk]` and `[head.*]` name, for modalities whose tokens look like `specs` and go through `layers`.
    pub(super) fn new(
        trunk: &Section,
        specs: &[(String, TokenSpec)],
        layers: Vec<Option<Arc<dyn Layer>>>,
        experiment: &Experiment,
        registry: &Registry,
        parameters: &Parameters,
    ) -> Result<Self> {
        let root = experiment.root();
        let of_trunk = parameters.pp("trunk");
        let section = trunk;
        let mut trunk = registry.trunks.build(section, &TrunkContext { modalities: specs, parameters: &of_trunk })?;
        let width = trunk.width();
        let names: Vec<String> = specs.iter().map(|(name, _)| name.clone()).collect();
        let mut heads = Vec::new();
        for (name, section) in root.sections("head")? {
            let weight = head_weight(&section)?;
            let parameters = parameters.pp("head").pp(&name);
            let context =
                HeadContext { name: &name, modalities: &names, tokens: specs, width, parameters: &parameters };
            let head = registry.heads.build(&section.without(&["weight"]), &context)?;
            heads.push(NamedHead { name, weight, head });
        }
        if heads.is_empty() {
            return Err(root.reject("head", "must name at least one head, as `[head.NAME]`"));
        }
        let masked = heads.iter().filter(|h| h.head.view() == View::Masked).count();
        if masked > 0 {
            trunk.expect_masks(&MaskContext { section, parameters: &of_trunk, alone: masked == heads.len() })?;
        }
        let embed = |((name, spec), layer): (&(String, TokenSpec), Option<Arc<dyn Layer>>)| {
            let parameters = parameters.pp("embed").pp(name);
            Ok((name.clone(), Embed::with_layer(name, spec, layer, width, &parameters)?))
        };
        let embed = specs.iter().zip(layers).map(embed).collect::<Result<_>>()?;
        Ok(Self { embed, trunk, heads, device: parameters.device().clone() })
    }

    /// Columns that heads read, with the head that reads them.
    pub(super) fn columns(&self) -> impl Iterator<Item = Column> {
        let read_by = |h: &NamedHead, column: Column| column.read_by(format!("[head.{}]", h.name));
        self.heads.iter().flat_map(move |h| h.head.columns().into_iter().map(move |column| read_by(h, column)))
    }

    /// What its heads ask for.
    pub(super) fn views(&self) -> BTreeSet<View> {
        self.heads.iter().map(|h| h.head.view()).collect()
    }

    /// Whether a head predicts tokens that are hidden.
    pub(super) fn is_masked(&self) -> bool {
        self.views().contains(&View::Masked)
    }

    /// Draws the masks of each head that has a masking; `random` gives the stream of an object for a head.
    pub(super) fn masks(
        &self,
        tokens: &BTreeMap<String, Tokens>,
        ids: &[String],
        random: &dyn Fn(&str, &str) -> crate::random::Random,
    ) -> Result<BTreeMap<String, Masks>> {
        let masked = self.heads.iter().filter_map(|h| Some((&h.name, h.head.masking()?)));
        masked.map(|(name, masking)| Ok((name.clone(), masking.draw(tokens, ids, &|id| random(name, id))?))).collect()
    }

    /// Masks of each head that has a masking that leave out no token: see [`crate::Masking::cover`].
    pub(super) fn covering_masks(&self, tokens: &BTreeMap<String, Tokens>) -> Result<BTreeMap<String, Masks>> {
        let masked = self.heads.iter().filter_map(|h| Some((&h.name, h.head.masking()?)));
        masked.map(|(name, masking)| Ok((name.clone(), masking.cover(tokens)?))).collect()
    }

    /// Tokens -> features, with the modalities in `only` (all if empty).
    pub(super) fn features(&self, batch: &Batch, view: View, only: &[String], context: &Forward) -> Result<Features> {
        self.encode(&self.token_set(batch, only, false)?, view, context)
    }

    /// What heads get is f32, whatever the trunk computes in.
    fn encode(&self, tokens: &TokenSet, view: View, context: &Forward) -> Result<Features> {
        in_f32(self.trunk.forward(tokens, view, context)?)
    }

    fn token_set(&self, batch: &Batch, only: &[String], places: bool) -> Result<TokenSet> {
        let mut segments = Vec::new();
        for (name, embed) in self.embed.iter().filter(|(name, _)| only.is_empty() || only.contains(name)) {
            if let Some(tokens) = batch.tokens.get(name) {
                segments.extend(match places {
                    true => embed.forward_with_places(tokens, &self.device)?,
                    false => embed.forward(tokens, &self.device)?,
                });
            }
        }
        Ok(TokenSet { batch: batch.len(), segments })
    }

    /// All heads and the loss. The trunk runs once per view that a head asks for, and once for each masking.
    pub(super) fn forward(&self, batch: &Batch, context: &Forward, output: &mut ModelOutput) -> Result<()> {
        let masks = &batch.masks;
        let plain = if self.views().iter().any(|view| *view != View::Masked) {
            self.token_set(batch, &[], false)?
        } else {
            TokenSet { batch: batch.len(), segments: Vec::new() }
        };
        let mut views: BTreeMap<View, Features> = BTreeMap::new();
        for NamedHead { name, weight, head } in &self.heads {
            let out = if head.view() == View::Masked {
                self.predict(name, head.as_ref(), batch, masks.get(name), context)?
            } else {
                let features = match views.entry(head.view()) {
                    Entry::Occupied(made) => made.into_mut(),
                    Entry::Vacant(place) => place.insert(self.encode(&plain, head.view(), context)?),
                };
                head.forward(features, batch, context)?
            };
            output.add(name, *weight, out)?;
        }
        Ok(())
    }

    /// What one masked head says, for masks that somebody else made.
    pub(super) fn predict_with(
        &self,
        batch: &Batch,
        masks: &Masks,
        context: &Forward,
    ) -> Result<Vec<(String, HeadOutput)>> {
        let masked = self.heads.iter().filter(|h| h.head.view() == View::Masked);
        masked
            .map(|h| Ok((h.name.clone(), self.predict(&h.name, h.head.as_ref(), batch, Some(masks), context)?)))
            .collect()
    }

    fn predict(
        &self,
        name: &str,
        head: &dyn Head,
        batch: &Batch,
        masks: Option<&Masks>,
        context: &Forward,
    ) -> Result<HeadOutput> {
        let masks = masks.ok_or_else(|| Error::Shape {
            part: format!("[head.{name}]"),
            expected: "a batch with masks for it".into(),
            found: "none".into(),
        })?;
        let (given, asked) = masks.count();
        if asked == 0 || given == 0 {
            return Ok(HeadOutput::default());
        }
        let features = in_f32(self.trunk.predict(&self.token_set(batch, &[], true)?, masks, context)?)?;
        head.forward(&features, batch, context)
    }
}

fn in_f32(mut features: Features) -> Result<Features> {
    for segment in &mut features.tokens.segments {
        segment.embedded = segment.embedded.to_dtype(DType::F32)?;
    }
    for targets in &mut features.targets {
        targets.vectors = targets.vectors.to_dtype(DType::F32)?;
    }
    Ok(features)
}

impl ModelOutput {
    /// Adds what a head or codec gave.
    pub(super) fn add(&mut self, name: &str, weight: f64, out: HeadOutput) -> Result<()> {
        if let Some(loss) = &out.loss {
            let loss: Tensor = (loss * weight)?;
            self.loss = Some(match self.loss.take() {
                None => loss,
                Some(sum) => (sum + loss)?,
            });
        }
        self.heads.push((name.to_owned(), out));
        Ok(())
    }
}

fn head_weight(section: &Section) -> Result<f64> {
    let weight = section.get("weight")?.unwrap_or(1.0);
    if f64::is_finite(weight) && weight > 0.0 { Ok(weight) } else { Err(section.reject("weight", "must be above 0")) }
}
