//! Columns of a catalogue as a modality: magnitudes, shapes, extinction, flags, classes, angles.
//!
//! Comes in: one value per object and column, any of them missing. Goes out: numbers of order one,
//! scaled by what the training split shows, and one token per column; the token of a missing value
//! is masked, so nothing is ever filled in.
//!
//! In the order in which data flows: `config` says which columns and how; `scaler` learns from the
//! training split (`quantile` has the distribution-free one); [`Table`] (`prepare`) makes arrays,
//! [`Columns`] (`tokenizer`) tokens.

mod config;
mod prepare;
mod quantile;
mod scaler;
mod tokenizer;

#[cfg(test)]
mod tests;

pub use config::{ColumnConfig, ColumnMeaning, Scale, TableConfig};
pub use prepare::Table;
pub use tokenizer::{Columns, ColumnsConfig};
