//! The stack made of single operations that candle records: how it runs on a CUDA device.
//!
//! A kernel there does what a task does on the CPU, so nothing is won by one operation for all. What the backward pass finds is
//! the same choice: all activations, or the input of each branch, from which the branch is computed again. Tests run this on
//! the CPU, with the operations that there are for it, against the stack.

use super::places::Places;
use super::{
    AttentionBranch, Branch, Context, CrossAttentionBranch, HeadNorms, Keep, LinearParameters, MlpBranch,
    NormParameters, OP, Sequences,
};
use crate::ops::activation::{Activation, activation};
use crate::ops::gradients::{self, Added};
use crate::ops::kept::Kept;
use crate::ops::slices::alike;
use crate::ops::{linear, norm};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, Var, bail};
use std::sync::Arc;

/// As [`super::stack_with_context`], with `scales` per row.
pub(super) fn composed(
    x: &Tensor,
    branches: &[Branch],
    sequences: &Sequences,
    context: Option<&Context>,
    scales: Vec<Option<Vec<f32>>>,
    keep: Keep,
) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let places = Arc::new(Places::new(x, sequences, context)?);
    let rows = context.map(|context| context.rows.contiguous()).transpose()?;
    let mut x = x.contiguous()?;
    for (branch, scales) in branches.iter().zip(scales) {
        let scales = scales
            .map(|scales| Tensor::from_vec(scales, (sequences.rows(), 1), x.device())?.to_dtype(x.dtype()))
            .transpose()?;
        let step = Step { branch: branch.clone(), places: places.clone(), scales };
        let context = rows.as_ref().filter(|_| matches!(branch, Branch::CrossAttention(_)));
        x = match keep {
            Keep::All => step.forward(&x, context)?,
            Keep::Inputs | Keep::Nothing => step.forward_again(x, context)?,
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
    /// `x + branch(x)`. The context is there for the branches that look at it.
    fn forward(&self, x: &Tensor, context: Option<&Tensor>) -> Result<Tensor> {
        let (y, bias) = match (&self.branch, context) {
            (Branch::Attention(branch), _) => branch.composed(x, &self.places)?,
            (Branch::CrossAttention(branch), Some(context)) => branch.composed(x, context, &self.places)?,
            (Branch::CrossAttention(_), None) => bail!("{OP}: cross-attention without a context"),
            (Branch::Mlp(branch), _) => branch.composed(x)?,
        };
        match &self.scales {
            None => residual(&y, bias, x),
            Some(scales) => with_bias(&y, bias)?.broadcast_mul(scales)? + x,
        }
    }

    /// The same, of which the backward pass keeps `x` and the context alone.
    fn forward_again(self, x: Tensor, context: Option<&Tensor>) -> Result<Tensor> {
        let Some(anchor) = self.branch.parameters().first().map(|parameter| (*parameter).clone()) else {
            bail!("{OP}: a branch without parameters");
        };
        let result = Kept::default();
        result.set(self.forward(&x.detach(), context.map(Tensor::detach).as_ref())?.detach());
        let again = Again { step: self, result };
        // candle records an operation if one of its arguments has a gradient: data has none, a parameter does.
        match context {
            Some(context) => x.apply_op3(context, &anchor, again),
            None => x.apply_op2(&anchor, again),
        }
    }
}

impl AttentionBranch {
    /// What is added to `x`, and the bias that still has to be added to it.
    fn composed(&self, x: &Tensor, places: &Places) -> Result<(Tensor, Option<&Tensor>)> {
        let LinearParameters { weight, bias } = &self.qkv;
        let mut qkv = linear(&self.norm.composed(x)?, weight, bias.as_ref())?;
        if let Some(HeadNorms { queries, keys }) = &self.head_norms {
            let part = |number: usize| qkv.narrow(1, number * self.width(), self.width());
            qkv = Tensor::cat(&[queries.of_heads(&part(0)?)?, keys.of_heads(&part(1)?)?, part(2)?], 1)?;
        }
        let attended = places.attend(&qkv, self)?;
        Ok((linear(&attended, &self.out.weight, None)?, self.out.bias.as_ref()))
    }
}

impl CrossAttentionBranch {
    /// As for attention.
    fn composed(&self, x: &Tensor, context: &Tensor, places: &Places) -> Result<(Tensor, Option<&Tensor>)> {
        let mut q = linear(&self.norm.composed(x)?, &self.q.weight, self.q.bias.as_ref())?;
        let mut kv = linear(&self.context_norm.composed(context)?, &self.kv.weight, self.kv.bias.as_ref())?;
        if let Some(HeadNorms { queries, keys }) = &self.head_norms {
            let part = |number: usize| kv.narrow(1, number * self.width(), self.width());
            q = queries.of_heads(&q)?;
            kv = Tensor::cat(&[keys.of_heads(&part(0)?)?, part(1)?], 1)?;
        }
        let attended = places.attend_to_context(&q, &kv, self)?;
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

    /// Each head of rows `[M, D]` by itself.
    fn of_heads(&self, x: &Tensor) -> Result<Tensor> {
        self.composed(&x.contiguous()?.reshape(((), self.gamma.elem_count()))?)?.reshape(x.shape())
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

impl Again {
    /// The result on the CPU.
    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        self.take(|storage| match storage {
            Storage::Cpu(storage) => Some(storage.clone()),
            _ => None,
        })
    }

    /// The result on a CUDA device.
    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.take(|storage| match storage {
            Storage::Cuda(storage) => storage.try_clone(&Layout::contiguous(())).ok(),
            _ => None,
        })
    }

    /// Gradients of `x` and of the context; those of parameters are added.
    fn gradients(&self, x: &Tensor, context: Option<&Tensor>, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        gradients::require(OP)?;
        let var = |tensor: &Tensor| Var::from_tensor(&tensor.detach());
        let (input, rows) = (var(x)?, context.map(var).transpose()?);
        // The gradient of Σ y grad is that of the branch for `grad`.
        let y = self.step.forward(input.as_tensor(), rows.as_ref().map(|rows| rows.as_tensor()))?;
        let store = (y * grad.detach())?.sum_all()?.backward()?;
        for parameter in self.step.branch.parameters() {
            if let Some(gradient) = store.get(parameter)
                && gradients::add_tensor(parameter, gradient)? == Added::No
                && parameter.track_op()
            {
                bail!("{OP}: the gradient of a parameter has nowhere to go");
            }
        }
        let own = |var: &Var, of: &Tensor| store.get(var.as_tensor()).filter(|_| of.track_op()).map(Tensor::detach);
        Ok([own(&input, x), rows.zip(context).and_then(|(rows, context)| own(&rows, context))])
    }
}

impl CustomOp2 for Again {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, _] = self.gradients(x, None, grad)?;
        Ok((dx, None))
    }
}

impl CustomOp3 for Again {
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
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        x: &Tensor,
        context: &Tensor,
        _: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dcontext] = self.gradients(x, Some(context), grad)?;
        Ok((dx, dcontext, None))
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
