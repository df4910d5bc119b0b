//! Plugins for Panchroma in safe Rust.
//!
//! A plugin is a shared library with modalities, codecs, tokenizers and heads that Panchroma loads as it starts. Implement
//! a trait for each, name the types in [`plugin!`], build a `cdylib`: the C interface, its pointers and its versions are
//! this crate's business. What arrives here is checked slices; a panic becomes an error of the host.
//!
//! ```
//! use panchroma_sdk::prelude::*;
//!
//! /// Total flux of a list of pulses.
//! struct Pulses;
//!
//! impl Modality for Pulses {
//!     const NAME: &'static str = "pulses";
//!     const SUMMARY: &'static str = "total flux of a list of pulses";
//!     type Config = NoConfig;
//!
//!     fn new(_config: NoConfig, _request: &Request) -> Result<Self> {
//!         Ok(Self)
//!     }
//!
//!     fn columns(&self) -> Vec<Column> {
//!         vec![Column::number("flux").list()]
//!     }
//!
//!     fn arrays(&self) -> ArraysSpec {
//!         ArraysSpec::new().f32("total", "Jy", &[])
//!     }
//!
//!     fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()> {
//!         let flux = rows.list_f32("flux")?;
//!         let (mut total, mut valid, present) = (arrays.f32("total")?, arrays.valid()?, arrays.present()?);
//!         for i in 0..rows.len() {
//!             let sum: f32 = flux.row(i).iter().filter(|f| f.is_finite()).sum();
//!             if flux.present(i) {
//!                 present[i] = 1;
//!                 valid.row_mut(i).fill(1);
//!                 total.row_mut(i).fill(sum);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! use panchroma_sdk::testing::{self, json};
//! let rows = testing::Rows::json(json!([{ "flux": [1.0, 2.0] }, {}]))?;
//! let arrays = testing::prepare::<Pulses>("{}", &rows)?;
//! assert_eq!(arrays.f32("total")?, [3.0, 0.0]);
//! assert_eq!(arrays.present(), [1, 0]);
//! # Ok::<(), panchroma_sdk::Error>(())
//! ```
//!
//! Configs derive [`serde::Deserialize`] and [`schemars::JsonSchema`] of the crates re-exported here; tell the derives so by
//! `#[serde(crate = "panchroma_sdk::serde")]` and `#[schemars(crate = "panchroma_sdk::schemars")]`.

mod array;
mod arrays;
#[doc(hidden)]
pub mod border;
mod column;
mod component;
mod error;
mod learn;
mod request;
mod rows;
mod spec;
pub mod testing;
mod tokens;

pub use array::{AnyArray, AnyArrayMut, Array, ArrayMut, Element, Type};
pub use arrays::{Arrays, ArraysMut};
pub use column::Column;
pub use component::{Codec, Head, Modality, NoConfig, Tokenizer};
pub use error::{Error, Result};
pub use learn::{Compute, Gradients, HeadInput, Init, Parameter, Parameters, View};
pub use request::Request;
pub use rows::{List, Lists, Mode, Nested, Rows, Value, Values};
pub use spec::{ArraysSpec, Axis, Field};
pub use tokens::{Coordinate, Tokens, TokensMut};

#[doc(hidden)]
pub use panchroma_abi as abi;
pub use schemars;
pub use serde;
pub use serde_json;

/// What most plugins need.
pub mod prelude {
    pub use crate::schemars::JsonSchema;
    pub use crate::serde::{Deserialize, Serialize};
    pub use crate::{
        Array, ArrayMut, Arrays, ArraysMut, ArraysSpec, Codec, Column, Compute, Coordinate, Error, Gradients, Head,
        HeadInput, Init, Modality, Mode, NoConfig, Parameter, Parameters, Request, Result, Rows, Tokenizer, Tokens,
        TokensMut, View,
    };
}
