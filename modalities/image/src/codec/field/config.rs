//! What can be set for the field codec, and what of it makes no sense.

use crate::codec::config::wrong_levels;
use panchroma_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of a field codec. The defaults are those of the published program, as far as it has any.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FieldCodecConfig {
    /// Side of the square that is cut out around the centre, in pixels; default 96.
    pub crop: usize,
    /// Channels of the encoder where the map is smallest, half as many before each halving; default 128.
    pub hidden: usize,
    /// The same for the decoder; 0 (default): as many as the encoder.
    pub decoder_hidden: usize,
    /// Channels within the residual units; default 64.
    pub residual_hidden: usize,
    /// Residual units of either half; default 2.
    pub residual_units: usize,
    /// Values of the map that the network takes for 0 and 1; decoded values lie between them. Default 0 and 1.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// How often lines and columns are halved; default 3: a code for each 8 by 8 pixels.
    pub halvings: usize,
    /// Levels of the finite scalar quantizer, one for each latent dimension; their product is the number of codes. Default
    /// `[8, 5, 5, 5]`.
    pub levels: Vec<u32>,
    /// `sigmoid` (default) for values from 0 to 1, or `none`.
    pub output: OutputActivation,
    /// The range of the activation is widened by this at either end, so that 0 and 1 are within reach; what lies outside is cut off.
    /// Default 0.
    pub extension: f64,
}

/// What follows the last convolution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputActivation {
    /// `1 / (1 + exp(-x))`.
    #[default]
    Sigmoid,
    /// `x`.
    None,
}

impl Default for FieldCodecConfig {
    fn default() -> Self {
        Self {
            crop: 96,
            low: 0.0,
            high: 1.0,
            hidden: 128,
            decoder_hidden: 0,
            residual_hidden: 64,
            residual_units: 2,
            halvings: 3,
            levels: vec![8, 5, 5, 5],
            output: OutputActivation::Sigmoid,
            extension: 0.0,
        }
    }
}

impl FieldCodecConfig {
    /// Number of codes.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.levels.iter().map(|levels| *levels as usize).product()
    }

    /// Tokens along one side of the map: each halving rounds down.
    #[must_use]
    pub fn side(&self) -> usize {
        (0..self.halvings).fold(self.crop, |side, _| side / 2)
    }

    /// Side of a decoded map; `crop` if that is a multiple of two to the power of the halvings.
    #[must_use]
    pub fn decoded_side(&self) -> usize {
        self.side() << self.halvings
    }

    /// Channels of the decoder.
    #[must_use]
    pub fn decoder_channels(&self) -> usize {
        if self.decoder_hidden == 0 { self.hidden } else { self.decoder_hidden }
    }

    /// Channels before the first halving and after each: half as many before each, from the map's one.
    #[must_use]
    pub fn encoder_widths(&self) -> Vec<usize> {
        std::iter::once(1).chain(self.inner_widths(self.hidden)).chain([self.hidden]).collect()
    }

    /// Channels before the first doubling and after each, to the map's one. As published, the inner ones rise as in the encoder,
    /// not the other way round: 32, 8, 16, 1 for three doublings.
    #[must_use]
    pub fn decoder_widths(&self) -> Vec<usize> {
        let first = self.decoder_channels();
        std::iter::once(first).chain(self.inner_widths(first)).chain([1]).collect()
    }

    fn inner_widths(&self, widest: usize) -> impl Iterator<Item = usize> {
        (1..self.halvings).rev().map(move |times| widest >> times)
    }

    /// What makes no sense: the key, and why.
    #[must_use]
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        if !(1..=4096).contains(&self.crop) {
            return Some(("crop", format!("expected 1 to 4096 pixels, got {}", self.crop)));
        }
        if !(self.low.is_finite() && self.high.is_finite() && self.low < self.high) {
            return Some(("low", format!("expected a number below `high`, {}, got {}", self.high, self.low)));
        }
        if !(1..=12).contains(&self.halvings) || self.side() == 0 {
            let reason = format!("expected at least 1, and one pixel left of {}, got {}", self.crop, self.halvings);
            return Some(("halvings", reason));
        }
        let widths = [
            ("hidden", self.hidden),
            ("decoder_hidden", self.decoder_channels()),
            ("residual_hidden", self.residual_hidden),
        ];
        for (key, value) in widths {
            let least = if key == "residual_hidden" { 1 } else { 1 << (self.halvings - 1) };
            if !(least..=65536).contains(&value) {
                let reason = format!("expected {least} to 65536 channels for {} halvings, got {value}", self.halvings);
                return Some((key, reason));
            }
        }
        if let Some(reason) = wrong_levels(&self.levels) {
            return Some(("levels", reason));
        }
        if !(0.0..=10.0).contains(&self.extension) {
            return Some(("extension", format!("expected 0 to 10, got {}", self.extension)));
        }
        None
    }

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`Error::Plugin`] that names the key.
    pub fn check(&self) -> Result<()> {
        match self.wrong() {
            None => Ok(()),
            Some((key, reason)) => {
                Err(Error::Plugin { kind: "codec", name: "field_codec".into(), reason: format!("`{key}`: {reason}") })
            }
        }
    }
}
