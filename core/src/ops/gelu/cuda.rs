//! GELU on a CUDA device.

use super::OP;
use crate::ops::gpu::activation::{Activation, Rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Number, Pointer, tensors};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

fn rows(number: Number, shape: &Shape, x: Pointer) -> Rows {
    let width = shape.dims().last().copied().unwrap_or(1);
    let rows = shape.elem_count().checked_div(width).unwrap_or(0);
    Rows { number, rows, width, x, bias: Pointer::NULL }
}

/// `x Φ(x)`.
pub(super) fn forward(x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (pointer, number) = tensors::values(OP, x, layout)?;
    let shape = layout.shape();
    let (storage, y) = tensors::storage(&x.device, number, shape.elem_count())?;
    rows(number, shape, pointer).forward(&Cuda::new(&x.device)?, Activation::Gelu, y)?;
    Ok((storage, shape.clone()))
}

/// The gradient of `x`.
pub(super) fn backward(x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    tensors::with_tensors(OP, [x, grad], |device, gpu, [pointer, dy], number| {
        let (storage, dx) = tensors::storage(device, number, x.elem_count())?;
        rows(number, x.shape(), pointer).backward(gpu, Activation::Gelu, dy, [dx, Pointer::NULL])?;
        Ok(tensors::tensor(storage, x.shape()))
    })
}
