//! The one file that says it all: TOML, with `extends` and `--set`, read into typed configs.
//!
//! A [`Document`] is the resolved tree; a [`Section`] is one table of it, which a plugin reads as
//! its own struct. Every value keeps the [`Place`] where it was written, through `extends` and
//! `--set`, so that each [`ConfigError`] points at the user's line. What the keys mean is not known
//! here: that is the business of those who read the sections.

mod deserialize;
mod error;
mod extends;
mod inside;
pub(crate) mod nearest;
mod node;
mod overrides;
mod parse;
mod place;
mod section;
#[cfg(test)]
mod tests;
mod write;

pub use error::ConfigError;
pub use inside::Fault;
pub use nearest::{nearest, suggestion};
pub use place::{Place, Source};
pub use section::Section;

use crate::Result;
use node::Node;
use std::path::Path;

/// A config with all that it extends and all overrides merged into it.
#[derive(Debug, Clone)]
pub struct Document {
    root: Node,
    /// The files, in the order in which they were merged.
    files: Vec<String>,
    /// The `--set` arguments.
    overrides: Vec<String>,
}

impl Document {
    /// Reads a file, the files that it extends, and then applies `path=value` overrides in order.
    ///
    /// # Errors
    /// A [`ConfigError`]: a file is missing or not TOML, `extends` goes in a circle, an override
    /// sets what the config does not have.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut loader = extends::Loader::default();
        let mut root = loader.file(path, None)?;
        for text in overrides {
            overrides::apply(&mut root, text)?;
        }
        Ok(Self { root, files: loader.files, overrides: overrides.to_vec() })
    }

    /// Reads a text; `name` is what messages call it, and `extends` is relative to its folder.
    ///
    /// # Errors
    /// As [`Document::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut loader = extends::Loader::default();
        let root = loader.text(name, text.into())?;
        Ok(Self { root, files: loader.files, overrides: Vec::new() })
    }

    /// The top level.
    #[must_use]
    pub fn root(&self) -> Section {
        Section::new(String::new(), self.root.clone())
    }

    /// The resolved config as TOML that can be run: no `extends`, every value exactly as it is, and
    /// a first line that says what it was resolved from.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut from = self.files.join(", ");
        for text in &self.overrides {
            from.push_str(" --set ");
            from.push_str(text);
        }
        // A line break in an argument would end the comment.
        let from: String = from.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("# Resolved from {from}\n\n{}", write::document(&self.root))
    }
}
