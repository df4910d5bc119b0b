//! Attention on rows as linear maps give them, all heads side by side: nothing is transposed, and
//! only two or three tensors cross the tape.
//!
//! Axes: `B` batch, `Q` queries, `T` keys, `H` heads, `K` width of a head, `D = H K`.

use super::cpu::Keys;
#[cfg(feature = "cuda")]
use super::cuda;
use super::packed_cpu::{self, Packed};
use super::{Attention, OP};
use crate::ops::slices::{require_f32, values, with_values};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Attention of tokens to each other, as [`super::attention`] with `q`, `k` and `v` side by side.
///
/// Shapes: `qkv` `[B, T, 3 D]` → `[B, T, D]`; `valid` `[B, T]` u8.
///
/// # Errors
/// If shapes disagree, `D` is not a multiple of `heads`, or for another type of number or device.
pub fn self_attention(qkv: &Tensor, heads: usize, valid: Option<&Tensor>) -> Result<Tensor> {
    let (batch, tokens, columns) = qkv.dims3()?;
    require_f32(OP, "qkv", qkv)?;
    if columns % 3 != 0 || heads == 0 || (columns / 3) % heads != 0 {
        bail!("{OP}: expected `qkv` of shape [batch, tokens, 3 x width] with {heads} heads, got {:?}", qkv.dims());
    }
    let mask = Attention::new(valid, batch, tokens)?;
    qkv.contiguous()?.apply_op1(SelfAttention { heads, mask })
}

/// Attention of queries to other tokens, with `k` and `v` side by side.
///
/// Shapes: `q` `[B, Q, D]`, `kv` `[B, T, 2 D]` → `[B, Q, D]`; `valid` `[B, T]` u8.
///
/// # Errors
/// As [`self_attention`].
pub fn cross_attention(q: &Tensor, kv: &Tensor, heads: usize, valid: Option<&Tensor>) -> Result<Tensor> {
    let (batch, _, width) = q.dims3()?;
    let (kv_batch, tokens, columns) = kv.dims3()?;
    require_f32(OP, "q", q)?;
    require_f32(OP, "kv", kv)?;
    if kv_batch != batch || columns != 2 * width || heads == 0 || width % heads != 0 {
        bail!(
            "{OP}: expected `kv` of shape [{batch}, tokens, {}] for `q` {:?} with {heads} heads, got {:?}",
            2 * width,
            q.dims(),
            kv.dims()
        );
    }
    let mask = Attention::new(valid, batch, tokens)?;
    q.contiguous()?.apply_op2(&kv.contiguous()?, CrossAttention { heads, mask })
}

struct SelfAttention {
    heads: usize,
    mask: Attention,
}

impl SelfAttention {
    fn packed(&self, dims: (usize, usize, usize)) -> Result<(Packed, Vec<Keys>)> {
        let (batch, tokens, columns) = dims;
        let width = columns / 3;
        let packed = Packed {
            queries: tokens,
            keys: tokens,
            heads: self.heads,
            width,
            q_stride: columns,
            kv_stride: columns,
            k_offset: width,
        };
        Ok((packed, self.mask.keys(batch, tokens)?))
    }
}

impl CustomOp1 for SelfAttention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dims = layout.shape().dims3()?;
        let (packed, keys) = self.packed(dims)?;
        let qkv = values(OP, qkv, layout)?;
        let mut out = vec![0.0; dims.0 * dims.1 * packed.width];
        packed_cpu::forward(packed, &keys, qkv, qkv, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((dims.0, dims.1, packed.width))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::self_forward(self.heads, &self.mask, (qkv, layout))
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if qkv.device().is_cuda() {
            return cuda::self_backward(self.heads, &self.mask, [qkv, out, &grad.contiguous()?]).map(Some);
        }
        let (packed, keys) = self.packed(qkv.dims3()?)?;
        let gradient = with_values(OP, [qkv, out, &grad.contiguous()?], |[qkv, out, dout]| {
            packed_cpu::self_backward(packed, &keys, qkv, out, dout)
        })?;
        Tensor::from_vec(gradient, qkv.shape(), qkv.device()).map(Some)
    }
}

struct CrossAttention {
    heads: usize,
    mask: Attention,
}

impl CrossAttention {
    fn packed(&self, q: (usize, usize, usize), kv: (usize, usize, usize)) -> Result<(Packed, Vec<Keys>)> {
        let (batch, queries, width) = q;
        let packed = Packed {
            queries,
            keys: kv.1,
            heads: self.heads,
            width,
            q_stride: width,
            kv_stride: 2 * width,
            k_offset: 0,
        };
        Ok((packed, self.mask.keys(batch, kv.1)?))
    }
}

impl CustomOp2 for CrossAttention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, q: &CpuStorage, ql: &Layout, kv: &CpuStorage, kvl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (packed, keys) = self.packed(ql.shape().dims3()?, kvl.shape().dims3()?)?;
        let mut out = vec![0.0; ql.shape().elem_count()];
        packed_cpu::forward(packed, &keys, values(OP, q, ql)?, values(OP, kv, kvl)?, &mut out);
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, q: &CudaStorage, ql: &Layout, kv: &CudaStorage, kvl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::cross_forward(self.heads, &self.mask, [(q, ql), (kv, kvl)])
    }

    fn bwd(&self, q: &Tensor, kv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let [dq, dkv] = cuda::cross_backward(self.heads, &self.mask, [q, kv, out, &grad.contiguous()?])?;
            return Ok((Some(dq), Some(dkv)));
        }
        let (packed, keys) = self.packed(q.dims3()?, kv.dims3()?)?;
        let (dq, dkv) = with_values(OP, [q, kv, out, &grad.contiguous()?], |[q, kv, out, dout]| {
            packed_cpu::cross_backward(packed, &keys, q, kv, out, dout)
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dkv, kv)?))
    }
}
