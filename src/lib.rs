//! The command line of Panchroma: the only crate that knows all the others.
//!
//! A third party that adds plugins of its own writes a `main` of three lines:
//!
//! ```no_run
//! // use my_modality as _;
//! fn main() -> std::process::ExitCode {
//!     panchroma::main()
//! }
//! ```

mod cli;
mod linked;
mod message;
mod report;

pub use cli::main;
