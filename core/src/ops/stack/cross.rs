//! The cross-attention branch: norms of the stream and of the context, queries of the one, keys and values of the other.

use super::cpu::{add_bias, at, linear_rows, norm, normed_linear_backward, output_backward, output_forward, tasks};
use super::heads::{Before, BeforeParts, Columns, HeadNorms};
use super::{LinearParameters, NormParameters, OP, Rows, Saved};
use crate::ops::attention::cpu::{self as attention, Attend, Given, Job, Keys, STATISTICS};
use crate::ops::attention::{Mask, SideBySide, scale};
use crate::ops::layer_norm::cpu::{Norm, STATISTICS as NORM_STATISTICS};
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use candle_core::{Result, Tensor, bail};

/// `W_o attention(W_q norm(x), W_kv norm_c(context)) + b_o`, with queries and keys normalised if there are norms for them.
#[derive(Clone, Debug)]
pub struct CrossAttentionBranch {
    pub(super) norm: NormParameters,
    pub(super) context_norm: NormParameters,
    pub(super) q: LinearParameters,
    pub(super) kv: LinearParameters,
    pub(super) out: LinearParameters,
    pub(super) heads: usize,
    pub(super) head_norms: Option<HeadNorms>,
    pub(super) mask: Mask,
}

impl CrossAttentionBranch {
    /// Shapes: `norm` of width D, `context_norm` of the context's width `D_c`, `q` `[D, D]`, `kv` `[2 D, D_c]` (keys, then values,
    /// heads side by side), `out` `[D, D]`. Queries see all keys of their context.
    ///
    /// # Errors
    /// If shapes disagree, or D is not a multiple of `heads`.
    pub fn new(
        [norm, context_norm]: [NormParameters; 2],
        q: LinearParameters,
        kv: LinearParameters,
        out: LinearParameters,
        heads: usize,
    ) -> Result<Self> {
        let (width, context) = (norm.gamma.elem_count(), context_norm.gamma.elem_count());
        if !width.is_multiple_of(heads) {
            bail!("{OP}: expected a width that is a multiple of {heads} heads, got {width}");
        }
        norm.require(width)?;
        context_norm.require(context)?;
        q.require("q", width, width)?;
        kv.require("kv", 2 * width, context)?;
        out.require("out", width, width)?;
        Ok(Self { norm, context_norm, q, kv, out, heads, head_norms: None, mask: Mask::Full })
    }

    /// With norms of queries and keys, of the width of a head.
    ///
    /// # Errors
    /// If they have another width.
    pub fn with_head_norms(self, norms: HeadNorms) -> Result<Self> {
        norms.require(self.lay().head_width())?;
        Ok(Self { head_norms: Some(norms), ..self })
    }

    /// With the same parameters and another mask: [`Mask::Full`] or [`Mask::Uniform`].
    ///
    /// # Errors
    /// For a mask by place: queries have none among the keys.
    pub fn with_mask(self, mask: Mask) -> Result<Self> {
        match mask {
            Mask::Full | Mask::Uniform => Ok(Self { mask, ..self }),
            Mask::Causal | Mask::Blocks(_) => {
                bail!("{OP}: expected a full or a uniform mask for cross-attention, got {mask:?}")
            }
        }
    }

    pub(super) fn width(&self) -> usize {
        self.norm.gamma.elem_count()
    }

    pub(super) fn context_width(&self) -> usize {
        self.context_norm.gamma.elem_count()
    }

    pub(super) fn parameters(&self) -> Vec<&Tensor> {
        let gammas = [&self.norm.gamma, &self.context_norm.gamma];
        let weights = [&self.q.weight, &self.kv.weight, &self.out.weight];
        let betas = self.norm.beta.iter().chain(&self.context_norm.beta);
        let biases = self.q.bias.iter().chain(&self.kv.bias).chain(&self.out.bias);
        let heads = self.head_norms.iter().flat_map(HeadNorms::parameters);
        gammas.into_iter().chain(weights).chain(betas).chain(biases).chain(heads).collect()
    }

    fn values<'a>(&self, p: &[&'a [f32]]) -> Values<'a> {
        let mut optional = p[5..].iter().copied();
        let mut next = |there: bool| if there { optional.next() } else { None };
        let betas = [next(self.norm.beta.is_some()), next(self.context_norm.beta.is_some())];
        let biases = [&self.q, &self.kv, &self.out].map(|map| next(map.bias.is_some()).unwrap_or_default());
        Values {
            norm: norm(&self.norm, p[0], betas[0]),
            context_norm: norm(&self.context_norm, p[1], betas[1]),
            q: (p[2], biases[0]),
            kv: (p[3], biases[1]),
            out: (p[4], biases[2]),
            heads: self.head_norms.as_ref().map(|norms| norms.values(&mut optional)),
        }
    }

    fn lay(&self) -> SideBySide {
        SideBySide::kv(self.heads, self.width())
    }

    fn attend<'a>(&'a self, q: &'a [f32], kv: &'a [f32]) -> Attend<'a> {
        let width = self.lay().head_width();
        Attend { width, scale: scale(width), mask: &self.mask, q, k: kv, v: kv }
    }

    /// Neighbours with the same context are one: queries don't see each other. Jobs with the same keys are neighbours.
    fn jobs<'a>(&self, rows: Rows<'_>, keys: &'a [Keys]) -> Vec<Job<'a>> {
        let places: Vec<(usize, usize)> = rows.context.sequences.each().collect();
        let mut segments: Vec<(usize, (usize, usize))> = Vec::new();
        for ((first, queries), &of) in rows.sequences.each().zip(rows.context.of) {
            match segments.last_mut() {
                Some((last, (_, count))) if *last == of => *count += queries,
                _ => segments.push((of, (first, queries))),
            }
        }
        let lay = self.lay();
        let mut jobs: Vec<Job<'_>> =
            segments.into_iter().flat_map(|(of, queries)| lay.jobs(queries, places[of], &keys[of])).collect();
        jobs.sort_by_key(|job| (job.k.offset, job.tokens));
        jobs
    }

    /// Statistics of the norm, and the linear map of the normalised rows, with a norm of each head.
    fn project(
        norm: Norm<'_>,
        (w, b): (&[f32], &[f32]),
        x: &[f32],
        heads: Option<(&mut Before, Norm<'_>)>,
    ) -> [Buffer; 2] {
        let width = norm.gamma.len();
        let (count, outputs) = (x.len() / width, w.len() / width);
        let (mut statistics, mut y) = (Buffer::new(count * NORM_STATISTICS), Buffer::new(count * outputs));
        let parts = [&mut statistics, &mut y].map(|buffer| Parts::new(buffer));
        let heads: Option<(BeforeParts<'_>, Norm<'_>)> = heads.map(|(before, norm)| (before.parts(), norm));
        tasks(count, |_, rows| {
            let x = &x[at(&rows, width)];
            // SAFETY: rows of a task are its alone.
            let (statistics, y) =
                unsafe { (parts[0].slice(at(&rows, NORM_STATISTICS)), parts[1].slice(at(&rows, outputs))) };
            let mut normed = Buffer::new(x.len());
            norm.forward_rows(x, &mut normed, statistics);
            linear_rows(&normed, w, b, width, y);
            if let Some((before, norm)) = heads {
                // SAFETY: as above.
                unsafe { before.forward(norm, &rows, y) };
            }
        });
        [statistics, y]
    }

    /// Saved: statistics of the norm and queries, the same of the context with keys and values, the result of attention and its
    /// statistics.
    pub(super) fn forward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], y: Option<&mut [f32]>) -> Saved {
        let (v, width) = (self.values(p), self.width());
        let count = rows.sequences.rows();
        let mut before = self.head_norms.as_ref().map(|_| {
            let columns = |stride| Columns { offset: 0, stride, width };
            let context = rows.context.sequences.rows();
            [Before::new(count, columns(width), self.heads), Before::new(context, columns(2 * width), self.heads)]
        });
        let [q_heads, k_heads] = match (&mut before, v.heads) {
            (Some([queries, keys]), Some(norms)) => [Some((queries, norms[0])), Some((keys, norms[1]))],
            _ => [None, None],
        };
        let [statistics, q] = Self::project(v.norm, v.q, x, q_heads);
        let [context_statistics, kv] = Self::project(v.context_norm, v.kv, rows.context.values, k_heads);
        let (mut attended, mut weights) = (Buffer::new(x.len()), Buffer::new(count * self.heads * STATISTICS));
        let keys = rows.context.sequences.keys();
        attention::forward(self.attend(&q, &kv), &self.jobs(rows, &keys), &mut attended, &mut weights);
        if let Some(y) = y {
            output_forward(v.out, rows, x, &attended, y);
        }
        Saved { buffers: vec![statistics, q, context_statistics, kv, attended, weights], before }
    }

    /// `gradients` of the stream and of the context, to which the branch's is added.
    pub(super) fn backward(
        &self,
        p: &[&[f32]],
        rows: Rows<'_>,
        x: &[f32],
        saved: Option<Saved>,
        [gradient, dcontext]: [&mut [f32]; 2],
    ) {
        let saved = saved.unwrap_or_else(|| self.forward(p, rows, x, None));
        let [statistics, q, context_statistics, kv, attended, weights] = &saved.buffers[..] else { return };
        let v = self.values(p);
        // A context that nothing attends to has no job.
        let (mut dq, mut dkv) = (Buffer::new(q.len()), Buffer::zeros(kv.len()));
        {
            let dattended = output_backward(&self.out, v.out.0, rows, attended, gradient);
            let keys = rows.context.sequences.keys();
            let given = Given { out: attended, statistics: weights, dout: &dattended };
            let (dq, dkv) = (Parts::new(&mut dq), Parts::new(&mut dkv));
            // SAFETY: a job has the columns of its head in the rows of its queries; jobs with the same keys are neighbours,
            // others have rows or columns of their own, as keys and values have.
            unsafe { attention::backward(self.attend(q, kv), &self.jobs(rows, &keys), given, [dq, dkv, dkv]) };
        }
        if let (Some(norms), Some([queries, keys]), Some(values)) = (&self.head_norms, &saved.before, v.heads) {
            queries.backward(&norms.queries, values[0], &mut dq);
            keys.backward(&norms.keys, values[1], &mut dkv);
        }
        add_bias(&self.q, &dq);
        add_bias(&self.kv, &dkv);
        normed_linear_backward((&self.norm, &self.q), v.norm, v.q.0, (x, statistics), &dq, gradient);
        let context = (rows.context.values, &context_statistics[..]);
        normed_linear_backward((&self.context_norm, &self.kv), v.context_norm, v.kv.0, context, &dkv, dcontext);
    }
}

/// Values of the parameters; weights with biases, which may be empty.
struct Values<'a> {
    norm: Norm<'a>,
    context_norm: Norm<'a>,
    q: (&'a [f32], &'a [f32]),
    kv: (&'a [f32], &'a [f32]),
    out: (&'a [f32], &'a [f32]),
    heads: Option<[Norm<'a>; 2]>,
}
