//! Measures of how well something was predicted or found again: pure functions of plain slices.
//!
//! Everything is computed in f64, except the dot products of [`retrieval_ranks`]. A measure that is
//! not defined (no object, a truth without variance) is NaN, never a number that looks like a
//! result. Slices that belong together have the same length; what is longer is not looked at.

mod bootstrap;
mod classification;
mod codes;
mod regression;
mod retrieval;
#[cfg(test)]
mod tests;

pub(crate) use bootstrap::number_or_null;
pub use bootstrap::{Interval, bootstrap};
pub use classification::{accuracy, balanced_accuracy, confusion, macro_f1, roc_auc};
pub use codes::{CodeCounts, CodeUse};
pub use regression::{mae, r2, rmse};
pub use retrieval::{median_rank, retrieval_ranks, top_k};
