//! Visibilities of an interferometer as a modality of Panchroma, with a tokenizer and a head of their own.
//!
//! * [`modality`]: lists of (u, v, real part, imaginary part, weight) per object -> arrays.
//! * [`tokenizer`]: those arrays -> one token per visibility, at its place in the (u, v) plane.
//! * [`head`]: predicts the ratio of two fluxes, a number above 0.
//!
//! Each file ends with the `inventory::submit!` that makes its plugin known; `src/main.rs` is a command that knows them.

pub mod head;
pub mod modality;
pub mod tokenizer;

#[cfg(test)]
mod tests;
