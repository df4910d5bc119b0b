//! Arrays in memory of the test, to look at and to hand on.

use crate::border::arrays::Description;
use crate::{ArraysSpec, Element, Error, Result, Type};
use panchroma_abi::{self as abi, Struct as _};
use std::ffi::c_void;

/// Numbers of one type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Buffer {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U8(Vec<u8>),
    U32(Vec<u32>),
}

impl Buffer {
    /// Numbers that nobody gave: not finite, or unlikely.
    pub(crate) fn unknown(kind: Type, count: usize) -> Self {
        match kind {
            Type::F32 => Self::F32(vec![f32::NAN; count]),
            Type::F64 => Self::F64(vec![f64::NAN; count]),
            Type::U32 => Self::U32(vec![u32::MAX; count]),
            Type::U8 | Type::Text => Self::U8(vec![u8::MAX; count]),
        }
    }

    fn data(&self) -> (*mut c_void, u8, u8) {
        match self {
            Self::F32(v) => (v.as_ptr().cast_mut().cast(), 2, 32),
            Self::F64(v) => (v.as_ptr().cast_mut().cast(), 2, 64),
            Self::U8(v) => (v.as_ptr().cast_mut().cast(), 1, 8),
            Self::U32(v) => (v.as_ptr().cast_mut().cast(), 1, 32),
        }
    }

    fn data_mut(&mut self) -> *mut c_void {
        match self {
            Self::F32(v) => v.as_mut_ptr().cast(),
            Self::F64(v) => v.as_mut_ptr().cast(),
            Self::U8(v) => v.as_mut_ptr().cast(),
            Self::U32(v) => v.as_mut_ptr().cast(),
        }
    }

    /// Bits of a value, and whether it is finite.
    fn bits(&self, place: usize) -> Option<(u64, bool)> {
        match self {
            Self::F32(v) => v.get(place).map(|x| (u64::from(x.to_bits()), x.is_finite())),
            Self::F64(v) => v.get(place).map(|x| (x.to_bits(), x.is_finite())),
            Self::U8(v) => v.get(place).map(|x| (u64::from(*x), true)),
            Self::U32(v) => v.get(place).map(|x| (u64::from(*x), true)),
        }
    }
}

/// A view of a buffer, with its shape.
pub(crate) struct View {
    raw: Box<abi::Tensor>,
    _shape: Vec<i64>,
}

impl View {
    /// To read.
    pub(crate) fn of(buffer: &Buffer, shape: &[usize]) -> Self {
        let (data, code, bits) = buffer.data();
        let mut shape: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
        let raw = abi::Tensor {
            data,
            device_type: abi::CPU,
            device_id: 0,
            ndim: shape.len() as i32,
            code,
            bits,
            lanes: 1,
            shape: shape.as_mut_ptr(),
            strides: std::ptr::null_mut(),
            byte_offset: 0,
        };
        Self { raw: Box::new(raw), _shape: shape }
    }

    /// To fill.
    pub(crate) fn of_mut(buffer: &mut Buffer, shape: &[usize]) -> Self {
        let mut view = Self::of(buffer, shape);
        view.raw.data = buffer.data_mut();
        view
    }

    pub(crate) fn raw(&self) -> *mut abi::Tensor {
        std::ptr::from_ref(&*self.raw).cast_mut()
    }
}

/// Arrays of a batch of objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    pub(crate) spec: ArraysSpec,
    pub(crate) lengths: Vec<usize>,
    pub(crate) present: Vec<u8>,
    pub(crate) valid: Buffer,
    pub(crate) fields: Vec<Buffer>,
}

impl Arrays {
    /// Arrays of `count` objects whose axes are `lengths` long: nobody present, nothing valid.
    ///
    /// # Errors
    /// If the description or the lengths make no sense.
    pub fn new(spec: &ArraysSpec, count: usize, lengths: &[usize]) -> Result<Self> {
        spec.check()?;
        let size = |axes: &[String]| -> Result<usize> { Ok(spec.shape(axes, count, lengths)?.iter().product()) };
        let valid = Buffer::U8(vec![0; size(&spec.valid)?]);
        let fields = spec.fields.iter().map(|f| Ok(Buffer::unknown(f.kind, size(&f.axes)?)));
        let fields = fields.collect::<Result<_>>()?;
        Ok(Self { spec: spec.clone(), lengths: lengths.to_vec(), present: vec![0; count], valid, fields })
    }

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
    pub fn spec(&self) -> &ArraysSpec {
        &self.spec
    }

    /// How long the axes are.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// 1 where the object has the measurement.
    #[must_use]
    pub fn present(&self) -> &[u8] {
        &self.present
    }

    /// 1 where a value was measured.
    #[must_use]
    pub fn valid(&self) -> &[u8] {
        match &self.valid {
            Buffer::U8(valid) => valid,
            _ => &[],
        }
    }

    /// Values of a field, object after object. Where nothing is valid they mean nothing, and show as 0.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn field<T: Element>(&self, name: &str) -> Result<Vec<T>> {
        let field = self.spec.field_named(name)?;
        let number = self.spec.fields.iter().position(|f| f.name == name).unwrap_or(usize::MAX);
        let view = self.fields.get(number).map(|buffer| View::of(buffer, &[self.size(number)]));
        let view = view.ok_or_else(|| Error::failed(format!("no field `{name}`")))?;
        if field.kind != T::TYPE {
            return Err(Error::invalid(format!("field `{name}` is {}, not {}", field.kind, T::TYPE)));
        }
        // SAFETY: the view is of our own buffer, which lives longer than it.
        let mut values =
            unsafe { crate::border::tensor::view::<T>(view.raw(), &[self.size(number)], name) }?.values.to_vec();
        let measured = self.measured(number)?;
        for (value, measured) in values.iter_mut().zip(measured) {
            if !measured {
                *value = T::default();
            }
        }
        Ok(values)
    }

    /// Values of a field in single precision.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        self.field(name)
    }

    /// Values of a field in double precision.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn f64(&self, name: &str) -> Result<Vec<f64>> {
        self.field(name)
    }

    /// Values of one object in a field of single precision.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn row_f32(&self, name: &str, row: usize) -> Result<Vec<f32>> {
        let values = self.f32(name)?;
        let width = values.len() / self.len().max(1);
        Ok(values.get(row * width..(row + 1) * width).map(<[f32]>::to_vec).unwrap_or_default())
    }

    fn size(&self, number: usize) -> usize {
        match self.fields.get(number) {
            Some(Buffer::F32(v)) => v.len(),
            Some(Buffer::F64(v)) => v.len(),
            Some(Buffer::U8(v)) => v.len(),
            Some(Buffer::U32(v)) => v.len(),
            None => 0,
        }
    }

    /// Which places of a field the mask says are measured, by the axes that both have.
    pub(crate) fn measured(&self, number: usize) -> Result<Vec<bool>> {
        let Some(field) = self.spec.fields.get(number) else {
            return Ok(Vec::new());
        };
        let mut axes = self.spec.valid.clone();
        axes.extend(field.axes.iter().filter(|a| !self.spec.valid.contains(a)).cloned());
        let all = self.spec.shape(&axes, self.len(), &self.lengths)?;
        let mut measured = vec![false; self.size(number)];
        for place in 0..all.iter().product() {
            // Numbers along the batch and each axis, last first.
            let mut rest = place;
            let mut at: Vec<usize> = all.iter().rev().map(|n| (rest % n, rest /= n).0).collect();
            at.reverse();
            let offset = |of: &[String]| -> usize {
                let row = at.first().copied().unwrap_or(0);
                of.iter().fold(row, |offset, axis| {
                    let n = axes.iter().position(|a| a == axis).unwrap_or(0) + 1;
                    offset * all.get(n).copied().unwrap_or(1) + at.get(n).copied().unwrap_or(0)
                })
            };
            if self.valid().get(offset(&self.spec.valid)) == Some(&1)
                && let Some(place) = measured.get_mut(offset(&field.axes))
            {
                *place = true;
            }
        }
        Ok(measured)
    }

    /// What the interface demands: marks are 0 or 1, objects that are absent have nothing, valid values are finite.
    pub(crate) fn check(&self) -> Result<()> {
        let width = self.valid().len() / self.len().max(1);
        for (row, present) in self.present.iter().enumerate() {
            let valid = self.valid().get(row * width..(row + 1) * width).unwrap_or_default();
            if *present > 1 || valid.iter().any(|v| *v > 1) {
                return Err(Error::row(row, "`present` and `valid` are 0 or 1"));
            }
            if *present == 0 && valid.contains(&1) {
                return Err(Error::row(row, "it is absent, and yet something is valid"));
            }
        }
        for (number, field) in self.spec.fields.iter().enumerate() {
            let width = self.size(number) / self.len().max(1);
            for (place, _) in self.measured(number)?.iter().enumerate().filter(|(_, m)| **m) {
                if self.bits(number, place).is_some_and(|(_, finite)| !finite) {
                    let (row, place) = (place / width.max(1), place % width.max(1));
                    return Err(Error::row(row, format!("field `{}` is valid and not finite at {place}", field.name)));
                }
            }
        }
        Ok(())
    }

    /// Bits of a value, and whether it is finite.
    pub(crate) fn bits(&self, number: usize, place: usize) -> Option<(u64, bool)> {
        self.fields.get(number).and_then(|b| b.bits(place))
    }

    /// Where two batches differ: row `row` of `self` against row `other_row` of `other`, both with the same lengths.
    pub(crate) fn same_row(&self, row: usize, other: &Self, other_row: usize) -> Result<()> {
        let span = |size: usize, count: usize, row: usize| {
            let width = size / count.max(1);
            row * width..(row + 1) * width
        };
        let marks = |a: &Self, row| a.valid().get(span(a.valid().len(), a.len(), row)).map(<[u8]>::to_vec);
        if self.present.get(row) != other.present.get(other_row) || marks(self, row) != marks(other, other_row) {
            return Err(Error::row(row, "`present` or `valid` differ"));
        }
        for (number, field) in self.spec.fields.iter().enumerate() {
            let measured = self.measured(number)?;
            let (ours, theirs) =
                (span(self.size(number), self.len(), row), span(other.size(number), other.len(), other_row));
            for (a, b) in ours.zip(theirs).filter(|(a, _)| measured.get(*a) == Some(&true)) {
                if self.bits(number, a) != other.bits(number, b) {
                    return Err(Error::row(row, format!("field `{}` differs", field.name)));
                }
            }
        }
        Ok(())
    }
}

/// Arrays as the C interface has them, with everything that the struct points at.
pub(crate) struct Raw {
    pub(crate) raw: abi::Arrays,
    _views: Vec<View>,
    _pointers: Vec<*mut abi::Tensor>,
}

impl Raw {
    pub(crate) fn of(arrays: &mut Arrays) -> Result<Self> {
        let (spec, count) = (&arrays.spec, arrays.present.len());
        let mut views = Vec::new();
        for (field, buffer) in spec.fields.iter().zip(&mut arrays.fields) {
            views.push(View::of_mut(buffer, &spec.shape(&field.axes, count, &arrays.lengths)?));
        }
        let pointers: Vec<*mut abi::Tensor> = views.iter().map(View::raw).collect();
        let valid = View::of_mut(&mut arrays.valid, &spec.shape(&spec.valid, count, &arrays.lengths)?);
        let mut raw = abi::Arrays::new();
        raw.count = count as u64;
        raw.present = arrays.present.as_mut_ptr();
        raw.valid = valid.raw();
        (raw.field_count, raw.fields) = (pointers.len() as u32, pointers.as_ptr());
        views.push(valid);
        Ok(Self { raw, _views: views, _pointers: pointers })
    }
}

/// The description that components get of these arrays.
pub(crate) fn description(spec: &ArraysSpec) -> Result<Description> {
    Description::new(spec.clone())
}
