//! Buffers that go from step to step.
//!
//! A step needs the same large buffers as the one before. Allocated afresh, each would be given back to the system and
//! cleared by it again; from here they are taken as they are.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// What is free, and how much was ever out at once.
struct Free {
    buffers: Vec<Vec<f32>>,
    /// Numbers in `buffers`.
    held: usize,
    lent: usize,
    most_lent: usize,
}

static FREE: Mutex<Free> = Mutex::new(Free { buffers: Vec::new(), held: 0, lent: 0, most_lent: 0 });

/// A slice of numbers on loan; it goes back when dropped.
pub(super) struct Buffer {
    values: Vec<f32>,
    length: usize,
}

impl Buffer {
    /// `length` numbers that may be anything: NaN in builds with debug assertions, so that a read before a write shows.
    pub(super) fn new(length: usize) -> Self {
        let mut buffer = Self { values: take(length), length };
        if cfg!(debug_assertions) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// `length` zeros.
    pub(super) fn zeros(length: usize) -> Self {
        let mut buffer = Self { values: take(length), length };
        buffer.fill(0.0);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.lent -= values.len();
        // As much as was out at once is enough for the next step, whatever its shapes.
        if free.held + values.len() <= free.most_lent {
            free.held += values.len();
            let place = free.buffers.partition_point(|other| other.len() < values.len());
            free.buffers.insert(place, values);
        }
    }
}

/// At least `length` initialised numbers: the smallest free buffer that is not twice too large, or a new one.
fn take(length: usize) -> Vec<f32> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = free.buffers.partition_point(|buffer| buffer.len() < length);
    let found = free.buffers.get(place).is_some_and(|buffer| buffer.len() <= 2 * length + GRAIN);
    let values = if found { free.buffers.remove(place) } else { Vec::new() };
    free.held -= values.len();
    let size = if found { values.len() } else { rounded(length) };
    free.lent += size;
    free.most_lent = free.most_lent.max(free.lent);
    drop(free);
    if found { values } else { vec![0.0; size] }
}

/// Smallest size worth telling apart.
const GRAIN: usize = 1 << 10;

/// Up to the next of eight sizes per power of two, so that batches of nearly the same size share buffers.
fn rounded(length: usize) -> usize {
    let step = (length.next_power_of_two() / 16).max(GRAIN);
    length.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_their_length_and_are_used_again() {
        for length in [0, 1, 1023, 1025, 100_000] {
            assert_eq!(Buffer::new(length).len(), length);
            assert!(Buffer::zeros(length).iter().all(|&value| value == 0.0));
            assert!(rounded(length) >= length && rounded(length) <= length + length / 7 + GRAIN);
        }
    }
}
