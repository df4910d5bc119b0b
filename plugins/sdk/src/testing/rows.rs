//! Rows of a catalogue, from simple values or from JSON.

use crate::{Error, Mode, Result};

/// What may stand in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Missing,
    /// A number or a flag.
    Number(f64),
    /// A text; bytes, as catalogues may hold what isn't UTF-8.
    Text(Vec<u8>),
    /// A list.
    List(Vec<Value>),
}

macro_rules! numbers { ($($number:ty)*) => { $(
    impl From<$number> for Value {
        fn from(number: $number) -> Self {
            Self::Number(f64::from(number))
        }
    }
)* } }
numbers! { f32 f64 u8 i32 u32 bool }

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into_bytes())
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for Value {
    fn from(list: [T; N]) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// A batch of rows to test with.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    pub(crate) columns: Vec<(String, Vec<Value>)>,
    pub(crate) count: usize,
    pub(crate) ids: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self::new()
    }
}

impl Rows {
    /// No rows and no columns.
    #[must_use]
    pub fn new() -> Self {
        Self { columns: Vec::new(), count: 0, ids: Vec::new(), mode: Mode::Evaluate, seed: 0, epoch: 0 }
    }

    /// With a column; what the other columns have no value for is missing.
    #[must_use]
    pub fn column<T: Into<Value>>(mut self, path: impl Into<String>, values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        self.count = self.count.max(values.len());
        self.columns.push((path.into(), values));
        self
    }

    /// From a list of objects, one per row. Objects inside become dotted names; null and what isn't there are missing;
    /// the texts "nan", "inf" and "-inf" are numbers where numbers are asked for.
    ///
    /// # Errors
    /// If it isn't a list of objects.
    pub fn json(rows: serde_json::Value) -> Result<Self> {
        let serde_json::Value::Array(list) = rows else {
            return Err(Error::invalid("rows are a list of objects: [{ \"time\": [0.5, 1.5] }]"));
        };
        let mut rows = Self { count: list.len(), ..Self::new() };
        for (number, row) in list.into_iter().enumerate() {
            let serde_json::Value::Object(row) = row else {
                return Err(Error::row(number, "not an object"));
            };
            rows.fill("", number, row);
        }
        Ok(rows)
    }

    fn fill(&mut self, prefix: &str, row: usize, object: serde_json::Map<String, serde_json::Value>) {
        for (key, value) in object {
            let path = format!("{prefix}{key}");
            if let serde_json::Value::Object(inner) = value {
                self.fill(&format!("{path}."), row, inner);
                continue;
            }
            let number = self.columns.iter().position(|(p, _)| *p == path).unwrap_or_else(|| {
                self.columns.push((path, Vec::new()));
                self.columns.len() - 1
            });
            if let Some((_, values)) = self.columns.get_mut(number) {
                values.resize(row, Value::Missing);
                values.push(value_of(value));
            }
        }
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// With names of the objects; without, they are numbers.
    #[must_use]
    pub fn ids(mut self, ids: &[&str]) -> Self {
        self.ids = ids.iter().map(ToString::to_string).collect();
        self
    }

    /// As in training, seen `epoch` times, in a run with this seed.
    #[must_use]
    pub fn train(mut self, seed: u64, epoch: u64) -> Self {
        (self.mode, self.seed, self.epoch) = (Mode::Train, seed, epoch);
        self
    }

    /// One row as a batch.
    pub(crate) fn alone(&self, row: usize) -> Self {
        let cut = |values: &Vec<Value>| vec![values.get(row).cloned().unwrap_or(Value::Missing)];
        Self {
            columns: self.columns.iter().map(|(p, v)| (p.clone(), cut(v))).collect(),
            count: 1,
            ids: vec![self.id(row)],
            ..*self
        }
    }

    pub(crate) fn id(&self, row: usize) -> String {
        self.ids.get(row).cloned().unwrap_or_else(|| row.to_string())
    }
}

fn value_of(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null | serde_json::Value::Object(_) => Value::Missing,
        serde_json::Value::Bool(flag) => Value::from(flag),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(list) => Value::List(list.into_iter().map(value_of).collect()),
    }
}
