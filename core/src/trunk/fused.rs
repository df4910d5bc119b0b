//! Trunk `fused`: one encoder over the tokens of all modalities.

use super::encoder::{Encoder, EncoderConfig};
use super::hidden::Hidden;
use super::towers::{empty, unknown};
use super::{MaskContext, Trunk, TrunkContext};
use crate::{Descriptor, Features, Forward, Masks, Pooled, Result, Section, Segment, TokenSet, View, ops};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Config of trunk `fused`: the size of the encoder.
pub type FusedConfig = EncoderConfig;

/// One encoder that all modalities share. In the isolated view it runs over the tokens of each
/// modality alone, in the joint view over all of them at once.
pub struct Fused {
    config: FusedConfig,
    encoder: Encoder,
    modalities: BTreeMap<String, ()>,
    hidden: Hidden,
}

inventory::submit! {
    Descriptor::<dyn Trunk> {
        name: "fused",
        summary: "one encoder over the tokens of all modalities",
        origin: env!("CARGO_PKG_NAME"),
        example: "width = 128\ndepth = 4\nheads = 4\npool = \"attentive\"\n",
        schema: || schemars::schema_for!(FusedConfig),
        build: |section: &Section, context: &TrunkContext<'_>| Ok(Box::new(Fused::new(section, context)?)),
    }
}

impl Fused {
    fn new(section: &Section, context: &TrunkContext<'_>) -> Result<Self> {
        let config = EncoderConfig::read(section)?;
        let encoder = Encoder::new(&config, context.parameters)?;
        let modalities = context.modalities.iter().map(|(name, _)| (name.clone(), ())).collect();
        Ok(Self { config, encoder, modalities, hidden: Hidden::default() })
    }

    /// Every modality as if it were alone; the joint vector is the mean over them.
    fn isolated(&self, tokens: &TokenSet, context: &Forward) -> Result<Features> {
        let mut modality = BTreeMap::new();
        let mut segments = Vec::new();
        for segment in &tokens.segments {
            let (encoded, pooled) = self.encoder.forward(&segment.embedded, &segment.valid, context)?;
            modality.insert(segment.modality.clone(), Pooled::scattered(segment, &pooled, tokens.batch)?);
            segments.push(Segment { embedded: encoded, ..segment.clone() });
        }
        let joint = Pooled::mean(modality.values(), tokens.batch)?.ok_or_else(empty)?;
        Ok(Features {
            view: View::Isolated,
            modality,
            joint,
            tokens: TokenSet { batch: tokens.batch, segments },
            targets: Vec::new(),
        })
    }

    fn joint(&self, tokens: &TokenSet, context: &Forward) -> Result<Features> {
        let batch = tokens.batch;
        let mut embedded = Vec::new();
        let mut valid = Vec::new();
        let mut present = vec![false; batch];
        for segment in &tokens.segments {
            embedded.push(segment.scatter(&segment.embedded, batch)?);
            valid.push(segment.scatter(&segment.valid, batch)?);
            for row in &segment.rows {
                present[*row as usize] = true;
            }
        }
        if embedded.is_empty() {
            return Err(empty());
        }
        let (encoded, pooled) = self.encoder.forward(&Tensor::cat(&embedded, 1)?, &Tensor::cat(&valid, 1)?, context)?;
        let joint = Pooled { vectors: pooled, present }.masked()?;
        let mut modality = BTreeMap::new();
        let mut segments = Vec::new();
        let mut start = 0;
        for segment in &tokens.segments {
            let length = segment.embedded.dim(1)?;
            let rows = Tensor::new(segment.rows.as_slice(), &Device::Cpu)?;
            let own = ops::gather(&encoded.narrow(1, start, length)?, &rows)?;
            start += length;
            let pooled = self.encoder.pool_tokens(&own, &segment.valid)?;
            modality.insert(segment.modality.clone(), Pooled::scattered(segment, &pooled, batch)?);
            segments.push(Segment { embedded: own, ..segment.clone() });
        }
        Ok(Features { view: View::Joint, modality, joint, tokens: TokenSet { batch, segments }, targets: Vec::new() })
    }
}

impl Trunk for Fused {
    fn width(&self) -> usize {
        self.config.width
    }

    fn forward(&self, tokens: &TokenSet, view: View, context: &Forward) -> Result<Features> {
        if let Some(stranger) = tokens.segments.iter().find(|s| !self.modalities.contains_key(&s.modality)) {
            return Err(unknown(&stranger.modality, &self.modalities));
        }
        match view {
            View::Isolated => self.isolated(tokens, context),
            View::Joint | View::Masked => self.joint(tokens, context),
        }
    }

    fn expect_masks(&mut self, context: &MaskContext<'_>) -> Result<()> {
        self.hidden = Hidden::new(context, self.config.width, self.config.pool)?;
        Ok(())
    }

    fn predict(&self, tokens: &TokenSet, masks: &Masks, context: &Forward) -> Result<Features> {
        self.hidden.predict(tokens, masks, |tokens| self.forward(tokens, View::Joint, context))
    }

    fn flops(&self, batch: usize, tokens: &[usize], view: View) -> f64 {
        match view {
            View::Isolated => tokens.iter().map(|t| self.config.flops(batch, *t)).sum(),
            View::Joint | View::Masked => self.config.flops(batch, tokens.iter().sum()),
        }
    }
}
