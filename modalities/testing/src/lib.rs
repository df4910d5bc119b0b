//! Conformance suite that every modality and tokenizer of Panchroma runs in its tests.
//!
//! * [`Objects`] makes rows from JSON, so that a test shows its input in a few lines;
//! * [`conformance`] checks the promises of [`panchroma_core::Modality`] and
//!   [`panchroma_core::Tokenizer`] on such rows;
//! * [`modality_descriptor`] and [`tokenizer_descriptor`] check what a plugin registers.
//!
//! Everything here panics with the broken promise, as a test should.

#![expect(clippy::panic, reason = "this crate is part of tests, a panic is how they report")]

mod codec;
mod compare;
mod descriptor;
mod objects;
mod suite;

#[cfg(test)]
mod tests;

pub use descriptor::{modality_descriptor, tokenizer_descriptor};
pub use objects::Objects;
pub use suite::{Case, build_modality, build_tokenizer, conformance, fitted, fitted_tokenizer};
