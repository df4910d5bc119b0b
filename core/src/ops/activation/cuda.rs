//! Activations on a CUDA device.

use super::{Activation, OP};
use crate::ops::gpu::activation::{Activation as Kernel, Rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Number, Pointer, tensors};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

fn rows(number: Number, shape: &Shape, x: Pointer) -> Rows {
    let width = shape.dims().last().copied().unwrap_or(1);
    let rows = shape.elem_count().checked_div(width).unwrap_or(0);
    Rows { number, rows, width, x, bias: Pointer::NULL }
}

fn kernel(kind: Activation) -> Kernel {
    match kind {
        Activation::Gelu => Kernel::Gelu,
        Activation::GeluTanh => Kernel::GeluTanh,
        Activation::Silu => Kernel::Silu,
        Activation::SwiGlu => Kernel::SwiGlu,
    }
}

/// The function of single values.
pub(super) fn forward(kind: Activation, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (pointer, number) = tensors::values(OP, x, layout)?;
    let shape = layout.shape();
    let (storage, y) = tensors::storage(&x.device, number, shape.elem_count())?;
    rows(number, shape, pointer).forward(&Cuda::new(&x.device)?, kernel(kind), y)?;
    Ok((storage, shape.clone()))
}

/// The gradient of `x`.
pub(super) fn backward(kind: Activation, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    tensors::with_tensors(OP, [x, grad], |device, gpu, [pointer, dy], number| {
        let (storage, dx) = tensors::storage(device, number, x.elem_count())?;
        rows(number, x.shape(), pointer).backward(gpu, kernel(kind), dy, [dx, Pointer::NULL])?;
        Ok(tensors::tensor(storage, x.shape()))
    })
}
