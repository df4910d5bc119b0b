//! Linear maps on a CUDA device: products by cuBLAS, as candle calls it, and the bias by our kernels.

use super::OP;
use crate::ops::gpu::activation::{Rows, bias_gradient};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Pointer, tensors};
use crate::ops::gradients::{self, Added};
use crate::ops::slices::alike;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// `y = x wᵀ + b` in the type of number of `x`, of contiguous tensors on one device.
pub(super) fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    let w = alike(w, x)?;
    match b {
        Some(b) => x.apply_op3(&w, &alike(b, x)?.contiguous()?, Linear),
        None => x.apply_op2(&w, Linear),
    }
}

/// The gradient of a bias that was added to rows: `dy` `[rows, width]`, contiguous.
pub(in crate::ops) fn bias_rows(dy: &Tensor) -> Result<Tensor> {
    let (rows, width) = dy.dims2()?;
    tensors::with_tensors(OP, [dy], |device, gpu, [dy], number| {
        let (storage, pointer) = tensors::storage(device, number, width)?;
        bias_gradient(gpu, number, [rows, width], dy, pointer)?;
        Ok(tensors::tensor(storage, &Shape::from(width)))
    })
}

struct Linear;

impl Linear {
    fn forward(
        (x, x_layout): (&CudaStorage, &Layout),
        (w, w_layout): (&CudaStorage, &Layout),
        bias: Option<(&CudaStorage, &Layout)>,
    ) -> Result<(CudaStorage, Shape)> {
        let (outputs, inputs) = w_layout.shape().dims2()?;
        let rows = x_layout.shape().elem_count().checked_div(inputs).unwrap_or(0);
        let mut dims = x_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        let shape = Shape::from(dims);
        let (_, number) = tensors::inputs(OP, [(x, x_layout), (w, w_layout)])?;
        if shape.elem_count() == 0 {
            return Ok((tensors::storage(&x.device, number, 0)?.0, shape));
        }
        let flat = Layout::contiguous_with_offset((rows, inputs), x_layout.start_offset());
        let y = x.matmul(w, (1, rows, outputs, inputs), &flat, &w_layout.transpose(0, 1)?)?;
        if let Some((bias, layout)) = bias {
            let (at, _) = tensors::values(OP, &y, &Layout::contiguous((rows, outputs)))?;
            let (bias, _) = tensors::values(OP, bias, layout)?;
            Rows { number, rows, width: outputs, x: at, bias }.add_residual(
                &Cuda::new(&x.device)?,
                Pointer::NULL,
                at,
            )?;
        }
        Ok((y, shape))
    }

    /// Gradients of `x`, `w` and of the bias if there is one, where candle has to keep them.
    fn backward(x: &Tensor, w: &Tensor, b: Option<&Tensor>, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (outputs, inputs) = w.dims2()?;
        let rows = x.elem_count().checked_div(inputs).unwrap_or(0);
        // Detached, so that the products below leave no history.
        let (flat, weight) = (x.detach().reshape((rows, inputs))?, w.detach());
        let dy = grad.detach().contiguous()?.reshape((rows, outputs))?;
        let dx = match x.track_op() {
            true if rows == 0 => Some(x.zeros_like()?),
            true => Some(dy.matmul(&weight)?.reshape(x.shape())?),
            false => None,
        };
        let own = |parameter: &Tensor, gradient: &dyn Fn() -> Result<Tensor>| -> Result<Option<Tensor>> {
            if !parameter.track_op() {
                return Ok(None);
            }
            let gradient = if rows == 0 { parameter.zeros_like()?.detach() } else { gradient()? };
            Ok(match gradients::add_tensor(parameter, &gradient)? {
                Added::Yes => None,
                Added::No => Some(gradient),
            })
        };
        let dw = own(w, &|| dy.t()?.matmul(&flat))?;
        let db = b.map(|b| own(b, &|| bias_rows(&dy))).transpose()?.flatten();
        Ok([dx, dw, db])
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on one device")
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, w: &CudaStorage, wl: &Layout) -> Result<(CudaStorage, Shape)> {
        Self::forward((x, xl), (w, wl), None)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = Self::backward(x, w, None, grad)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Linear {
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
        bail!("{OP}: expected tensors on one device")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Self::forward((x, xl), (w, wl), Some((b, bl)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = Self::backward(x, w, Some(b), grad)?;
        Ok((dx, dw, db))
    }
}
