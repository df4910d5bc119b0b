//! `extends`: a config that builds on other files.
//!
//! The files are merged in the order of the list, tables key by key, later ones win, and the keys
//! of the file that extends win over all. Each value keeps the place that it came from.

use super::error::ConfigError;
use super::nearest::nearest_paths;
use super::node::{Node, Value};
use super::parse;
use super::place::{Place, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key, at the top level only.
pub(crate) const EXTENDS: &str = "extends";

/// Reads files and what they extend.
#[derive(Default)]
pub(crate) struct Loader {
    /// The files that are being read, outermost first: identity, and the name that messages use.
    chain: Vec<(PathBuf, String)>,
    /// Every file that was read, in the order in which they were merged.
    pub(crate) files: Vec<String>,
}

impl Loader {
    /// Reads `path`; `from` is the `extends` that named it.
    pub(crate) fn file(&mut self, path: &Path, from: Option<&Place>) -> Result<Node, ConfigError> {
        let missing = |source| ConfigError::MissingFile {
            path: path.to_path_buf(),
            from: from.cloned(),
            nearest: nearest_paths(path),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(missing)?;
        let identity = path.canonicalize().map_err(missing)?;
        let name = path.display().to_string();
        if let Some(start) = self.chain.iter().position(|(known, _)| *known == identity) {
            let cycle = self.chain.iter().skip(start).map(|(_, name)| name.clone());
            let place =
                from.cloned().unwrap_or_else(|| Place::new(&Arc::new(Source { name: name.clone(), text }), 0..0));
            return Err(ConfigError::Cycle { chain: cycle.chain([name]).collect(), place });
        }
        self.chain.push((identity, name.clone()));
        let node = self.text(&name, text);
        self.chain.pop();
        node
    }

    /// Reads a text that is already here; files that it extends are relative to the folder of `name`.
    pub(crate) fn text(&mut self, name: &str, text: String) -> Result<Node, ConfigError> {
        let source = Arc::new(Source { name: name.into(), text });
        let own = parse::document(&source)?;
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let mut merged = Node::empty(&source);
        for (base, place) in named(&own)? {
            merged.merge(self.file(&folder.join(base), Some(&place))?);
        }
        merged.merge(own.without(&[EXTENDS]));
        self.files.push(name.into());
        Ok(merged)
    }
}

/// The files that a document extends.
fn named(document: &Node) -> Result<Vec<(String, Place)>, ConfigError> {
    let Some(entry) = document.entry(EXTENDS) else { return Ok(Vec::new()) };
    let wrong = |node: &Node, expected: &str| ConfigError::WrongType {
        expected: expected.into(),
        found: node.describe(),
        key: EXTENDS.into(),
        place: node.place.clone(),
    };
    let one = |node: &Node| match &node.value {
        Value::Text(file) => Ok((file.clone(), node.place.clone())),
        _ => Err(wrong(node, "a file name")),
    };
    match &entry.node.value {
        Value::List(items) => items.iter().map(one).collect(),
        Value::Text(_) => Ok(vec![one(&entry.node)?]),
        _ => Err(wrong(&entry.node, "a list of file names")),
    }
}
