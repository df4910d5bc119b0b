//! Coordinates as waves on a CUDA device, in f32.

use super::OP;
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::fourier::Angles;
use crate::ops::gpu::{Number, Pointer, tensors};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

pub(super) struct Fourier {
    /// `[F]`, contiguous.
    pub(super) frequencies: Tensor,
}

impl Fourier {
    fn angles(&self, count: usize, [x, frequencies]: [Pointer; 2]) -> Angles {
        Angles { number: Number::F32, count, frequencies_count: self.frequencies.elem_count(), x, frequencies }
    }
}

impl CustomOp1 for Fourier {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        tensors::with_storage(OP, &self.frequencies, |frequencies| {
            let (pointers, number) = tensors::inputs(OP, [(x, layout), frequencies])?;
            if number != Number::F32 {
                bail!("{OP}: expected coordinates in f32");
            }
            let shape = Shape::from((layout.shape().elem_count(), 2 * self.frequencies.elem_count()));
            let (storage, out) = tensors::storage(&x.device, number, shape.elem_count())?;
            self.angles(layout.shape().elem_count(), pointers).forward(&Cuda::new(&x.device)?, out)?;
            Ok((storage, shape))
        })
    }

    fn bwd(&self, x: &Tensor, _waves: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let tensors = [x, &self.frequencies, &grad.contiguous()?];
        tensors::with_tensors(OP, tensors, |device, gpu, [x_pointer, frequencies, dout], number| {
            let (storage, dx) = tensors::storage(device, number, x.elem_count())?;
            self.angles(x.elem_count(), [x_pointer, frequencies]).backward(gpu, dout, dx)?;
            Ok(Some(tensors::tensor(storage, x.shape())))
        })
    }
}
