//! Tokenizers that know nothing of what they cut: for modalities that bring none of their own.
//!
//! Comes in: the arrays of any modality. Goes out: patches of values. [`Windows`] (`windows`) reads what the modality says
//! of its arrays, as [`config`](WindowsConfig) asks for it; `layout` says which places of the mask belong to which values.

mod config;
mod layout;
mod windows;

#[cfg(test)]
mod tests;

pub use config::{FieldCoordinate, WindowsConfig};
pub use windows::Windows;
