//! The tokenizer `image_codec`.

use super::frames::{Frames, Present};
use super::{ImageCodec, ImageCodecConfig, Images};
use candle_core::Tensor;
use panchroma_core::{
    Arrays, Descriptor, Forward, HeadOutput, Mode, Result, Section, TokenSpec, Tokenizer, TokenizerContext, Tokens,
};

const NAME: &str = "image_codec";

/// An [`ImageCodec`] on the arrays of a modality with images `flux` `[C, H, W]`.
///
/// A token is a code for a square of pixels of all channels, at its place relative to the centre of the image; it is valid if one
/// pixel of the square was measured in one channel. A channel of which nothing was measured is a band that the image lacks.
#[derive(Debug, Clone)]
pub struct ImageTokenizer {
    codec: ImageCodec,
    frames: Frames,
    /// The bands of the channels.
    channels: Vec<String>,
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: NAME,
    summary: "a code for each square of an image, of any of the bands that it knows, and back: a codec that is trained",
    origin: env!("CARGO_PKG_NAME"),
    example: "bands = [\"g\", \"r\", \"z\"]\ncrop = 64\nprojection = 8\nhidden = 16\nconsecutive = 1\nlevels = [8, 5, 5]\nrange = 0\nfactor = 1\n",
    schema: || schemars::schema_for!(ImageCodecConfig),
    build: |section, context| Ok(Box::new(ImageTokenizer::build(section, context)?)),
} }

impl ImageTokenizer {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a key is unknown or a value makes no sense, or the modality is no image or has other channels.
    pub fn build(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: ImageCodecConfig = section.read()?;
        if let Some((key, reason)) = config.wrong() {
            return Err(section.reject(key, reason));
        }
        let known: Vec<String> = config.bands.iter().map(|band| band.name.clone()).collect();
        let channels = if config.channels.is_empty() { known.clone() } else { config.channels.clone() };
        for (at, channel) in channels.iter().enumerate() {
            if !known.contains(channel) {
                return Err(section.unknown_reference("channels", "band of the codec", channel, &known));
            }
            if channels[..at].contains(channel) {
                return Err(section.reject("channels", format!("expected each band once, got `{channel}` twice")));
            }
        }
        let sizes = [config.crop, config.side(), 1 << config.compressions];
        let frames = Frames::new(NAME, section, context, sizes)?;
        if channels.len() != frames.channels {
            let reason = format!(
                "must name the band of each of the {} channels of `{}`, out of {}; got {}",
                frames.channels,
                context.modality,
                known.join(", "),
                channels.len()
            );
            return Err(section.reject("channels", reason));
        }
        Ok(Self { codec: ImageCodec::new(&config, context.parameters)?, frames, channels })
    }

    fn bands(&self) -> Vec<&str> {
        self.channels.iter().map(String::as_str).collect()
    }

    fn vocabulary(&self) -> usize {
        self.codec.config().vocabulary()
    }
}

impl Tokenizer for ImageTokenizer {
    fn spec(&self) -> TokenSpec {
        self.frames.spec(self.vocabulary())
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let Present { rows, flux, valid, .. } = self.frames.present(arrays)?;
        let bands = self.bands();
        let codes = self.codec.encode_images(Images { valid: Some(&valid), ..Images::new(&flux, &bands) })?;
        self.frames.tokens(arrays, &rows, &codes)
    }

    /// Pixels of valid tokens; `ivar` is unknown.
    fn reconstruct(&self, tokens: &Tokens, like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        let codes = self.frames.codes(tokens, self.vocabulary())?;
        let decoded: Tensor = self.codec.decode(&codes, &self.bands())?;
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
        let bands = self.bands();
        let images = Images { flux: &flux, ivar: ivar.as_ref(), valid: Some(&valid), bands: &bands };
        let learned = self.codec.loss(images)?;
        let predictions =
            if context.mode == Mode::Evaluate { learned.sums(&rows, arrays.len())? } else { Default::default() };
        Ok(HeadOutput { loss: Some(learned.loss), metrics: learned.metrics, predictions })
    }
}
