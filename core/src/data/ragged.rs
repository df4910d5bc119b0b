//! Lists of different lengths, as flat values and offsets.

use std::ops::Range;

/// One column of lists, for a batch of rows.
///
/// A row that is null or absent has `present` false and no values. A list inside a row that is
/// null is empty. A null value is NaN, `""` or `false`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ragged<T> {
    /// Per row: false if it is null or the catalogue lacks the column.
    pub present: Vec<bool>,
    /// Per list level, outermost first: list `i` has the elements `offsets[i]..offsets[i + 1]` of
    /// the level below; those of the last level are `values`.
    pub offsets: Vec<Vec<usize>>,
    /// All values, row after row.
    pub values: Vec<T>,
}

impl<T> Ragged<T> {
    /// `rows` rows without anything in them.
    #[must_use]
    pub fn absent(rows: usize, depth: usize) -> Self {
        let mut offsets = vec![vec![0]; depth.max(1)];
        if let Some(outer) = offsets.first_mut() {
            *outer = vec![0; rows + 1];
        }
        Self { present: vec![false; rows], offsets, values: Vec::new() }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Where the values of row `i` are in `values`; empty if there is no such row.
    #[must_use]
    pub fn range(&self, i: usize) -> Range<usize> {
        let mut range = i..i + 1;
        for ends in &self.offsets {
            match (ends.get(range.start), ends.get(range.end)) {
                (Some(&start), Some(&end)) => range = start..end,
                _ => return 0..0,
            }
        }
        range
    }

    /// All values of row `i`, whatever lists they are in; empty if it has none.
    #[must_use]
    pub fn row(&self, i: usize) -> &[T] {
        self.values.get(self.range(i)).unwrap_or_default()
    }

    /// Lengths of row `i` by level, as of a rectangular array; none if the row is absent or lists
    /// of one level differ in length.
    #[must_use]
    pub fn shape(&self, i: usize) -> Option<Vec<usize>> {
        if !*self.present.get(i)? {
            return None;
        }
        let mut shape = Vec::with_capacity(self.offsets.len());
        let mut lists = i..i + 1;
        for ends in &self.offsets {
            let ends = ends.get(lists.start..=lists.end)?;
            let mut lengths = ends.windows(2).map(|pair| pair[1] - pair[0]);
            let length = lengths.next().unwrap_or(0);
            if lengths.any(|other| other != length) {
                return None;
            }
            shape.push(length);
            lists = *ends.first()?..*ends.last()?;
        }
        Some(shape)
    }
}
