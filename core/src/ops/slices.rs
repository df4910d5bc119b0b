//! From tensors to the slices that the kernels work on, with errors that name the operation.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Refuses a tensor that isn't f32, or on a CUDA device bf16.
pub(super) fn require_f32(op: &'static str, name: &str, tensor: &Tensor) -> Result<()> {
    let on_gpu = cfg!(feature = "cuda") && tensor.device().is_cuda() && tensor.dtype() == DType::BF16;
    if tensor.dtype() != DType::F32 && !on_gpu {
        bail!("{op}: expected `{name}` in f32, got {}", tensor.dtype().as_str());
    }
    Ok(())
}

/// `parameter` in the type of number of `x`: parameters are f32 also where activations are bf16, and the gradient of the copy
/// comes back to them in f32.
#[cfg(any(test, feature = "cuda"))]
pub(super) fn alike(parameter: &Tensor, x: &Tensor) -> Result<Tensor> {
    if parameter.dtype() == x.dtype() { Ok(parameter.clone()) } else { parameter.to_dtype(x.dtype()) }
}

/// The values that a contiguous layout (with any offset) covers.
pub(super) fn values<'a>(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(all) = storage else {
        bail!("{op}: expected f32, got another type of number");
    };
    match layout.contiguous_offsets().and_then(|(start, end)| all.get(start..end)) {
        Some(values) => Ok(values),
        None => bail!("{op}: expected contiguous values, got strides {:?}", layout.stride()),
    }
}

/// Calls `f` with the values of contiguous f32 tensors on the CPU.
pub(super) fn with_values<const N: usize, R>(
    op: &'static str,
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            bail!("{op}: no implementation for this device");
        };
        *slice = values(op, storage, layout)?;
    }
    Ok(f(slices))
}

/// `length` numbers made by tasks of `chunk` each, which `f` is given with the place of the first, as zeros: each clears
/// its own part while it is in the cache, which for large results takes half of the time of one thread clearing all.
pub(super) fn made(length: usize, chunk: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let chunk = chunk.max(1);
    let mut values = Vec::with_capacity(length);
    values.spare_capacity_mut()[..length].par_chunks_mut(chunk).enumerate().for_each(|(task, part)| {
        part.fill(MaybeUninit::new(0.0));
        // SAFETY: every element of the part was just written.
        f(task * chunk, unsafe { part.assume_init_mut() });
    });
    // SAFETY: the tasks have written every element up to `length`.
    unsafe { values.set_len(length) };
    values
}

/// `length` zeros, cleared by all threads.
pub(super) fn zeros(length: usize) -> Vec<f32> {
    made(length, 1 << 16, |_, _| {})
}

/// As [`with_values`], for any number of tensors.
pub(super) fn with_all<R>(op: &'static str, tensors: &[&Tensor], f: impl FnOnce(&[&[f32]]) -> R) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let slices: Vec<&[f32]> = guards
        .iter()
        .map(|(storage, layout)| match &**storage {
            Storage::Cpu(storage) => values(op, storage, layout),
            _ => bail!("{op}: no implementation for this device"),
        })
        .collect::<Result<_>>()?;
    Ok(f(&slices))
}

/// The numbers of a u32 tensor `[rows]` in any layout, of any length if `rows` is `None`.
pub(super) fn indices(op: &'static str, name: &str, tensor: &Tensor, rows: Option<usize>) -> Result<Vec<u32>> {
    if tensor.dtype() != DType::U32 {
        bail!("{op}: expected `{name}` in u32, got {}", tensor.dtype().as_str());
    }
    match (tensor.dims(), rows) {
        (&[got], Some(rows)) if got != rows => bail!("{op}: expected `{name}` of shape [{rows}], got [{got}]"),
        (&[_], _) => tensor.to_vec1(),
        (dims, Some(rows)) => bail!("{op}: expected `{name}` of shape [{rows}], got {dims:?}"),
        (dims, None) => bail!("{op}: expected `{name}` of shape [rows], got {dims:?}"),
    }
}
