//! A bound on a learned scale that training can leave again.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `min(x, bound)`, whose gradient is kept beyond the bound if it leads back.
///
/// The gradient of a plain minimum is zero there: a parameter that once got beyond its bound would
/// never leave it.
pub(super) fn at_most(x: &Tensor, bound: f64) -> Result<Tensor> {
    // The value comes from candle, so that this works on each of its devices; the gradient is ours.
    let value = x.detach().minimum(bound)?;
    x.apply_op2(&value, AtMost(bound as f32))
}

/// Its first argument, with the values of the second.
struct AtMost(f32);

impl CustomOp2 for AtMost {
    fn name(&self) -> &'static str {
        "at_most"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, value: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        value: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((value.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // A step goes against the gradient, so that a positive one leads back.
        let beyond = x.ge(self.0)?;
        Ok((Some(beyond.where_cond(&gradient.relu()?, gradient)?), None))
    }
}
