//! From logits to one code.

use super::GenerateError;
use crate::Result;
use crate::random::Random;
use rand::Rng;

/// How codes are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this before they become probabilities; 0 takes the most probable code.
    pub temperature: f64,
    /// Only so many of the most probable codes are drawn; 0 for all.
    pub top_k: usize,
    /// Only the most probable codes that together have this probability, before the temperature, are drawn; 1 for all.
    pub top_p: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

impl Sampling {
    /// Refuses numbers that are out of range.
    ///
    /// # Errors
    /// [`GenerateError::OutOfRange`].
    pub fn check(&self) -> Result<()> {
        let out_of_range =
            |name, expected, found: f64| GenerateError::OutOfRange { name, expected, found: found.to_string() };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(out_of_range("temperature", "0 or more", self.temperature).into());
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(out_of_range("top-p", "above 0 and at most 1", self.top_p).into());
        }
        Ok(())
    }

    /// One code, and the probability that it was drawn with; of the most probable code, its own.
    pub(crate) fn draw(&self, logits: &[f32], random: &mut Random) -> (u32, f64) {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let logit = |code: &u32| f64::from(logits.get(*code as usize).copied().unwrap_or(f32::NEG_INFINITY));
        // Stable: of equals, the lowest code comes first.
        order.sort_by(|a, b| logit(b).total_cmp(&logit(a)));
        let Some(first) = order.first().copied() else { return (0, 0.0) };
        let highest = logit(&first);
        let all: f64 = order.iter().map(|code| (logit(code) - highest).exp()).sum();
        if self.temperature == 0.0 {
            return (first, 1.0 / all);
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        if self.top_p < 1.0 {
            let kept: f64 = order.iter().map(|code| (logit(code) - highest).exp()).sum();
            let mut before = 0.0;
            // Up to and with the code that reaches the share.
            let count = order.iter().take_while(|code| {
                let begun = before < self.top_p;
                before += (logit(code) - highest).exp() / kept;
                begun
            });
            let count = count.count();
            order.truncate(count.max(1));
        }
        let weights: Vec<f64> = order.iter().map(|code| ((logit(code) - highest) / self.temperature).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut left = random.random::<f64>() * sum;
        for (code, weight) in order.iter().zip(&weights) {
            left -= weight;
            if left < 0.0 {
                return (*code, weight / sum);
            }
        }
        // Rounding left a little over.
        (order.last().copied().unwrap_or(first), weights.last().map_or(0.0, |weight| weight / sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn shares(sampling: Sampling) -> [f64; 4] {
        let mut random = random::stream(1, "test", &[]);
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[sampling.draw(&LOGITS, &mut random).0 as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    /// Softmax of those logits that are kept, by hand.
    fn expected(kept: [bool; 4], temperature: f64) -> [f64; 4] {
        let weight = |i: usize| if kept[i] { (f64::from(LOGITS[i]) / temperature).exp() } else { 0.0 };
        let sum: f64 = (0..4).map(weight).sum();
        std::array::from_fn(|i| weight(i) / sum)
    }

    #[test]
    fn shares_are_the_softmax_of_what_is_kept() {
        let plain = Sampling::default();
        for (sampling, kept, temperature) in [
            (plain, [true; 4], 1.0),
            (Sampling { temperature: 2.0, ..plain }, [true; 4], 2.0),
            (Sampling { top_k: 2, ..plain }, [false, true, true, false], 1.0),
            // Probabilities are 0.087, 0.644, 0.237, 0.032: the second reaches 0.7.
            (Sampling { top_p: 0.7, ..plain }, [false, true, true, false], 1.0),
            (Sampling { top_p: 0.1, ..plain }, [false, true, false, false], 1.0),
            (Sampling { top_k: 3, temperature: 0.5, ..plain }, [true, true, true, false], 0.5),
        ] {
            let (found, expected) = (shares(sampling), expected(kept, temperature));
            for (found, expected) in found.iter().zip(expected) {
                // Four standard deviations of 20,000 draws.
                assert!((found - expected).abs() < 0.015, "{sampling:?}: {found} {expected}");
                assert_eq!(*found == 0.0, expected == 0.0, "{sampling:?}");
            }
        }
    }

    #[test]
    fn without_temperature_the_most_probable_code_is_taken() {
        let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
        let mut random = random::stream(1, "test", &[]);
        let (code, probability) = sampling.draw(&LOGITS, &mut random);
        assert_eq!(code, 1);
        assert!((probability - expected([true; 4], 1.0)[1]).abs() < 1e-9);
        assert_eq!(sampling.draw(&[3.0, 5.0, 5.0], &mut random).0, 1);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let plain = Sampling::default();
        for (sampling, name) in [
            (Sampling { temperature: -1.0, ..plain }, "temperature"),
            (Sampling { temperature: f64::NAN, ..plain }, "temperature"),
            (Sampling { top_p: 0.0, ..plain }, "top-p"),
            (Sampling { top_p: 1.5, ..plain }, "top-p"),
        ] {
            assert!(sampling.check().expect_err("refused").to_string().contains(name));
        }
        assert!(plain.check().is_ok());
    }
}
