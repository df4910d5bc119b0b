//! From the files that surveys publish to catalogues to train on.
//!
//! [`describe`] says what a catalogue holds and whether it is sound. [`files`] reads FITS, HDF5, Parquet and CSV behind one trait, and knows nothing of catalogues.

pub mod describe;
pub mod files;
pub mod hats;
pub mod ingest;
mod names;
pub mod sky;
pub mod tokenize;
