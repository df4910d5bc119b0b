//! AION-1 (Parker, Lanusse et al. 2025, arXiv 2510.17960) in Panchroma: its published folder of weights is read into our codecs
//! and our `encoder_decoder`, and gives the numbers of the Python package `polymathic-aion`.
//!
//! The folder holds `config.json` and `model.safetensors` of the transformer, and `codecs/NAME/` with the same two files for each
//! modality.

pub mod config;
pub mod field;
pub mod image;
pub mod import;
pub mod modalities;
pub mod model;
mod parameters;
pub mod parity;
mod read;
pub mod scalar;
pub mod sources;
pub mod spectrum;
pub mod weights;
