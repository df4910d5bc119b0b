//! What a user can set for an image, and what of it makes no sense.

use panchroma_core::bands::check_wavelengths;
use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Field of the flags (or numbers, of which all but 0 are true): of the shape of the flux, or one plane for all; `mask_marks` says what
    /// true means. Default `mask`; `""`: no flags are read. The column may lack it.
    #[serde(default = "mask")]
    pub mask: String,
    /// What a flag that is true marks: `bad` pixels, or `good` ones as in the images (not the spectra) of the Multimodal Universe from HSC,
    /// Legacy Survey and JWST. Default `bad`; but if that is not written, flags that mark more than nine of ten otherwise good pixels of
    /// the training split are an error, as they must mean the other.
    #[serde(default)]
    pub mask_marks: Option<Marks>,
    /// Field of the inverse variance, of the shape of the flux, where 0 means bad; default `ivar`; `""`: none is read. The column may
    /// lack it. It says how much each pixel counts where pixels are predicted, and the size of `noise`.
    #[serde(default = "ivar")]
    pub ivar: String,
    /// Field that names the planes; default `band`. Alerts have three planes of one band, which `view`
    /// tells apart.
    #[serde(default = "band")]
    pub channels_from: String,
    /// Names of the planes that become channels, in this order. An object that lacks some of them keeps
    /// the others.
    pub channels: Vec<String>,
    /// Field with the names of the photometric bands of the planes, for their wavelengths; default `band`. The column
    /// may lack it; then, and with `""`, the names of the planes are those of bands.
    #[serde(default = "band")]
    pub band: String,
    /// Wavelengths of bands in Angstrom, beside or instead of the built-in ones, for example `{ X = 5000.0 }`.
    /// What a band of unknown wavelength shows is used, but says nothing of its wavelength. Default none.
    #[serde(default)]
    pub bands: BTreeMap<String, f64>,
    /// Whether a plane among `channels` whose band has no known wavelength is an error. Default false.
    #[serde(default)]
    pub strict_bands: bool,
    /// Field with the width of a point source in each plane (full width at half maximum), in arcseconds; default
    /// `psf_fwhm`; `""`: none is read. The column may lack it.
    #[serde(default = "psf_fwhm")]
    pub psf_fwhm: String,
    /// Field with the width of a pixel in each plane, in arcseconds; default `scale`; `""`: none is read. The column may lack it, unless
    /// `pixel_scale` is set.
    #[serde(default = "scale")]
    pub scale: String,
    /// Side of the square, in pixels, that is cut out around the centre; smaller images are padded.
    pub size: usize,
    /// `crop` (default) keeps the pixels of the data; `stretch` brings the whole image to `size`, however large it is.
    #[serde(default)]
    pub resize: Resize,
    /// Width of a pixel in arcseconds that all images are brought to before the square is cut out, so that surveys
    /// of different pixels show an object in the same size. Every object needs its own in the field `scale`. Default: each keeps
    /// its own.
    #[serde(default)]
    pub pixel_scale: Option<f64>,
    /// Column with the E(B-V) of the dust before the object (as Schlegel et al. 1998): the flux of bands of known
    /// wavelength is corrected for it. Default: it is not.
    #[serde(default)]
    pub ebv: Option<String>,
    /// `asinh` (default): linear for faint pixels, logarithmic for bright ones; or `linear`. Asinh magnitudes are
    /// `asinh` with twice their softening b (of each band its own) as `softening`: the rest of them is a factor and a constant,
    /// which standardising takes away.
    #[serde(default)]
    pub scaling: Scaling,
    /// Flux of a pixel, as wide as the model gets it, that counts as 1 before `scaling`, where asinh turns from linear to
    /// logarithmic, in the data's unit: one number, or a list with one for each of `channels`. Default: the noise of each image and
    /// channel (1.4826 times the median absolute deviation, brought to the width of the pixels), which forgets the absolute
    /// brightness.
    #[serde(default)]
    pub softening: Option<Softening>,
    /// What is subtracted first: `median` of each image and channel (default), or `none`.
    #[serde(default)]
    pub background: Background,
    /// Whether values are brought to mean 0 and standard deviation 1 over the training split, and cut off by `clip`; default true. With false,
    /// `scaling = "linear"`, `softening = 1` and `background = "none"`, they are the fluxes of the data, as codecs want them that
    /// were trained on fluxes.
    #[serde(default = "yes")]
    pub standardise: bool,
    /// Values are cut off at plus and minus this many standard deviations of the training split; default 20.
    #[serde(default = "twenty")]
    pub clip: f64,
    /// Training only: mirror at random; default false.
    #[serde(default)]
    pub flip: bool,
    /// Training only: turn by a random multiple of 90 degrees; default false.
    #[serde(default)]
    pub rotate: bool,
    /// Training only: the square is cut out up to this many of its pixels beside the centre; default 0.
    #[serde(default)]
    pub shift: usize,
    /// Training only: noise added to each pixel of the data, after the blur, in units of its error by `ivar`, or of the noise of the
    /// plane without it; each image draws a number n from 0 to this, and errors of sigma become sigma * sqrt(1 + n^2). What tokens
    /// are told of the `noise` has it in it. Default 0.
    #[serde(default)]
    pub noise: f64,
    /// Training only: images are blurred by a Gaussian whose full width at half maximum, in pixels of the data, is
    /// drawn from 0 to this, alike for all planes, as worse seeing does. What tokens are told of `psf_fwhm` and `noise` has it
    /// in it. Default 0.
    #[serde(default)]
    pub blur: f64,
    /// Training only: E(B-V) of dust drawn from minus to plus this, which dims and reddens the bands of known
    /// wavelength. Default 0.
    #[serde(default)]
    pub redden: f64,
}

/// What flags mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Marks {
    /// True is a pixel that must not be used.
    #[default]
    Bad,
    /// True is a pixel that can be used.
    Good,
}

/// Softening of all channels, or of each.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected a flux, or a list with a flux for each of `channels`")]
pub enum Softening {
    /// The same for all.
    All(f64),
    /// For each channel its own.
    Each(Vec<f64>),
}

impl Softening {
    /// That of a channel.
    #[must_use]
    pub fn of(&self, channel: usize) -> Option<f64> {
        match self {
            Self::All(flux) => Some(*flux),
            Self::Each(fluxes) => fluxes.get(channel).copied(),
        }
    }

    fn all(&self) -> &[f64] {
        match self {
            Self::All(flux) => std::slice::from_ref(flux),
            Self::Each(fluxes) => fluxes,
        }
    }
}

/// How images of other sizes come to `size`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Cut or padded around the centre.
    #[default]
    Crop,
    /// Made smaller or larger.
    Stretch,
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
fn psf_fwhm() -> String {
    "psf_fwhm".into()
}
fn scale() -> String {
    "scale".into()
}
fn band() -> String {
    "band".into()
}
fn yes() -> bool {
    true
}
fn twenty() -> f64 {
    20.0
}

impl ImageConfig {
    /// The column of a field, with its struct.
    #[must_use]
    pub fn path(&self, field: &str) -> String {
        if self.column.is_empty() { field.into() } else { format!("{}.{field}", self.column) }
    }

    /// Reads and checks a table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range; the error points at it.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        for (key, name) in [("flux", &config.flux), ("channels_from", &config.channels_from)] {
            if name.is_empty() {
                return Err(section.reject(key, "expected the name of a field, got an empty text"));
            }
        }
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
        let softening = config.softening.as_ref();
        if let Some(flux) = softening.and_then(|s| s.all().iter().find(|s| !(s.is_finite() && **s > 0.0))) {
            return Err(section.reject("softening", format!("expected a positive flux, got {flux}")));
        }
        if let Some(Softening::Each(fluxes)) = softening
            && fluxes.len() != config.channels.len()
        {
            let reason = format!("expected one for each of {} channels, got {}", config.channels.len(), fluxes.len());
            return Err(section.reject("softening", reason));
        }
        if config.pixel_scale.is_some() && config.scale.is_empty() {
            return Err(section.reject("pixel_scale", "needs the field `scale`, which `scale = \"\"` switches off"));
        }
        if let Some(scale) = config.pixel_scale.filter(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(section.reject("pixel_scale", format!("expected a positive width in arcseconds, got {scale}")));
        }
        if config.pixel_scale.is_some() && config.resize == Resize::Stretch {
            return Err(
                section.reject("pixel_scale", "`resize = \"stretch\"` gives each image pixels of its own width")
            );
        }
        if config.shift > config.size {
            return Err(
                section.reject("shift", format!("expected at most `size`, {}, got {}", config.size, config.shift))
            );
        }
        for (key, value) in [("noise", config.noise), ("blur", config.blur), ("redden", config.redden)] {
            if !(0.0..=100.0).contains(&value) {
                return Err(section.reject(key, format!("expected a number from 0 to 100, got {value}")));
            }
        }
        check_wavelengths(section, &config.bands)?;
        if !(config.clip.is_finite() && config.clip > 0.0) {
            return Err(section.reject("clip", format!("expected a positive number, got {}", config.clip)));
        }
        Ok(config)
    }
}
