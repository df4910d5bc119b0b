//! The host's views as typed arrays: row-major memory of the CPU.

use super::memory::{count, slice, slice_mut};
use crate::array::{AnyArray, AnyArrayMut, Sealed};
use crate::{Array, ArrayMut, Element, Error, Result, Type};
use panchroma_abi as abi;

/// A view to read. `shape` is what it must be.
///
/// # Safety
/// `tensor` is null or points to a view whose memory stays as it is during `'a`.
pub(crate) unsafe fn view<'a, T: Element>(
    tensor: *const abi::Tensor,
    shape: &[usize],
    what: &str,
) -> Result<Array<'a, T>> {
    // SAFETY: as the caller says.
    let (data, values) = unsafe { open::<T>(tensor, shape, what) }?;
    // SAFETY: the view has as many values as its shape says.
    let values = unsafe { slice(data.cast_const(), values, what) }?;
    Ok(Array { shape: shape.to_vec(), values })
}

/// A view to fill. `shape` is what it must be.
///
/// # Safety
/// `tensor` is null or points to a view whose memory nobody else looks at during `'a`.
pub(crate) unsafe fn view_mut<'a, T: Element>(
    tensor: *const abi::Tensor,
    shape: &[usize],
    what: &str,
) -> Result<ArrayMut<'a, T>> {
    // SAFETY: as the caller says.
    let (data, values) = unsafe { open::<T>(tensor, shape, what) }?;
    // SAFETY: the view has as many values as its shape says.
    let values = unsafe { slice_mut(data, values, what) }?;
    Ok(ArrayMut { shape: shape.to_vec(), values })
}

/// A view of a type that is known only now.
///
/// # Safety
/// As of [`view`].
pub(crate) unsafe fn any<'a>(
    tensor: *const abi::Tensor,
    kind: Type,
    shape: &[usize],
    what: &str,
) -> Result<AnyArray<'a>> {
    // SAFETY: as the caller says.
    Ok(unsafe {
        match kind {
            Type::F32 => AnyArray::F32(view(tensor, shape, what)?),
            Type::F64 => AnyArray::F64(view(tensor, shape, what)?),
            Type::U8 => AnyArray::U8(view(tensor, shape, what)?),
            Type::U32 => AnyArray::U32(view(tensor, shape, what)?),
            Type::Text => return Err(Error::failed(format!("{what} can't hold texts"))),
        }
    })
}

/// A view to fill, of a type that is known only now.
///
/// # Safety
/// As of [`view_mut`].
pub(crate) unsafe fn any_mut<'a>(
    tensor: *const abi::Tensor,
    kind: Type,
    shape: &[usize],
    what: &str,
) -> Result<AnyArrayMut<'a>> {
    // SAFETY: as the caller says.
    Ok(unsafe {
        match kind {
            Type::F32 => AnyArrayMut::F32(view_mut(tensor, shape, what)?),
            Type::F64 => AnyArrayMut::F64(view_mut(tensor, shape, what)?),
            Type::U8 => AnyArrayMut::U8(view_mut(tensor, shape, what)?),
            Type::U32 => AnyArrayMut::U32(view_mut(tensor, shape, what)?),
            Type::Text => return Err(Error::failed(format!("{what} can't hold texts"))),
        }
    })
}

/// Shape of a view.
///
/// # Safety
/// `tensor` is null or points to a view.
pub(crate) unsafe fn shape(tensor: *const abi::Tensor, what: &str) -> Result<Vec<usize>> {
    if tensor.is_null() {
        return Err(Error::failed(format!("the host gave no {what}")));
    }
    // SAFETY: not null, and views never change.
    let tensor = unsafe { &*tensor };
    let axes = count(tensor.ndim, "axes")?;
    // SAFETY: a view has as many lengths as axes.
    let lengths = unsafe { slice(tensor.shape.cast_const(), axes, what) }?;
    lengths.iter().map(|n| count(*n, "values")).collect()
}

/// Checks a view: where its values begin, and how many there are.
///
/// # Safety
/// `tensor` is null or points to a view.
unsafe fn open<T: Element>(tensor: *const abi::Tensor, expected: &[usize], what: &str) -> Result<(*mut T, usize)> {
    // SAFETY: as the caller says.
    let found = unsafe { shape(tensor, what) }?;
    // SAFETY: not null, or `shape` had failed.
    let tensor = unsafe { &*tensor };
    if found != expected {
        return Err(Error::failed(format!("the host gave {what} as {found:?}, not {expected:?}")));
    }
    let bits = size_of::<T>() * 8;
    let (code, same) = (<T as Sealed>::CODE, usize::from(tensor.bits) == bits);
    if tensor.code != code || !same || tensor.lanes != 1 {
        let (code, bits, lanes) = (tensor.code, tensor.bits, tensor.lanes);
        return Err(Error::failed(format!("{what} isn't {}: code {code}, bits {bits}, lanes {lanes}", T::TYPE)));
    }
    if tensor.device_type != abi::CPU {
        return Err(Error::failed(format!(
            "{what} is on device {}; this plugin computes on the CPU",
            tensor.device_type
        )));
    }
    let values = found.iter().try_fold(1_usize, |n, length| n.checked_mul(*length));
    let values = values.ok_or_else(|| Error::failed(format!("{what} is larger than memory")))?;
    if !tensor.strides.is_null() && values > 0 {
        // SAFETY: a view has as many strides as axes.
        let strides = unsafe { slice(tensor.strides.cast_const(), found.len(), what) }?;
        let mut stride = 1;
        for (length, given) in found.iter().zip(strides).rev() {
            if *length > 1 && i64::try_from(stride) != Ok(*given) {
                return Err(Error::failed(format!("{what} has gaps: strides {strides:?}")));
            }
            stride *= length;
        }
    }
    let offset = count(tensor.byte_offset, "bytes")?;
    Ok((tensor.data.cast::<u8>().wrapping_add(offset).cast::<T>(), values))
}
