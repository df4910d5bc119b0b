//! Activations on a CUDA device, alone or with the bias of the product before.

use super::{Activation, OP};
use crate::ops::gpu::activation::{Activation as Kernel, Rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Number, Pointer, tensors};
use crate::ops::gradients::{self, Added};
use crate::ops::slices::alike;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Rows of the result for inputs of this shape.
fn rows(kind: Activation, number: Number, inputs: &Shape, [x, bias]: [Pointer; 2]) -> Rows {
    let columns = inputs.dims().last().copied().unwrap_or(1);
    let rows = inputs.elem_count().checked_div(columns).unwrap_or(0);
    Rows { number, rows, width: kind.outputs(columns), x, bias }
}

fn kernel(kind: Activation) -> Kernel {
    match kind {
        Activation::Gelu => Kernel::Gelu,
        Activation::GeluTanh => Kernel::GeluTanh,
        Activation::Silu => Kernel::Silu,
        Activation::Elu => Kernel::Elu,
        Activation::Relu => Kernel::Relu,
        Activation::SwiGlu => Kernel::SwiGlu,
        Activation::GeGlu => Kernel::GeGlu,
    }
}

/// The function of `x`, with a bias that is added before if there is one.
pub(super) fn forward(
    kind: Activation,
    (x, layout): (&CudaStorage, &Layout),
    bias: Option<(&CudaStorage, &Layout)>,
) -> Result<(CudaStorage, Shape)> {
    let (pointer, number) = tensors::values(OP, x, layout)?;
    let bias = match bias {
        None => Pointer::NULL,
        Some((bias, layout)) => tensors::values(OP, bias, layout)?.0,
    };
    let mut dims = layout.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = kind.outputs(*last);
    }
    let shape = Shape::from(dims);
    let (storage, y) = tensors::storage(&x.device, number, shape.elem_count())?;
    rows(kind, number, layout.shape(), [pointer, bias]).forward(&Cuda::new(&x.device)?, kernel(kind), y)?;
    Ok((storage, shape))
}

/// The gradient of `x`.
pub(super) fn backward(kind: Activation, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    tensors::with_tensors(OP, [x, grad], |device, gpu, [pointer, dy], number| {
        let (storage, dx) = tensors::storage(device, number, x.elem_count())?;
        let rows = rows(kind, number, x.shape(), [pointer, Pointer::NULL]);
        rows.backward(gpu, kernel(kind), dy, [dx, Pointer::NULL])?;
        Ok(tensors::tensor(storage, x.shape()))
    })
}

/// `f(x + bias)` of rows `x` `[M, N]`, `bias` `[N]` on a CUDA device, differentiable in both.
pub(in crate::ops) fn biased(kind: Activation, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&alike(bias, x)?.contiguous()?, Biased(kind))
}

struct Biased(Activation);

impl CustomOp2 for Biased {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, bias: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        forward(self.0, (x, xl), Some((bias, bl)))
    }

    fn bwd(&self, x: &Tensor, bias: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (dx, dbias) = tensors::with_tensors(OP, [x, bias, &grad], |device, gpu, [at, shift, dy], number| {
            let (dx, dx_pointer) = tensors::storage(device, number, x.elem_count())?;
            let (dbias, dbias_pointer) = tensors::storage(device, number, bias.elem_count())?;
            let rows = rows(self.0, number, x.shape(), [at, shift]);
            rows.backward(gpu, kernel(self.0), dy, [dx_pointer, dbias_pointer])?;
            Ok((tensors::tensor(dx, x.shape()), tensors::tensor(dbias, bias.shape())))
        })?;
        let added = gradients::add_tensor(bias, &dbias)?;
        Ok((Some(dx), (added == Added::No).then_some(dbias)))
    }
}
