//! Images: planes of pixels, one per band or per view of the same patch of sky.
//!
//! [`modality`] brings every image to one size and its flux to a range that a model can read
//! ([`plane`]); [`patches`] cuts it into squares.

pub mod config;
pub mod modality;
pub mod patches;
pub mod plane;
#[cfg(test)]
mod tests;

pub use config::{Background, ImageConfig, Scaling};
pub use modality::Image;
pub use patches::{Layout, Patches, PatchesConfig};
