//! What a user can set for a spectrum, and what of it makes no sense.

use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of `[modality.NAME]` with `kind = "spectrum"`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpectrumConfig {
    /// Struct column that holds the spectrum; default `spectrum`. `""`: the fields are columns themselves, each with one list per object.
    #[serde(default = "spectrum")]
    pub column: String,
    /// Field of the flux density per Angstrom, in any unit; default `flux`.
    #[serde(default = "flux")]
    pub flux: String,
    /// Field of the wavelength, ascending; default `lambda`.
    #[serde(default = "lambda")]
    pub wavelength: String,
    /// Unit of that field: `angstrom` (default), `nm`, `um`, `m`, or `log10_angstrom` (as `loglam` of SDSS); a spectrum that would fit in
    /// another of them is an error. `other`: any axis that ascends, such as a frequency, an energy or a Raman shift, below 0 too (but with
    /// `grid = "log"`). It is taken as it is: what is said of Angstrom here then is of its unit, and instead of ln(wavelength) tokens are told
    /// where they are between `wavelength_min` (0) and `wavelength_max` (1).
    #[serde(default)]
    pub wavelength_unit: WavelengthUnit,
    /// Field of the inverse variance of the flux; default `ivar`; `""`: none is read. The column may lack it. 0, null, NaN or infinite says
    /// that a sample was not measured; where all samples say so, errors are unknown. It is carried over to the grid and to the weights of
    /// tokens. Averages of flux over a bin are not weighted by it, which would shift lines towards their well measured side.
    #[serde(default = "ivar")]
    pub ivar: String,
    /// Field of the flags, where true, or a number other than 0, means bad (as in the Multimodal Universe); default `mask`; `""`: none are
    /// read. The column may lack it.
    #[serde(default = "mask")]
    pub mask: String,
    /// Field of the width of the instrument's line spread function (standard deviation, in Angstrom); default `lsf_sigma`; `""`:
    /// none is read. The column may lack it.
    #[serde(default = "lsf_sigma")]
    pub lsf_sigma: String,
    /// First wavelength of the grid, in Angstrom whatever the unit of the data.
    pub wavelength_min: f64,
    /// Last wavelength of the grid, in Angstrom.
    pub wavelength_max: f64,
    /// Number of samples of the grid; 512 resolves broad lines of supernovae, 4000 to 8000
    /// lines of galaxies. With `grid = "own"` the largest number that an object may have between `wavelength_min` and `wavelength_max`.
    pub samples: usize,
    /// Samples of all objects: at equal steps of ln(wavelength), `log` (default; a redshift is a shift), at equal steps of wavelength,
    /// `linear`, or `own`: each object keeps its samples as they were measured.
    #[serde(default)]
    pub grid: Spacing,
    /// Widest step between two good samples that is bridged by a straight line, in units of the median of the
    /// steps nearby, four to either side; anything wider is a gap without data, also beside a sample alone in it. Default 3, at least 1.
    #[serde(default = "three")]
    pub max_gap: f64,
    /// Smallest part of the common grid that a spectrum must cover; with less the object counts as
    /// having no spectrum. Default 0.1, from 0 to 1.
    #[serde(default = "tenth")]
    pub min_coverage: f64,
    /// What the flux is divided by: `median` (default) or `mean` of its absolute value on the grid, or `none`. Or first a
    /// middle is subtracted: with `standard` the mean, before it is divided by the standard deviation (as SpecFormer of AstroCLIP); with
    /// `robust` the median, before it is divided by 1.4826 times the median absolute deviation.
    #[serde(default)]
    pub normalise: Normalise,
    /// What a sample says: `normalised` flux (its shape over wavelength is the colour), `continuum`
    /// (flux over its smooth continuum, minus 1: lines alone), `scale` (log10 of what the flux was
    /// divided by, standardised over the training split; only where the fluxes of all objects have
    /// one absolute unit). Default `["normalised", "continuum"]`.
    #[serde(default = "both_channels")]
    pub channels: Vec<Channel>,
    /// Whether a first token says what normalising took away: log10 of what the flux was divided by, standardised over the training split, and what
    /// was subtracted, over what it was divided by. Default false.
    #[serde(default)]
    pub scale_token: bool,
    /// Width of the continuum's smoothing: standard deviation of its weights in ln(wavelength), or with `wavelength_unit = "other"` as a
    /// share of the range. Default 0.1 (30,000 km/s: keeps lines of supernovae); 0.02 suits galaxies.
    #[serde(default = "tenth")]
    pub continuum_width: f64,
    /// Values of all channels are cut off at plus and minus this after normalising, so that one bad sample does not rule; default 10. With
    /// `normalise = "none"` it is in the unit of the flux: set it above what fluxes reach.
    #[serde(default = "ten")]
    pub clip: f64,
    /// Training only: standard deviation of noise added to the flux, in units of its scale; errors that are known grow by it. Default 0.
    #[serde(default)]
    pub noise: f64,
    /// Training only: largest part of what was measured that one random run of samples hides; default 0, at most 0.9.
    #[serde(default)]
    pub mask_fraction: f64,
    /// Training only: size of a random slope and curvature that the flux is multiplied by, as errors
    /// of flux calibration do; 0.1 is 10 % at the ends of the grid. Default 0.
    #[serde(default)]
    pub tilt: f64,
}

/// Spacing of the common grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Equal steps of ln(wavelength).
    #[default]
    Log,
    /// Equal steps of wavelength.
    Linear,
    /// As measured.
    Own,
}

/// Unit of a wavelength in the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WavelengthUnit {
    /// 1e-10 m.
    #[default]
    Angstrom,
    /// Nanometre.
    Nm,
    /// Micrometre.
    Um,
    /// Metre.
    M,
    /// Decimal logarithm of the wavelength in Angstrom.
    Log10Angstrom,
    /// Any axis that ascends, taken as it is.
    Other,
}

impl WavelengthUnit {
    /// All of which the size is known, with their names in a config.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Angstrom, "angstrom"),
        (Self::Nm, "nm"),
        (Self::Um, "um"),
        (Self::M, "m"),
        (Self::Log10Angstrom, "log10_angstrom"),
    ];

    /// A value of this unit in Angstrom.
    #[must_use]
    pub fn angstrom(self, value: f64) -> f64 {
        match self {
            Self::Angstrom | Self::Other => value,
            Self::Nm => value * 10.0,
            Self::Um => value * 1e4,
            Self::M => value * 1e10,
            Self::Log10Angstrom => 10f64.powf(value),
        }
    }
}

/// What the flux is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Median of the absolute flux on the grid.
    #[default]
    Median,
    /// Mean of the absolute flux on the grid.
    Mean,
    /// Mean and standard deviation.
    Standard,
    /// Median and median absolute deviation.
    Robust,
    /// Nothing.
    None,
}

/// One of the numbers that each sample of the grid gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Flux over its scale.
    Normalised,
    /// Flux over its smooth continuum, minus 1.
    Continuum,
    /// log10 of the scale, standardised over the training split; the same at every sample.
    Scale,
}

impl Channel {
    /// As in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normalised => "normalised",
            Self::Continuum => "continuum",
            Self::Scale => "scale",
        }
    }
}

fn spectrum() -> String {
    "spectrum".into()
}
fn flux() -> String {
    "flux".into()
}
fn lambda() -> String {
    "lambda".into()
}
fn lsf_sigma() -> String {
    "lsf_sigma".into()
}
fn ivar() -> String {
    "ivar".into()
}
fn mask() -> String {
    "mask".into()
}
fn three() -> f64 {
    3.0
}
fn tenth() -> f64 {
    0.1
}
fn ten() -> f64 {
    10.0
}
fn both_channels() -> Vec<Channel> {
    vec![Channel::Normalised, Channel::Continuum]
}

impl SpectrumConfig {
    /// The column of a field, with its struct.
    #[must_use]
    pub fn path(&self, field: &str) -> String {
        if self.column.is_empty() { field.into() } else { format!("{}.{field}", self.column) }
    }

    /// Where `wavelength` lies as far as the model is concerned: its logarithm; or of an axis that is no wavelength where it is
    /// between `wavelength_min` (0) and `wavelength_max` (1), along the grid's steps.
    #[must_use]
    pub fn place(&self, wavelength: f64) -> f64 {
        let (from, to) = (self.wavelength_min, self.wavelength_max);
        match (self.wavelength_unit, self.grid) {
            (WavelengthUnit::Other, Spacing::Log) => (wavelength / from).ln() / (to / from).ln(),
            (WavelengthUnit::Other, _) => (wavelength - from) / (to - from),
            _ => wavelength.ln(),
        }
    }

    /// Reads and checks a table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range; the error points at it.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        let within = |key: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(section.reject(key, format!("expected a number from {low} to {high}, got {value}")))
        };
        let (from, to) = (config.wavelength_min, config.wavelength_max);
        let other = config.wavelength_unit == WavelengthUnit::Other;
        if other && config.grid == Spacing::Log && from <= 0.0 {
            let reason =
                format!("expected more than 0 with `grid = \"log\"`, got {from}: set `grid` to \"linear\" or \"own\"");
            return Err(section.reject("wavelength_min", reason));
        }
        if !from.is_finite() || !other && from <= 0.0 {
            let reason = format!(
                "expected a positive wavelength in Angstrom, got {from}; of another axis, `wavelength_unit = \"other\"` too"
            );
            return Err(section.reject("wavelength_min", reason));
        }
        for (key, field) in [("flux", &config.flux), ("wavelength", &config.wavelength)] {
            if field.is_empty() {
                return Err(section.reject(key, format!("expected the name of a field in `{key}`, got an empty text")));
            }
        }
        if !(to.is_finite() && to > from) {
            let reason = format!("expected more than `wavelength_min` = {from} (Angstrom), got {to}");
            return Err(section.reject("wavelength_max", reason));
        }
        if !(2..=1_000_000).contains(&config.samples) {
            let reason = format!("expected 2 to 1000000 samples, got {}", config.samples);
            return Err(section.reject("samples", reason));
        }
        within("max_gap", config.max_gap, 1.0, 1e6)?;
        within("min_coverage", config.min_coverage, 0.0, 1.0)?;
        within("continuum_width", config.continuum_width, 1e-4, 10.0)?;
        within("clip", config.clip, 1e-3, 1e6)?;
        within("noise", config.noise, 0.0, 10.0)?;
        within("mask_fraction", config.mask_fraction, 0.0, 0.9)?;
        within("tilt", config.tilt, 0.0, 1.0)?;
        if config.channels.is_empty() {
            return Err(section.reject("channels", "expected at least one channel, for example `[\"normalised\"]`"));
        }
        if (1..config.channels.len()).any(|i| config.channels[..i].contains(&config.channels[i])) {
            return Err(section.reject("channels", "expected each channel once"));
        }
        Ok(config)
    }
}
