//! Rows taken and put on a CUDA device.

use super::{GATHER, SCATTER, with_rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::gather::Index;
use crate::ops::gpu::tensors;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

/// The rows of `x` with these numbers, each of which there is.
pub(super) fn gather(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    apply(x, Way::Gather, rows, x.dim(0)?)
}

/// Row `k` of `x` at row `rows[k]` of `count`.
pub(super) fn scatter(x: &Tensor, rows: &[u32], count: usize) -> Result<Tensor> {
    apply(x, Way::Scatter, rows, count)
}

fn apply(x: &Tensor, way: Way, rows: &[u32], count: usize) -> Result<Tensor> {
    let Device::Cuda(device) = x.device() else { bail!("{}: expected tensors on a CUDA device", way.op()) };
    let index = Index::new(&Cuda::new(device)?, rows, count)?;
    x.contiguous()?.apply_op1(Move { way, index, taken: rows.len(), count })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Gather,
    Scatter,
}

impl Way {
    fn op(self) -> &'static str {
        if self == Self::Gather { GATHER } else { SCATTER }
    }

    fn back(self) -> Self {
        if self == Self::Gather { Self::Scatter } else { Self::Gather }
    }
}

struct Move {
    way: Way,
    index: Index,
    /// K.
    taken: usize,
    /// M.
    count: usize,
}

impl Move {
    fn run(&self, way: Way, (x, layout): (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
        let (from, number) = tensors::values(way.op(), x, layout)?;
        let width = layout.dims().iter().skip(1).product();
        let shape = with_rows(layout.shape(), if way == Way::Gather { self.taken } else { self.count });
        let (storage, to) = tensors::storage(&x.device, number, shape.elem_count())?;
        let gpu = Cuda::new(&x.device)?;
        match way {
            Way::Gather => self.index.gather(&gpu, number, width, from, to)?,
            Way::Scatter => self.index.scatter(&gpu, number, width, from, to)?,
        }
        Ok((storage, shape))
    }
}

impl CustomOp1 for Move {
    fn name(&self) -> &'static str {
        self.way.op()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{}: expected tensors on a CUDA device", self.way.op())
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.run(self.way, (x, layout))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (storage, shape) = tensors::with_storage(self.way.op(), &grad, |dy| self.run(self.way.back(), dy))?;
        Ok(Some(tensors::tensor(storage, &shape)))
    }
}
