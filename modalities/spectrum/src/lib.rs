//! Spectra: flux against wavelength, each object on a wavelength grid of its own.
//!
//! [`modality`] brings every spectrum onto one common grid ([`resample`]), takes its brightness out
//! and shows its lines beside its colour ([`continuum`]); [`slices`] cuts the grid into tokens.

pub mod augment;
pub mod config;
pub mod continuum;
pub mod modality;
pub mod resample;
pub mod slices;
#[cfg(test)]
mod tests;

pub use config::{Channel, Normalise, Spacing, SpectrumConfig};
pub use modality::Spectrum;
pub use slices::{Slices, SlicesConfig};
