//! Irregular time series in many bands, with errors: light curves of transients and variable stars.
//!
//! Comes in: a struct column of lists (time, flux, error, band), as HATS catalogues nest light
//! curves. Goes out: one row of features per observation, in the order of time, and tokens of one
//! observation each, with time and wavelength as physical coordinates. Nothing is interpolated or
//! binned: gaps in time stay gaps.
//!
//! Apparent brightness carries distance, so it is kept: each observation has its flux both in the
//! catalogue's unit (compressed by asinh) and relative to its object.
//!
//! Data flows through `curve` (rows to observations, augmentation) and `scaler` to [`TimeSeries`]
//! (`prepare`) and from there to [`Observations`] (`tokenizer`).

mod config;
mod curve;
mod prepare;
mod scaler;
mod tokenizer;

#[cfg(test)]
mod tests;

pub use config::{TimeOrigin, TimeSeriesConfig};
pub use prepare::{FEATURES, TimeSeries};
pub use tokenizer::{Observations, ObservationsConfig};
