//! What can be set for the codec of light curves, and what of it makes no sense.

use crate::axes::{self, AxesConfig};
use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An autoencoder of irregular series whose latent values are rounded to codes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CurveCodecConfig {
    /// Codes per series, however many observations it has. 1 to 1024, default 16.
    #[serde(default = "sixteen")]
    pub codes: usize,
    /// Levels of the finite scalar quantizer, one for each latent dimension, each at least 2; their product is the size of the vocabulary.
    /// Default `[8, 5, 5, 5]`: 1000 codes.
    #[serde(default = "levels")]
    pub levels: Vec<u32>,
    /// Width of both networks; a multiple of `heads`. 8 to 4096, default 128.
    #[serde(default = "width")]
    pub width: usize,
    /// Attention heads. 1 to 64, default 4.
    #[serde(default = "heads")]
    pub heads: usize,
    /// Transformer blocks before the codes. 1 to 48, default 3.
    #[serde(default = "three")]
    pub depth: usize,
    /// Transformer blocks over what the codes stand for, and as many through which times that are asked for look at them. 1 to 48, default 2.
    #[serde(default = "two")]
    pub decoder_depth: usize,
    /// In training, up to this share of an object's observations is kept from the encoder and asked for all the same, so that the codec
    /// learns what lies between observations. 0 to 0.9, default 0.5.
    #[serde(default = "half")]
    pub hold_back: f64,
    /// Error of the brightness, in standard deviations of all brightnesses, from which on observations count alike: those with larger
    /// errors count less, by their inverse variance. Above 0, default 0.1.
    #[serde(default = "tenth")]
    pub floor: f64,
    /// Shortest period of time that is told apart, days. Above 0, default 1.
    #[serde(default = "axes::shortest_days")]
    pub shortest_days: f64,
    /// Longest period of time, days: about four times the length of the series. Above `shortest_days`, default 1000.
    #[serde(default = "axes::longest_days")]
    pub longest_days: f64,
    /// Number of periods between them, evenly spaced in logarithm. 1 to 256, default 16.
    #[serde(default = "axes::frequencies")]
    pub frequencies: usize,
    /// Number of periods that encode the logarithm of the wavelength. 1 to 256, default 8.
    #[serde(default = "axes::wavelength_frequencies")]
    pub wavelength_frequencies: usize,
}

fn sixteen() -> usize {
    16
}
fn levels() -> Vec<u32> {
    vec![8, 5, 5, 5]
}
fn width() -> usize {
    128
}
fn heads() -> usize {
    4
}
fn three() -> usize {
    3
}
fn two() -> usize {
    2
}
fn half() -> f64 {
    0.5
}
fn tenth() -> f64 {
    0.1
}

/// Most codes of a vocabulary: a table of embeddings has a row for each.
const MOST_CODES: u32 = 1 << 24;

impl CurveCodecConfig {
    /// Reads the table and checks the ranges.
    ///
    /// # Errors
    /// A config error that points at the key.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        for (key, value, range) in [
            ("codes", config.codes, 1..=1024),
            ("width", config.width, 8..=4096),
            ("heads", config.heads, 1..=64),
            ("depth", config.depth, 1..=48),
            ("decoder_depth", config.decoder_depth, 1..=48),
        ] {
            if !range.contains(&value) {
                let reason = format!("`{key}` must be {} to {}, got {value}", range.start(), range.end());
                return Err(section.reject(key, reason));
            }
        }
        if !config.width.is_multiple_of(config.heads) {
            let reason = format!("`width` must be a multiple of `heads`, got {} and {}", config.width, config.heads);
            return Err(section.reject("width", reason));
        }
        if config.levels.is_empty() || config.levels.iter().any(|levels| *levels < 2) {
            let reason = format!("`levels` must be one number of at least 2 or more of them, got {:?}", config.levels);
            return Err(section.reject("levels", reason));
        }
        let product = config.levels.iter().try_fold(1_u32, |product, levels| product.checked_mul(*levels));
        if product.is_none_or(|codes| codes > MOST_CODES) {
            let reason = format!("`levels` must have a product of at most {MOST_CODES} codes, got {:?}", config.levels);
            return Err(section.reject("levels", reason));
        }
        if !(0.0..=0.9).contains(&config.hold_back) {
            return Err(section.reject("hold_back", format!("`hold_back` must be 0 to 0.9, got {}", config.hold_back)));
        }
        if !(config.floor.is_finite() && config.floor > 0.0) {
            return Err(section.reject("floor", format!("`floor` must be above 0, got {}", config.floor)));
        }
        Ok(config)
    }

    /// Number of different codes.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.levels.iter().map(|levels| *levels as usize).product()
    }

    pub(super) fn axes(&self) -> AxesConfig {
        let Self { shortest_days, longest_days, frequencies, wavelength_frequencies, .. } = *self;
        AxesConfig { shortest_days, longest_days, frequencies, wavelength_frequencies }
    }
}
