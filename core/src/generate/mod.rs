//! Tokens of modalities that an object lacks, drawn from what a masked model says of them, and posteriors of scalars.

mod canvas;
mod error;
mod posterior;

pub use error::GenerateError;
pub use posterior::{Posterior, scalar_logits};
