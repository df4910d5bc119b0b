//! Percentiles of a stream of numbers in bounded memory.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Below this many numbers percentiles are exact; above, their rank is right to about 0.3 %.
const KEEP: usize = 1 << 16;

/// Exact extremes and mean, and a uniform sample for percentiles (Li 1994, ACM TOMS 20, 481: algorithm L, which draws
/// a random number per kept value rather than per value). The same stream gives the same sample.
pub(super) struct Sample {
    /// How many finite numbers were seen.
    pub(super) count: u64,
    sum: f64,
    smallest: f64,
    largest: f64,
    kept: Vec<f64>,
    random: ChaCha8Rng,
    /// Number of the next value to keep.
    next: u64,
    /// The algorithm's W.
    weight: f64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            smallest: f64::INFINITY,
            largest: f64::NEG_INFINITY,
            kept: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(0),
            next: 0,
            weight: 1.0,
        }
    }
}

impl Sample {
    /// Takes one finite number.
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.smallest = self.smallest.min(value);
        self.largest = self.largest.max(value);
        if self.kept.len() < KEEP {
            self.kept.push(value);
            if self.kept.len() == KEEP {
                self.skip();
            }
        } else if self.count == self.next {
            let place = self.random.random_range(0..KEEP);
            if let Some(kept) = self.kept.get_mut(place) {
                *kept = value;
            }
            self.skip();
        }
    }

    /// Draws which value is the next to be kept.
    fn skip(&mut self) {
        // Not 0, whose logarithm is not finite.
        let mut draw = || 1.0 - self.random.random::<f64>();
        let (first, second) = (draw(), draw());
        self.weight *= (first.ln() / KEEP as f64).exp();
        let jump = (second.ln() / (1.0 - self.weight).ln()).floor();
        // Saturates where the next one is beyond any stream.
        self.next = self.count.saturating_add(jump as u64).saturating_add(1);
    }

    /// Mean; `None` of nothing.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Smallest, the percentiles 1, 16, 50, 84 and 99 (linear between neighbours), and largest.
    pub(super) fn percentiles(mut self) -> Option<[f64; 7]> {
        if self.kept.is_empty() {
            return None;
        }
        self.kept.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (self.kept.len() - 1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            let (a, b) = (self.kept[low], self.kept[high]);
            a + (b - a) * (place - low as f64)
        };
        Some([self.smallest, at(0.01), at(0.16), at(0.5), at(0.84), at(0.99), self.largest])
    }
}
