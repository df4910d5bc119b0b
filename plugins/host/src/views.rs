//! Typed buffers, and views of them as the interface's tensors.

use crate::call::{Fault, Function};
use panchroma_abi as abi;
use panchroma_core::Values;
use std::ffi::c_void;

/// Bytes behind a buffer that must stay as they are.
const GUARD_BYTES: usize = 64;

/// Values of one type by reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Slice<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    U8(&'a [u8]),
    U32(&'a [u32]),
}

impl<'a> From<&'a Values> for Slice<'a> {
    fn from(values: &'a Values) -> Self {
        match values {
            Values::F32(v) => Self::F32(v),
            Values::F64(v) => Self::F64(v),
            Values::U8(v) => Self::U8(v),
            Values::U32(v) => Self::U32(v),
        }
    }
}

impl<'a> Slice<'a> {
    /// Type as the interface numbers it.
    pub(crate) fn kind(&self) -> u32 {
        match self {
            Self::F32(_) => abi::F32,
            Self::F64(_) => abi::F64,
            Self::U8(_) => abi::U8,
            Self::U32(_) => abi::U32,
        }
    }

    /// As bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::F32(v) => bytemuck::cast_slice(v),
            Self::F64(v) => bytemuck::cast_slice(v),
            Self::U8(v) => v,
            Self::U32(v) => bytemuck::cast_slice(v),
        }
    }
}

/// A buffer with a guard behind it.
pub(crate) struct Guarded<T> {
    values: Vec<T>,
    length: usize,
}

impl<T: bytemuck::Pod> Guarded<T> {
    /// `length` times `value`.
    pub(crate) fn new(length: usize, value: T) -> Self {
        let mut values = Vec::with_capacity(length + GUARD_BYTES / size_of::<T>());
        values.resize(length, value);
        values.resize(length + GUARD_BYTES / size_of::<T>(), T::zeroed());
        bytemuck::cast_slice_mut::<T, u8>(values.get_mut(length..).unwrap_or_default()).fill(GUARD);
        Self { values, length }
    }

    pub(crate) fn pointer(&mut self) -> *mut T {
        self.values.as_mut_ptr()
    }

    /// The values; none if the guard was written over.
    pub(crate) fn take(mut self) -> Option<Vec<T>> {
        let guard = bytemuck::cast_slice::<T, u8>(self.values.get(self.length..)?);
        if guard.iter().any(|byte| *byte != GUARD) {
            return None;
        }
        self.values.truncate(self.length);
        Some(self.values)
    }
}

/// No value that anybody writes by accident.
const GUARD: u8 = 0xa7;

/// Most values of one buffer: 2^31, which is more than a batch should take.
const MOST_VALUES: i64 = 1 << 31;

/// Refuses a buffer that no machine has room for, before it is asked for.
///
/// # Errors
/// What it would take.
pub(crate) fn require_room(name: &str, shape: &[i64]) -> Result<(), Fault> {
    let values = shape.iter().try_fold(1i64, |n, axis| n.checked_mul(*axis));
    match values {
        Some(values) if values <= MOST_VALUES => Ok(()),
        _ => {
            let gib = shape.iter().map(|n| *n as f64).product::<f64>() / (1u64 << 28) as f64;
            // No row's doing.
            Err(Function::Describe.fault(format!(
                "`{name}` would take {gib:.0} GiB, of shape {shape:?}: give `plan`, or lower the longest lengths"
            )))
        }
    }
}

/// A buffer of some type with its shape.
pub(crate) struct Shaped {
    shape: Vec<i64>,
    buffer: Buffer,
}

enum Buffer {
    F32(Guarded<f32>),
    F64(Guarded<f64>),
    U8(Guarded<u8>),
    U32(Guarded<u32>),
}

impl Shaped {
    /// Real numbers begin as NaN, so that one that is never written is noticed; others as 0.
    pub(crate) fn new(kind: u32, shape: &[i64]) -> Self {
        let length = shape.iter().map(|n| *n as usize).product();
        let buffer = match kind {
            abi::F64 => Buffer::F64(Guarded::new(length, f64::NAN)),
            abi::U8 => Buffer::U8(Guarded::new(length, 0)),
            abi::U32 => Buffer::U32(Guarded::new(length, 0)),
            _ => Buffer::F32(Guarded::new(length, f32::NAN)),
        };
        Self { shape: shape.to_vec(), buffer }
    }

    /// Real numbers that begin as 0: gradients.
    pub(crate) fn zeros(shape: &[i64]) -> Self {
        let length = shape.iter().map(|n| *n as usize).product();
        Self { shape: shape.to_vec(), buffer: Buffer::F32(Guarded::new(length, 0.0)) }
    }

    pub(crate) fn view(&mut self) -> View {
        let (kind, data): (u32, *mut c_void) = match &mut self.buffer {
            Buffer::F32(b) => (abi::F32, b.pointer().cast()),
            Buffer::F64(b) => (abi::F64, b.pointer().cast()),
            Buffer::U8(b) => (abi::U8, b.pointer().cast()),
            Buffer::U32(b) => (abi::U32, b.pointer().cast()),
        };
        View::new(&self.shape, kind, data)
    }

    /// The values; none if something was written behind them.
    pub(crate) fn take(self) -> Option<Values> {
        Some(match self.buffer {
            Buffer::F32(b) => Values::F32(b.take()?),
            Buffer::F64(b) => Values::F64(b.take()?),
            Buffer::U8(b) => Values::U8(b.take()?),
            Buffer::U32(b) => Values::U32(b.take()?),
        })
    }

    /// The same of real numbers.
    pub(crate) fn take_f32(self) -> Option<Vec<f32>> {
        match self.take()? {
            Values::F32(values) => Some(values),
            _ => None,
        }
    }
}

/// A tensor of the interface with its shape, at a place that doesn't move.
pub(crate) struct View {
    own: Box<(abi::Tensor, Vec<i64>)>,
    /// As it was handed out.
    before: (abi::Tensor, Vec<i64>),
}

impl View {
    fn new(shape: &[i64], kind: u32, data: *mut c_void) -> Self {
        let (code, bits) = match kind {
            abi::F64 => (2, 64),
            abi::U8 => (1, 8),
            abi::U32 => (1, 32),
            _ => (2, 32),
        };
        let shape = shape.to_vec();
        let tensor = abi::Tensor {
            data,
            device_type: abi::CPU,
            device_id: 0,
            ndim: shape.len() as i32,
            code,
            bits,
            lanes: 1,
            shape: std::ptr::null_mut(),
            strides: std::ptr::null_mut(),
            byte_offset: 0,
        };
        let mut own = Box::new((tensor, shape.clone()));
        own.0.shape = own.1.as_mut_ptr();
        let before = (own.0, shape);
        Self { own, before }
    }

    /// Of values that are only read.
    pub(crate) fn of(shape: &[i64], values: &Slice<'_>) -> Self {
        Self::new(shape, values.kind(), values.bytes().as_ptr().cast_mut().cast())
    }

    pub(crate) fn pointer(&mut self) -> *mut abi::Tensor {
        &raw mut self.own.0
    }
}

/// Whether a plugin left a view as it was; `what` it is of.
///
/// # Errors
/// What it changed.
pub(crate) fn unchanged(view: &View, what: &str) -> Result<(), String> {
    let ((now, shape), (before, was)) = (&*view.own, &view.before);
    let kind = |t: &abi::Tensor| (t.code, t.bits, t.lanes);
    if (now.ndim, now.shape, shape) != (before.ndim, before.shape, was) {
        return Err(format!("it changed the shape of {what} from {was:?} to {shape:?}"));
    }
    if kind(now) != kind(before) {
        return Err(format!("it changed the type of {what} from {} to {} bits", before.bits, now.bits));
    }
    let place = |t: &abi::Tensor| (t.data, t.strides, t.byte_offset, t.device_type, t.device_id);
    if place(now) != place(before) {
        return Err(format!("it made {what} point elsewhere; a view is to be filled"));
    }
    Ok(())
}
