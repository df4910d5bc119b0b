//! Typed reading of a [`Node`] with serde, so that errors carry the place of the innermost value.
//!
//! `toml`'s own deserializer knows one text; a resolved config comes from several.

use super::error::ConfigError;
use super::node::{Entry, Node, Value};
use super::write;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, VariantAccess, Visitor};
use std::fmt::Display;

/// Reads a value of type `T`; `path` is the dotted path of the node.
pub(crate) fn read<T: de::DeserializeOwned>(node: &Node, path: &str) -> Result<T, ConfigError> {
    let reader = Reader { node, path: path.into() };
    let place = reader.clone();
    T::deserialize(reader).map_err(|fault| match fault.at(&place) {
        Fault::Placed(error) => *error,
        Fault::Loose(loose) => rejected(&place, &format!("{loose:?}")),
    })
}

/// What serde reports: it doesn't know the place, so that is added on the way out.
#[derive(Debug)]
pub(crate) enum Fault {
    Placed(Box<ConfigError>),
    Loose(Loose),
}

/// serde's own reports.
#[derive(Debug)]
pub(crate) enum Loose {
    Message(String),
    Missing(String),
    UnknownKey(String, Vec<String>),
    UnknownValue(String, Vec<String>),
    /// `whole`: what was found is a list or table.
    Type {
        expected: String,
        found: String,
        whole: bool,
    },
    Range {
        expected: String,
        found: String,
    },
}

impl Fault {
    /// Adds the place, if an inner value has not already done so.
    fn at(self, reader: &Reader<'_>) -> Self {
        let Self::Loose(loose) = self else { return self };
        let Reader { node, path } = reader;
        let place = node.place.clone();
        let is_whole = matches!(node.value, Value::Table(_) | Value::List(_));
        Self::Placed(Box::new(match loose {
            Loose::Message(text) if text.starts_with("data did not match any variant") => {
                rejected(reader, "it has none of the forms that this key takes")
            }
            Loose::Message(text) => rejected(reader, &text),
            Loose::Missing(key) => ConfigError::MissingKey { key, table: path.clone(), place },
            Loose::UnknownKey(key, known) => {
                let place = node.entry(&key).map_or(place, |e| e.key_place.clone());
                ConfigError::UnknownKey { key, table: path.clone(), known, place }
            }
            Loose::UnknownValue(value, known) => ConfigError::UnknownValue { value, key: path.clone(), known, place },
            Loose::Type { expected, found, whole } => {
                // Where serde buffered a table, the report is about a value inside it.
                let found = if whole == is_whole { node.describe() } else { found };
                ConfigError::WrongType { expected: friendly(&expected, false), found, key: path.clone(), place }
            }
            Loose::Range { expected, found } => {
                ConfigError::WrongType { expected: friendly(&expected, true), found, key: path.clone(), place }
            }
        }))
    }
}

fn rejected(reader: &Reader<'_>, reason: &str) -> ConfigError {
    ConfigError::Rejected { path: reader.path.clone(), reason: reason.into(), place: reader.node.place.clone() }
}

/// Rust's names of types, in words; `range` where the type is right and the number does not fit.
fn friendly(expected: &str, range: bool) -> String {
    let integer = |least: i128, most: i128| match (range, least, most > i128::from(i64::MAX) - 1) {
        (false, ..) => "an integer".into(),
        (true, 0, true) => "an integer of 0 or more".into(),
        (true, least, _) => format!("an integer from {least} to {most}"),
    };
    match expected {
        "u8" => integer(0, u8::MAX.into()),
        "u16" => integer(0, u16::MAX.into()),
        "u32" => integer(0, u32::MAX.into()),
        "u64" | "usize" => integer(0, u64::MAX.into()),
        "i8" => integer(i8::MIN.into(), i8::MAX.into()),
        "i16" => integer(i16::MIN.into(), i16::MAX.into()),
        "i32" => integer(i32::MIN.into(), i32::MAX.into()),
        "i64" | "isize" => integer(i64::MIN.into(), i64::MAX.into()),
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "an integer of 1 or more".into(),
        "f32" | "f64" => "a number".into(),
        "path string" => "a path in quotes".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        text if text.starts_with("struct ") => "a table".into(),
        text if text.starts_with("enum ") => "a word in quotes".into(),
        text => ["a tuple of size ", "an array of length "]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .map_or_else(|| text.into(), |count| format!("a list of {count}")),
    }
}

fn found(value: &Unexpected<'_>) -> String {
    let text = value.to_string();
    let article = if text.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {text}")
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Placed(error) => error.fmt(f),
            Self::Loose(loose) => write!(f, "{loose:?}"),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::Loose(Loose::Message(message.to_string()))
    }
    fn invalid_type(value: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let whole = matches!(value, Unexpected::Map | Unexpected::Seq);
        Self::Loose(Loose::Type { expected: expected.to_string(), found: found(&value), whole })
    }
    fn invalid_value(value: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Loose(Loose::Range { expected: expected.to_string(), found: found(&value) })
    }
    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Loose(Loose::Range { expected: expected.to_string(), found: format!("a list of {length}") })
    }
    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        Self::Loose(Loose::UnknownValue(value.into(), owned(known)))
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::Loose(Loose::UnknownKey(key.into(), owned(known)))
    }
    fn missing_field(key: &'static str) -> Self {
        Self::Loose(Loose::Missing(key.into()))
    }
}

/// One node, on its way into a typed value.
#[derive(Clone)]
struct Reader<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Reader<'a> {
    /// Reads this node with `seed`; faults get its place.
    fn seed<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let place = self.clone();
        seed.deserialize(self).map_err(|fault| fault.at(&place))
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Number(number) => visitor.visit_f64(*number),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Date(date) => visitor.visit_string(date.to_string()),
            Value::List(items) => {
                let mut list = List { items: items.iter().enumerate(), path: &self.path };
                let value = visitor.visit_seq(&mut list)?;
                // A visitor of a tuple stops when it has enough.
                let unread = list.items.len();
                if unread == 0 {
                    return Ok(value);
                }
                let expected = format!("a list of {}", items.len() - unread);
                Err(de::Error::invalid_length(items.len(), &expected.as_str()))
            }
            Value::Table(entries) => visitor.visit_map(Keys { entries: entries.iter(), next: None, path: &self.path }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // Before anything is read: a misspelt key must not be reported as a missing one.
        match self.node.entries().iter().find(|e| !fields.contains(&e.key.as_str())) {
            Some(entry) => Err(de::Error::unknown_field(&entry.key, fields)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match (&self.node.value, self.node.entries()) {
            (Value::Text(word), _) => visitor.visit_enum(word.as_str().into_deserializer()),
            // `{ variant = { .. } }`: an enum that holds data.
            (_, [entry]) => visitor.visit_enum(Variant { entry, path: &self.path }),
            _ => Err(Fault::Loose(Loose::Type {
                expected: format!("enum {name}"),
                found: self.node.describe(),
                whole: matches!(self.node.value, Value::List(_) | Value::Table(_)),
            })),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

/// The items of a list.
struct List<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: &'a str,
}

impl<'de> de::SeqAccess<'de> for &mut List<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        Reader { node, path: write::join(self.path, &index.to_string()) }.seed(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The keys and values of a table.
struct Keys<'a> {
    entries: std::slice::Iter<'a, Entry>,
    next: Option<&'a Entry>,
    path: &'a str,
}

impl<'de> de::MapAccess<'de> for Keys<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next = self.entries.next();
        let Some(entry) = self.next else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        match self.next {
            Some(entry) => Reader { node: &entry.node, path: write::join(self.path, &entry.key) }.seed(seed),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// The variant of an enum that holds data.
struct Variant<'a> {
    entry: &'a Entry,
    path: &'a str,
}

impl<'a> Variant<'a> {
    fn inner(&self) -> Reader<'a> {
        Reader { node: &self.entry.node, path: write::join(self.path, &self.entry.key) }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.entry.key.as_str().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(de::Error::custom(format!("`{}` is a word on its own, without a table", self.entry.key)))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        self.inner().seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        let place = self.inner();
        self.inner().deserialize_any(visitor).map_err(|fault| fault.at(&place))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let place = self.inner();
        self.inner().deserialize_struct("", fields, visitor).map_err(|fault| fault.at(&place))
    }
}
