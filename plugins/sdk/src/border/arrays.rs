//! Arrays of a modality: their description in C, and the host's memory for them.

use super::memory::{c_string, count, read, slice, slice_mut, text};
use super::tensor::{any, any_mut, shape, view, view_mut};
use crate::{Arrays, ArraysMut, ArraysSpec, Axis, Error, Field, Result, Type};
use panchroma_abi::{self as abi, MAX_AXES, Struct as _};
use std::ffi::CString;

/// A description of arrays with the structs and texts that the other side may point at.
pub(crate) struct Description {
    pub(crate) spec: ArraysSpec,
    pub(crate) axes: Vec<abi::Axis>,
    pub(crate) fields: Vec<abi::Field>,
    pub(crate) valid_axes: [u32; MAX_AXES],
    _texts: Vec<CString>,
}

// SAFETY: its pointers point at its own texts, which never change.
unsafe impl Send for Description {}
// SAFETY: as above.
unsafe impl Sync for Description {}

impl Description {
    pub(crate) fn new(spec: ArraysSpec) -> Result<Self> {
        spec.check()?;
        let mut texts = Vec::new();
        let mut keep = |name: &str| -> Result<*const std::ffi::c_char> {
            let text = c_string(name, "the name")?;
            let pointer = text.as_ptr();
            texts.push(text);
            Ok(pointer)
        };
        let mut axes = Vec::new();
        for axis in &spec.axes {
            let mut raw = abi::Axis::new();
            raw.name = keep(&axis.name)?;
            raw.longest = axis.longest as u64;
            axes.push(raw);
        }
        let mut fields = Vec::new();
        for field in &spec.fields {
            let mut raw = abi::Field::new();
            raw.r#type = field.kind.number();
            raw.name = keep(&field.name)?;
            raw.unit = keep(&field.unit)?;
            raw.axis_count = field.axes.len() as u32;
            raw.axes = numbers(&spec, &field.axes)?;
            fields.push(raw);
        }
        let valid_axes = numbers(&spec, &spec.valid)?;
        Ok(Self { spec, axes, fields, valid_axes, _texts: texts })
    }

    pub(crate) fn axis(&self, index: u32) -> Result<abi::Axis> {
        let found = self.axes.get(count(index, "axes")?);
        found.copied().ok_or_else(|| Error::failed(format!("no axis {index}")))
    }

    pub(crate) fn field(&self, index: u32) -> Result<abi::Field> {
        let found = self.fields.get(count(index, "fields")?);
        found.copied().ok_or_else(|| Error::failed(format!("no field {index}")))
    }
}

fn numbers(spec: &ArraysSpec, axes: &[String]) -> Result<[u32; MAX_AXES]> {
    let mut numbers = [0; MAX_AXES];
    for (number, axis) in numbers.iter_mut().zip(axes) {
        *number = u32::try_from(spec.axis_number(axis)?).unwrap_or(u32::MAX);
    }
    Ok(numbers)
}

/// What arrays look like, as the host describes them to codecs and tokenizers.
///
/// # Safety
/// `info` points to a description as the interface has it.
pub(crate) unsafe fn spec(info: *const abi::ArraysInfo) -> Result<ArraysSpec> {
    // SAFETY: as the caller says, here and below.
    let raw = unsafe { read(info, "description of arrays") }?;
    let mut spec = ArraysSpec::new();
    // SAFETY: as above.
    for axis in unsafe { slice(raw.axes, count(raw.axis_count, "axes")?, "axes") }? {
        // SAFETY: as above.
        let axis = unsafe { read(*axis, "axis") }?;
        // SAFETY: as above.
        let name = unsafe { text(axis.name, "the name of an axis") }?.to_owned();
        spec.axes.push(Axis { name, longest: count(axis.longest, "places of an axis")? });
    }
    let names = |numbers: &[u32], axes: u32| -> Result<Vec<String>> {
        let numbers = numbers.get(..count(axes, "axes")?);
        let numbers = numbers.ok_or_else(|| Error::failed(format!("the host gave an array of {axes} axes")))?;
        let axis = |n: &u32| spec.axes.get(*n as usize).map(|a| a.name.clone());
        numbers.iter().map(|n| axis(n).ok_or_else(|| Error::failed(format!("no axis {n}")))).collect()
    };
    let mut fields = Vec::new();
    // SAFETY: as above.
    for field in unsafe { slice(raw.fields, count(raw.field_count, "fields")?, "fields") }? {
        // SAFETY: as above.
        let field = unsafe { read(*field, "field") }?;
        let kind = Type::of(field.r#type).ok_or_else(|| Error::failed(format!("no type {}", field.r#type)))?;
        // SAFETY: as above.
        let (name, unit) = unsafe { (text(field.name, "the name of a field")?, text(field.unit, "a unit")?) };
        let (name, unit) = (name.to_owned(), unit.to_owned());
        fields.push(Field { name, unit, kind, axes: names(&field.axes, field.axis_count)? });
    }
    let valid = names(&raw.valid_axes, raw.valid_axis_count)?;
    Ok(ArraysSpec { axes: spec.axes, fields, valid })
}

/// The host's arrays, to read.
///
/// # Safety
/// `arrays` is null or points to arrays as the interface describes them, which stay as they are during `'a`.
pub(crate) unsafe fn open<'a>(spec: &'a ArraysSpec, arrays: *const abi::Arrays) -> Result<Arrays<'a>> {
    // SAFETY: as the caller says, here and below.
    let (raw, pointers, shapes) = unsafe { parts(spec, arrays) }?;
    let mut fields = Vec::new();
    for ((field, tensor), shape) in spec.fields.iter().zip(pointers).zip(&shapes.fields) {
        // SAFETY: as above.
        fields.push(unsafe { any(*tensor, field.kind, shape, &format!("field `{}`", field.name)) }?);
    }
    // SAFETY: as above.
    unsafe {
        let present = slice(raw.present.cast_const(), shapes.count, "present")?;
        Ok(Arrays { spec, present, valid: view(raw.valid, &shapes.valid, "valid")?, fields })
    }
}

/// The host's arrays, to fill: nobody is present, nothing is valid.
///
/// # Safety
/// `arrays` is null or points to arrays as the interface describes them, which nobody else looks at during `'a`.
pub(crate) unsafe fn open_mut<'a>(spec: &'a ArraysSpec, arrays: *const abi::Arrays) -> Result<ArraysMut<'a>> {
    // SAFETY: as the caller says, here and below.
    let (raw, pointers, shapes) = unsafe { parts(spec, arrays) }?;
    let mut fields = Vec::new();
    for ((field, tensor), shape) in spec.fields.iter().zip(pointers).zip(&shapes.fields) {
        // SAFETY: as above.
        fields.push(Some(unsafe { any_mut(*tensor, field.kind, shape, &format!("field `{}`", field.name)) }?));
    }
    // SAFETY: as above.
    let (present, valid) = unsafe {
        let present = slice_mut(raw.present, shapes.count, "present")?;
        (present, view_mut::<u8>(raw.valid, &shapes.valid, "valid")?)
    };
    present.fill(0);
    valid.values.fill(0);
    Ok(ArraysMut { spec, count: shapes.count, present: Some(present), valid: Some(valid), fields })
}

struct Shapes {
    count: usize,
    valid: Vec<usize>,
    fields: Vec<Vec<usize>>,
}

/// The struct, the pointers to its fields, and shapes in which each axis has one length that isn't above its longest.
///
/// # Safety
/// As of [`open`].
unsafe fn parts<'a>(
    spec: &ArraysSpec,
    arrays: *const abi::Arrays,
) -> Result<(abi::Arrays, &'a [*mut abi::Tensor], Shapes)> {
    // SAFETY: as the caller says, here and below.
    let raw = unsafe { read(arrays, "arrays") }?;
    let rows = count(raw.count, "rows")?;
    let given = count(raw.field_count, "fields")?;
    if given != spec.fields.len() {
        return Err(Error::failed(format!("the host gave {given} fields, not {}", spec.fields.len())));
    }
    // SAFETY: as above.
    let pointers = unsafe { slice(raw.fields, given, "fields") }?;
    let mut lengths: Vec<usize> = spec.axes.iter().map(|a| a.longest).collect();
    let tensors = spec.fields.iter().map(|f| &f.axes).zip(pointers.iter().copied());
    for (axes, tensor) in tensors.chain([(&spec.valid, raw.valid)]) {
        // SAFETY: as above.
        let shape = unsafe { shape(tensor, "array") }?;
        for (axis, length) in axes.iter().zip(shape.iter().skip(1)) {
            // What differs between arrays is found as the shapes are compared.
            let known = lengths.get_mut(spec.axis_number(axis)?);
            if let Some(known) = known.filter(|known| *length < **known) {
                *known = *length;
            }
        }
    }
    let fields = spec.fields.iter().map(|f| spec.shape(&f.axes, rows, &lengths)).collect::<Result<_>>()?;
    Ok((raw, pointers, Shapes { count: rows, valid: spec.shape(&spec.valid, rows, &lengths)?, fields }))
}
