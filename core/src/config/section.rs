//! One table of a config: what a plugin gets to read.

use super::deserialize;
use super::error::ConfigError;
use super::node::{Node, Value};
use super::place::{Place, Source};
use super::{parse, write};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The key that the framework reads: which plugin the table is for.
const KIND: &str = "kind";

/// A table of a config, with its path and the places of all that it holds.
#[derive(Debug, Clone)]
pub struct Section {
    path: String,
    /// Always a table.
    node: Node,
    /// Keys that somebody else reads, so that they can be suggested.
    others: Vec<String>,
}

impl Section {
    pub(super) fn new(path: String, node: Node) -> Self {
        Self { path, node, others: Vec::new() }
    }

    /// A table of its own, for tests and examples: `path` is what messages call it, `text` the body.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] if the text is not TOML.
    pub fn from_toml(path: &str, text: &str) -> Result<Self> {
        let source = Arc::new(Source { name: format!("[{path}]"), text: text.into() });
        Ok(Self::new(path.into(), parse::document(&source)?))
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Dotted path, for example `modality.sdss`; empty for the top level.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The plugin that the table names.
    ///
    /// # Errors
    /// [`ConfigError::MissingKey`] without `kind`; [`ConfigError::WrongType`] if it is not a string.
    pub fn kind(&self) -> Result<String> {
        match self.node.entry(KIND) {
            Some(entry) => Ok(deserialize::read(&entry.node, &write::join(&self.path, KIND))?),
            None => Err(self.missing(KIND)),
        }
    }

    /// Reads the table as a typed config. The key `kind` is the framework's and not part of it.
    ///
    /// # Errors
    /// A [`ConfigError`] at the innermost value that is wrong: unknown or missing keys, wrong types,
    /// unknown words, numbers that do not fit.
    pub fn read<C: DeserializeOwned>(&self) -> Result<C> {
        self.typed(&self.node.without(&[KIND]))
    }

    /// Reads a table that no plugin reads, in which `kind` is an unknown key like any other.
    ///
    /// # Errors
    /// As [`Section::read`].
    pub fn read_plain<C: DeserializeOwned>(&self) -> Result<C> {
        self.typed(&self.node)
    }

    fn typed<C: DeserializeOwned>(&self, node: &Node) -> Result<C> {
        deserialize::read(node, &self.path).map_err(|mut error| {
            if let ConfigError::UnknownKey { table, known, .. } = &mut error
                && *table == self.path
            {
                known.extend(self.others.iter().cloned());
            }
            error.into()
        })
    }

    /// Reads the value of one key; `None` if the table does not have it.
    ///
    /// # Errors
    /// As [`Section::read`].
    pub fn get<C: DeserializeOwned>(&self, key: &str) -> Result<Option<C>> {
        let read = |node| deserialize::read(node, &write::join(&self.path, key));
        Ok(self.node.entry(key).map(|e| read(&e.node)).transpose()?)
    }

    /// Whether the table has the key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.node.entry(key).is_some()
    }

    /// The keys, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.node.entries().iter().map(|e| e.key.as_str())
    }

    /// Where the value of `key` is; the header of the table if it has no such key.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        self.node.entry(key).map_or_else(|| self.place(), |e| e.node.place.clone())
    }

    /// Where the header of the table is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.node.place.clone()
    }

    /// The table under `key`, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::WrongType`] if the value is not a table.
    pub fn section(&self, key: &str) -> Result<Option<Self>> {
        self.node.entry(key).map(|e| Self::table(write::join(&self.path, key), &e.node)).transpose()
    }

    /// The table under `key`.
    ///
    /// # Errors
    /// [`ConfigError::MissingKey`] if there is none, [`ConfigError::WrongType`] if it is not a table.
    pub fn require(&self, key: &str) -> Result<Self> {
        self.section(key)?.ok_or_else(|| self.missing(key))
    }

    /// The tables in the table under `key`, with the names that the user gave them, in the order of
    /// the file: `[modality.sdss]`, `[modality.lightcurve]`. None if there is no such key.
    ///
    /// # Errors
    /// [`ConfigError::WrongType`] if a value is not a table.
    pub fn sections(&self, key: &str) -> Result<Vec<(String, Self)>> {
        let Some(outer) = self.section(key)? else { return Ok(Vec::new()) };
        let inner =
            |e: &super::node::Entry| Ok((e.key.clone(), Self::table(write::join(&outer.path, &e.key), &e.node)?));
        outer.node.entries().iter().map(inner).collect()
    }

    /// The tables of a list under `key`: `[[stage]]`. None if there is no such key.
    ///
    /// # Errors
    /// [`ConfigError::WrongType`] if it is not a list of tables.
    pub fn list(&self, key: &str) -> Result<Vec<Self>> {
        let Some(entry) = self.node.entry(key) else { return Ok(Vec::new()) };
        let path = write::join(&self.path, key);
        match &entry.node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(i, node)| Self::table(format!("{path}.{i}"), node)).collect()
            }
            _ => Err(wrong_type("a list of tables", path, &entry.node)),
        }
    }

    /// The same table without some keys, for a config whose other keys somebody else reads.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Self {
        let others = self.others.iter().cloned().chain(keys.iter().map(|&key| key.into())).collect();
        Self { path: self.path.clone(), node: self.node.without(keys), others }
    }

    /// Checks that the table has no keys but `known`.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`] for the first other one.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.node.entries().iter().find(|e| !known.contains(&e.key.as_str())) {
            None => Ok(()),
            Some(entry) => Err(ConfigError::UnknownKey {
                key: entry.key.clone(),
                table: self.path.clone(),
                known: known.iter().map(|&k| k.into()).collect(),
                place: entry.key_place.clone(),
            }
            .into()),
        }
    }

    /// The table as TOML, without its header.
    #[must_use]
    pub fn to_toml(&self) -> String {
        write::document(&self.node)
    }

    /// An error that points at the value of `key`, or at the table if `key` is not written there.
    ///
    /// `reason` says what the value must be: `must be between 1 and 64`.
    pub fn reject(&self, key: &str, reason: impl Into<String>) -> Error {
        let path = if key.is_empty() { self.path.clone() } else { write::join(&self.path, key) };
        ConfigError::Rejected { path, reason: reason.into(), place: self.place_of(key) }.into()
    }

    /// An error for a value of `key` that names a `what` (`modality`, `head`) that is not among `known`.
    ///
    /// Where the value is a list of names, or of such lists, the error points at the item that is `name`.
    pub fn unknown_reference(&self, key: &str, what: &str, name: &str, known: &[String]) -> Error {
        fn find<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
            match &node.value {
                Value::Text(text) if text == name => Some(node),
                Value::List(items) => items.iter().find_map(|item| find(item, name)),
                _ => None,
            }
        }
        let item = self.node.entry(key).and_then(|e| find(&e.node, name));
        let place = item.map_or_else(|| self.place_of(key), |node| node.place.clone());
        ConfigError::UnknownReference { what: what.into(), name: name.into(), known: known.to_vec(), place }.into()
    }

    fn missing(&self, key: &str) -> Error {
        ConfigError::MissingKey { key: key.into(), table: self.path.clone(), place: self.place() }.into()
    }

    fn table(path: String, node: &Node) -> Result<Self> {
        if node.is_table() { Ok(Self::new(path, node.clone())) } else { Err(wrong_type("a table", path, node)) }
    }
}

fn wrong_type(expected: &str, key: String, node: &Node) -> Error {
    ConfigError::WrongType { expected: expected.into(), found: node.describe(), key, place: node.place.clone() }.into()
}
