//! Rows of the catalogue: the columns that a component asked for, as typed slices.

use crate::{Column, Error, Result, Type};
use std::borrow::Cow;

/// Whether augmentation is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Augment, drop, draw.
    Train,
    /// The same answer every time.
    Evaluate,
}

/// A batch of rows.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    pub(crate) count: usize,
    pub(crate) columns: &'a [Column],
    pub(crate) data: Vec<Data<'a>>,
    pub(crate) ids: Vec<&'a str>,
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) random: &'a [u64],
}

/// A column: `offsets` rise and stay within the level below.
#[derive(Clone, Debug)]
pub(crate) struct Data<'a> {
    pub(crate) present: &'a [u8],
    pub(crate) offsets: Vec<&'a [u64]>,
    pub(crate) values: AnyValues<'a>,
}

#[derive(Clone, Debug)]
pub(crate) enum AnyValues<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    U8(&'a [u8]),
    Text(Vec<&'a str>),
}

/// A type that columns may hold: `f32`, `f64`, `u8` (flags), `&str`.
pub trait Value<'a>: Copy + std::fmt::Debug {
    #[doc(hidden)]
    const KIND: Type;
    #[doc(hidden)]
    fn values(rows: &Rows<'a>, number: usize) -> Option<Cow<'a, [Self]>>;
    /// Whether it stands for a missing value.
    fn is_missing(&self) -> bool;
}

macro_rules! values { ($($value:ty, $variant:ident, $missing:expr;)*) => { $(
    impl<'a> Value<'a> for $value {
        const KIND: Type = Type::$variant;
        fn values(rows: &Rows<'a>, number: usize) -> Option<Cow<'a, [Self]>> {
            match &rows.data.get(number)?.values {
                AnyValues::$variant(values) => Some(Cow::from(values.clone())),
                _ => None,
            }
        }
        fn is_missing(&self) -> bool {
            $missing(*self)
        }
    }
)* } }
values! { f32, F32, f32::is_nan; f64, F64, f64::is_nan; u8, U8, |_| false; &'a str, Text, |_| false; }

impl<'a> Rows<'a> {
    /// How many rows (objects) the batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Name of an object.
    #[must_use]
    pub fn id(&self, row: usize) -> &'a str {
        self.ids.get(row).copied().unwrap_or("")
    }

    /// Whether augmentation is allowed.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Seed of the run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How often the data has been seen.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A number for each object and epoch to start random numbers from; none unless the component set `RANDOM`.
    #[must_use]
    pub fn random(&self, row: usize) -> Option<u64> {
        self.random.get(row).copied()
    }

    /// A column of one value per row.
    ///
    /// # Errors
    /// If the component didn't ask for it in this way.
    pub fn values<T: Value<'a>>(&self, path: &str) -> Result<Values<'a, T>> {
        let number = self.find(path, T::KIND, 0)?;
        let (data, values) = self.column::<T>(path, number)?;
        Ok(Values { present: data.present, values })
    }

    /// A column of lists.
    ///
    /// # Errors
    /// If the component didn't ask for it in this way.
    pub fn lists<T: Value<'a>>(&self, path: &str) -> Result<Lists<'a, T>> {
        let number = self.find(path, T::KIND, 1)?;
        let (data, values) = self.column::<T>(path, number)?;
        Ok(Lists { present: data.present, offsets: data.offsets.first().copied().unwrap_or_default(), values })
    }

    /// A column of lists of lists, of any depth.
    ///
    /// # Errors
    /// If the component didn't ask for it in this way.
    pub fn nested<T: Value<'a>>(&self, path: &str) -> Result<Nested<'a, T>> {
        let depth = self.columns.iter().find(|c| c.path == path).map_or(2, |c| c.depth);
        let number = self.find(path, T::KIND, depth)?;
        let (data, values) = self.column::<T>(path, number)?;
        Ok(Nested { present: data.present, offsets: data.offsets.clone(), values })
    }

    fn find(&self, path: &str, kind: Type, depth: u32) -> Result<usize> {
        let found = self.columns.iter().position(|c| c.path == path && c.kind == kind && c.depth == depth);
        found.ok_or_else(|| match self.columns.iter().find(|c| c.path == path) {
            None => Error::failed(format!("column `{path}` isn't among those that `columns` asked for")),
            Some(c) => Error::failed(format!(
                "column `{path}` was asked for as {} in {} levels of lists, and read as {kind} in {depth}",
                c.kind, c.depth
            )),
        })
    }

    fn column<T: Value<'a>>(&self, path: &str, number: usize) -> Result<(&Data<'a>, Cow<'a, [T]>)> {
        let data = self.data.get(number).zip(T::values(self, number));
        data.ok_or_else(|| Error::failed(format!("column `{path}` isn't {}", T::KIND)))
    }
}

macro_rules! accessors { ($($value:ty, $one:ident, $list:ident, $nested:ident, $what:literal;)*) => {
    impl<'a> Rows<'a> { $(
        #[doc = concat!("A column of ", $what, ", one per row.\n\n# Errors\nIf the component didn't ask for it in this way.")]
        pub fn $one(&self, path: &str) -> Result<Values<'a, $value>> {
            self.values(path)
        }
        #[doc = concat!("A column of lists of ", $what, ".\n\n# Errors\nIf the component didn't ask for it in this way.")]
        pub fn $list(&self, path: &str) -> Result<Lists<'a, $value>> {
            self.lists(path)
        }
        #[doc = concat!("A column of nested lists of ", $what, ".\n\n# Errors\nIf the component didn't ask for it in this way.")]
        pub fn $nested(&self, path: &str) -> Result<Nested<'a, $value>> {
            self.nested(path)
        }
    )* }
} }
accessors! {
    f32, f32, list_f32, nested_f32, "numbers in single precision";
    f64, f64, list_f64, nested_f64, "numbers in double precision";
    u8, flag, list_flag, nested_flag, "flags, 0 or 1";
    &'a str, text, list_text, nested_text, "texts";
}

/// One value per row.
#[derive(Clone, Debug)]
pub struct Values<'a, T: Clone> {
    present: &'a [u8],
    values: Cow<'a, [T]>,
}

impl<'a, T: Value<'a>> Values<'a, T> {
    /// The value of a row, unless it is missing or not a number.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<T> {
        let value = self.values.get(row).copied()?;
        (self.present(row) && !value.is_missing()).then_some(value)
    }

    /// Whether the catalogue has something for this row.
    #[must_use]
    pub fn present(&self, row: usize) -> bool {
        self.present.get(row).is_some_and(|p| *p != 0)
    }
}

/// A list per row.
#[derive(Clone, Debug)]
pub struct Lists<'a, T: Clone> {
    present: &'a [u8],
    offsets: &'a [u64],
    values: Cow<'a, [T]>,
}

impl<'a, T: Value<'a>> Lists<'a, T> {
    /// The list of a row; empty if it is missing.
    #[must_use]
    pub fn row(&self, row: usize) -> &[T] {
        if self.present(row) { self.values.get(span(self.offsets, row)).unwrap_or_default() } else { &[] }
    }

    /// Whether the catalogue has something for this row.
    #[must_use]
    pub fn present(&self, row: usize) -> bool {
        self.present.get(row).is_some_and(|p| *p != 0)
    }
}

/// Lists of lists.
#[derive(Clone, Debug)]
pub struct Nested<'a, T: Clone> {
    present: &'a [u8],
    offsets: Vec<&'a [u64]>,
    values: Cow<'a, [T]>,
}

impl<'a, T: Value<'a>> Nested<'a, T> {
    /// The list of a row; empty if it is missing.
    #[must_use]
    pub fn row(&self, row: usize) -> List<'_, 'a, T> {
        let range = match self.offsets.first() {
            Some(offsets) if self.present(row) => span(offsets, row),
            _ => 0..0,
        };
        List { column: self, level: 1, range }
    }

    /// Whether the catalogue has something for this row.
    #[must_use]
    pub fn present(&self, row: usize) -> bool {
        self.present.get(row).is_some_and(|p| *p != 0)
    }
}

/// One list of a nested column.
#[derive(Clone, Debug)]
pub struct List<'n, 'a, T: Clone> {
    column: &'n Nested<'a, T>,
    level: usize,
    range: std::ops::Range<usize>,
}

impl<'n, 'a, T: Value<'a>> List<'n, 'a, T> {
    /// How many lists, or, at the last level, values are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it has nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// A list in it; empty if there is none, and at the last level.
    #[must_use]
    pub fn list(&self, number: usize) -> List<'n, 'a, T> {
        let inside = self.range.start.checked_add(number).filter(|i| self.range.contains(i));
        let range = match (self.column.offsets.get(self.level), inside) {
            (Some(offsets), Some(number)) => span(offsets, number),
            _ => 0..0,
        };
        List { column: self.column, level: self.level.saturating_add(1), range }
    }

    /// All values in it, across its lists.
    #[must_use]
    pub fn values(&self) -> &'n [T] {
        let mut range = self.range.clone();
        for offsets in self.column.offsets.get(self.level..).unwrap_or_default() {
            let at = |i: usize| offsets.get(i).map_or(0, |o| usize::try_from(*o).unwrap_or(usize::MAX));
            range = at(range.start)..at(range.end);
        }
        self.column.values.get(range).unwrap_or_default()
    }
}

fn span(offsets: &[u64], list: usize) -> std::ops::Range<usize> {
    let at = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok());
    match (at(list), list.checked_add(1).and_then(at)) {
        (Some(start), Some(end)) => start..end,
        _ => 0..0,
    }
}
