//! Attention on rows as linear maps give them, all heads side by side: nothing is transposed, and
//! only two or three tensors cross the tape.
//!
//! Axes: `B` batch, `Q` queries, `T` keys, `H` heads, `K` width of a head, `D = H K`.

use super::cpu::{self, Attend, Given, Job, Keys, Place, STATISTICS};
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Attention, Mask, OP, scale};
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::slices::{require_f32, values, with_values, zeros};
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
    let attention = Attention::new(valid, qkv.device(), Mask::Full, (batch, tokens))?;
    qkv.contiguous()?.apply_op1(SelfAttention { heads, attention })
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
    let attention = Attention::new(valid, q.device(), Mask::Full, (batch, tokens))?;
    q.contiguous()?.apply_op2(&kv.contiguous()?, CrossAttention { heads, attention })
}

/// How rows with all heads side by side lie.
#[derive(Clone, Copy)]
pub(in crate::ops) struct SideBySide {
    pub(in crate::ops) heads: usize,
    /// D, of all heads together.
    pub(in crate::ops) width: usize,
    /// From a row of queries to the next.
    pub(in crate::ops) q_stride: usize,
    /// From a row of keys and values to the next.
    pub(in crate::ops) kv_stride: usize,
    /// Of the keys in their row; values follow behind D.
    pub(in crate::ops) k_offset: usize,
}

impl SideBySide {
    /// Queries, keys and values in one row.
    pub(in crate::ops) fn qkv(heads: usize, width: usize) -> Self {
        Self { heads, width, q_stride: 3 * width, kv_stride: 3 * width, k_offset: width }
    }

    /// Queries in rows of their own, keys and values in one.
    pub(in crate::ops) fn kv(heads: usize, width: usize) -> Self {
        Self { heads, width, q_stride: width, kv_stride: 2 * width, k_offset: 0 }
    }

    pub(in crate::ops) fn head_width(self) -> usize {
        self.width / self.heads
    }

    /// The jobs of a sequence whose queries are rows from `first_query`, and its `tokens` keys rows from `first_key`.
    pub(in crate::ops) fn jobs<'a>(
        self,
        (first_query, queries): (usize, usize),
        (first_key, tokens): (usize, usize),
        keys: &'a Keys,
    ) -> impl Iterator<Item = Job<'a>> {
        (0..self.heads).map(move |head| {
            let column = head * self.head_width();
            let k = first_key * self.kv_stride + self.k_offset + column;
            Job {
                q: Place { offset: first_query * self.q_stride + column, stride: self.q_stride },
                k: Place { offset: k, stride: self.kv_stride },
                v: Place { offset: k + self.width, stride: self.kv_stride },
                out: Place { offset: first_query * self.width + column, stride: self.width },
                queries,
                tokens,
                keys,
                statistics: first_query * self.heads + head * queries,
            }
        })
    }

    fn batch<'a>(self, keys: &'a [Keys], queries: usize, tokens: usize) -> Vec<Job<'a>> {
        let sequences = keys.iter().enumerate();
        sequences.flat_map(|(b, keys)| self.jobs((b * queries, queries), (b * tokens, tokens), keys)).collect()
    }

    fn attend<'a>(self, mask: &'a Mask, q: &'a [f32], kv: &'a [f32]) -> Attend<'a> {
        Attend { width: self.head_width(), scale: scale(self.head_width()), mask, q, k: kv, v: kv }
    }
}

struct SelfAttention {
    heads: usize,
    attention: Attention,
}

impl CustomOp1 for SelfAttention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, columns) = layout.shape().dims3()?;
        let rows = SideBySide::qkv(self.heads, columns / 3);
        let Attention { keys, mask, .. } = &self.attention;
        let qkv = values(OP, qkv, layout)?;
        let mut out = zeros(batch * tokens * rows.width);
        let mut statistics = Buffer::new(batch * tokens * self.heads * STATISTICS);
        let jobs = rows.batch(keys, tokens, tokens);
        cpu::forward(rows.attend(mask, qkv, qkv), &jobs, &mut out, &mut statistics);
        self.attention.keep(statistics);
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, rows.width))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::self_forward(self.heads, &self.attention, (qkv, layout))
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if qkv.device().is_cuda() {
            return cuda::self_backward(self.heads, &self.attention, [qkv, out, &grad.contiguous()?]).map(Some);
        }
        let (_, tokens, columns) = qkv.dims3()?;
        let rows = SideBySide::qkv(self.heads, columns / 3);
        let Attention { keys, mask, .. } = &self.attention;
        let mut gradient = zeros(qkv.elem_count());
        with_values(OP, [qkv, out, &grad.contiguous()?], |[qkv, out, dout]| {
            self.attention.kept(|statistics| {
                let parts = Parts::new(&mut gradient);
                let (jobs, given) = (rows.batch(keys, tokens, tokens), Given { out, statistics, dout });
                // SAFETY: a job has the columns of its head in the rows of its sequence, and queries, keys and values
                // have columns of their own.
                unsafe { cpu::backward(rows.attend(mask, qkv, qkv), &jobs, given, [parts; 3]) };
            })
        })??;
        Tensor::from_vec(gradient, qkv.shape(), qkv.device()).map(Some)
    }
}

struct CrossAttention {
    heads: usize,
    attention: Attention,
}

impl CustomOp2 for CrossAttention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, q: &CpuStorage, ql: &Layout, kv: &CpuStorage, kvl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((batch, queries, width), (_, tokens, _)) = (ql.shape().dims3()?, kvl.shape().dims3()?);
        let rows = SideBySide::kv(self.heads, width);
        let Attention { keys, mask, .. } = &self.attention;
        let mut out = zeros(ql.shape().elem_count());
        let mut statistics = Buffer::new(batch * queries * self.heads * STATISTICS);
        let attend = rows.attend(mask, values(OP, q, ql)?, values(OP, kv, kvl)?);
        cpu::forward(attend, &rows.batch(keys, queries, tokens), &mut out, &mut statistics);
        self.attention.keep(statistics);
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, q: &CudaStorage, ql: &Layout, kv: &CudaStorage, kvl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::cross_forward(self.heads, &self.attention, [(q, ql), (kv, kvl)])
    }

    fn bwd(&self, q: &Tensor, kv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let [dq, dkv] = cuda::cross_backward(self.heads, &self.attention, [q, kv, out, &grad.contiguous()?])?;
            return Ok((Some(dq), Some(dkv)));
        }
        let ((_, queries, width), (_, tokens, _)) = (q.dims3()?, kv.dims3()?);
        let rows = SideBySide::kv(self.heads, width);
        let Attention { keys, mask, .. } = &self.attention;
        let (mut dq, mut dkv) = (zeros(q.elem_count()), zeros(kv.elem_count()));
        with_values(OP, [q, kv, out, &grad.contiguous()?], |[q, kv, out, dout]| {
            self.attention.kept(|statistics| {
                let (dq, dkv) = (Parts::new(&mut dq), Parts::new(&mut dkv));
                let (jobs, given) = (rows.batch(keys, queries, tokens), Given { out, statistics, dout });
                // SAFETY: as in the backward pass of self-attention, with the queries in a slice of their own.
                unsafe { cpu::backward(rows.attend(mask, q, kv), &jobs, given, [dq, dkv, dkv]) };
            })
        })??;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dkv, kv)?))
    }
}
