//! How a codebook is used.

use serde::{Deserialize, Serialize};

/// How often which codes of a vocabulary occur.
#[derive(Clone, Debug, Default)]
pub struct CodeCounts {
    counts: Vec<u64>,
}

/// How a codebook is used by a set of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeUse {
    /// Number of different codes that there are.
    pub vocabulary: usize,
    /// Number of tokens that were counted.
    pub tokens: u64,
    /// Share of the vocabulary that occurs.
    pub usage: f64,
    /// The exponential of the entropy of how often codes occur: how many codes would do if all were used alike. It can be no more than
    /// the number of tokens.
    pub perplexity: f64,
    /// Codes that never occur.
    pub dead: usize,
}

impl CodeCounts {
    /// Of codes in `0..vocabulary`.
    #[must_use]
    pub fn new(vocabulary: usize) -> Self {
        Self { counts: vec![0; vocabulary] }
    }

    /// Counts codes; those out of the vocabulary are left out.
    pub fn add(&mut self, codes: impl IntoIterator<Item = u32>) {
        for code in codes {
            if let Some(count) = self.counts.get_mut(code as usize) {
                *count += 1;
            }
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn finish(&self) -> CodeUse {
        let tokens: u64 = self.counts.iter().sum();
        let shares = self.counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / tokens as f64);
        let used = shares.clone().count();
        let entropy: f64 = shares.map(|share| -share * share.ln()).sum();
        CodeUse {
            vocabulary: self.counts.len(),
            tokens,
            usage: used as f64 / self.counts.len().max(1) as f64,
            perplexity: entropy.exp(),
            dead: self.counts.len() - used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_that_of_the_codes() {
        let of = |codes: &[u32]| {
            let mut counts = CodeCounts::new(8);
            counts.add(codes.iter().copied());
            counts.finish()
        };
        let same = of(&[5, 5, 5]);
        assert_eq!((same.usage, same.perplexity, same.dead, same.tokens), (0.125, 1.0, 7, 3));
        let even = of(&[0, 1, 2, 3, 9]);
        assert_eq!((even.usage, even.tokens), (0.5, 4));
        assert!((even.perplexity - 4.0).abs() < 1e-12);
        // Entropy of 3/4 and 1/4 by hand: 0.5623 nat.
        assert!((of(&[1, 1, 1, 7]).perplexity - 1.7548).abs() < 1e-4);
        let none = of(&[]);
        assert_eq!((none.usage, none.perplexity, none.dead), (0.0, 1.0, 8));
    }
}
