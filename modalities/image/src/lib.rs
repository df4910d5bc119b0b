//! Images: planes of pixels, one per band or per view of the same patch of sky.
//!
//! [`modality`] brings every image (`read`) to one size ([`resample`]) and its flux to a range that a model can read
//! ([`plane`]); [`patches`] cuts it into squares, [`codec`] turns it into codes and back; [`rgb`] makes pictures of it.

pub mod codec;
pub mod config;
pub mod modality;
pub mod patches;
pub mod plane;
mod read;
pub mod resample;
pub mod rgb;
mod sketch;
#[cfg(test)]
mod tests;

pub use codec::field::tokenizer::FieldTokenizer;
pub use codec::field::{FieldCodec, FieldCodecConfig};
pub use codec::tokenizer::ImageTokenizer;
pub use codec::{ImageCodec, ImageCodecConfig};
pub use config::{Background, ImageConfig, Resize, Scaling};
pub use modality::Image;
pub use patches::{Known, Layout, Patches, PatchesConfig};
