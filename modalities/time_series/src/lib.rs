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
//! Data flows through `curve` (rows to observations, augmentation), `scaler` and `weights` to [`TimeSeries`]
//! (`prepare`) and from there to [`Observations`] (`tokenizer`) or [`TimePatches`] (`patches`), at the coordinates of `axes`;
//! [`codec`] makes a few codes of a whole series, and a series of those.

mod axes;
pub mod codec;
mod config;
mod curve;
mod patches;
mod prepare;
mod scaler;
mod sketch;
mod tokenizer;
mod weights;

#[cfg(test)]
mod tests;

pub use axes::AxesConfig;
pub use codec::{CurveCodec, CurveCodecConfig};
pub use config::{TimeOrigin, TimeSeriesConfig};
pub use patches::{TimePatches, TimePatchesConfig};
pub use prepare::{FEATURES, LIMIT_FEATURE, TimeSeries};
pub use tokenizer::Observations;
