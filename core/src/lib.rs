//! Contracts, configuration, data, trunks and training of Panchroma.
//!
//! The modules stand in the order in which data flows: a [`config`] names plugins that the
//! [`registry`] knows; [`data`] gives [`Rows`]; a [`Modality`] turns them into [`Arrays`]; a
//! [`Tokenizer`] turns those into [`Tokens`]; [`embed`] makes them a [`TokenSet`]; a [`Trunk`] makes
//! [`Features`]; a [`Head`] makes a loss; [`train`] lowers it; a [`Probe`] measures what was learned.
//! Each stage knows the type that it receives and the type that it returns, never its neighbours.
//!
//! This crate never names a modality, a head or a probe: those are plugins that register themselves
//! with [`registry::Descriptor`] and `inventory::submit!`.

pub mod arrays;
pub mod bands;
pub mod batch;
pub mod codebook;
pub mod config;
pub mod data;
pub mod device;
pub mod embed;
pub mod error;
pub mod evaluate;
pub mod experiment;
pub mod features;
pub mod generate;
pub mod head;
pub mod masking;
pub mod masks;
pub mod metadata;
pub mod metrics;
pub mod modality;
pub mod model;
pub mod ops;
pub mod parameters;
pub mod plugins;
pub mod probe;
pub mod random;
pub mod registry;
pub mod sketch;
pub mod sphere;
pub mod tokenizer;
pub mod tokens;
pub mod train;
pub mod trunk;

pub use arrays::{Array, ArrayField, Arrays, ArraysSpec, ValueType, Values};
pub use batch::Batch;
pub use codebook::Codebook;
pub use config::Section;
pub use data::{Column, ColumnKind, Flat, Rows};
pub use device::{DeviceChoice, DeviceError};
pub use error::{Error, Result};
pub use experiment::{Experiment, RunConfig};
pub use features::{Features, Pooled, Targets, View};
pub use head::{Head, HeadContext, HeadOutput, SUMS};
pub use masking::{Masking, MaskingConfig};
pub use masks::{Masks, TokenMask};
pub use modality::{Modality, ModalityContext, Mode, PrepareContext};
pub use model::{Model, Plan};
pub use parameters::{Decay, Init, Parameter, Parameters};
pub use plugins::{Library, LibraryId, PluginCall, PluginError, PluginsConfig};
pub use probe::{Fitted, Predictions, Probe, ProbeContext, ProbeTarget};
pub use registry::{Descriptor, Kind, Registry};
pub use tokenizer::{Bins, Layer, Tokenizer, TokenizerContext};
pub use tokens::{Coordinate, Encoding, Forward, Segment, TokenKind, TokenSet, TokenSpec, TokenValues, Tokens};
pub use trunk::{MaskContext, Trunk, TrunkContext};

/// What plugins need of the crates that this one builds on, so that both agree on the version.
pub mod reexport {
    pub use {arrow_array, arrow_schema, candle_core, candle_nn, inventory, rand, schemars, serde, serde_json};
}
