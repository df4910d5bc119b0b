//! A bound on a learned scale that training can leave again.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// `min(x, bound)`, whose gradient is kept beyond the bound if it leads back.
///
/// The gradient of a plain minimum is zero there: a parameter that once got beyond its bound would
/// never leave it.
pub(super) fn at_most(x: &Tensor, bound: f64) -> Result<Tensor> {
    x.apply_op1(AtMost(bound as f32))
}

struct AtMost(f32);

impl CustomOp1 for AtMost {
    fn name(&self) -> &'static str {
        "at_most"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("at_most: expected contiguous f32");
        };
        let values = values.get(start..end).unwrap_or_default().iter().map(|v| v.min(self.0)).collect();
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        // A step goes against the gradient, so that a positive one leads back.
        let beyond = x.ge(self.0)?;
        Ok(Some(beyond.where_cond(&gradient.relu()?, gradient)?))
    }
}
