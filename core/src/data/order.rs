//! In which order rows come, as a function of the seed and the epoch alone.
//!
//! Training: the runs of rows that are decoded together are shuffled, then rows within windows, so
//! that neighbours on the sky part while what was decoded is used up soon. Evaluation: as given.

use crate::random;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Gives every epoch its order.
pub(super) struct Order {
    /// The rows of the split.
    pub(super) rows: Arc<[u32]>,
    /// First row of each run of rows that are decoded together, ascending, starting with 0.
    pub(super) starts: Vec<u32>,
    /// The run's seed.
    pub(super) seed: u64,
    /// Rows that are mixed with each other.
    pub(super) window: usize,
    /// Whether to change the order at all.
    pub(super) shuffle: bool,
}

impl Order {
    /// The order of `epoch`: every row of the split once.
    pub(super) fn epoch(&self, epoch: u64) -> Arc<[u32]> {
        if !self.shuffle {
            return Arc::clone(&self.rows);
        }
        let mut random = random::stream(self.seed, "order", &[&epoch.to_le_bytes()]);
        let mut runs: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for &row in self.rows.iter() {
            runs.entry(self.starts.partition_point(|&start| start <= row)).or_default().push(row);
        }
        let mut runs: Vec<Vec<u32>> = runs.into_values().collect();
        runs.shuffle(&mut random);
        let mut order = runs.concat();
        for window in order.chunks_mut(self.window.max(1)) {
            window.shuffle(&mut random);
        }
        order.into()
    }

    /// How many batches of `batch` rows an epoch has. Training leaves out the last one if it is not
    /// full, so that all steps weigh alike, unless it is the only one.
    pub(super) fn batches(&self, batch: usize) -> u64 {
        let (rows, batch) = (self.rows.len(), batch.max(1));
        let batches = if self.shuffle { (rows / batch).max(usize::from(rows > 0)) } else { rows.div_ceil(batch) };
        batches as u64
    }

    /// Which part of an epoch's order the batch `number` is.
    pub(super) fn range(&self, batch: usize, number: u64) -> Range<usize> {
        let rows = self.rows.len();
        let start = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(batch.max(1)).min(rows);
        start..start.saturating_add(batch.max(1)).min(rows)
    }
}
