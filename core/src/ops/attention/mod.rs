//! `softmax(q kᵀ / √K) v` over the keys that a query may see.
//!
//! Axes: `B` batch, `H` heads, `Q` queries, `T` keys, `K` width of a head, `D = H K`.

pub(super) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod mask;
mod packed;
#[cfg(test)]
mod tests;
mod uniform;
#[cfg(feature = "cuda")]
mod varlen;

pub use mask::{BlockMask, Mask};
pub(in crate::ops) use packed::SideBySide;
pub use packed::{cross_attention, self_attention};
#[cfg(feature = "cuda")]
pub(in crate::ops) use varlen::{Starts, packed_attention, packed_cross_attention};

use super::parts::Parts;
use super::pool::Buffer;
use super::slices::{require_f32, values, with_values, zeros};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
use cpu::{Attend, Given, Job, Keys, Place, STATISTICS};
use std::sync::{Mutex, PoisonError};

const OP: &str = "attention";

/// Scaled dot-product attention, differentiable in `q`, `k` and `v`.
///
/// Shapes: `q` `[B, H, Q, K]`, `k` and `v` `[B, H, T, K]` → `[B, H, Q, K]`; any strides.
/// `valid` `[B, T]` u8: keys with 0 get no weight and no gradient, whatever they hold (also NaN);
/// all are valid without it. Where a query may see no key, the result and all gradients are 0.
/// The weights `[Q, T]` are never kept: the backward pass computes them again, and both passes hold
/// them for a few hundred queries per thread at a time.
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
///
/// Source: Vaswani et al. 2017, eq. 1.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, valid: Option<&Tensor>, mask: &Mask) -> Result<Tensor> {
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
    // On a GPU each head is a sequence, with valid keys of its own.
    let own = if q.device().is_cuda() { heads } else { 1 };
    let of_heads = |valid: &Tensor| {
        check_valid(valid, (batch, keys))?;
        if own == 1 { Ok(valid.clone()) } else { valid.repeat((1, own))?.reshape((batch * own, keys)) }
    };
    let valid = valid.map(of_heads).transpose()?;
    let attention = Attention::new(valid.as_ref(), q.device(), mask.clone(), (batch * own, keys))?;
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, attention)
}

fn check_valid(valid: &Tensor, (batch, keys): (usize, usize)) -> Result<()> {
    if valid.dims() != [batch, keys] {
        bail!("{OP}: expected `valid` of shape [{batch}, {keys}], got {:?}", valid.dims());
    }
    if valid.dtype() != DType::U8 {
        bail!("{OP}: expected `valid` in u8, got {}", valid.dtype().as_str());
    }
    Ok(())
}

/// What the forms of attention share: who sees whom, and what the forward pass keeps.
struct Attention {
    keys: Vec<Keys>,
    mask: Mask,
    statistics: Mutex<Option<Buffer>>,
    #[cfg(feature = "cuda")]
    on_device: cuda::OnDevice,
}

impl Attention {
    /// For queries on `device`. `valid` may be on the CPU whatever the device.
    fn new(valid: Option<&Tensor>, device: &Device, mask: Mask, (batch, keys): (usize, usize)) -> Result<Self> {
        let Some(valid) = valid else {
            return Ok(Self::all(mask, batch, keys));
        };
        check_valid(valid, (batch, keys))?;
        let valid = valid.contiguous()?;
        #[cfg(feature = "cuda")]
        if device.is_cuda() {
            let valid = valid.to_device(device)?;
            return Ok(Self { on_device: cuda::OnDevice::new(valid), ..Self::all(mask, 0, 0) });
        }
        let valid = valid.to_device(device)?;
        let (storage, layout) = valid.storage_and_layout();
        let Storage::Cpu(CpuStorage::U8(all)) = &*storage else {
            bail!("{OP}: expected `valid` on the device of `q`");
        };
        match layout.contiguous_offsets().and_then(|(start, end)| all.get(start..end)) {
            Some(_) if keys == 0 => Ok(Self::all(mask, batch, keys)),
            Some(valid) => Ok(Self { keys: valid.chunks_exact(keys).map(Keys::of).collect(), ..Self::all(mask, 0, 0) }),
            None => bail!("{OP}: expected contiguous `valid`"),
        }
    }

    fn all(mask: Mask, batch: usize, keys: usize) -> Self {
        Self {
            keys: (0..batch).map(|_| Keys::First(keys)).collect(),
            mask,
            statistics: Mutex::new(None),
            #[cfg(feature = "cuda")]
            on_device: cuda::OnDevice::default(),
        }
    }

    fn keep(&self, statistics: Buffer) {
        *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = Some(statistics);
    }

    /// Calls `f` with what the forward pass kept.
    fn kept<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        match self.statistics.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some(statistics) => Ok(f(statistics)),
            None => bail!("{OP}: a backward pass without a forward pass"),
        }
    }

    /// A job per head of `[B, H, T, K]`.
    fn jobs(&self, heads: usize, queries: usize, tokens: usize, width: usize) -> Vec<Job<'_>> {
        let row = |rows: usize, number: usize| Place { offset: number * rows * width, stride: width };
        let heads_of =
            self.keys.iter().enumerate().flat_map(|(b, keys)| (0..heads).map(move |h| (b * heads + h, keys)));
        heads_of
            .map(|(number, keys)| Job {
                q: row(queries, number),
                k: row(tokens, number),
                v: row(tokens, number),
                out: row(queries, number),
                queries,
                tokens,
                keys,
                statistics: number * queries,
            })
            .collect()
    }
}

/// What scores are divided by is the square root of the heads' width.
pub(in crate::ops) fn scale(width: usize) -> f32 {
    (width.max(1) as f32).sqrt().recip()
}

/// The same for kernels, which know nothing of a uniform mask: scores of 0 have equal weights, and no gradient.
#[cfg(any(test, feature = "cuda"))]
pub(in crate::ops) fn scale_for(mask: &Mask, width: usize) -> f32 {
    if matches!(mask, Mask::Uniform) { 0.0 } else { scale(width) }
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
        let ((batch, heads, queries, width), (_, _, tokens, _)) = (ql.shape().dims4()?, kl.shape().dims4()?);
        let mut out = zeros(ql.shape().elem_count());
        let mut statistics = Buffer::new(batch * heads * queries * STATISTICS);
        let (q, k, v) = (values(OP, q, ql)?, values(OP, k, kl)?, values(OP, v, vl)?);
        let attend = Attend { width, scale: scale(width), mask: &self.mask, q, k, v };
        cpu::forward(attend, &self.jobs(heads, queries, tokens, width), &mut out, &mut statistics);
        self.keep(statistics);
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        ql: &Layout,
        k: &CudaStorage,
        kl: &Layout,
        v: &CudaStorage,
        vl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::heads_forward(self, [(q, ql), (k, kl), (v, vl)])
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let gradients = cuda::heads_backward(self, [q, k, v, out, &grad.contiguous()?])?;
            let [dq, dk, dv] = gradients.map(Some);
            return Ok((dq, dk, dv));
        }
        let ((_, heads, queries, width), (_, _, tokens, _)) = (q.dims4()?, k.dims4()?);
        let (mut dq, mut dk, mut dv) = (zeros(q.elem_count()), zeros(k.elem_count()), zeros(v.elem_count()));
        with_values(OP, [q, k, v, out, &grad.contiguous()?], |[q, k, v, out, dout]| {
            self.kept(|statistics| {
                let attend = Attend { width, scale: scale(width), mask: &self.mask, q, k, v };
                let given = Given { out, statistics, dout };
                let gradients = [&mut dq, &mut dk, &mut dv].map(|gradient| Parts::new(gradient));
                // SAFETY: the three are slices of their own, in which each job has a head of its own.
                unsafe { cpu::backward(attend, &self.jobs(heads, queries, tokens, width), given, gradients) };
            })
        })??;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}
