//! Losses of all pairs on a CUDA device.

use super::cpu::Form;
use super::{Contrast, OP};
use crate::ops::gpu::contrastive::{Form as Kernel, Gradients, Pairs};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Gpu, Memory, Number, Pointer, tensors};
use crate::ops::kept::Kept;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};

/// Rows of the logits that are held at a time to see who finds its partner.
const BLOCK: usize = 1024;

/// The loss of contiguous rows; `factors` holds the scale, and the bias where there is one.
pub(super) fn contrast(form: Form, a: &Tensor, b: &Tensor, factors: &Tensor) -> Result<Contrast> {
    let (rows, width) = a.dims2()?;
    // Kernels read 16 bytes at a time; zeros behind a row change no product.
    let more = width.next_multiple_of(8) - width;
    let whole = |x: &Tensor| if more == 0 { Ok(x.clone()) } else { x.pad_with_zeros(1, 0, more)?.contiguous() };
    let (x, y, factors) = (whole(a)?, whole(b)?, factors.to_dtype(DType::F32)?.contiguous()?);
    let loss = x.apply_op3(&y, &factors, Contrastive { form, statistics: Kept::default() })?;
    let found = match rows {
        0 => Tensor::zeros((), DType::F32, a.device())?,
        _ => ((found(&a.detach(), &b.detach())? + found(&b.detach(), &a.detach())?)? / (2 * rows) as f64)?,
    };
    Ok(Contrast { loss, top1: found })
}

/// How many rows of `a` are nearer to their partner than to all others: a positive scale and a bias don't change that.
fn found(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, _) = a.dims2()?;
    let mut sum: Option<Tensor> = None;
    for first in (0..rows).step_by(BLOCK) {
        let count = BLOCK.min(rows - first);
        let logits = a.narrow(0, first, count)?.matmul(&b.t()?)?.to_dtype(DType::F32)?;
        let numbers = |n: usize| u32::try_from(n).map_err(candle_core::Error::wrap);
        let own = Tensor::arange(numbers(first)?, numbers(first + count)?, a.device())?.unsqueeze(1)?;
        let partner = logits.gather(&own, 1)?;
        // Its own logit is one that is at least as large.
        let as_large = logits.broadcast_ge(&partner)?.to_dtype(DType::F32)?.sum(D::Minus1)?;
        let alone = as_large.eq(1f32)?.to_dtype(DType::F32)?.sum_all()?;
        sum = Some(match sum {
            None => alone,
            Some(sum) => (sum + alone)?,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        None => Tensor::zeros((), DType::F32, a.device()),
    }
}

struct Contrastive {
    form: Form,
    statistics: Kept<Box<dyn Memory>>,
}

impl Contrastive {
    fn pairs(&self, number: Number, (count, width): (usize, usize), [x, y, factors]: [Pointer; 3]) -> Pairs {
        let (form, bias) = match self.form {
            Form::Infonce => (Kernel::InfoNce, Pointer::NULL),
            Form::Sigmoid => (Kernel::Sigmoid, factors.at(1, Number::F32)),
        };
        Pairs { form, number, count, width, x, y, scale: factors, bias }
    }
}

impl CustomOp3 for Contrastive {
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
        a: &CudaStorage,
        al: &Layout,
        b: &CudaStorage,
        bl: &Layout,
        factors: &CudaStorage,
        fl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let ([x, y], number) = tensors::inputs(OP, [(a, al), (b, bl)])?;
        let pairs = self.pairs(number, al.shape().dims2()?, [x, y, tensors::values(OP, factors, fl)?.0]);
        let gpu = Cuda::new(&a.device)?;
        let (storage, loss) = tensors::storage(&a.device, Number::F32, 1)?;
        let statistics = gpu.allocate("statistics", pairs.statistics_bytes())?;
        pairs.forward(&gpu, loss, statistics.pointer())?;
        self.statistics.set(statistics);
        Ok((storage, Shape::from(())))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        factors: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        tensors::with_tensors(OP, [a, b], |device, gpu, [x, y], number| {
            let (da, da_pointer) = tensors::storage(device, number, a.elem_count())?;
            let (db, db_pointer) = tensors::storage(device, number, b.elem_count())?;
            let (df, df_pointer) = tensors::storage(device, Number::F32, factors.elem_count())?;
            tensors::with_tensors(OP, [factors, &grad.contiguous()?], |_, _, [f, upstream], _| {
                let pairs = self.pairs(number, a.dims2()?, [x, y, f]);
                let bias = if pairs.bias == Pointer::NULL { Pointer::NULL } else { df_pointer.at(1, Number::F32) };
                let gradients = Gradients { x: da_pointer, y: db_pointer, scale: df_pointer, bias };
                self.statistics.with(OP, |kept| pairs.backward(gpu, kept.pointer(), upstream, gradients))
            })?;
            let tensor = |storage, like: &Tensor| Some(tensors::tensor(storage, like.shape()));
            Ok((tensor(da, a), tensor(db, b), tensor(df, factors)))
        })
    }
}
