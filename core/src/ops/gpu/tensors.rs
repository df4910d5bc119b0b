//! From candle's tensors on a CUDA device to the addresses that launches take, and back.
//!
//! Launches go to the stream that candle's own operations go to, so nothing has to be recorded or waited for.

use super::cuda::Cuda;
use super::{Gpu, Memory, Number, Pointer};
use candle_core::cuda_backend::{CudaStorageSlice, cudarc};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape, Storage, Tensor, bail};
use cudarc::driver::DevicePtr;

/// Where storage begins, and the type of its numbers.
fn base(op: &str, storage: &CudaStorage) -> Result<(Pointer, Number)> {
    let stream = storage.device.cuda_stream();
    match &storage.slice {
        CudaStorageSlice::F32(slice) => Ok((Pointer(slice.device_ptr(&stream).0), Number::F32)),
        CudaStorageSlice::BF16(slice) => Ok((Pointer(slice.device_ptr(&stream).0), Number::Bf16)),
        _ => bail!("{op}: expected f32 or bf16 on a GPU, got another type of number"),
    }
}

/// Where the values of a contiguous layout lie, and their type.
pub(in crate::ops) fn values(op: &str, storage: &CudaStorage, layout: &Layout) -> Result<(Pointer, Number)> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("{op}: expected contiguous values, got strides {:?}", layout.stride());
    };
    let (base, number) = base(op, storage)?;
    Ok((base.at(start, number), number))
}

/// Where the bytes of a contiguous u8 tensor lie.
pub(in crate::ops) fn bytes(op: &str, tensor: &Tensor) -> Result<Pointer> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cuda(storage), Some((start, _))) = (&*storage, layout.contiguous_offsets())
        && let CudaStorageSlice::U8(slice) = &storage.slice
    {
        return Ok(Pointer(slice.device_ptr(&storage.device.cuda_stream()).0 + start as u64));
    }
    bail!("{op}: expected contiguous bytes on the GPU")
}

/// Several inputs of one type, from a forward pass.
pub(in crate::ops) fn inputs<const N: usize>(
    op: &str,
    inputs: [(&CudaStorage, &Layout); N],
) -> Result<([Pointer; N], Number)> {
    let mut pointers = [Pointer::NULL; N];
    let mut same = None;
    for (pointer, (storage, layout)) in pointers.iter_mut().zip(inputs) {
        let (here, number) = values(op, storage, layout)?;
        if *same.get_or_insert(number) != number {
            bail!("{op}: expected inputs of one type of number");
        }
        *pointer = here;
    }
    Ok((pointers, same.unwrap_or(Number::F32)))
}

/// Calls `f` with the device and the addresses of contiguous tensors of one type on it.
pub(in crate::ops) fn with_tensors<const N: usize, R>(
    op: &str,
    tensors: [&Tensor; N],
    f: impl FnOnce(&CudaDevice, &Cuda, [Pointer; N], Number) -> Result<R>,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut pointers = [Pointer::NULL; N];
    let mut place: Option<(&CudaDevice, Number)> = None;
    for (pointer, (storage, layout)) in pointers.iter_mut().zip(&guards) {
        let Storage::Cuda(storage) = &**storage else {
            bail!("{op}: expected all tensors on one device");
        };
        let (here, number) = values(op, storage, layout)?;
        if place.get_or_insert((&storage.device, number)).1 != number {
            bail!("{op}: expected tensors of one type of number");
        }
        *pointer = here;
    }
    match place {
        Some((device, number)) => f(device, &Cuda::new(device)?, pointers, number),
        None => bail!("{op}: expected a tensor"),
    }
}

/// Calls `f` with the storage of a tensor on a CUDA device.
pub(in crate::ops) fn with_storage<R>(
    op: &str,
    tensor: &Tensor,
    f: impl FnOnce((&CudaStorage, &Layout)) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f((storage, layout)),
        _ => bail!("{op}: expected all tensors on one device"),
    }
}

/// Storage for a result, and where it begins. The kernel that it is made for has to write all of it.
pub(in crate::ops) fn storage(device: &CudaDevice, number: Number, count: usize) -> Result<(CudaStorage, Pointer)> {
    let count = count.max(1); // the driver refuses to give 0 bytes
    // SAFETY: the caller's kernel writes every value before any is read, which the kernels' tests check: there, results
    // are NaN at first.
    let slice = unsafe {
        match number {
            Number::F32 => CudaStorageSlice::F32(device.alloc(count)?),
            Number::Bf16 => CudaStorageSlice::BF16(device.alloc(count)?),
        }
    };
    let storage = CudaStorage { slice, device: device.clone() };
    let pointer = base("storage", &storage)?.0;
    Ok((storage, pointer))
}

/// The same for 32-bit integers.
pub(in crate::ops) fn integers(device: &CudaDevice, count: usize) -> Result<(CudaStorage, Pointer)> {
    // SAFETY: as in `storage`.
    let slice = unsafe { device.alloc::<u32>(count.max(1))? };
    let pointer = Pointer(slice.device_ptr(&device.cuda_stream()).0);
    Ok((CudaStorage { slice: CudaStorageSlice::U32(slice), device: device.clone() }, pointer))
}

/// Puts values on the device. The host doesn't wait: the driver copies them before it returns.
pub(in crate::ops) fn upload<const N: usize>(
    gpu: &dyn Gpu,
    what: &str,
    values: impl IntoIterator<Item = [u8; N]>,
) -> Result<Box<dyn Memory>> {
    let bytes: Vec<u8> = values.into_iter().flatten().collect();
    let mut memory = gpu.allocate(what, bytes.len())?;
    memory.write(&bytes)?;
    Ok(memory)
}

/// A tensor without a history.
pub(in crate::ops) fn tensor(storage: CudaStorage, shape: &Shape) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape.clone(), BackpropOp::none(), false)
}
