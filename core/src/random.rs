//! Random streams that are a function of a key, so that results depend on neither the number of
//! threads nor on where a run was interrupted.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The generator that every random choice of the framework comes from.
pub type Random = ChaCha8Rng;

/// A stream for `purpose`, given the run's seed and anything else that it should depend on.
///
/// `parts` are hashed with their lengths, so `["ab", "c"]` and `["a", "bc"]` differ.
#[must_use]
pub fn stream(seed: u64, purpose: &str, parts: &[&[u8]]) -> Random {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Random::from_seed(hash.finalize().into())
}

/// A number in `[0, 1)` that depends on `key` and `salt` alone: the hash behind splits.
#[must_use]
pub fn fraction(salt: &str, key: &str) -> f64 {
    let mut hash = Sha256::new();
    hash.update((salt.len() as u64).to_le_bytes());
    hash.update(salt);
    hash.update(key);
    let digest = hash.finalize();
    let mut head = [0u8; 8];
    head.copy_from_slice(&digest[..8]);
    // 53 bits are what an f64 holds exactly.
    (u64::from_le_bytes(head) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_depend_on_every_part_of_the_key() {
        let draw = |seed, purpose, parts: &[&[u8]]| stream(seed, purpose, parts).random::<u64>();
        let base = draw(1, "mask", &[b"a", b"bc"]);
        assert_eq!(base, draw(1, "mask", &[b"a", b"bc"]));
        for other in
            [draw(2, "mask", &[b"a", b"bc"]), draw(1, "noise", &[b"a", b"bc"]), draw(1, "mask", &[b"ab", b"c"])]
        {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn fractions_spread_evenly() {
        let below = (0..2000).filter(|i| fraction("s", &i.to_string()) < 0.25).count();
        // 500 expected, standard deviation 19.
        assert!((420..580).contains(&below), "{below}");
    }
}
