//! Where sequences are, as attention on a CUDA device needs it: uploaded once for all branches.

use super::{AttentionBranch, Context, CrossAttentionBranch, OP, Sequences};
#[cfg(feature = "cuda")]
use crate::ops::attention::{Starts, packed_attention, packed_cross_attention};
use crate::ops::{gather, scatter};
use candle_core::{Device, Result, Tensor, bail};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// The sequences of a call.
pub(super) struct Places {
    own: Sequences,
    #[cfg(feature = "cuda")]
    own_starts: Option<Arc<Starts>>,
    context: Option<ContextPlaces>,
}

/// Who attends to which rows of the context, one sequence of queries to one of the context.
struct ContextPlaces {
    sequences: Sequences,
    /// For each, all queries that attend to it, some or none.
    queries: Sequences,
    /// Where the rows of these queries are, unless they follow each other: `[M]` u32 on the CPU.
    order: Option<Tensor>,
    /// Of queries and of the context.
    #[cfg(feature = "cuda")]
    starts: Option<[Arc<Starts>; 2]>,
}

impl Places {
    /// On the device of `x`.
    pub(super) fn new(x: &Tensor, sequences: &Sequences, context: Option<&Context>) -> Result<Self> {
        Ok(Self {
            own: sequences.clone(),
            #[cfg(feature = "cuda")]
            own_starts: starts(x, sequences)?,
            context: context.map(|context| ContextPlaces::new(x, sequences, context)).transpose()?,
        })
    }

    /// Attention within each sequence: `[M, 3 D]` -> `[M, D]`.
    pub(super) fn attend(&self, qkv: &Tensor, branch: &AttentionBranch) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(starts) = &self.own_starts {
            return packed_attention(qkv, branch.heads, &branch.mask, starts);
        }
        on_cpu(qkv, qkv, (branch.heads, &branch.mask), [&self.own, &self.own])
    }

    /// Attention to the context: `q` `[M, D]`, `kv` `[M_c, 2 D]` -> `[M, D]`.
    pub(super) fn attend_to_context(&self, q: &Tensor, kv: &Tensor, branch: &CrossAttentionBranch) -> Result<Tensor> {
        let Some(places) = &self.context else { bail!("{OP}: cross-attention without a context") };
        let Some(order) = &places.order else { return places.attend(q, kv, branch) };
        // Queries with one context are put together, and their results back.
        scatter(&places.attend(&gather(q, order)?, kv, branch)?, order, self.own.rows())
    }
}

impl ContextPlaces {
    fn new(x: &Tensor, sequences: &Sequences, context: &Context) -> Result<Self> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); context.sequences.len()];
        for ((first, count), &of) in sequences.each().zip(&context.of) {
            for row in first..first + count {
                rows[of].push(u32::try_from(row).map_err(candle_core::Error::wrap)?);
            }
        }
        let (queries, order) = (Sequences::new(rows.iter().map(Vec::len)), rows.concat());
        let order = (!order.is_sorted()).then(|| Tensor::new(order, &Device::Cpu)).transpose()?;
        #[cfg(feature = "cuda")]
        let starts = starts(x, &queries)?.zip(starts(x, &context.sequences)?).map(<[_; 2]>::from);
        #[cfg(not(feature = "cuda"))]
        let _ = x;
        Ok(Self {
            sequences: context.sequences.clone(),
            queries,
            order,
            #[cfg(feature = "cuda")]
            starts,
        })
    }

    fn attend(&self, q: &Tensor, kv: &Tensor, branch: &CrossAttentionBranch) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(starts) = &self.starts {
            return packed_cross_attention(q, kv, branch.heads, &branch.mask, starts);
        }
        on_cpu(q, kv, (branch.heads, &branch.mask), [&self.queries, &self.sequences])
    }
}

#[cfg(feature = "cuda")]
fn starts(x: &Tensor, sequences: &Sequences) -> Result<Option<Arc<Starts>>> {
    match x.device() {
        Device::Cuda(device) => Ok(Some(Arc::new(Starts::new(device, sequences)?))),
        _ => Ok(None),
    }
}

/// Attention of rows of queries to rows that end in keys and values, in tests of the composition.
fn on_cpu(
    q: &Tensor,
    kv: &Tensor,
    (heads, mask): (usize, &crate::ops::Mask),
    sequences: [&Sequences; 2],
) -> Result<Tensor> {
    #[cfg(test)]
    return super::tests::attend(q, kv, (heads, mask), sequences);
    #[cfg(not(test))]
    bail!("{OP}: expected tensors on a CUDA device, not {q:?} and {kv:?} of {sequences:?} for {heads} heads, {mask:?}")
}
