//! Layer norm on a CUDA device.

use super::OP;
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::layer_norm::{Norm, Rows};
use crate::ops::gpu::{Number, Pointer, tensors};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

fn rows(number: Number, shape: &Shape, width: usize, eps: f32, [x, weight]: [Pointer; 2]) -> Rows {
    let rows = shape.elem_count().checked_div(width).unwrap_or(0);
    Rows { norm: Norm::Layer, number, rows, width, epsilon: eps, x, weight }
}

/// `y` for `x`, `gamma` and `beta`.
pub(super) fn forward(eps: f32, inputs: [(&CudaStorage, &Layout); 3]) -> Result<(CudaStorage, Shape)> {
    let [(x, layout), (_, weights), _] = inputs;
    let ([x_pointer, gamma, beta], number) = tensors::inputs(OP, inputs)?;
    let shape = layout.shape();
    let (storage, y) = tensors::storage(&x.device, number, shape.elem_count())?;
    let rows = rows(number, shape, weights.shape().elem_count(), eps, [x_pointer, gamma]);
    rows.forward(&Cuda::new(&x.device)?, beta, y)?;
    Ok((storage, shape.clone()))
}

/// Gradients of `x`, `gamma` and `beta`.
pub(super) fn backward(eps: f32, x: &Tensor, gamma: &Tensor, grad: &Tensor) -> Result<[Tensor; 3]> {
    tensors::with_tensors(OP, [x, gamma, grad], |device, gpu, [x_pointer, weight, dy], number| {
        let width = gamma.elem_count();
        let (dx, dx_pointer) = tensors::storage(device, number, x.elem_count())?;
        let (dgamma, dgamma_pointer) = tensors::storage(device, number, width)?;
        let (dbeta, dbeta_pointer) = tensors::storage(device, number, width)?;
        let rows = rows(number, x.shape(), width, eps, [x_pointer, weight]);
        rows.backward(gpu, dy, [dx_pointer, dgamma_pointer, dbeta_pointer])?;
        Ok([
            tensors::tensor(dx, x.shape()),
            tensors::tensor(dgamma, gamma.shape()),
            tensors::tensor(dbeta, gamma.shape()),
        ])
    })
}
