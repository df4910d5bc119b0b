//! The tests of the whole, one binary: linking is what takes the time.

mod configs; // every file in configs/ runs
mod data; // catalogues from files: ingest, match, stats, validate, show
mod docs; // what is written in the docs is true
mod errors; // what a user does wrong, and the exact words that come back
mod generate; // a masked run is measured and used: posteriors, samples, subsets
mod plugins; // shared libraries: trained with, isolated, changed, checked, begun
mod remote; // catalogues behind an address
mod runs; // resume, determinism, interruption, full disks, damaged checkpoints
mod support; // starting the command, small data
mod tidy; // house rules
mod tokenize; // codes of a catalogue, computed once
