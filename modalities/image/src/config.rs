//! What a user can set for an image, and what of it makes no sense.

use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of `[modality.NAME]` with `kind = "image"`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// Struct column that holds the image; default `image`.
    #[serde(default = "image")]
    pub column: String,
    /// Field of the flux: planes of lines of pixels; default `flux`.
    #[serde(default = "flux")]
    pub flux: String,
    /// Field of the flags, of the same shape, where true means bad; default `mask`. The column may lack it.
    #[serde(default = "mask")]
    pub mask: String,
    /// Field of the inverse variance, of the same shape, where 0 means bad; default `ivar`. The column may
    /// lack it.
    #[serde(default = "ivar")]
    pub ivar: String,
    /// Field that names the planes; default `band`. Alerts have three planes of one band, which `view`
    /// tells apart.
    #[serde(default = "band")]
    pub channels_from: String,
    /// Names of the planes that become channels, in this order. An object that lacks some of them keeps
    /// the others.
    pub channels: Vec<String>,
    /// Side of the square, in pixels, that is cut out around the centre; smaller images are padded.
    pub size: usize,
    /// `asinh` (default): linear for faint pixels, logarithmic for bright ones; or `linear`.
    #[serde(default)]
    pub scaling: Scaling,
    /// Flux that counts as 1 before `scaling`, where asinh turns from linear to logarithmic, in the data's
    /// unit. Default: the noise of each image and channel (1.4826 times the median absolute deviation), which
    /// forgets the absolute brightness.
    #[serde(default)]
    pub softening: Option<f64>,
    /// What is subtracted first: `median` of each image and channel (default), or `none`.
    #[serde(default)]
    pub background: Background,
    /// Values, after they are standardised over the training split, are cut off at plus and minus
    /// this; default 20.
    #[serde(default = "twenty")]
    pub clip: f64,
    /// Training only: mirror at random; default false.
    #[serde(default)]
    pub flip: bool,
    /// Training only: turn by a random multiple of 90 degrees; default false.
    #[serde(default)]
    pub rotate: bool,
}

/// From flux to values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// asinh(flux / softening), as magnitudes of Lupton, Gunn & Szalay (1999, AJ 118, 1406).
    #[default]
    Asinh,
    /// flux / softening.
    Linear,
}

/// What is subtracted from the flux.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Background {
    /// The median of the good pixels of the plane.
    #[default]
    Median,
    /// Nothing.
    None,
}

fn image() -> String {
    "image".into()
}
fn flux() -> String {
    "flux".into()
}
fn mask() -> String {
    "mask".into()
}
fn ivar() -> String {
    "ivar".into()
}
fn band() -> String {
    "band".into()
}
fn twenty() -> f64 {
    20.0
}

impl ImageConfig {
    /// Reads and checks a table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range; the error points at it.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        if config.channels.is_empty() {
            return Err(
                section.reject("channels", "expected at least one name of a plane, for example `[\"g\", \"r\"]`")
            );
        }
        if let Some(twice) = (1..config.channels.len()).find(|i| config.channels[..*i].contains(&config.channels[*i])) {
            let reason = format!("expected each name once, got `{}` twice", config.channels[twice]);
            return Err(section.reject("channels", reason));
        }
        if !(1..=16384).contains(&config.size) {
            return Err(section.reject("size", format!("expected 1 to 16384 pixels, got {}", config.size)));
        }
        if let Some(softening) = config.softening.filter(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(section.reject("softening", format!("expected a positive flux, got {softening}")));
        }
        if !(config.clip.is_finite() && config.clip > 0.0) {
            return Err(section.reject("clip", format!("expected a positive number, got {}", config.clip)));
        }
        Ok(config)
    }
}
