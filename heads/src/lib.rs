//! Heads (features -> loss and predictions) and probes (frozen features -> a measure) of Panchroma.
//!
//! Every kind registers itself; a program that links this crate and calls
//! [`panchroma_core::Registry::linked`] knows them all.
//!
//! Heads: [`contrastive`], [`masked`], [`supervised`] (regression and classification).
//! Probes: [`ridge`], [`logistic`], [`neighbours`].

pub mod contrastive;
mod features;
mod lbfgs;
pub mod logistic;
pub mod masked;
pub mod neighbours;
pub mod ridge;
pub mod supervised;
#[cfg(test)]
mod testing;
