//! Columns of a catalogue as a modality: magnitudes, shapes, extinction, flags, classes, angles.
//!
//! Comes in: one value per object and column, any of them missing. Goes out: numbers of order one,
//! scaled by what the training split shows, and one token per column; the token of a missing value
//! is masked, so nothing is ever filled in.
//!
//! In the order in which data flows: `config` says which columns and how; `scaler` learns from the
//! training split (`quantile` has the distribution-free one); [`Table`] (`prepare`) makes arrays,
//! [`Columns`] (`tokenizer`) tokens of features, [`Codes`] (`codes`) codes, by the codecs of [`codec`].
//! Beside it, [`Sources`] are lists of sources per object, and [`SourceCodes`] their codes.

pub mod codec;
pub mod codes;
mod config;
mod prepare;
mod quantile;
mod scaler;
mod source_codes;
mod sources;
mod tokenizer;

#[cfg(test)]
mod tests;

pub use codec::{Compression, Function, MultiScalarCodec, ScalarCodec};
pub use codes::{Codes, GridCodesConfig, GridSpacing, QuantileCodesConfig};
pub use config::{ColumnConfig, ColumnMeaning, Scale, TableConfig};
pub use prepare::Table;
pub use source_codes::{SourceCodes, SourceCodesConfig};
pub use sources::{Sources, SourcesConfig};
pub use tokenizer::{Columns, ColumnsConfig};
