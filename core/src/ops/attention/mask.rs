//! Which keys a query may see, beside those that aren't valid.

use candle_core::{Result, bail};
use std::sync::Arc;

/// Which keys each query of a sequence may see.
#[derive(Clone, Debug, Default)]
pub enum Mask {
    /// All.
    #[default]
    Full,
    /// Those at or before its own place; where there are more keys than queries, the queries are the last.
    Causal,
    /// Those of blocks of tokens that its own block may see.
    Blocks(BlockMask),
    /// All, with the same weight, whatever queries and keys are: the result is the mean of the values, and only they have a
    /// gradient.
    Uniform,
}

/// A table of blocks: whether queries of block `i` see keys of block `j`.
#[derive(Clone, Debug)]
pub struct BlockMask {
    size: usize,
    columns: usize,
    seen: Arc<[bool]>,
}

impl BlockMask {
    /// From rows of equal length, one per block of `size` queries, with an entry per block of `size` keys. What lies beyond the
    /// table sees nothing and is not seen.
    ///
    /// # Errors
    /// If a row has another length than the first, or `size` is 0.
    pub fn new(size: usize, rows: &[Vec<bool>]) -> Result<Self> {
        let columns = rows.first().map_or(0, Vec::len);
        if size == 0 {
            bail!("attention: expected blocks of at least one token, got 0");
        }
        if let Some(row) = rows.iter().position(|row| row.len() != columns) {
            bail!("attention: expected {columns} entries in row {row} of a block mask, got {}", rows[row].len());
        }
        Ok(Self { size, columns, seen: rows.concat().into() })
    }

    /// For tiles of `tile` queries by `tile` keys, whether each is seen; rows for all `queries`, columns for all `keys`.
    ///
    /// # Errors
    /// If a block isn't made of whole tiles.
    #[cfg(any(test, feature = "cuda"))]
    pub(in crate::ops) fn tiles(&self, tile: usize, queries: usize, keys: usize) -> Result<Vec<bool>> {
        if !self.size.is_multiple_of(tile) {
            bail!(
                "attention: expected a block mask of blocks of a multiple of {tile} tokens on a GPU, got {}",
                self.size
            );
        }
        let rows = (0..queries).step_by(tile);
        Ok(rows.flat_map(|query| (0..keys).step_by(tile).map(move |key| self.sees(query, key))).collect())
    }

    pub(in crate::ops) fn sees(&self, query: usize, key: usize) -> bool {
        let (row, column) = (query / self.size, key / self.size);
        column < self.columns && self.seen.get(row * self.columns + column).copied().unwrap_or(false)
    }
}

impl Mask {
    /// How many of `keys` keys the first `queries` of all `of` queries see at most: those after it need no product.
    pub(super) fn limit(&self, queries: usize, of: usize, keys: usize) -> usize {
        match self {
            Self::Causal => (queries + keys).saturating_sub(of).min(keys),
            _ => keys,
        }
    }

    /// Sets the scores of keys that query `query` of `of` doesn't see to minus infinity. `keys` is the number of all keys, `place`
    /// gives the place of the key in each column.
    pub(super) fn apply(
        &self,
        scores: &mut [f32],
        (query, of): (usize, usize),
        keys: usize,
        place: impl Fn(usize) -> usize,
    ) {
        match self {
            Self::Full | Self::Uniform => {}
            Self::Causal => {
                let first_unseen = (query + 1 + keys).saturating_sub(of);
                for (column, score) in scores.iter_mut().enumerate() {
                    if place(column) >= first_unseen {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
            Self::Blocks(blocks) => {
                for (column, score) in scores.iter_mut().enumerate() {
                    if !blocks.sees(query, place(column)) {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}
