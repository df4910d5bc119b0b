//! Names of many objects in eight bytes each, to find those that two objects have.

use rayon::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A number that two different names seldom share, the same in every run.
pub(crate) fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Sorts hashes, and gives what is there more than once, ascending. Names of which the hash is among it must be compared
/// themselves.
pub(crate) fn repeated(hashes: &mut [u64]) -> Vec<u64> {
    hashes.par_sort_unstable();
    let mut twice: Vec<u64> = hashes.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    twice.dedup();
    twice
}
