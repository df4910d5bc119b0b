//! Blocks of files far away, so that the many small reads of Parquet become few requests.

use bytes::Bytes;
use object_store::path::Path;
use std::collections::BTreeMap;

/// Size of a block, bytes: a request of this size takes longer than its way there and back.
pub(super) const BLOCK: u64 = 2 << 20;

/// Blocks that are kept: 128 MiB.
const KEPT: usize = 64;

/// The blocks that were used last.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    held: BTreeMap<(Path, u64), (u64, Bytes)>,
    clock: u64,
}

impl Blocks {
    /// A block, if it is here.
    pub(super) fn get(&mut self, file: &Path, number: u64) -> Option<Bytes> {
        self.clock += 1;
        let (used, bytes) = self.held.get_mut(&(file.clone(), number))?;
        *used = self.clock;
        Some(bytes.clone())
    }

    /// Keeps a block, and forgets the one that was not used for longest.
    pub(super) fn put(&mut self, file: &Path, number: u64, bytes: Bytes) {
        self.clock += 1;
        self.held.insert((file.clone(), number), (self.clock, bytes));
        while self.held.len() > KEPT {
            let oldest = self.held.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.held.remove(&oldest);
        }
    }
}
