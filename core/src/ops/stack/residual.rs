//! What follows the last product of a branch on a CUDA device: its bias and the residual stream are added in one pass.

use super::OP;
use crate::ops::gpu::activation::Rows;
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::tensors;
use crate::ops::gradients::{self, Added};
use crate::ops::linear::cuda::bias_rows;
use crate::ops::slices::alike;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// `x + bias + stream` of rows `[M, D]`, differentiable in all three.
pub(super) fn residual(x: &Tensor, bias: &Tensor, stream: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&alike(bias, x)?.contiguous()?, stream, Residual)
}

struct Residual;

impl CustomOp3 for Residual {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        bias: &CudaStorage,
        bl: &Layout,
        stream: &CudaStorage,
        sl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (rows, width) = xl.shape().dims2()?;
        let ([at, bias, stream], number) = tensors::inputs(OP, [(x, xl), (bias, bl), (stream, sl)])?;
        let (storage, y) = tensors::storage(&x.device, number, rows * width)?;
        Rows { number, rows, width, x: at, bias }.add_residual(&Cuda::new(&x.device)?, stream, y)?;
        Ok((storage, xl.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        bias: &Tensor,
        _stream: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dbias = bias_rows(&grad.contiguous()?)?;
        let added = gradients::add_tensor(bias, &dbias)?;
        Ok((Some(grad.clone()), (added == Added::No).then_some(dbias), Some(grad.clone())))
    }
}
