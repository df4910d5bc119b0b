//! Plugins in shared libraries: found, checked, loaded, and added to the registry that compiled-in ones are in.
//!
//! The modules in the order in which a plugin goes through them: `search` finds files that the config or
//! `PANCHROMA_PLUGIN_PATH` names; `manifest` and `file` say what they are without loading them; `table` and `library` load one, compare
//! versions and read its tables; `schema` checks its config; `rows` and `arrays` are the views that calls get; `modality`, `codec`,
//! `tokenizer` and `head` are the framework's traits on top of calls; `isolate` makes calls in child processes; `check` is the conformance suite.
//!
//! The interface itself, and who owns what, is `plugins/abi/panchroma.h`.

mod arrays;
mod call;
mod check;
mod codec;
mod exit;
mod file;
mod head;
mod info;
mod instance;
mod isolate;
mod library;
mod manifest;
mod mask;
mod modality;
mod operation;
mod register;
mod rows;
mod schema;
mod search;
mod table;
mod tokenizer;
mod tokens;
mod views;

pub use check::{Outcome, Step, check};
pub use file::{FileFacts, facts};
pub use isolate::{COMMAND, own_output, own_program, serve};
pub use manifest::{Manifest, Offer};
pub use register::{add, add_found};
pub use search::{Candidate, Named, VARIABLE, at, candidates, file_name, named};

use std::path::Path;

/// An error of loading `path`.
pub(crate) fn unloadable(path: &Path, reason: impl Into<String>, hint: Option<String>) -> panchroma_core::Error {
    panchroma_core::PluginError::Load { path: path.to_path_buf(), reason: reason.into(), hint }.into()
}
