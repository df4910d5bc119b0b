//! Which columns a part reads, and whether a file has them in a usable type.

use arrow_schema::{DataType, Fields};

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColumnKind {
    /// Integers or floating-point numbers.
    Number,
    /// Text, dictionary-coded or not.
    Text,
    /// What tells classes apart: text, whole numbers or flags, read as text.
    Label,
    /// True or false; integers and floating-point numbers count as true if not 0, NaN too.
    Flag,
}

impl ColumnKind {
    /// Whether leaf values of type `found` can be read as this kind. A column in which everything
    /// is missing may have the type `Null`, which is any kind.
    pub(super) fn accepts(self, found: &DataType) -> bool {
        match found {
            DataType::Null => true,
            DataType::Dictionary(_, values) => self.accepts(values),
            _ => match self {
                Self::Number => found.is_numeric(),
                Self::Text => matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
                Self::Label => Self::Text.accepts(found) || found.is_integer() || *found == DataType::Boolean,
                Self::Flag => *found == DataType::Boolean || found.is_integer() || found.is_floating(),
            },
        }
    }

    /// The type that fits whatever files hold, for files that differ.
    pub(super) fn widest(self) -> DataType {
        match self {
            Self::Number => DataType::Float64,
            Self::Text | Self::Label => DataType::LargeUtf8,
            Self::Flag => DataType::Boolean,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Number => ("a number", "numbers"),
            Self::Text => ("text", "text"),
            Self::Label => ("text, a whole number or a flag", "text, whole numbers or flags"),
            Self::Flag => ("a flag", "flags"),
        }
    }
}

/// A column that somebody reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Column {
    /// Name, dotted into structs: `lightcurve.flux`.
    pub path: String,
    /// What its values are.
    pub kind: ColumnKind,
    /// Levels of lists: 0 for one value per object, 3 for images of several bands.
    pub depth: usize,
    /// Whether every file must have it. What is absent reads as missing for every object.
    pub required: bool,
    /// The table of the config that asks for it, for messages: `[modality.sdss]`. Empty if nobody said.
    pub reader: String,
    /// The codec whose codes it must hold, if it holds codes.
    pub codec: Option<CodecId>,
}

/// Which codec is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodecId {
    /// Where it comes from, for messages.
    pub run: String,
    /// Of its config, weights and all that it learned.
    pub sha256: String,
}

impl Column {
    /// One number per object, required.
    #[must_use]
    pub fn number(path: impl Into<String>) -> Self {
        Self::new(path, ColumnKind::Number)
    }

    /// One text per object, required.
    #[must_use]
    pub fn text(path: impl Into<String>) -> Self {
        Self::new(path, ColumnKind::Text)
    }

    /// One class per object, required.
    #[must_use]
    pub fn label(path: impl Into<String>) -> Self {
        Self::new(path, ColumnKind::Label)
    }

    /// One flag per object, required.
    #[must_use]
    pub fn flag(path: impl Into<String>) -> Self {
        Self::new(path, ColumnKind::Flag)
    }

    fn new(path: impl Into<String>, kind: ColumnKind) -> Self {
        Self { path: path.into(), kind, depth: 0, required: true, reader: String::new(), codec: None }
    }

    /// A list of such values per object.
    #[must_use]
    pub fn list(self) -> Self {
        self.depth(1)
    }

    /// Lists of lists, `depth` levels of them.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// The catalogue may lack it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Codes of `codec`: a catalogue that says that another one made them is refused.
    #[must_use]
    pub fn made_by(mut self, codec: CodecId) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Says who reads it.
    #[must_use]
    pub fn read_by(mut self, reader: impl Into<String>) -> Self {
        self.reader = reader.into();
        self
    }

    /// What it should be, in words: `a list of numbers`.
    pub(super) fn expected(&self) -> String {
        expected(self.kind, self.depth)
    }
}

/// `a number`, `a list of text`, `a list of lists of flags`.
pub(super) fn expected(kind: ColumnKind, depth: usize) -> String {
    let (single, plural) = kind.words();
    match depth {
        0 => single.to_owned(),
        _ => format!("a list of {}{plural}", "lists of ".repeat(depth - 1)),
    }
}

/// A type in words that an astronomer knows: `a list of text`, `a struct of band, time, flux`.
pub(super) fn describe(found: &DataType) -> String {
    match found {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!(
                "a list of {}",
                describe(item.data_type()).trim_start_matches("a ").replacen("list of", "lists of", 1)
            )
        }
        DataType::Struct(fields) => {
            let names: Vec<_> = fields.iter().map(|f| format!("`{}`", f.name())).collect();
            format!("a struct of {}", names.join(", "))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Dictionary(_, values) => describe(values),
        DataType::Boolean => "flags (true or false)".into(),
        DataType::Null => "nothing but nulls".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => format!("{found:?} numbers").replace("Float", "f"),
        _ if found.is_integer() => format!("{found:?} numbers").replace("UInt", "u").replace("Int", "i"),
        _ => format!("{found}"),
    }
}

/// The field of `fields` that `path` begins with, and what of the path is left under it.
///
/// A field's own name may have dots, so the longest name that fits is taken.
pub(super) fn step<'a>(fields: &Fields, path: &'a str) -> Option<(usize, &'a str)> {
    fields
        .iter()
        .enumerate()
        .filter_map(|(index, field)| {
            let rest = path.strip_prefix(field.name().as_str())?;
            let below = if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }?;
            Some((index, below))
        })
        .min_by_key(|(_, rest)| rest.len())
}

/// Where a path ends in a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Type of the leaf.
    pub(super) leaf: DataType,
    /// Levels of lists above the leaf.
    pub(super) depth: usize,
    /// First of the file's leaf columns that belong to it.
    pub(super) first_leaf: usize,
}

/// Finds `path` among `fields`.
pub(super) fn find(fields: &Fields, path: &str) -> Option<Found> {
    let (index, mut rest) = step(fields, path)?;
    let mut first_leaf: usize = fields.iter().take(index).map(|f| leaves(f.data_type())).sum();
    let mut current = fields.get(index)?.data_type();
    let mut depth = 0;
    loop {
        match current {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                depth += 1;
                current = item.data_type();
            }
            DataType::Struct(inner) if !rest.is_empty() => {
                let (index, below) = step(inner, rest)?;
                first_leaf += inner.iter().take(index).map(|f| leaves(f.data_type())).sum::<usize>();
                current = inner.get(index)?.data_type();
                rest = below;
            }
            _ if rest.is_empty() => {
                return Some(Found { leaf: current.clone(), depth, first_leaf });
            }
            _ => return None,
        }
    }
}

impl Found {
    /// The Parquet leaf columns that hold it.
    pub(super) fn leaves(&self) -> std::ops::Range<usize> {
        self.first_leaf..self.first_leaf + leaves(&self.leaf)
    }
}

/// How many Parquet leaf columns a type is stored in.
fn leaves(of: &DataType) -> usize {
    match of {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => leaves(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|f| leaves(f.data_type())).sum(),
        _ => 1,
    }
}

/// Every leaf's dotted path, for suggestions.
pub(super) fn paths(fields: &Fields) -> Vec<String> {
    fn below(prefix: &str, of: &DataType, into: &mut Vec<String>) {
        match of {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                below(prefix, item.data_type(), into);
            }
            DataType::Struct(fields) => {
                for field in fields {
                    below(&format!("{prefix}.{}", field.name()), field.data_type(), into);
                }
            }
            _ => into.push(prefix.to_owned()),
        }
    }
    let mut into = Vec::new();
    for field in fields {
        below(field.name(), field.data_type(), &mut into);
    }
    into
}
