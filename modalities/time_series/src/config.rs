//! What a user may write in `[modality.NAME]` with `kind = "time_series"`.

use panchroma_core::bands::check_wavelengths;
use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where an object's time axis starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeOrigin {
    /// The first observation.
    First,
    /// The observation of largest flux among those of at least five sigma (among all, if no error is known or none is so good).
    #[default]
    Peak,
    /// The median time of the observations.
    Median,
}

/// Irregular time series in many bands, such as light curves.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeSeriesConfig {
    /// Struct column with one list per quantity; empty if the lists are columns themselves. Default `lightcurve`.
    #[serde(default = "lightcurve")]
    pub column: String,
    /// Field of `column` with the times, in days (see `time_unit_days`). Empty if the series are regular; then `cadence` says how far
    /// apart values are. Default `time`.
    #[serde(default = "time")]
    pub time: String,
    /// Time from a value to the next, in the data's unit of time, for regular series without times. Default none.
    #[serde(default)]
    pub cadence: Option<f64>,
    /// Field of `column` with the fluxes, linear (not magnitudes), in one unit for all objects and bands. Default `flux`.
    #[serde(default = "flux")]
    pub flux: String,
    /// Field of `column` with the standard errors of the fluxes; NaN, zero and negative mean unknown. Empty if the data has none. Default `flux_err`.
    #[serde(default = "flux_err")]
    pub flux_err: String,
    /// Field of `column` with the names of the bands. Empty if the data has none. Default `band`.
    #[serde(default = "band")]
    pub band: String,
    /// Wavelengths of bands in Angstrom, beside or instead of the built-in ones, for example `{ X = 5000.0 }`. A band without a known
    /// wavelength is used: its wavelength adds nothing to its tokens, and a feature says so. Default none.
    #[serde(default)]
    pub bands: BTreeMap<String, f64>,
    /// Whether a band without a known wavelength, that is not among `channels` either, is an error. Default false.
    #[serde(default)]
    pub strict_bands: bool,
    /// Bands, or channels of any other kind such as the leads of an ECG, that are told apart by a learned vector each, beside their
    /// wavelength. Default none.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Field of `column` with the fluxes that would just have been detected: where the flux is missing and this is not, nothing was seen, and
    /// the observation enters with flux 0, an error of this divided by `limit_sigma`, and a flag of its own. Default none.
    #[serde(default)]
    pub limit: Option<String>,
    /// How many standard errors `limit` is. Above 0, default 5.
    #[serde(default = "five")]
    pub limit_sigma: f64,
    /// Column of numbers with the period of each object, in the data's unit of time: observations are also told their phase from
    /// the origin, as a fraction of the period. Objects without a period have none. Default none.
    #[serde(default)]
    pub period_column: Option<String>,
    /// Largest number of observations per object, and so of tokens. Training draws a random subset of longer series each epoch; otherwise
    /// they are thinned evenly. 1 to 65536, default 128.
    #[serde(default = "max_observations")]
    pub max_observations: usize,
    /// An object with fewer usable observations counts as without this modality. 1 to `max_observations`, default 1.
    #[serde(default = "one")]
    pub min_observations: usize,
    /// Where an object's time axis starts: `first`, `peak` or `median`. Default `peak`.
    #[serde(default)]
    pub time_origin: TimeOrigin,
    /// Column of numbers (in the data's time unit) with the origin of time, for example a time of explosion; objects where it is missing use
    /// `time_origin`. Default none.
    #[serde(default)]
    pub origin_column: Option<String>,
    /// Length of the data's unit of time in days: 1 for (M)JD, 1.1574e-5 for seconds. In a field where days mean nothing leave it at 1: all
    /// that is said of days here then is of the data's unit. Above 0, default 1.
    #[serde(default = "unit")]
    pub time_unit_days: f64,
    /// Days before and after the origin outside which observations are dropped, for example `[-50.0, 300.0]`. Default none are.
    #[serde(default)]
    pub window_days: Option<[f64; 2]>,
    /// Flux, in the data's unit, at which the brightness goes from linear to logarithmic: `asinh(flux / flux_softening)`. About the noise of
    /// a faint observation is good. Above 0, default 1.
    #[serde(default = "unit")]
    pub flux_softening: f64,
    /// Augmentation in training: an object loses a random share of its observations, up to this. 0 to below 1, default 0 (off).
    #[serde(default)]
    pub drop_fraction: f64,
    /// Augmentation in training: all times of an object move by one random shift, up to this many days either way. Phases (see
    /// `period_column`) stay, as if the origin moved along. Default 0 (off).
    #[serde(default)]
    pub time_jitter_days: f64,
    /// Augmentation in training: Gaussian noise of this many standard errors is added to each flux, and its error grows accordingly. 0 to
    /// about 1, default 0 (off).
    #[serde(default)]
    pub noise: f64,
}

fn lightcurve() -> String {
    "lightcurve".into()
}
fn time() -> String {
    "time".into()
}
fn flux() -> String {
    "flux".into()
}
fn flux_err() -> String {
    "flux_err".into()
}
fn band() -> String {
    "band".into()
}
fn five() -> f64 {
    5.0
}
fn max_observations() -> usize {
    128
}
fn one() -> usize {
    1
}
fn unit() -> f64 {
    1.0
}

impl TimeSeriesConfig {
    /// Reads the table and checks the ranges.
    ///
    /// # Errors
    /// A config error that points at the key.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        if config.flux.is_empty() {
            return Err(section.reject("flux", "expected the name of a field in `flux`, got an empty text"));
        }
        match config.cadence {
            None if config.time.is_empty() => {
                return Err(
                    section.reject("time", "expected the name of a field in `time`, or a `cadence` for regular series")
                );
            }
            Some(_) if !config.time.is_empty() => {
                let reason = "`cadence` is for series without times: say so with `time = \"\"`";
                return Err(section.reject("cadence", reason));
            }
            Some(step) if !(step.is_finite() && step > 0.0) => {
                return Err(section.reject("cadence", format!("`cadence` must be above 0, got {step}")));
            }
            _ => {}
        }
        if (1..config.channels.len()).any(|i| config.channels[..i].contains(&config.channels[i])) {
            return Err(section.reject("channels", "expected each channel once"));
        }
        if !config.channels.is_empty() && config.band.is_empty() {
            return Err(section.reject("channels", "`channels` are names in the field `band`, which is empty"));
        }
        if !(1..=65_536).contains(&config.max_observations) {
            let reason = format!("`max_observations` must be 1 to 65536, got {}", config.max_observations);
            return Err(section.reject("max_observations", reason));
        }
        if !(1..=config.max_observations).contains(&config.min_observations) {
            let (most, got) = (config.max_observations, config.min_observations);
            let reason = format!("`min_observations` must be 1 to {most} (`max_observations`), got {got}");
            return Err(section.reject("min_observations", reason));
        }
        for (key, value) in [
            ("time_unit_days", config.time_unit_days),
            ("flux_softening", config.flux_softening),
            ("limit_sigma", config.limit_sigma),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(section.reject(key, format!("`{key}` must be above 0, got {value}")));
            }
        }
        for (key, value) in [("time_jitter_days", config.time_jitter_days), ("noise", config.noise)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(section.reject(key, format!("`{key}` must be 0 or more, got {value}")));
            }
        }
        if !(0.0..1.0).contains(&config.drop_fraction) {
            let reason = format!("`drop_fraction` must be 0 to below 1, got {}", config.drop_fraction);
            return Err(section.reject("drop_fraction", reason));
        }
        if let Some([from, to]) = config.window_days
            && (from >= to || from.is_nan() || to.is_nan())
        {
            let reason = format!("`window_days` must rise from its first to its second number, got [{from}, {to}]");
            return Err(section.reject("window_days", reason));
        }
        check_wavelengths(section, &config.bands)?;
        Ok(config)
    }
}
