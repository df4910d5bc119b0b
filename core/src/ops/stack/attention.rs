//! The attention branch: norm, queries, keys and values, attention within each sequence, output map.

use super::cpu::{add_bias, at, linear_rows, norm, normed_linear_backward, output_backward, output_forward, tasks};
use super::heads::{Before, Columns, HeadNorms};
use super::{LinearParameters, NormParameters, OP, Rows, Saved};
use crate::ops::attention::cpu::{self as attention, Attend, Given, Job, Keys, STATISTICS};
use crate::ops::attention::{Mask, SideBySide, scale};
use crate::ops::layer_norm::cpu::{Norm, STATISTICS as NORM_STATISTICS};
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use candle_core::{Result, Tensor, bail};

/// `W_o attention(W_qkv norm(x)) + b_o`, with queries and keys normalised if there are norms for them.
#[derive(Clone, Debug)]
pub struct AttentionBranch {
    pub(super) norm: NormParameters,
    pub(super) qkv: LinearParameters,
    pub(super) out: LinearParameters,
    pub(super) heads: usize,
    pub(super) head_norms: Option<HeadNorms>,
    pub(super) mask: Mask,
}

impl AttentionBranch {
    /// Shapes: `norm` of width D, `qkv` `[3 D, D]` (queries, then keys, then values, heads side by side), `out` `[D, D]`.
    ///
    /// # Errors
    /// If shapes disagree, or D is not a multiple of `heads`.
    pub fn new(
        norm: NormParameters,
        qkv: LinearParameters,
        out: LinearParameters,
        heads: usize,
        mask: Mask,
    ) -> Result<Self> {
        let width = norm.gamma.elem_count();
        if !width.is_multiple_of(heads) {
            bail!("{OP}: expected a width that is a multiple of {heads} heads, got {width}");
        }
        norm.require(width)?;
        qkv.require("qkv", 3 * width, width)?;
        out.require("out", width, width)?;
        Ok(Self { norm, qkv, out, heads, head_norms: None, mask })
    }

    /// With norms of queries and keys, of the width of a head.
    ///
    /// # Errors
    /// If they have another width.
    pub fn with_head_norms(self, norms: HeadNorms) -> Result<Self> {
        norms.require(self.lay().head_width())?;
        Ok(Self { head_norms: Some(norms), ..self })
    }

    /// With the same parameters and another mask.
    #[must_use]
    pub fn with_mask(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    pub(super) fn width(&self) -> usize {
        self.norm.gamma.elem_count()
    }

    pub(super) fn parameters(&self) -> Vec<&Tensor> {
        let always = [&self.norm.gamma, &self.qkv.weight, &self.out.weight];
        let optional = self.norm.beta.iter().chain(&self.qkv.bias).chain(&self.out.bias);
        always.into_iter().chain(optional).chain(self.head_norms.iter().flat_map(HeadNorms::parameters)).collect()
    }

    fn values<'a>(&self, p: &[&'a [f32]]) -> Values<'a> {
        let mut optional = p[3..].iter().copied();
        let mut next = |there: bool| if there { optional.next() } else { None };
        Values {
            gamma: p[0],
            qkv: p[1],
            out: p[2],
            beta: next(self.norm.beta.is_some()),
            qkv_bias: next(self.qkv.bias.is_some()).unwrap_or_default(),
            out_bias: next(self.out.bias.is_some()).unwrap_or_default(),
            heads: self.head_norms.as_ref().map(|norms| norms.values(&mut optional)),
        }
    }

    fn lay(&self) -> SideBySide {
        SideBySide::qkv(self.heads, self.width())
    }

    fn attend<'a>(&'a self, qkv: &'a [f32]) -> Attend<'a> {
        let width = self.lay().head_width();
        Attend { width, scale: scale(width), mask: &self.mask, q: qkv, k: qkv, v: qkv }
    }

    fn jobs<'a>(&self, rows: Rows<'_>, keys: &'a [Keys]) -> Vec<Job<'a>> {
        let lay = self.lay();
        rows.sequences.each().zip(keys).flat_map(|(place, keys)| lay.jobs(place, place, keys)).collect()
    }

    /// Saved: statistics of the norm, queries with keys and values, the result of attention and its statistics.
    pub(super) fn forward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], y: Option<&mut [f32]>) -> Saved {
        let (v, width) = (self.values(p), self.width());
        let count = rows.sequences.rows();
        let (mut normed_statistics, mut qkv) = (Buffer::new(count * NORM_STATISTICS), Buffer::new(3 * x.len()));
        let mut before = self.head_norms.as_ref().map(|_| {
            [0, width].map(|offset| Before::new(count, Columns { offset, stride: 3 * width, width }, self.heads))
        });
        let before_parts = before.as_mut().map(|before| before.each_mut().map(Before::parts));
        let (statistics_parts, qkv_parts) = (Parts::new(&mut normed_statistics), Parts::new(&mut qkv));
        let norm = norm(&self.norm, v.gamma, v.beta);
        tasks(count, |_, rows| {
            let x = &x[at(&rows, width)];
            // SAFETY: rows of a task are its alone.
            let (statistics, qkv) =
                unsafe { (statistics_parts.slice(at(&rows, NORM_STATISTICS)), qkv_parts.slice(at(&rows, 3 * width))) };
            let mut normed = Buffer::new(x.len());
            norm.forward_rows(x, &mut normed, statistics);
            linear_rows(&normed, v.qkv, v.qkv_bias, width, qkv);
            for (before, norm) in before_parts.iter().flatten().zip(v.heads.iter().flatten()) {
                // SAFETY: as above.
                unsafe { before.forward(*norm, &rows, qkv) };
            }
        });
        let (mut attended, mut statistics) = (Buffer::new(x.len()), Buffer::new(count * self.heads * STATISTICS));
        let keys = rows.sequences.keys();
        attention::forward(self.attend(&qkv), &self.jobs(rows, &keys), &mut attended, &mut statistics);
        if let Some(y) = y {
            output_forward((v.out, v.out_bias), rows, x, &attended, y);
        }
        Saved { buffers: vec![normed_statistics, qkv, attended, statistics], before }
    }

    pub(super) fn backward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], saved: Option<Saved>, gradient: &mut [f32]) {
        let saved = saved.unwrap_or_else(|| self.forward(p, rows, x, None));
        let [normed_statistics, qkv, attended, statistics] = &saved.buffers[..] else { return };
        let v = self.values(p);
        let mut dqkv = Buffer::new(qkv.len());
        {
            let dattended = output_backward(&self.out, v.out, rows, attended, gradient);
            let (keys, parts) = (rows.sequences.keys(), Parts::new(&mut dqkv));
            let given = Given { out: attended, statistics, dout: &dattended };
            // SAFETY: a job has the columns of its head in the rows of its sequence, and queries, keys and values have columns
            // of their own.
            unsafe { attention::backward(self.attend(qkv), &self.jobs(rows, &keys), given, [parts; 3]) };
        }
        if let (Some(norms), Some([queries, keys]), Some(values)) = (&self.head_norms, &saved.before, v.heads) {
            queries.backward(&norms.queries, values[0], &mut dqkv);
            keys.backward(&norms.keys, values[1], &mut dqkv);
        }
        add_bias(&self.qkv, &dqkv);
        let norm = norm(&self.norm, v.gamma, v.beta);
        normed_linear_backward((&self.norm, &self.qkv), norm, v.qkv, (x, normed_statistics), &dqkv, gradient);
    }
}

/// Values of the parameters.
struct Values<'a> {
    gamma: &'a [f32],
    beta: Option<&'a [f32]>,
    qkv: &'a [f32],
    qkv_bias: &'a [f32],
    out: &'a [f32],
    out_bias: &'a [f32],
    heads: Option<[Norm<'a>; 2]>,
}
