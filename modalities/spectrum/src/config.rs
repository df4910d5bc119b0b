//! What a user can set for a spectrum, and what of it makes no sense.

use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of `[modality.NAME]` with `kind = "spectrum"`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpectrumConfig {
    /// Struct column that holds the spectrum; default `spectrum`.
    #[serde(default = "spectrum")]
    pub column: String,
    /// Field of the flux density per Angstrom, in any unit; default `flux`.
    #[serde(default = "flux")]
    pub flux: String,
    /// Field of the wavelength in Angstrom, ascending; default `lambda`.
    #[serde(default = "lambda")]
    pub wavelength: String,
    /// Field of the inverse variance of the flux; default `ivar`. The column may lack it. 0 or null
    /// says that a sample holds no information, but a spectrum where more than half of the samples say
    /// so is taken as one of unknown errors.
    #[serde(default = "ivar")]
    pub ivar: String,
    /// Field of the flags, where true means bad (as in the Multimodal Universe); default `mask`. The
    /// column may lack it.
    #[serde(default = "mask")]
    pub mask: String,
    /// First wavelength of the common grid, in Angstrom.
    pub wavelength_min: f64,
    /// Last wavelength of the common grid, in Angstrom.
    pub wavelength_max: f64,
    /// Number of samples of the common grid; 512 resolves broad lines of supernovae, 4000 to 8000
    /// lines of galaxies.
    pub samples: usize,
    /// Spacing of the common grid: `log` (default; a redshift is a shift) or `linear`.
    #[serde(default)]
    pub grid: Spacing,
    /// Widest step between two good samples that is bridged by a straight line, in units of the
    /// steps beside it; anything wider is a gap without data. Default 3, at least 1.
    #[serde(default = "three")]
    pub max_gap: f64,
    /// Smallest part of the common grid that a spectrum must cover; with less the object counts as
    /// having no spectrum. Default 0.1, from 0 to 1.
    #[serde(default = "tenth")]
    pub min_coverage: f64,
    /// What the flux is divided by: `median` (default) or `mean` of its absolute value on the grid,
    /// or `none`.
    #[serde(default)]
    pub normalise: Normalise,
    /// What a sample says: `normalised` flux (its shape over wavelength is the colour), `continuum`
    /// (flux over its smooth continuum, minus 1: lines alone), `scale` (log10 of what the flux was
    /// divided by, standardised over the training split; only where the fluxes of all objects have
    /// one absolute unit). Default `["normalised", "continuum"]`.
    #[serde(default = "both_channels")]
    pub channels: Vec<Channel>,
    /// Width of the continuum's smoothing: standard deviation of its weights in ln(wavelength). Default 0.1 (30,000
    /// km/s: keeps lines of supernovae); 0.02 suits galaxies.
    #[serde(default = "tenth")]
    pub continuum_width: f64,
    /// Values are cut off at plus and minus this; default 10.
    #[serde(default = "ten")]
    pub clip: f64,
    /// Training only: standard deviation of noise added to the flux, in units of its scale; default 0.
    #[serde(default)]
    pub noise: f64,
    /// Training only: largest part of the grid that one random run of samples hides; default 0, at
    /// most 0.9.
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

fn spectrum() -> String {
    "spectrum".into()
}
fn flux() -> String {
    "flux".into()
}
fn lambda() -> String {
    "lambda".into()
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
        if !(from.is_finite() && from > 0.0) {
            return Err(
                section.reject("wavelength_min", format!("expected a positive wavelength in Angstrom, got {from}"))
            );
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
