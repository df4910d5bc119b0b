//! Trunk `towers`: an encoder of its own for each modality.

use super::encoder::{Encoder, EncoderConfig};
use super::hidden::Hidden;
use super::{MaskContext, Trunk, TrunkContext};
use crate::{Descriptor, Error, Features, Forward, Masks, Pooled, Result, Section, Segment, TokenSet, View};
use std::collections::BTreeMap;

/// Config of trunk `towers`: the size of each tower.
pub type TowersConfig = EncoderConfig;

/// An encoder per modality. Modalities never see each other, so both views are the same; the joint
/// vector is the mean over the modalities that an object has.
pub struct Towers {
    config: TowersConfig,
    towers: BTreeMap<String, Encoder>,
    hidden: Hidden,
}

inventory::submit! {
    Descriptor::<dyn Trunk> {
        name: "towers",
        summary: "an encoder per modality, as in CLIP and AstroCLIP",
        origin: env!("CARGO_PKG_NAME"),
        example: "width = 128\ndepth = 3\nheads = 4\npool = \"attentive\"\n",
        schema: || schemars::schema_for!(TowersConfig),
        build: |section: &Section, context: &TrunkContext<'_>| Ok(Box::new(Towers::new(section, context)?)),
    }
}

impl Towers {
    fn new(section: &Section, context: &TrunkContext<'_>) -> Result<Self> {
        let config = EncoderConfig::read(section)?;
        let towers = context
            .modalities
            .iter()
            .map(|(name, _)| Ok((name.clone(), Encoder::new(&config, &context.parameters.pp(name))?)))
            .collect::<Result<_>>()?;
        Ok(Self { config, towers, hidden: Hidden::default() })
    }
}

impl Trunk for Towers {
    fn width(&self) -> usize {
        self.config.width
    }

    fn forward(&self, tokens: &TokenSet, view: View, context: &Forward) -> Result<Features> {
        let mut modality = BTreeMap::new();
        let mut segments = Vec::with_capacity(tokens.segments.len());
        for segment in &tokens.segments {
            let tower = self.towers.get(&segment.modality).ok_or_else(|| unknown(&segment.modality, &self.towers))?;
            let (encoded, pooled) = tower.forward(&segment.embedded, &segment.valid, context)?;
            modality.insert(segment.modality.clone(), Pooled::scattered(segment, &pooled, tokens.batch)?);
            segments.push(Segment { embedded: encoded, ..segment.clone() });
        }
        let joint = Pooled::mean(modality.values(), tokens.batch)?.ok_or_else(empty)?;
        Ok(Features { view, modality, joint, tokens: TokenSet { batch: tokens.batch, segments }, targets: Vec::new() })
    }

    fn expect_masks(&mut self, context: &MaskContext<'_>) -> Result<()> {
        self.hidden = Hidden::new(context, self.config.width, self.config.pool)?;
        Ok(())
    }

    fn predict(&self, tokens: &TokenSet, masks: &Masks, context: &Forward) -> Result<Features> {
        self.hidden.predict(tokens, masks, |tokens| self.forward(tokens, View::Isolated, context))
    }

    fn flops(&self, batch: usize, tokens: &[usize], view: View) -> f64 {
        if view == View::Masked {
            return self.config.flops(batch, tokens.iter().sum());
        }
        tokens.iter().map(|t| self.config.flops(batch, *t)).sum()
    }
}

pub(super) fn unknown<T>(modality: &str, known: &BTreeMap<String, T>) -> Error {
    Error::Shape {
        part: "trunk".into(),
        expected: format!("one of the modalities {:?}", known.keys().collect::<Vec<_>>()),
        found: format!("`{modality}`"),
    }
}

pub(super) fn empty() -> Error {
    Error::Shape {
        part: "trunk".into(),
        expected: "an object with a modality".into(),
        found: "none in the batch".into(),
    }
}
