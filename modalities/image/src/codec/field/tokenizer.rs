//! The tokenizer `field_codec`.

use super::{FieldCodec, FieldCodecConfig};
use crate::codec::frames::{Frames, Present};
use panchroma_core::{
    Arrays, Descriptor, Forward, HeadOutput, Mode, Result, Section, TokenSpec, Tokenizer, TokenizerContext, Tokens,
};

const NAME: &str = "field_codec";

/// A [`FieldCodec`] on the arrays of a modality with images `flux` `[1, H, W]`.
///
/// A token is a code for a square of pixels, at its place relative to the centre of the map; it is valid if one pixel of the square was
/// measured. Pixels that were not measured are `low` to the codec.
#[derive(Debug, Clone)]
pub struct FieldTokenizer {
    codec: FieldCodec,
    frames: Frames,
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: NAME,
    summary: "a code for each square of a map of one value per pixel, and back: a codec that is trained",
    origin: env!("CARGO_PKG_NAME"),
    example: "crop = 64\nhidden = 16\nresidual_hidden = 8\nhalvings = 2\nlow = -3\nhigh = 10\n",
    schema: || schemars::schema_for!(FieldCodecConfig),
    build: |section, context| Ok(Box::new(FieldTokenizer::build(section, context)?)),
} }

impl FieldTokenizer {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a key is unknown or a value makes no sense, or the modality is no image of one channel.
    pub fn build(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: FieldCodecConfig = section.read()?;
        if let Some((key, reason)) = config.wrong() {
            return Err(section.reject(key, reason));
        }
        let sizes = [config.crop, config.side(), 1 << config.halvings];
        let frames = Frames::new(NAME, section, context, sizes)?;
        if frames.channels != 1 {
            let reason = format!("needs a modality with one channel; `{}` has {}", context.modality, frames.channels);
            return Err(section.reject("kind", reason));
        }
        Ok(Self { codec: FieldCodec::new(&config, context.parameters)?, frames })
    }

    fn vocabulary(&self) -> usize {
        self.codec.config().vocabulary()
    }
}

impl Tokenizer for FieldTokenizer {
    fn spec(&self) -> TokenSpec {
        self.frames.spec(self.vocabulary())
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let Present { rows, flux, valid, .. } = self.frames.present(arrays)?;
        let low = (flux.ones_like()? * self.codec.config().low)?;
        let field = valid.where_cond(&flux, &low)?.squeeze(1)?;
        self.frames.tokens(arrays, &rows, &self.codec.encode(&field)?)
    }

    /// Pixels of valid tokens; `ivar` is unknown.
    fn reconstruct(&self, tokens: &Tokens, like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        let codes = self.frames.codes(tokens, self.vocabulary())?;
        let decoded = self.codec.decode(&codes)?.unsqueeze(1)?;
        Ok(Some(self.frames.arrays(tokens, &decoded, like)?))
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&self, arrays: &Arrays, context: &Forward) -> Result<HeadOutput> {
        let Present { rows, flux, ivar, valid } = self.frames.present(arrays)?;
        if rows.is_empty() {
            return Ok(HeadOutput::default());
        }
        let ivar = ivar.map(|ivar| ivar.squeeze(1)).transpose()?;
        let learned = self.codec.loss(&flux.squeeze(1)?, ivar.as_ref(), Some(&valid.squeeze(1)?))?;
        let predictions =
            if context.mode == Mode::Evaluate { learned.sums(&rows, arrays.len())? } else { Default::default() };
        Ok(HeadOutput { loss: Some(learned.loss), metrics: learned.metrics, predictions })
    }
}
