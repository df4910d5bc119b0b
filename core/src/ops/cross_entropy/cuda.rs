//! Cross entropy on a CUDA device: the loss in one pass over the logits, their gradient in another.

use super::OP;
use crate::ops::gpu::cross_entropy::Rows;
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Gpu, Memory, Number, Pointer, tensors};
use crate::ops::kept::Kept;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

/// The loss, f32, of contiguous logits; targets and weights are checked.
pub(super) fn cross_entropy(logits: &Tensor, targets: &[u32], weights: &[f64], smoothing: f64) -> Result<Tensor> {
    let Device::Cuda(device) = logits.device() else { bail!("{OP}: expected tensors on a CUDA device") };
    let gpu = Cuda::new(device)?;
    let op = CrossEntropy {
        targets: tensors::upload(&gpu, "targets", targets.iter().map(|target| target.to_ne_bytes()))?,
        weights: tensors::upload(&gpu, "weights", weights.iter().map(|weight| (*weight as f32).to_ne_bytes()))?,
        smoothing: smoothing as f32,
        statistics: Kept::default(),
    };
    logits.apply_op1(op)
}

struct CrossEntropy {
    targets: Box<dyn Memory>,
    weights: Box<dyn Memory>,
    smoothing: f32,
    statistics: Kept<Box<dyn Memory>>,
}

impl CrossEntropy {
    fn rows(&self, number: Number, (rows, classes): (usize, usize), logits: Pointer) -> Rows {
        let (targets, weights) = (self.targets.pointer(), self.weights.pointer());
        Rows { number, rows, classes, logits, targets, weights, smoothing: self.smoothing }
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(&self, logits: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (pointer, number) = tensors::values(OP, logits, layout)?;
        let rows = self.rows(number, layout.shape().dims2()?, pointer);
        let gpu = Cuda::new(&logits.device)?;
        // Two numbers: the loss, and behind it what the backward pass multiplies by.
        let (storage, loss) = tensors::storage(&logits.device, Number::F32, 2)?;
        let statistics = gpu.allocate("statistics", rows.statistics_bytes())?;
        rows.forward(&gpu, loss, statistics.pointer())?;
        self.statistics.set(statistics);
        Ok((storage, Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        tensors::with_tensors(OP, [logits], |device, gpu, [pointer], number| {
            let rows = self.rows(number, logits.dims2()?, pointer);
            let (storage, dlogits) = tensors::storage(device, number, logits.elem_count())?;
            tensors::with_tensors(OP, [loss, &grad.contiguous()?], |_, _, [loss, upstream], _| {
                self.statistics.with(OP, |kept| rows.backward(gpu, [loss, kept.pointer(), upstream], dlogits))
            })?;
            Ok(Some(tensors::tensor(storage, logits.shape())))
        })
    }
}
