//! Tests of components without the host.
//!
//! Everything here goes through the same C tables as the host does, and holds components to what they promise: finite
//! values wherever something is valid, the same bits for the same rows, each row on its own, codes below the vocabulary,
//! gradients that agree with finite differences.
//!
//! ```
//! use panchroma_sdk::testing::{self, json};
//! // Rows as JSON, one object per row: null and what isn't there are missing, "inf" and "nan" are what they say.
//! let rows = testing::Rows::json(json!([{ "time": [0.5, 1.5, null] }, { "time": null }]))?;
//! // Or by columns:
//! let same = testing::Rows::new().column("time", [Some(vec![0.5, 1.5, f64::NAN]), None]);
//! # Ok::<(), panchroma_sdk::Error>(())
//! ```

mod arrays;
mod batch;
mod codec;
mod finite;
mod head;
mod held;
mod modality;
mod plugin;
mod rows;
mod tokenizer;

pub use arrays::Arrays;
pub use codec::{Tokens, decode, encode};
pub use head::{HeadTrial, Outcome};
pub use modality::prepare;
pub use plugin::check;
pub use rows::{Rows, Value};
pub use serde_json::json;
pub use tokenizer::TokenizerTrial;
