//! Normalisation of queries and keys: each head of each row by itself, with parameters that all heads share.

use super::cpu::{add_partial, at, count, norm, tasks};
use super::{NormParameters, OP};
use crate::ops::layer_norm::cpu::{Norm, STATISTICS};
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use candle_core::{Result, Tensor, bail};
use std::ops::Range;

/// Norms of queries and of keys, before their product.
///
/// Source: Henry et al. 2020, section 3, with the normalisations and parameters of Dehghani et al. 2023, section 2.
#[derive(Clone, Debug)]
pub struct HeadNorms {
    /// Of queries; parameters of the width of a head.
    pub queries: NormParameters,
    /// Of keys.
    pub keys: NormParameters,
}

impl HeadNorms {
    pub(super) fn require(&self, width: usize) -> Result<()> {
        for (name, norm) in [("queries", &self.queries), ("keys", &self.keys)] {
            if norm.gamma.dims() != [width] {
                let got = norm.gamma.dims();
                bail!("{OP}: expected a norm of {name} with the width of a head, {width}, got {got:?}");
            }
            norm.require(width)?;
        }
        Ok(())
    }

    /// γ and β of queries, then of keys.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        [&self.queries, &self.keys].into_iter().flat_map(|norm| std::iter::once(&norm.gamma).chain(&norm.beta))
    }

    /// As [`HeadNorms::parameters`] gives them.
    pub(super) fn values<'a>(&self, p: &mut impl Iterator<Item = &'a [f32]>) -> [Norm<'a>; 2] {
        [&self.queries, &self.keys].map(|parameters| {
            let gamma = p.next().unwrap_or_default();
            norm(parameters, gamma, parameters.beta.as_ref().and_then(|_| p.next()))
        })
    }
}

/// Columns of rows that hold all heads side by side.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// Of the first head in its row.
    pub(super) offset: usize,
    /// From row to row.
    pub(super) stride: usize,
    /// Of all heads together.
    pub(super) width: usize,
}

impl Columns {
    fn of(self, row: usize) -> Range<usize> {
        let start = row * self.stride + self.offset;
        start..start + self.width
    }
}

/// What was there before, and statistics: what the backward pass needs of each row.
pub(super) struct Before {
    values: Buffer,
    statistics: Buffer,
    columns: Columns,
    heads: usize,
}

impl Before {
    pub(super) fn new(rows: usize, columns: Columns, heads: usize) -> Self {
        let (values, statistics) = (Buffer::new(rows * columns.width), Buffer::new(rows * heads * STATISTICS));
        Self { values, statistics, columns, heads }
    }

    pub(super) fn parts(&mut self) -> BeforeParts<'_> {
        let Self { values, statistics, columns, heads } = self;
        BeforeParts { values: Parts::new(values), statistics: Parts::new(statistics), columns: *columns, heads: *heads }
    }

    /// Turns gradients of normalised columns of `gradient` into those of what was there before, and adds those of γ and β.
    pub(super) fn backward(&self, parameters: &NormParameters, norm: Norm<'_>, gradient: &mut [f32]) {
        let Columns { stride, width, .. } = self.columns;
        let rows = gradient.len() / stride;
        let columns = 2 * norm.gamma.len();
        let mut partial = Buffer::zeros(count(rows) * columns);
        let (gradient, sums) = (Parts::new(gradient), Parts::new(&mut partial));
        tasks(rows, |task, rows| {
            // SAFETY: rows of a task, and its sums, are its alone.
            let sums = unsafe { sums.slice(task * columns..(task + 1) * columns) };
            let mut dy = Buffer::new(width);
            for row in rows {
                // SAFETY: as above.
                let dx = unsafe { gradient.slice(self.columns.of(row)) };
                dy.copy_from_slice(dx);
                let (one, statistics) = (row..row + 1, self.heads * STATISTICS);
                let (x, statistics) = (&self.values[at(&one, width)], &self.statistics[at(&one, statistics)]);
                norm.backward_rows(x, statistics, &dy, false, dx, sums);
            }
        });
        add_partial(&parameters.gamma, &partial, columns, 0..columns / 2);
        if let Some(beta) = &parameters.beta {
            add_partial(beta, &partial, columns, columns / 2..columns);
        }
    }
}

/// Rows of a [`Before`] that tasks fill.
#[derive(Clone, Copy)]
pub(super) struct BeforeParts<'a> {
    values: Parts<'a>,
    statistics: Parts<'a>,
    columns: Columns,
    heads: usize,
}

impl BeforeParts<'_> {
    /// Normalises the columns of `values`, which are `rows` of all; on this thread.
    ///
    /// # Safety
    /// No other thread has any of these rows.
    pub(super) unsafe fn forward(self, norm: Norm<'_>, rows: &Range<usize>, values: &mut [f32]) {
        let Columns { width, .. } = self.columns;
        for (own, row) in rows.clone().enumerate() {
            let (one, statistics) = (row..row + 1, self.heads * STATISTICS);
            // SAFETY: by the contract of this function.
            let (before, statistics) =
                unsafe { (self.values.slice(at(&one, width)), self.statistics.slice(at(&one, statistics))) };
            let values = &mut values[self.columns.of(own)];
            before.copy_from_slice(values);
            norm.forward_rows(before, values, statistics);
        }
    }
}
