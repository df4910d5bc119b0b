//! A config as a tree of values, each with the place that it came from.
//!
//! Not `toml::Value`: that one forgets places, and the order of the file.

use super::place::{Place, Source};
use std::sync::Arc;
use toml::value::Datetime;

/// A value and where it was written. The place of a table is its header.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What TOML can say.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
    Date(Datetime),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Node {
    /// A table without keys, at the start of the text.
    pub(crate) fn empty(source: &Arc<Source>) -> Self {
        Self { value: Value::Table(Vec::new()), place: Place::new(source, 0..0) }
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    /// The keys of a table; none if it is not one.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    /// The same table without some of its keys.
    pub(crate) fn without(&self, keys: &[&str]) -> Self {
        let kept = self.entries().iter().filter(|e| !keys.contains(&e.key.as_str())).cloned().collect();
        Self { value: Value::Table(kept), place: self.place.clone() }
    }

    /// What a message says was found: ``a string `"12"` ``.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Text(text) if text.chars().count() > 40 => "a long string".into(),
            Value::Text(_) => format!("a string `{}`", super::write::inline(self)),
            Value::Integer(_) => format!("an integer `{}`", super::write::inline(self)),
            Value::Number(_) => format!("a number `{}`", super::write::inline(self)),
            Value::Flag(_) => format!("a boolean `{}`", super::write::inline(self)),
            Value::Date(_) => format!("a date `{}`", super::write::inline(self)),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }

    /// Merges `over` into this one: tables key by key, anything else is replaced.
    ///
    /// New keys come after those that were there, so the order of the merged file stays.
    pub(crate) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(base), Value::Table(entries)) => {
                self.place = over.place;
                for entry in entries {
                    match base.iter_mut().find(|e| e.key == entry.key) {
                        Some(old) => {
                            old.key_place = entry.key_place;
                            old.node.merge(entry.node);
                        }
                        None => base.push(entry),
                    }
                }
            }
            (_, value) => *self = Self { value, place: over.place },
        }
    }
}
