//! What can be set for the image codec, and what of it makes no sense.

use panchroma_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes and units of an image codec. The defaults are those of the codec that was published with AION-1.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageCodecConfig {
    /// Bands that the codec knows, in the order of its weights: names, or tables with `name`, `limit` and `zero_point`. An image may have
    /// any of them. Default: the bands of the Hyper Suprime-Cam (`HSC-G` to `HSC-Y`) and the Legacy Survey (`DES-G` to `DES-Z`).
    pub bands: Vec<Band>,
    /// For the tokenizer: which of `bands` the channels of the modality are, in their order. Default: all of them, in their order.
    pub channels: Vec<String>,
    /// Side of the square that is cut out around the centre, in pixels; default 96.
    pub crop: usize,
    /// Channels that all bands are projected to, whichever of them an image has; default 54.
    pub projection: usize,
    /// Channels of the network where the image is smallest, twice as many after each compression; default 512.
    pub hidden: usize,
    /// How often lines and columns are halved; default 2: a code for each 4 by 4 pixels.
    pub compressions: usize,
    /// Residual units after each compression, and before the codes; default 4.
    pub consecutive: usize,
    /// Levels of the finite scalar quantizer, one for each latent dimension; their product is the number of codes. Default
    /// `[7, 5, 5, 5, 5]`.
    pub levels: Vec<u32>,
    /// Flux f at which the compression f asinh(flux / f) turns from linear to logarithmic, after `zero_point`; 0: flux is not
    /// compressed. Default 0.01.
    pub range: f64,
    /// The compressed flux is multiplied by this; default 10.
    pub factor: f64,
    /// Do what the published program does, also where it is wrong: it takes all bands of an image for those of the survey that the first
    /// one belongs to, and leaves decoded fluxes at the zero point of the network. Default false.
    pub as_reference: bool,
}

/// A band that an image codec knows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(from = "BandOrName", into = "BandTable")]
#[schemars(with = "BandOrName")]
pub struct Band {
    /// Its name; what stands before a `-` is the survey.
    pub name: String,
    /// Fluxes are cut off at plus and minus this, if there is a limit.
    pub limit: Option<f64>,
    /// Magnitude of a flux of 1.
    pub zero_point: f64,
}

/// Zero point that the network works at.
pub(super) const ZERO_POINT: f64 = 22.5;

/// `"g"`, or all about it.
#[derive(Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected the name of a band, or a table with `name` and, if wanted, `limit` and `zero_point`"
)]
enum BandOrName {
    /// Its name alone: no limit, and the zero point 22.5.
    Name(String),
    /// All about it.
    Table(BandTable),
}

/// A band as a table.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BandTable {
    /// Its name; what stands before a `-` is the survey.
    name: String,
    /// Fluxes are cut off at plus and minus this; default: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    /// Magnitude of a flux of 1; fluxes are brought to that of the network, 22.5, which is the default.
    #[serde(default = "zero_point")]
    zero_point: f64,
}

fn zero_point() -> f64 {
    ZERO_POINT
}

impl From<BandOrName> for Band {
    fn from(from: BandOrName) -> Self {
        match from {
            BandOrName::Name(name) => Self { name, limit: None, zero_point: ZERO_POINT },
            BandOrName::Table(BandTable { name, limit, zero_point }) => Self { name, limit, zero_point },
        }
    }
}

impl From<Band> for BandTable {
    fn from(Band { name, limit, zero_point }: Band) -> Self {
        Self { name, limit, zero_point }
    }
}

impl Band {
    /// The flux at the band's zero point of what is 1 at that of the network.
    pub(super) fn unit(&self) -> f64 {
        10f64.powf((self.zero_point - ZERO_POINT) / 2.5)
    }

    /// The survey, by the name.
    pub(super) fn survey(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }
}

/// The nine bands of the published codec: name, limit, zero point.
const PUBLISHED: [(&str, f64, f64); 9] = [
    ("HSC-G", 80.0, 27.0),
    ("HSC-R", 110.0, 27.0),
    ("HSC-I", 200.0, 27.0),
    ("HSC-Z", 330.0, 27.0),
    ("HSC-Y", 500.0, 27.0),
    ("DES-G", 6.0, ZERO_POINT),
    ("DES-R", 15.0, ZERO_POINT),
    ("DES-I", 20.0, ZERO_POINT),
    ("DES-Z", 25.0, ZERO_POINT),
];

impl Default for ImageCodecConfig {
    fn default() -> Self {
        let band =
            |(name, limit, zero_point): (&str, f64, f64)| Band { name: name.into(), limit: Some(limit), zero_point };
        Self {
            bands: PUBLISHED.map(band).into(),
            channels: Vec::new(),
            crop: 96,
            projection: 54,
            hidden: 512,
            compressions: 2,
            consecutive: 4,
            levels: vec![7, 5, 5, 5, 5],
            range: 0.01,
            factor: 10.0,
            as_reference: false,
        }
    }
}

impl ImageCodecConfig {
    /// Number of codes.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.levels.iter().map(|levels| *levels as usize).product()
    }

    /// Tokens along one side of the image: each compression halves, rounding up.
    #[must_use]
    pub fn side(&self) -> usize {
        (0..self.compressions).fold(self.crop, |side, _| side.div_ceil(2))
    }

    /// Channels before the first compression.
    #[must_use]
    pub fn first(&self) -> usize {
        self.hidden.checked_shr(self.compressions as u32).unwrap_or(0)
    }

    /// Side of a decoded image; `crop` if that is a multiple of two to the power of the compressions.
    #[must_use]
    pub fn decoded_side(&self) -> usize {
        self.side() << self.compressions
    }

    /// What makes no sense: the key, and why.
    #[must_use]
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        if self.bands.is_empty() {
            return Some(("bands", "expected at least one band".into()));
        }
        for (at, band) in self.bands.iter().enumerate() {
            if self.bands[..at].iter().any(|other| other.name == band.name) {
                return Some(("bands", format!("expected each band once, got `{}` twice", band.name)));
            }
            if let Some(limit) = band.limit.filter(|limit| !(limit.is_finite() && *limit > 0.0)) {
                return Some(("bands", format!("expected a positive `limit` for `{}`, got {limit}", band.name)));
            }
            if !band.zero_point.is_finite() {
                return Some(("bands", format!("expected a finite `zero_point` for `{}`", band.name)));
            }
        }
        if !(1..=4096).contains(&self.crop) {
            return Some(("crop", format!("expected 1 to 4096 pixels, got {}", self.crop)));
        }
        for (key, value) in [("projection", self.projection), ("hidden", self.hidden)] {
            if !(1..=65536).contains(&value) {
                return Some((key, format!("expected 1 to 65536 channels, got {value}")));
            }
        }
        if self.compressions > 12 {
            return Some(("compressions", format!("expected at most 12, got {}", self.compressions)));
        }
        if self.first() << self.compressions != self.hidden {
            let wanted = 1_usize << self.compressions;
            let reason =
                format!("expected a multiple of {wanted} for {} compressions, got {}", self.compressions, self.hidden);
            return Some(("hidden", reason));
        }
        if let Some(reason) = wrong_levels(&self.levels) {
            return Some(("levels", reason));
        }
        if !(self.range.is_finite() && self.range >= 0.0) {
            return Some(("range", format!("expected a flux of 0 or more, got {}", self.range)));
        }
        if !(self.factor.is_finite() && self.factor > 0.0) {
            return Some(("factor", format!("expected a positive number, got {}", self.factor)));
        }
        None
    }

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`Error::Shape`] that names the key.
    pub fn check(&self) -> Result<()> {
        match self.wrong() {
            None => Ok(()),
            Some((key, reason)) => {
                Err(Error::Plugin { kind: "codec", name: "image_codec".into(), reason: format!("`{key}`: {reason}") })
            }
        }
    }
}

/// Why these are no levels of a finite scalar quantizer.
pub(super) fn wrong_levels(levels: &[u32]) -> Option<String> {
    if levels.is_empty() {
        return Some("expected at least one dimension".into());
    }
    if let Some(levels) = levels.iter().find(|levels| **levels < 2) {
        return Some(format!("expected at least 2 levels in each dimension, got {levels}"));
    }
    let product = levels.iter().try_fold(1_u32, |product, levels| product.checked_mul(*levels));
    product.is_none_or(|codes| codes > 1 << 24).then(|| format!("expected at most 2^24 codes, got levels {levels:?}"))
}
