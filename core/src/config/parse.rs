//! TOML text to a tree of [`Node`]s. The grammar is the `toml` crate's; the tree keeps places.

use super::error::ConfigError;
use super::node::{Entry, Node, Value};
use super::place::{Place, Source};
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a whole document.
pub(crate) fn document(source: &Arc<Source>) -> Result<Node, ConfigError> {
    let table = DeTable::parse(&source.text).map_err(|e| syntax(source, &e, 0))?;
    Reader { source, offset: 0 }.table(table.into_inner(), 0..0)
}

/// Reads the one value that starts at byte `offset` of the source and goes on to its end.
///
/// `None` if that is not TOML.
pub(crate) fn value(source: &Arc<Source>, offset: usize) -> Result<Option<Node>, ConfigError> {
    let text = source.text.get(offset..).unwrap_or_default().trim_end();
    match DeValue::parse(text) {
        Ok(value) => Reader { source, offset }.node(value).map(Some),
        Err(_) => Ok(None),
    }
}

/// Reads the dotted key before byte `end` of the source: its parts and their places.
///
/// `None` if that is not one key.
pub(crate) fn dotted_key(source: &Arc<Source>, end: usize) -> Option<Vec<(String, Place)>> {
    let text = source.text.get(..end)?;
    if text.contains(char::is_control) {
        return None;
    }
    let line = format!("{text} = 0");
    let mut table = DeTable::parse(&line).ok()?.into_inner();
    let mut parts = Vec::new();
    loop {
        let mut entries = table.into_iter();
        let (key, value) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        parts.push((key.get_ref().to_string(), Place::new(source, key.span())));
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(parts),
        }
    }
}

fn syntax(source: &Arc<Source>, error: &toml::de::Error, offset: usize) -> ConfigError {
    let end = source.text.len();
    let span = error.span().map_or(end..end, |s| s.start + offset..s.end + offset);
    ConfigError::Syntax { message: error.message().into(), place: Place::new(source, span) }
}

/// Turns the crate's spanned values into ours.
struct Reader<'a> {
    source: &'a Arc<Source>,
    /// Where the parsed text starts in the source.
    offset: usize,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.source, span.start + self.offset..span.end + self.offset)
    }

    fn table(&self, table: DeTable<'_>, span: Range<usize>) -> Result<Node, ConfigError> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let key_place = self.place(key.span());
            entries.push(Entry { key: key.into_inner().into_owned(), key_place, node: self.node(value)? });
        }
        // The crate sorts by key; users expect the order in which they wrote.
        entries.sort_by_key(|e| e.key_place.span.start);
        Ok(Node { value: Value::Table(entries), place: self.place(span) })
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Result<Node, ConfigError> {
        let span = value.span();
        let place = self.place(span.clone());
        let too_large = |what: &str| ConfigError::Syntax {
            message: format!("{what} does not fit into 64 bits"),
            place: place.clone(),
        };
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(digits) => Value::Integer(
                i64::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| too_large("the integer"))?,
            ),
            DeValue::Float(digits) => match digits.as_str().parse::<f64>() {
                Ok(number) if !number.is_infinite() || digits.as_str().contains("inf") => Value::Number(number),
                _ => return Err(too_large("the number")),
            },
            DeValue::Boolean(flag) => Value::Flag(flag),
            DeValue::Datetime(date) => Value::Date(date),
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => return self.table(table, span),
        };
        Ok(Node { value, place })
    }
}
