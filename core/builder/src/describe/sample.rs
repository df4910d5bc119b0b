//! Percentiles of streams of numbers in bounded memory.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Below this many numbers percentiles are exact; above, their rank is right to about 0.4 %.
const KEEP: usize = 1 << 14;

/// Exact extremes and mean, and a uniform sample for percentiles: every number gets a random priority, and the lowest are
/// kept. What is kept of several streams is what would be kept of all at once, in whatever order they are merged.
///
/// Priorities above the largest kept are never drawn: how many numbers are passed over is (Li 1994, ACM TOMS 20, 481).
pub(super) struct Sample {
    /// Number of the stream, which decides its random numbers.
    stream: u64,
    count: u64,
    sum: f64,
    smallest: f64,
    largest: f64,
    /// Priority and value.
    kept: Vec<(f64, f64)>,
    /// Priorities are below it.
    limit: f64,
    random: ChaCha8Rng,
    /// Number of the next value to keep.
    next: u64,
    /// Streams merged into this one, and their sums: added in order of the streams, so that the mean has the same bits.
    merged: Vec<(u64, f64)>,
}

impl Sample {
    /// Of the stream of this number.
    pub(super) fn new(stream: u64) -> Self {
        Self {
            stream,
            count: 0,
            sum: 0.0,
            smallest: f64::INFINITY,
            largest: f64::NEG_INFINITY,
            kept: Vec::new(),
            limit: 1.0,
            random: ChaCha8Rng::seed_from_u64(stream),
            next: 1,
            merged: Vec::new(),
        }
    }

    /// Takes one finite number.
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.smallest = self.smallest.min(value);
        self.largest = self.largest.max(value);
        if self.count == self.next {
            let priority = self.random.random::<f64>() * self.limit;
            self.kept.push((priority, value));
            if self.kept.len() >= 2 * KEEP {
                self.limit = self.prune();
            }
            // Not 0, whose logarithm is not finite.
            let draw = 1.0 - self.random.random::<f64>();
            let jump = if self.limit < 1.0 { (draw.ln() / (-self.limit).ln_1p()).floor() } else { 0.0 };
            // Saturates where the next one is beyond any stream.
            self.next = self.count.saturating_add(jump as u64).saturating_add(1);
        }
    }

    /// Takes what another stream saw.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
        self.kept.extend(other.kept);
        if self.kept.len() >= 4 * KEEP {
            self.prune();
        }
        self.merged.push((other.stream, other.sum));
        self.merged.extend(other.merged);
    }

    /// Forgets all but the lowest priorities, and returns the largest of these.
    fn prune(&mut self) -> f64 {
        if self.kept.len() > KEEP {
            self.kept.select_nth_unstable_by(KEEP - 1, |a, b| a.0.total_cmp(&b.0));
            self.kept.truncate(KEEP);
        }
        self.kept.iter().map(|(priority, _)| *priority).fold(0.0, f64::max)
    }

    /// Mean; `None` of nothing.
    pub(super) fn mean(&self) -> Option<f64> {
        let mut sums = self.merged.clone();
        sums.push((self.stream, self.sum));
        sums.sort_by_key(|(stream, _)| *stream);
        (self.count > 0).then(|| sums.iter().map(|(_, sum)| sum).sum::<f64>() / self.count as f64)
    }

    /// Smallest, the percentiles 1, 16, 50, 84 and 99 (linear between neighbours), and largest.
    pub(super) fn percentiles(mut self) -> Option<[f64; 7]> {
        self.prune();
        let mut kept: Vec<f64> = self.kept.iter().map(|(_, value)| *value).collect();
        if kept.is_empty() {
            return None;
        }
        kept.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (kept.len() - 1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            let (a, b) = (kept[low], kept[high]);
            a + (b - a) * (place - low as f64)
        };
        Some([self.smallest, at(0.01), at(0.16), at(0.5), at(0.84), at(0.99), self.largest])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of one stream: `count` of them, from `from` on.
    fn sample(stream: u64, from: u64, count: u64) -> Sample {
        let mut sample = Sample::new(stream);
        // In an order that is not theirs.
        (0..count).for_each(|i| sample.add((from + i * 7919 % count) as f64));
        sample
    }

    #[test]
    fn percentiles_of_few_numbers_are_exact_and_of_many_nearly() {
        let few = sample(0, 0, 101).percentiles().expect("numbers");
        assert_eq!(few, [0.0, 1.0, 16.0, 50.0, 84.0, 99.0, 100.0]);
        let many = sample(0, 0, 1_000_003).percentiles().expect("numbers");
        for (found, share) in many[1..6].iter().zip([0.01, 0.16, 0.5, 0.84, 0.99f64]) {
            // Four standard deviations of the rank in a sample of 16,384.
            let allowed = 4.0 * (share * (1.0 - share) / 16384.0).sqrt();
            assert!((found / 1e6 - share).abs() < allowed, "{found} for {share}");
        }
        assert_eq!((many[0], many[6]), (0.0, 1_000_002.0));
        assert!(Sample::new(0).percentiles().is_none() && Sample::new(0).mean().is_none());
    }

    #[test]
    fn streams_merge_to_the_same_bits_in_any_order_and_each_number_counts_as_much() {
        let parts = || [sample(0, 0, 30_000), sample(1, 30_000, 90_000), sample(2, 120_000, 1_000)];
        let merge = |order: [usize; 3]| {
            let mut parts = parts().map(Some);
            let mut whole = parts[order[0]].take().expect("a part");
            order[1..].iter().for_each(|&i| whole.merge(parts[i].take().expect("a part")));
            (whole.mean().expect("numbers"), whole.percentiles().expect("numbers"))
        };
        let first = merge([0, 1, 2]);
        assert_eq!(first, merge([2, 0, 1]));
        assert_eq!(first, merge([1, 2, 0]));
        assert_eq!(first.0, 60_499.5);
        assert!((first.1[3] / 121_000.0 - 0.5).abs() < 0.016, "{:?}", first.1);
    }
}
