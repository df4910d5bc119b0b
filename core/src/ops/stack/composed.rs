//! The stack made of single operations that candle records: how it runs on a CUDA device.
//!
//! A kernel there does what a task does on the CPU, so nothing is won by one operation for all. What the backward pass finds is
//! the same choice: all activations, or the input of each branch, from which the branch is computed again. Tests run this on
//! the CPU, with the operations that there are for it, against the stack.

use super::{AttentionBranch, Branch, Keep, LinearParameters, MlpBranch, NormParameters, OP, Sequences};
use crate::ops::activation::{Activation, activation};
#[cfg(feature = "cuda")]
use crate::ops::attention::Starts;
use crate::ops::gradients::{self, Added};
use crate::ops::kept::Kept;
use crate::ops::slices::alike;
use crate::ops::{linear, norm};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Storage, Tensor, Var, bail};
use std::sync::Arc;

/// As [`super::stack`], with `scales` per row.
pub(super) fn composed(
    x: &Tensor,
    branches: &[Branch],
    sequences: &Sequences,
    scales: Vec<Option<Vec<f32>>>,
    keep: Keep,
) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let places = Places::new(x, sequences)?;
    let mut x = x.contiguous()?;
    for (branch, scales) in branches.iter().zip(scales) {
        let scales = scales
            .map(|scales| Tensor::from_vec(scales, (sequences.rows(), 1), x.device())?.to_dtype(x.dtype()))
            .transpose()?;
        let step = Step { branch: branch.clone(), places: places.clone(), scales };
        x = match keep {
            Keep::All => step.forward(&x)?,
            Keep::Inputs | Keep::Nothing => step.forward_again(x)?,
        };
    }
    Ok(x)
}

/// One branch with what it needs besides its input.
#[derive(Clone)]
struct Step {
    branch: Branch,
    places: Arc<Places>,
    /// `[M, 1]`, of the type of `x`.
    scales: Option<Tensor>,
}

impl Step {
    /// `x + branch(x)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (y, bias) = match &self.branch {
            Branch::Attention(branch) => branch.composed(x, &self.places)?,
            Branch::Mlp(branch) => branch.composed(x)?,
        };
        match &self.scales {
            None => residual(&y, bias, x),
            Some(scales) => with_bias(&y, bias)?.broadcast_mul(scales)? + x,
        }
    }

    /// The same, of which the backward pass keeps `x` alone.
    fn forward_again(self, x: Tensor) -> Result<Tensor> {
        let Some(anchor) = self.branch.parameters().first().map(|parameter| (*parameter).clone()) else {
            bail!("{OP}: a branch without parameters");
        };
        let result = Kept::default();
        result.set(self.forward(&x.detach())?.detach());
        // candle records an operation if one of its arguments has a gradient: data has none, a parameter does.
        x.apply_op2(&anchor, Again { step: self, result })
    }
}

impl AttentionBranch {
    /// What is added to `x`, and the bias that still has to be added to it.
    fn composed(&self, x: &Tensor, places: &Places) -> Result<(Tensor, Option<&Tensor>)> {
        let LinearParameters { weight, bias } = &self.qkv;
        let qkv = linear(&self.norm.composed(x)?, weight, bias.as_ref())?;
        let attended = places.attend(&qkv, self)?;
        Ok((linear(&attended, &self.out.weight, None)?, self.out.bias.as_ref()))
    }
}

impl MlpBranch {
    /// As for attention.
    fn composed(&self, x: &Tensor) -> Result<(Tensor, Option<&Tensor>)> {
        let before = linear(&self.norm.composed(x)?, &self.input.weight, None)?;
        let after = match &self.input.bias {
            Some(bias) => biased(self.activation, &before, bias)?,
            None => activation(self.activation, &before)?,
        };
        Ok((linear(&after, &self.output.weight, None)?, self.output.bias.as_ref()))
    }
}

impl NormParameters {
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        norm(self.kind, x, &self.gamma, self.beta.as_ref(), self.eps)
    }
}

/// A branch whose result was computed without a history.
struct Again {
    step: Step,
    result: Kept<Tensor>,
}

impl Again {
    /// The result, whose storage it alone has.
    fn take<S>(&self, storage: impl FnOnce(&Storage) -> Option<S>) -> Result<(S, Shape)> {
        let Some(y) = self.result.take() else { bail!("{OP}: a result was taken twice") };
        let y = y.contiguous()?;
        let (own, _) = y.storage_and_layout();
        match storage(&own) {
            Some(storage) => Ok((storage, y.shape().clone())),
            None => bail!("{OP}: expected all tensors on one device"),
        }
    }
}

impl CustomOp2 for Again {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.take(|storage| match storage {
            Storage::Cpu(storage) => Some(storage.clone()),
            _ => None,
        })
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.take(|storage| match storage {
            Storage::Cuda(storage) => storage.try_clone(&Layout::contiguous(())).ok(),
            _ => None,
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        gradients::require(OP)?;
        let input = Var::from_tensor(&x.detach())?;
        // The gradient of Σ y grad is that of the branch for `grad`.
        let store = (self.step.forward(input.as_tensor())? * grad.detach())?.sum_all()?.backward()?;
        for parameter in self.step.branch.parameters() {
            if let Some(gradient) = store.get(parameter)
                && gradients::add_tensor(parameter, gradient)? == Added::No
                && parameter.track_op()
            {
                bail!("{OP}: the gradient of a parameter has nowhere to go");
            }
        }
        Ok((store.get(input.as_tensor()).filter(|_| x.track_op()).map(Tensor::detach), None))
    }
}

/// Where sequences are, as attention needs it.
struct Places {
    #[cfg(feature = "cuda")]
    starts: Option<Arc<Starts>>,
    #[cfg(test)]
    sequences: Sequences,
}

impl Places {
    fn new(x: &Tensor, sequences: &Sequences) -> Result<Arc<Self>> {
        #[cfg(feature = "cuda")]
        let starts = match x.device() {
            candle_core::Device::Cuda(device) => Some(Arc::new(Starts::new(device, sequences)?)),
            _ => None,
        };
        #[cfg(not(feature = "cuda"))]
        let _ = x;
        Ok(Arc::new(Self {
            #[cfg(feature = "cuda")]
            starts,
            #[cfg(test)]
            sequences: sequences.clone(),
        }))
    }

    /// `[M, 3 D]` -> `[M, D]`.
    fn attend(&self, qkv: &Tensor, branch: &AttentionBranch) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(starts) = &self.starts {
            return crate::ops::attention::packed_attention(qkv, branch.heads, &branch.mask, starts);
        }
        #[cfg(test)]
        return super::tests::attend(qkv, branch, &self.sequences);
        #[cfg(not(test))]
        bail!("{OP}: expected tensors on a CUDA device, not {qkv:?} for {branch:?}")
    }
}

fn with_bias(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(&alike(bias, x)?))
}

fn residual(x: &Tensor, bias: Option<&Tensor>, stream: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(bias) = bias.filter(|_| x.device().is_cuda()) {
        return super::residual::residual(x, bias, stream);
    }
    with_bias(x, bias)? + stream
}

fn biased(kind: Activation, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::ops::activation::cuda::biased(kind, x, bias);
    }
    activation(kind, &with_bias(x, Some(bias))?)
}
