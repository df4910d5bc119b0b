//! Where sequences lie among rows, and which of them attend to which.

use super::OP;
use crate::ops::attention::cpu::Keys;
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// Where sequences begin and end among the rows.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// One more than there are sequences.
    starts: Arc<[usize]>,
    /// How many rows of each are keys; all without.
    keys: Option<Arc<[usize]>>,
}

impl Sequences {
    /// Sequences of these lengths, one after the other.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let ends = lengths.into_iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        Self { starts: std::iter::once(0).chain(ends).collect(), keys: None }
    }

    /// Sequences of which only the first rows are keys: pairs of a length and a number of keys, one per sequence. The other rows
    /// are queries that see the keys and that nobody sees. Without keys attention gives 0.
    ///
    /// # Errors
    /// If there are more keys than rows.
    pub fn with_keys(sequences: impl IntoIterator<Item = (usize, usize)>) -> Result<Self> {
        let (lengths, keys): (Vec<usize>, Vec<usize>) = sequences.into_iter().unzip();
        if let Some(sequence) = lengths.iter().zip(&keys).position(|(length, keys)| keys > length) {
            let (length, keys) = (lengths[sequence], keys[sequence]);
            bail!("{OP}: expected at most {length} keys in sequence {sequence} of {length} rows, got {keys}");
        }
        let fewer = keys != lengths;
        Ok(Self { keys: fewer.then(|| keys.into()), ..Self::new(lengths) })
    }

    /// How many sequences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no sequence.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All tokens.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// First row and number of rows of each.
    pub(in crate::ops) fn each(&self) -> impl Iterator<Item = (usize, usize)> {
        self.starts.windows(2).map(|pair| (pair[0], pair[1] - pair[0]))
    }

    /// How many rows of each are keys, if those of any are fewer than all.
    #[cfg(any(test, feature = "cuda"))]
    pub(in crate::ops) fn fewer_keys(&self) -> Option<&[usize]> {
        self.keys.as_deref()
    }

    /// The keys of each.
    pub(super) fn keys(&self) -> Vec<Keys> {
        let count = |(sequence, (_, length)): (usize, (usize, usize))| {
            Keys::First(self.keys.as_ref().map_or(length, |keys| keys[sequence]))
        };
        self.each().enumerate().map(count).collect()
    }
}

/// What [`super::Branch::CrossAttention`] attends to.
#[derive(Clone, Debug)]
pub struct Context {
    /// `[M_c, D_c]`, the tokens of all `sequences`.
    pub rows: Tensor,
    /// Those that are attended to. Rows beyond the keys of a sequence ([`Sequences::with_keys`]) are not seen.
    pub sequences: Sequences,
    /// For each sequence of queries, the number of the one of `sequences` that it attends to. Several may attend to the same, and
    /// to some none; an empty one gives 0.
    pub of: Vec<usize>,
}

impl Context {
    /// For sequences of queries and of context in pairs.
    #[must_use]
    pub fn new(rows: Tensor, sequences: Sequences) -> Self {
        let of = (0..sequences.len()).collect();
        Self { rows, sequences, of }
    }

    /// Refuses what doesn't belong to `queries`.
    pub(super) fn require(&self, queries: &Sequences) -> Result<()> {
        let rows = self.rows.dims2()?.0;
        if rows != self.sequences.rows() {
            bail!(
                "{OP}: expected a context with {} rows for {} sequences, got {:?}",
                self.sequences.rows(),
                self.sequences.len(),
                self.rows.dims()
            );
        }
        if self.of.len() != queries.len() {
            bail!("{OP}: expected a context for each of {} sequences, got {}", queries.len(), self.of.len());
        }
        if let Some(of) = self.of.iter().find(|&&of| of >= self.sequences.len()) {
            bail!("{OP}: expected the number of one of {} sequences of the context, got {of}", self.sequences.len());
        }
        Ok(())
    }
}
