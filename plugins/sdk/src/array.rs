//! Numbers in memory of the host, as typed slices: one row per object (or token), row-major without gaps.

use std::fmt;

/// Types of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Bytes: masks and flags.
    U8,
    /// Categories and codes.
    U32,
    /// Texts; of columns only.
    Text,
}

impl Type {
    /// Its number in the C interface.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::F32 => panchroma_abi::F32,
            Self::F64 => panchroma_abi::F64,
            Self::U8 => panchroma_abi::U8,
            Self::U32 => panchroma_abi::U32,
            Self::Text => panchroma_abi::TEXT,
        }
    }

    /// From its number in the C interface.
    pub(crate) fn of(number: u32) -> Option<Self> {
        [Self::F32, Self::F64, Self::U8, Self::U32, Self::Text].into_iter().find(|t| t.number() == number)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::U8 => "u8",
            Self::U32 => "u32",
            Self::Text => "text",
        })
    }
}

mod sealed {
    use super::{AnyArray, AnyArrayMut, Array, ArrayMut};

    /// Keeps [`super::Element`] to the types of the interface, and sorts them.
    pub trait Sealed: Sized {
        /// 1 unsigned integer, 2 floating point: as DLPack numbers them.
        const CODE: u8;
        fn array(any: AnyArray<'_>) -> Option<Array<'_, Self>>;
        fn array_mut(any: AnyArrayMut<'_>) -> Option<ArrayMut<'_, Self>>;
    }
}
pub(crate) use sealed::Sealed;

/// A type that arrays may hold: `f32`, `f64`, `u8`, `u32`. Any bits are a value of each.
pub trait Element: Sealed + Copy + PartialEq + fmt::Debug + Default + Send + Sync + 'static {
    /// Its number.
    const TYPE: Type;
}

/// An array to read, of any type.
#[derive(Clone, Debug)]
pub enum AnyArray<'a> {
    /// Single precision.
    F32(Array<'a, f32>),
    /// Double precision.
    F64(Array<'a, f64>),
    /// Bytes.
    U8(Array<'a, u8>),
    /// Integers.
    U32(Array<'a, u32>),
}

/// An array to fill, of any type.
#[derive(Debug)]
pub enum AnyArrayMut<'a> {
    /// Single precision.
    F32(ArrayMut<'a, f32>),
    /// Double precision.
    F64(ArrayMut<'a, f64>),
    /// Bytes.
    U8(ArrayMut<'a, u8>),
    /// Integers.
    U32(ArrayMut<'a, u32>),
}

macro_rules! elements { ($($element:ty, $variant:ident, $code:literal;)*) => { $(
    impl Sealed for $element {
        const CODE: u8 = $code;
        fn array(any: AnyArray<'_>) -> Option<Array<'_, Self>> {
            match any {
                AnyArray::$variant(array) => Some(array),
                _ => None,
            }
        }
        fn array_mut(any: AnyArrayMut<'_>) -> Option<ArrayMut<'_, Self>> {
            match any {
                AnyArrayMut::$variant(array) => Some(array),
                _ => None,
            }
        }
    }
    impl Element for $element {
        const TYPE: Type = Type::$variant;
    }
)* } }
elements! { f32, F32, 2; f64, F64, 2; u8, U8, 1; u32, U32, 1; }

/// An array to read: `[rows, ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a, T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [T],
}

impl<'a, T: Element> Array<'a, T> {
    /// Lengths of all axes, the first of which counts rows.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values a row has.
    #[must_use]
    pub fn width(&self) -> usize {
        width(&self.shape)
    }

    /// Values of a row; none if there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [T] {
        self.values.get(span(&self.shape, row)).unwrap_or_default()
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &'a [T] {
        self.values
    }
}

/// An array to fill: `[rows, ..]`.
#[derive(Debug, PartialEq)]
pub struct ArrayMut<'a, T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a mut [T],
}

impl<T: Element> ArrayMut<'_, T> {
    /// Lengths of all axes, the first of which counts rows.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values a row has.
    #[must_use]
    pub fn width(&self) -> usize {
        width(&self.shape)
    }

    /// Values of a row; none if there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[T] {
        self.values.get(span(&self.shape, row)).unwrap_or_default()
    }

    /// Values of a row, to fill; none if there is no such row.
    #[must_use]
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        self.values.get_mut(span(&self.shape, row)).unwrap_or_default()
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &[T] {
        self.values
    }

    /// All values, row after row, to fill.
    #[must_use]
    pub fn values_mut(&mut self) -> &mut [T] {
        self.values
    }
}

fn width(shape: &[usize]) -> usize {
    shape.get(1..).unwrap_or_default().iter().product()
}

/// Where a row lies. A row that would overflow lies behind everything.
fn span(shape: &[usize], row: usize) -> std::ops::Range<usize> {
    let width = width(shape);
    let start = row.saturating_mul(width);
    start..start.saturating_add(width)
}
