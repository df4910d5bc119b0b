//! Decoded rows that will be needed again, within a bound on memory.

use super::lock;
use crate::Result;
use arrow_array::RecordBatch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Decoded batches by number; what was used longest ago goes first.
pub(super) struct Cache {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<usize, Slot>,
    clock: u64,
    bytes: usize,
}

struct Slot {
    batch: Arc<Mutex<Option<RecordBatch>>>,
    /// 0 while it is being decoded.
    bytes: usize,
    used: u64,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// The batch `key`, decoded by `decode` if it isn't here. Threads that want the same batch
    /// wait for one of them to decode it; others go on.
    pub(super) fn get(&self, key: usize, decode: impl FnOnce() -> Result<RecordBatch>) -> Result<RecordBatch> {
        let batch = {
            let mut state = lock(&self.state);
            state.clock += 1;
            let now = state.clock;
            let slot = state.slots.entry(key).or_insert_with(|| Slot { batch: Arc::default(), bytes: 0, used: now });
            slot.used = now;
            Arc::clone(&slot.batch)
        };
        let mut held = lock(&batch);
        if let Some(batch) = &*held {
            return Ok(batch.clone());
        }
        let decoded = decode()?;
        *held = Some(decoded.clone());
        drop(held);
        self.account(key, decoded.get_array_memory_size().max(1));
        Ok(decoded)
    }

    fn account(&self, key: usize, bytes: usize) {
        let mut state = lock(&self.state);
        let State { slots, bytes: total, .. } = &mut *state;
        if let Some(slot) = slots.get_mut(&key) {
            *total = *total - slot.bytes + bytes;
            slot.bytes = bytes;
        }
        while *total > self.limit {
            let oldest = slots.iter().filter(|(_, slot)| slot.bytes > 0).min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(&key, _)| key) else { break };
            *total -= slots.remove(&oldest).map_or(0, |slot| slot.bytes);
        }
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }
}
