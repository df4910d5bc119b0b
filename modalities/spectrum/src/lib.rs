//! Spectra: flux against wavelength, each object on a wavelength grid of its own.
//!
//! [`modality`] brings every spectrum (`read`) onto one common grid ([`resample`]), or keeps its own, takes its brightness out
//! (`level`) and shows its lines beside its colour ([`continuum`]); [`slices`] cuts the grid into tokens.

pub mod augment;
pub mod codec;
pub mod codes;
pub mod config;
pub mod continuum;
mod level;
pub mod modality;
mod read;
pub mod resample;
mod sketch;
pub mod slices;
#[cfg(test)]
mod tests;

pub use codec::{SpectrumCodec, SpectrumCodecConfig};
pub use codes::SpectrumCodes;
pub use config::{Channel, Normalise, Spacing, SpectrumConfig, WavelengthUnit};
pub use modality::Spectrum;
pub use slices::{Known, Slices, SlicesConfig};
