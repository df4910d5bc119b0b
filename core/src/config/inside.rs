//! Errors at any depth of a table, for readers that check a config against a JSON schema instead of a typed struct.

use super::error::ConfigError;
use super::node::{Node, Value};
use super::section::Section;
use super::write;
use crate::Error;

/// What a schema says is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The table has a key that the schema doesn't know.
    UnknownKey {
        /// The key.
        key: String,
        /// Those that it knows.
        known: Vec<String>,
    },
    /// The table lacks a key.
    MissingKey(String),
    /// The value has another type.
    WrongType {
        /// In words: `an integer`.
        expected: String,
    },
    /// The value is not one of the words that the key takes.
    UnknownValue {
        /// Those that it takes.
        known: Vec<String>,
    },
    /// Anything else: what the value must be.
    Rejected(String),
}

impl Section {
    /// The error for `fault` at `path`, keys and numbers of items below this table.
    #[must_use]
    pub fn fault(&self, path: &[String], fault: Fault) -> Error {
        let mut node = self.node();
        let mut dotted = self.path().to_owned();
        for step in path {
            let Some(next) = below(node, step) else { break };
            node = next;
            dotted = write::join(&dotted, step);
        }
        let place = node.place.clone();
        match fault {
            Fault::UnknownKey { key, known } => {
                let place = node.entry(&key).map_or(place, |e| e.key_place.clone());
                ConfigError::UnknownKey { key, table: dotted, known, place }
            }
            Fault::MissingKey(key) => ConfigError::MissingKey { key, table: dotted, place },
            Fault::WrongType { expected } => {
                ConfigError::WrongType { expected, found: node.describe(), key: dotted, place }
            }
            Fault::UnknownValue { known } => {
                let value = match &node.value {
                    Value::Text(text) => text.clone(),
                    _ => write::inline(node),
                };
                ConfigError::UnknownValue { value, key: dotted, known, place }
            }
            Fault::Rejected(reason) => ConfigError::Rejected { path: dotted, reason, place },
        }
        .into()
    }
}

fn below<'a>(node: &'a Node, step: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Table(_) => node.entry(step).map(|e| &e.node),
        Value::List(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_point_at_the_innermost_value() {
        let section = Section::from_toml("modality.x", "bands = [{ name = \"g\" }, { name = \"q\" }]\n").unwrap();
        let path = ["bands", "1", "name"].map(String::from);
        let error = section.fault(&path, Fault::UnknownValue { known: vec!["g".into()] });
        let place = error.place().unwrap();
        assert_eq!(&place.source.text[place.span.clone()], "\"q\"");
        assert_eq!(error.to_string(), "unknown value `q` for `modality.x.bands.1.name`");
        let error = section.fault(&path[..2], Fault::UnknownKey { key: "name".into(), known: Vec::new() });
        assert_eq!(error.to_string(), "unknown key `name` in [modality.x.bands.1]");
        let error = section.fault(&[], Fault::MissingKey("unit".into()));
        assert_eq!(error.to_string(), "missing key `unit` in [modality.x]");
    }
}
