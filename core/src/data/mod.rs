//! Data: catalogues of Parquet files in, [`Rows`] out, in a fixed order, on loader threads.
//!
//! What comes in: a HATS catalogue or any folder of Parquet files, and the [`Column`]s that
//! modalities, heads and probes asked for. What goes out: [`Rows`], in the order that a seed and an
//! epoch define, whatever the number of threads. Nothing here scales, crops or interprets values:
//! that is the work of a modality.
//!
//! The files of this module in the order in which data flows: [`DataConfig`] says where the data is;
//! `storage` reads them here or far away; `hats` finds the files; `parquet` checks and decodes them; [`Catalogue`] knows every object and
//! its split; `order` says who comes when; [`Loader`] runs ahead of training.

mod cache;
mod catalogue;
mod codes;
mod column;
mod error;
mod extract;
mod flat;
mod hats;
mod lists;
mod loader;
mod order;
mod parquet;
mod ragged;
mod rows;
mod split;
mod storage;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use catalogue::{Catalogue, Description};
pub use codes::{CodesNote, codes_of};
pub use column::{CodecId, Column, ColumnKind};
pub use error::DataError;
pub use flat::Flat;
pub use hats::{Listing, list, position_columns};
pub use loader::{Loader, LoaderPlan, Position};
pub use ragged::Ragged;
pub use rows::Rows;
pub use split::{BadRowsPolicy, DataConfig, Fractions, Split, SplitBy};
pub use storage::{Reader, scheme, small_text, writable};

/// A thread that panicked can't have left anything half done in this module: every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
