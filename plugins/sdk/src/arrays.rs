//! Arrays of a batch of objects: what a modality fills, and what codecs and tokenizers read.

use crate::array::{AnyArray, AnyArrayMut};
use crate::{Array, ArrayMut, ArraysSpec, Element, Error, Result};

/// Arrays of a batch, to read.
#[derive(Clone, Debug)]
pub struct Arrays<'a> {
    pub(crate) spec: &'a ArraysSpec,
    pub(crate) present: &'a [u8],
    pub(crate) valid: Array<'a, u8>,
    pub(crate) fields: Vec<AnyArray<'a>>,
}

impl<'a> Arrays<'a> {
    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// What the arrays look like.
    #[must_use]
    pub fn spec(&self) -> &'a ArraysSpec {
        self.spec
    }

    /// Whether an object has the measurement.
    #[must_use]
    pub fn present(&self, row: usize) -> bool {
        self.present.get(row).is_some_and(|p| *p != 0)
    }

    /// Where a value was measured: 1 in `[B, axes of the mask..]`.
    #[must_use]
    pub fn valid(&self) -> &Array<'a, u8> {
        &self.valid
    }

    /// A field by its name.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn field<T: Element>(&self, name: &str) -> Result<Array<'a, T>> {
        let (number, kind) = find(self.spec, name)?;
        let found = self.fields.get(number).cloned().and_then(T::array);
        found.ok_or_else(|| Error::invalid(format!("field `{name}` is {kind}, not {}", T::TYPE)))
    }

    /// A field in single precision.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn f32(&self, name: &str) -> Result<Array<'a, f32>> {
        self.field(name)
    }

    /// A field in double precision.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn f64(&self, name: &str) -> Result<Array<'a, f64>> {
        self.field(name)
    }

    /// A field of bytes.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn u8(&self, name: &str) -> Result<Array<'a, u8>> {
        self.field(name)
    }

    /// A field of categories or codes.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn u32(&self, name: &str) -> Result<Array<'a, u32>> {
        self.field(name)
    }
}

/// Arrays of a batch, to fill. They begin with nobody present and nothing valid.
///
/// Each array is handed out once, so that several can be filled side by side.
#[derive(Debug)]
pub struct ArraysMut<'a> {
    pub(crate) spec: &'a ArraysSpec,
    pub(crate) count: usize,
    pub(crate) present: Option<&'a mut [u8]>,
    pub(crate) valid: Option<ArrayMut<'a, u8>>,
    pub(crate) fields: Vec<Option<AnyArrayMut<'a>>>,
}

impl<'a> ArraysMut<'a> {
    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes the marks of the objects that have the measurement: set them to 1.
    ///
    /// # Errors
    /// If they were taken before.
    pub fn present(&mut self) -> Result<&'a mut [u8]> {
        self.present.take().ok_or_else(|| taken("present"))
    }

    /// Takes the mask `[B, axes of the mask..]`: set 1 where a value was measured. Values there must be finite.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn valid(&mut self) -> Result<ArrayMut<'a, u8>> {
        self.valid.take().ok_or_else(|| taken("valid"))
    }

    /// Takes a field by its name.
    ///
    /// # Errors
    /// If there is no such field, if it is of another type, or if it was taken before.
    pub fn field<T: Element>(&mut self, name: &str) -> Result<ArrayMut<'a, T>> {
        let (number, kind) = find(self.spec, name)?;
        if kind != T::TYPE {
            return Err(Error::failed(format!("field `{name}` is {kind}, not {}", T::TYPE)));
        }
        let field = self.fields.get_mut(number).and_then(Option::take);
        field.and_then(T::array_mut).ok_or_else(|| taken(name))
    }

    /// Takes a field in single precision.
    ///
    /// # Errors
    /// If there is no such field, if it is of another type, or if it was taken before.
    pub fn f32(&mut self, name: &str) -> Result<ArrayMut<'a, f32>> {
        self.field(name)
    }

    /// Takes a field in double precision.
    ///
    /// # Errors
    /// If there is no such field, if it is of another type, or if it was taken before.
    pub fn f64(&mut self, name: &str) -> Result<ArrayMut<'a, f64>> {
        self.field(name)
    }

    /// Takes a field of bytes.
    ///
    /// # Errors
    /// If there is no such field, if it is of another type, or if it was taken before.
    pub fn u8(&mut self, name: &str) -> Result<ArrayMut<'a, u8>> {
        self.field(name)
    }

    /// Takes a field of categories or codes.
    ///
    /// # Errors
    /// If there is no such field, if it is of another type, or if it was taken before.
    pub fn u32(&mut self, name: &str) -> Result<ArrayMut<'a, u32>> {
        self.field(name)
    }
}

fn find(spec: &ArraysSpec, name: &str) -> Result<(usize, crate::Type)> {
    let field = spec.field_named(name)?;
    let number = spec.fields.iter().position(|f| f.name == name).unwrap_or(usize::MAX);
    Ok((number, field.kind))
}

pub(crate) fn taken(name: &str) -> Error {
    Error::failed(format!("`{name}` was taken before: take each array once, outside of the loop over rows"))
}
