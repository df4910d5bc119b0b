//! `softmax(q kᵀ / √K) v` over the valid keys.
//!
//! Axes: `B` batch, `H` heads, `Q` queries, `T` keys, `K` width of a head.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod packed;
mod packed_cpu;
#[cfg(test)]
mod tests;

pub use packed::{cross_attention, self_attention};

use super::slices::{require_f32, values, with_values};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, bail};

const OP: &str = "attention";

/// Scaled dot-product attention, differentiable in `q`, `k` and `v`.
///
/// Shapes: `q` `[B, H, Q, K]`, `k` and `v` `[B, H, T, K]` → `[B, H, Q, K]`; f32 on the CPU, any
/// strides. `valid` `[B, T]` u8: keys with 0 get no weight and no gradient, whatever they hold
/// (also NaN); all are valid without it. Where no key is valid, the result and all gradients are 0.
/// The weights `[Q, T]` are never kept: the backward pass computes them again, and both passes hold
/// them for a few hundred queries per thread at a time.
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
///
/// Source: Vaswani et al. 2017, eq. 1.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, valid: Option<&Tensor>) -> Result<Tensor> {
    let &[batch, heads, _, width] = q.dims() else {
        bail!("{OP}: expected `q` of shape [batch, heads, tokens, width], got {:?}", q.dims());
    };
    let &[_, _, keys, _] = k.dims() else {
        bail!("{OP}: expected `k` of shape [{batch}, {heads}, tokens, {width}], got {:?}", k.dims());
    };
    for (name, tensor) in [("k", k), ("v", v)] {
        if tensor.dims() != [batch, heads, keys, width] {
            bail!("{OP}: expected `{name}` of shape [{batch}, {heads}, {keys}, {width}], got {:?}", tensor.dims());
        }
    }
    for (name, tensor) in [("q", q), ("k", k), ("v", v)] {
        require_f32(OP, name, tensor)?;
    }
    let mask = Attention::new(valid, batch, keys)?;
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, mask)
}

struct Attention {
    valid: Option<Tensor>,
    #[cfg(feature = "cuda")]
    kept: cuda::Kept,
}

impl Attention {
    fn new(valid: Option<&Tensor>, batch: usize, keys: usize) -> Result<Self> {
        let valid = match valid {
            None => None,
            Some(valid) if valid.dims() != [batch, keys] => {
                bail!("{OP}: expected `valid` of shape [{batch}, {keys}], got {:?}", valid.dims())
            }
            Some(valid) if valid.dtype() != DType::U8 => {
                bail!("{OP}: expected `valid` in u8, got {}", valid.dtype().as_str())
            }
            Some(valid) => Some(valid.contiguous()?.detach()),
        };
        Ok(Self {
            valid,
            #[cfg(feature = "cuda")]
            kept: cuda::Kept::default(),
        })
    }

    /// Which keys of each object of the batch take part.
    fn keys(&self, batch: usize, keys: usize) -> Result<Vec<cpu::Keys>> {
        let Some(valid) = &self.valid else {
            return Ok((0..batch).map(|_| cpu::Keys::First(keys)).collect());
        };
        let (storage, layout) = valid.storage_and_layout();
        let Storage::Cpu(CpuStorage::U8(all)) = &*storage else {
            bail!("{OP}: expected `valid` on the device of `q`");
        };
        match layout.contiguous_offsets().and_then(|(start, end)| all.get(start..end)) {
            Some(_) if keys == 0 => Ok((0..batch).map(|_| cpu::Keys::First(0)).collect()),
            Some(valid) => Ok(valid.chunks_exact(keys).map(cpu::Keys::of).collect()),
            None => bail!("{OP}: expected contiguous `valid`"),
        }
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = cpu::HeadShape::new(ql.shape().dims4()?, kl.shape().dims4()?);
        let keys = self.keys(shape.batch, shape.keys)?;
        let mut out = vec![0.0; ql.shape().elem_count()];
        let inputs = cpu::Inputs { q: values(OP, q, ql)?, k: values(OP, k, kl)?, v: values(OP, v, vl)? };
        cpu::forward(shape, &keys, inputs, &mut out);
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let shape = cpu::HeadShape::new(q.dims4()?, k.dims4()?);
        let keys = self.keys(shape.batch, shape.keys)?;
        let (dq, dk, dv) = with_values(OP, [q, k, v, out, &grad.contiguous()?], |[q, k, v, out, dout]| {
            cpu::backward(shape, &keys, cpu::Inputs { q, k, v }, out, dout)
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}
