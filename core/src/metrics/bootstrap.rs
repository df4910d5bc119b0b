//! How sure a measure is, by drawing the objects again.

use crate::random;
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The measure of the objects as they are.
    #[serde(deserialize_with = "number_or_null")]
    pub value: f64,
    /// 2.5 % of resamples are below.
    #[serde(deserialize_with = "number_or_null")]
    pub low: f64,
    /// 2.5 % of resamples are above.
    #[serde(deserialize_with = "number_or_null")]
    pub high: f64,
}

/// JSON has no NaN: it is written as null.
pub(crate) fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Percentile bootstrap: the statistic of `n` objects, and between which values 95 % of its values
/// for `resamples` drawings of `n` objects with replacement lie.
///
/// `statistic` gets the numbers of the objects, of which some repeat; it is called from many
/// threads. Drawings for which it is NaN (a class that was not drawn) do not count. The same seed
/// gives the same drawings, so that two measures of the same objects can be compared.
///
/// Source: Efron & Tibshirani 1993, chapter 13.
pub fn bootstrap(n: usize, resamples: usize, seed: u64, statistic: impl Fn(&[usize]) -> f64 + Sync) -> Interval {
    let all: Vec<usize> = (0..n).collect();
    if n == 0 {
        return Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    let draw = |resample: usize| {
        let mut random = random::stream(seed, "bootstrap", &[&(resample as u64).to_le_bytes()]);
        let sample: Vec<usize> = (0..n).map(|_| random.random_range(0..n)).collect();
        statistic(&sample)
    };
    let mut values: Vec<f64> = (0..resamples).into_par_iter().map(draw).filter(|v| !v.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    Interval { value: statistic(&all), low: quantile(&values, 0.025), high: quantile(&values, 0.975) }
}

/// Between the two nearest values in proportion, as numpy does.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * sorted.len().saturating_sub(1) as f64;
    let part = place.fract();
    match (sorted.get(place.floor() as usize), sorted.get(place.ceil() as usize)) {
        (Some(below), Some(above)) => below * (1.0 - part) + above * part,
        _ => f64::NAN,
    }
}
