//! From the files that surveys publish to catalogues to train on.
//!
//! [`files`] reads FITS, HDF5, Parquet and CSV behind one trait, and knows nothing of catalogues.

pub mod files;
