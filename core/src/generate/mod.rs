//! Tokens of modalities that an object lacks, drawn from what a masked model says of them, and posteriors of scalars.
//!
//! Comes in: a batch, of which some modalities are given and all others are as if they were not there. Goes out: tokens of the modalities
//! that are asked for, which [`Model::reconstruct`](crate::Model::reconstruct) turns into values, or histograms over the bins of a scalar.
//!
//! What stands for "nothing is given" in classifier-free guidance is an encoder without tokens of the given modalities, as 4M has it: of what
//! was drawn before it sees all, and without any token attention to it is zero. A model has learned that if its masking lets inputs begin at
//! 0 tokens.

mod canvas;
mod error;
mod posterior;
mod request;
mod sampling;
mod schedule;
mod table;

pub use error::GenerateError;
pub use posterior::{Posterior, scalar_logits, scalar_truth};
pub use request::{Generated, Request, check_given, codes, having};
pub use sampling::Sampling;
pub use schedule::Schedule;
pub use table::{Cells, ColumnOf, TableWriter};
