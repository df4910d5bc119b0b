//! Host arrays of fixed layout: what a modality makes of raw rows, and what a tokenizer reads.
//!
//! Plain memory on purpose: row-major values, a shape, names for the axes, a unit. A plugin behind
//! a C interface fills the same arrays as a compiled-in one.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Row-major values of one array.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Measurements.
    F32(Vec<f32>),
    /// Times and other quantities for which 24 bits are too few.
    F64(Vec<f64>),
    /// Masks (1 = valid) and small categories.
    U8(Vec<u8>),
    /// Categories and codes.
    U32(Vec<u32>),
}

/// Type of [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Masks and small categories.
    U8,
    /// Categories and codes.
    U32,
}

impl Values {
    /// Type of the values.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::U8(_) => ValueType::U8,
            Self::U32(_) => ValueType::U32,
        }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::U32(v) => v.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of the element type, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::U8(_) => "u8",
            Self::U32(_) => "u32",
        }
    }
}

/// One array with the batch as its first axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// `[B, ..]`.
    pub shape: Vec<usize>,
    /// Product-of-shape values.
    pub values: Values,
}

impl Array {
    /// An f32 array.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of values is not the product of `shape`.
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        Self::new(shape, Values::F32(values))
    }

    /// Any array.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of values is not the product of `shape`.
    pub fn new(shape: &[usize], values: Values) -> Result<Self> {
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            return Err(Error::Shape {
                part: "array".into(),
                expected: format!("{expected} values for shape {shape:?}"),
                found: format!("{} values", values.len()),
            });
        }
        Ok(Self { shape: shape.to_vec(), values })
    }
}

impl Array {
    fn take(&self, rows: &[usize]) -> Self {
        let width: usize = self.shape.iter().skip(1).product();
        let shape = std::iter::once(rows.len()).chain(self.shape.iter().skip(1).copied()).collect();
        let values = match &self.values {
            Values::F32(v) => Values::F32(take(v, rows, width)),
            Values::F64(v) => Values::F64(take(v, rows, width)),
            Values::U8(v) => Values::U8(take(v, rows, width)),
            Values::U32(v) => Values::U32(take(v, rows, width)),
        };
        Self { shape, values }
    }

    fn spread(&self, rows: &[usize], batch: usize) -> Self {
        let width: usize = self.shape.iter().skip(1).product();
        let shape = std::iter::once(batch).chain(self.shape.iter().skip(1).copied()).collect();
        let values = match &self.values {
            Values::F32(v) => Values::F32(spread(v, rows, batch, width)),
            Values::F64(v) => Values::F64(spread(v, rows, batch, width)),
            Values::U8(v) => Values::U8(spread(v, rows, batch, width)),
            Values::U32(v) => Values::U32(spread(v, rows, batch, width)),
        };
        Self { shape, values }
    }
}

fn take<T: Copy + Default>(values: &[T], rows: &[usize], width: usize) -> Vec<T> {
    let mut out = vec![T::default(); rows.len() * width];
    for (to, row) in out.chunks_mut(width.max(1)).zip(rows) {
        if let Some(own) = values.get(row * width..(row + 1) * width) {
            to.copy_from_slice(own);
        }
    }
    out
}

fn spread<T: Copy + Default>(values: &[T], rows: &[usize], batch: usize, width: usize) -> Vec<T> {
    let mut out = vec![T::default(); batch * width];
    for (own, row) in values.chunks(width.max(1)).zip(rows) {
        if let Some(to) = out.get_mut(row * width..(row + 1) * width) {
            to.copy_from_slice(own);
        }
    }
    out
}

/// The arrays of one modality for a batch of objects.
///
/// Missing data is normal: an object without this modality has `present = false` and `valid` zero
/// throughout, and its values mean nothing. Every value at a place where `valid` is 1 is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    /// `[B]`: whether the object has this modality at all.
    pub present: Vec<bool>,
    /// `[B, ..]` u8: 1 where a value was measured. Which axes, the modality's [`ArraysSpec`] says.
    pub valid: Array,
    /// Values by field name.
    pub fields: BTreeMap<String, Array>,
}

impl Arrays {
    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The rows `rows`, of which one may come several times; one that there isn't is absent.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let present = rows.iter().map(|row| self.present.get(*row).copied().unwrap_or(false)).collect();
        let fields = self.fields.iter().map(|(name, array)| (name.clone(), array.take(rows))).collect();
        Self { present, valid: self.valid.take(rows), fields }
    }

    /// Row `i` becomes row `rows[i]` of `batch`; the others are absent.
    #[must_use]
    pub fn spread(&self, rows: &[usize], batch: usize) -> Self {
        let mut present = vec![false; batch];
        for (own, row) in self.present.iter().zip(rows) {
            if let Some(to) = present.get_mut(*row) {
                *to = *own;
            }
        }
        let fields = self.fields.iter().map(|(name, array)| (name.clone(), array.spread(rows, batch))).collect();
        Self { present, valid: self.valid.spread(rows, batch), fields }
    }

    /// A field's shape and f32 values.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such field or it is of another type.
    pub fn f32(&self, field: &str) -> Result<(&[usize], &[f32])> {
        match self.fields.get(field) {
            Some(Array { shape, values: Values::F32(v) }) => Ok((shape, v)),
            other => Err(wrong_field(field, "f32", other)),
        }
    }

    /// A field's shape and f64 values.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such field or it is of another type.
    pub fn f64(&self, field: &str) -> Result<(&[usize], &[f64])> {
        match self.fields.get(field) {
            Some(Array { shape, values: Values::F64(v) }) => Ok((shape, v)),
            other => Err(wrong_field(field, "f64", other)),
        }
    }

    /// The validity mask and its shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is not u8.
    pub fn valid(&self) -> Result<(&[usize], &[u8])> {
        match &self.valid {
            Array { shape, values: Values::U8(v) } => Ok((shape, v)),
            other => Err(wrong_field("valid", "u8", Some(other))),
        }
    }

    /// Checks what `spec` and the contract promise: fields, axes, types, finite valid values.
    ///
    /// # Errors
    /// [`Error::Shape`] that names the modality and the field.
    pub fn check(&self, modality: &str, spec: &ArraysSpec) -> Result<()> {
        let rows = self.len();
        let of = |field: &str| format!("[modality.{modality}] field `{field}`");
        let (valid_shape, valid) = self.valid()?;
        if valid_shape.first() != Some(&rows) {
            return Err(Error::Shape {
                part: of("valid"),
                expected: format!("{rows} rows"),
                found: format!("shape {valid_shape:?}"),
            });
        }
        let per_row: usize = valid_shape[1..].iter().product();
        for (row, present) in self.present.iter().enumerate() {
            let any = valid[row * per_row..(row + 1) * per_row].contains(&1);
            if any && !present {
                return Err(Error::Shape {
                    part: of("valid"),
                    expected: "no valid value where the modality is absent".into(),
                    found: format!("some in row {row}"),
                });
            }
        }
        for field in &spec.fields {
            let Some(array) = self.fields.get(field.name) else {
                return Err(wrong_field(&of(field.name), "an array", None));
            };
            if array.values.value_type() != field.values {
                return Err(wrong_field(&of(field.name), &format!("{:?}", field.values).to_lowercase(), Some(array)));
            }
            if array.shape.len() != field.axes.len() + 1 || array.shape.first() != Some(&rows) {
                return Err(Error::Shape {
                    part: of(field.name),
                    expected: format!("axes [B, {}] with B = {rows}", field.axes.join(", ")),
                    found: format!("shape {:?}", array.shape),
                });
            }
        }
        Ok(())
    }
}

fn wrong_field(field: &str, expected: &str, found: Option<&Array>) -> Error {
    Error::Shape {
        part: format!("field `{field}`"),
        expected: expected.into(),
        found: found
            .map_or_else(|| "no such field".into(), |a| format!("{} of shape {:?}", a.values.type_name(), a.shape)),
    }
}

/// Describes one array of a modality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayField {
    /// Name, for example `flux`.
    pub name: &'static str,
    /// Axes after the batch, for example `["C", "H", "W"]`.
    pub axes: &'static [&'static str],
    /// Physical unit; empty for a pure number.
    pub unit: String,
    /// Type of the values.
    pub values: ValueType,
}

impl ArrayField {
    /// The same with values of another type.
    #[must_use]
    pub fn of(self, values: ValueType) -> Self {
        Self { values, ..self }
    }
}

/// What a modality's arrays look like, known before any data is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArraysSpec {
    /// The fields, in a fixed order.
    pub fields: Vec<ArrayField>,
    /// Axes of the validity mask after the batch.
    pub valid_axes: &'static [&'static str],
    /// Largest length of each named axis, for example `("L", 128)`.
    pub sizes: Vec<(&'static str, usize)>,
    /// What the places of an axis are called, where they have names, for example the columns of a table.
    pub labels: Vec<(&'static str, Vec<String>)>,
}

impl ArraysSpec {
    /// Largest length of the axis called `axis`.
    #[must_use]
    pub fn size(&self, axis: &str) -> Option<usize> {
        self.sizes.iter().find(|(name, _)| *name == axis).map(|(_, size)| *size)
    }

    /// What the places of the axis called `axis` are called; empty if they have no names.
    #[must_use]
    pub fn labels(&self, axis: &str) -> &[String] {
        self.labels.iter().find(|(name, _)| *name == axis).map_or(&[], |(_, labels)| labels)
    }
}
