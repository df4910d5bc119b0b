//! Layer and RMS norm on a CUDA device.

use super::{Norm, NormKind};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::layer_norm::{Norm as Kernel, Rows};
use crate::ops::gpu::{Number, Pointer, tensors};
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor, bail};

fn rows(norm: &Norm, number: Number, shape: &Shape, width: usize, [x, weight]: [Pointer; 2]) -> Rows {
    let kernel = match norm.kind {
        NormKind::Layer => Kernel::Layer,
        NormKind::Rms => Kernel::Rms,
    };
    let rows = shape.elem_count().checked_div(width).unwrap_or(0);
    Rows { norm: kernel, number, rows, width, epsilon: norm.eps, x, weight }
}

/// `y` for `x` and `gamma`, and `beta` if there is one.
pub(super) fn forward(
    norm: &Norm,
    inputs: [(&CudaStorage, &Layout); 2],
    beta: Option<(&CudaStorage, &Layout)>,
) -> Result<(CudaStorage, Shape)> {
    let op = norm.kind.op();
    let [(x, layout), (_, weights)] = inputs;
    let (pointers, number) = tensors::inputs(op, inputs)?;
    let beta = match beta {
        None => Pointer::NULL,
        Some((beta, layout)) => match tensors::values(op, beta, layout)? {
            (pointer, same) if same == number => pointer,
            _ => bail!("{op}: expected inputs of one type of number"),
        },
    };
    let shape = layout.shape();
    let (storage, y) = tensors::storage(&x.device, number, shape.elem_count())?;
    rows(norm, number, shape, weights.shape().elem_count(), pointers).forward(&Cuda::new(&x.device)?, beta, y)?;
    Ok((storage, shape.clone()))
}

/// Gradients of `x`, `gamma` and `beta`.
pub(super) fn backward(norm: &Norm, [x, gamma, grad]: [&Tensor; 3]) -> Result<[Tensor; 3]> {
    tensors::with_tensors(norm.kind.op(), [x, gamma, grad], |device, gpu, [x_pointer, weight, dy], number| {
        let width = gamma.elem_count();
        let (dx, dx_pointer) = tensors::storage(device, number, x.elem_count())?;
        let (dgamma, dgamma_pointer) = tensors::storage(device, number, width)?;
        let (dbeta, dbeta_pointer) = tensors::storage(device, number, width)?;
        let rows = rows(norm, number, x.shape(), width, [x_pointer, weight]);
        rows.backward(gpu, dy, [dx_pointer, dgamma_pointer, dbeta_pointer])?;
        Ok([
            tensors::tensor(dx, x.shape()),
            tensors::tensor(dgamma, gamma.shape()),
            tensors::tensor(dbeta, gamma.shape()),
        ])
    })
}
