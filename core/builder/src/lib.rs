//! Builds catalogues.
