//! Rising numbers as codes: what turns one number into one of `V` codes, and a code back into a number.
//!
//! Code `c` stands for the number `steps[c]` and is given to what lies above `steps[c - 1]` and not above it; the first code gets
//! everything below, the last everything above, and NaN. These are the bins of AION-1's scalars (Parker et al. 2025, section 3.2),
//! whatever function is applied before.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Rising numbers, one per code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct Codebook {
    steps: Vec<f32>,
}

impl Codebook {
    /// From what each code stands for.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none or more than 2³¹, or they fall. NaN may stand at the end, as sorting leaves it.
    pub fn new(steps: Vec<f32>) -> Result<Self> {
        let wrong = |expected: &str, found: String| Error::Shape {
            part: "codebook of a scalar".into(),
            expected: expected.into(),
            found,
        };
        if steps.is_empty() || i32::try_from(steps.len()).is_err() {
            return Err(wrong("1 to 2^31 numbers", steps.len().to_string()));
        }
        let falls = |pair: &[f32]| matches!(pair, [a, b] if a > b || (a.is_nan() && !b.is_nan()));
        if let Some(at) = steps.windows(2).position(falls) {
            return Err(wrong("numbers that do not fall", format!("{} after {}", steps[at + 1], steps[at])));
        }
        Ok(Self { steps })
    }

    /// `size` numbers from `from` to `to` at equal steps.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn linear(from: f32, to: f32, size: usize) -> Result<Self> {
        let (first, last) = (f64::from(from), f64::from(to));
        let parts = size.saturating_sub(1).max(1) as f64;
        // From the nearer end, so that both ends are exact.
        let at = |i: usize| {
            let (below, above) = (i as f64, parts - i as f64);
            if below < above { first + (last - first) * below / parts } else { last - (last - first) * above / parts }
        };
        Self::new((0..size).map(|i| at(i) as f32).collect())
    }

    /// At `size` equally spaced probabilities from 0 to 1, by straight lines between the sorted `sample`.
    ///
    /// # Errors
    /// As [`Self::new`], or if the sample is empty.
    pub fn quantiles(mut sample: Vec<f32>, size: usize) -> Result<Self> {
        if sample.is_empty() {
            return Self::new(Vec::new());
        }
        sample.sort_by(f32::total_cmp);
        Self::new((0..size).map(|i| quantile(&sample, i as f64 / size.saturating_sub(1).max(1) as f64)).collect())
    }

    /// Number of codes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Never: there is at least one code.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What each code stands for.
    #[must_use]
    pub fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// The code of `x`: the first whose number is not below it.
    #[must_use]
    pub fn code(&self, x: f32) -> u32 {
        // Written out: where the numbers end with NaN, only this order of comparisons gives what the reference gives.
        let (mut low, mut high) = (0, self.steps.len() - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.steps[middle] >= x { high = middle } else { low = middle + 1 }
        }
        low as u32
    }

    /// What `code` stands for; `None` if it is out of the vocabulary.
    #[must_use]
    pub fn value(&self, code: u32) -> Option<f32> {
        self.steps.get(code as usize).copied()
    }

    /// `[V + 1]`: the edges of all bins; the first bin has no known width.
    #[must_use]
    pub fn edges(&self) -> Vec<f32> {
        self.steps.iter().take(1).chain(&self.steps).copied().collect()
    }
}

/// The value below which a share `probability` of the ascending `sorted` lies, by straight lines between them; NaN of nothing.
#[must_use]
pub fn quantile(sorted: &[f32], probability: f64) -> f32 {
    let Some(last) = sorted.len().checked_sub(1) else { return f32::NAN };
    let position = (probability * last as f64).clamp(0.0, last as f64);
    let (low, share) = (position.floor() as usize, position.fract());
    let (a, b) = (f64::from(sorted[low]), f64::from(sorted[(low + 1).min(last)]));
    if a == b { a as f32 } else { (a + (b - a) * share) as f32 }
}

impl TryFrom<Vec<f32>> for Codebook {
    type Error = Error;

    fn try_from(steps: Vec<f32>) -> Result<Self> {
        Self::new(steps)
    }
}

impl From<Codebook> for Vec<f32> {
    fn from(codebook: Codebook) -> Self {
        codebook.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_step_has_the_code_of_that_step() -> Result<()> {
        let book = Codebook::new(vec![0.0, 1.0, 1.0, 2.0])?;
        let codes = [-5.0, 0.0, 0.5, 1.0, 1.5, 2.0, 9.0, f32::INFINITY, f32::NAN].map(|x| book.code(x));
        assert_eq!(codes, [0, 0, 1, 1, 3, 3, 3, 3, 3]);
        assert_eq!((book.value(1), book.value(4)), (Some(1.0), None));
        assert_eq!(book.edges(), [0.0, 0.0, 1.0, 1.0, 2.0]);
        Ok(())
    }

    #[test]
    fn every_step_has_its_own_code_back() -> Result<()> {
        let book = Codebook::linear(-1.0, 5.0, 1024)?;
        assert_eq!((book.steps()[0], book.steps()[1023]), (-1.0, 5.0));
        assert!((0..1024).all(|code| book.code(book.steps()[code as usize]) == code));
        assert_eq!(Codebook::linear(3.0, 4.0, 1)?.steps(), [3.0]);
        Ok(())
    }

    #[test]
    fn quantiles_lie_on_lines_between_the_sorted_values() -> Result<()> {
        let book = Codebook::quantiles(vec![3.0, 1.0, 2.0], 5)?;
        assert_eq!(book.steps(), [1.0, 1.5, 2.0, 2.5, 3.0]);
        assert_eq!(Codebook::quantiles(vec![7.0], 3)?.steps(), [7.0; 3]);
        Ok(())
    }

    #[test]
    fn what_can_not_be_a_codebook_is_refused() {
        assert!(Codebook::new(Vec::new()).is_err() && Codebook::new(vec![1.0, 0.5]).is_err());
        assert!(Codebook::new(vec![f32::NAN, 0.5]).is_err() && Codebook::new(vec![0.5, f32::NAN]).is_ok());
        assert!(Codebook::quantiles(Vec::new(), 4).is_err());
    }

    #[test]
    fn text_gives_the_same_back() -> Result<()> {
        let book = Codebook::linear(0.0, 0.1, 7)?;
        let text = serde_json::to_string(&book).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Codebook>(&text).ok(), Some(book));
        assert!(serde_json::from_str::<Codebook>("[2.0, 1.0]").is_err());
        Ok(())
    }
}
