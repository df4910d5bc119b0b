//! One column's values -> features of order one, by what the training split shows.

use crate::config::Reading;
use crate::quantile::{Distribution, Sample};
use panchroma_core::sphere;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One column of a batch, as read.
#[derive(Clone, Debug)]
pub(crate) enum Raw {
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Flags(Vec<Option<bool>>),
    /// Right ascension and declination, degrees.
    Places(Vec<Option<f64>>, Vec<Option<f64>>),
}

/// What was learned about one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scaler {
    /// Mean and standard deviation, after the logarithm or asinh if there is one.
    Standard { mean: f64, deviation: f64 },
    /// The training values' distribution.
    Quantile(Distribution),
    /// Classes, the most frequent first.
    Category(Vec<String>),
    /// Flags, angles and numbers as they are need nothing.
    Fixed,
}

impl Scaler {
    /// Whether this was learned for such a column, and can be used.
    pub(crate) fn fits(&self, reading: Reading) -> bool {
        match (self, reading) {
            (Self::Standard { mean, deviation }, Reading::Standard | Reading::Log | Reading::Asinh { .. }) => {
                mean.is_finite() && deviation.is_finite() && *deviation > 0.0
            }
            (Self::Quantile(distribution), Reading::Quantile) => distribution.is_sound(),
            (Self::Category(names), Reading::Category { most }) => names.len() <= most,
            (Self::Fixed, Reading::Plain | Reading::Flag | Reading::Angle | Reading::Sky) => true,
            _ => false,
        }
    }

    /// Writes the features of row `i` to `out`, which is zero and as wide as the reading; false if
    /// the value is missing.
    pub(crate) fn write(&self, reading: Reading, raw: &Raw, i: usize, clip: f64, out: &mut [f32]) -> bool {
        let Some(features) = self.features(reading, raw, i) else { return false };
        match features {
            Features::Number(x) => out.iter_mut().for_each(|o| *o = x.clamp(-clip, clip) as f32),
            Features::Plain(x) => out.iter_mut().for_each(|o| *o = x as f32),
            Features::Pair(pair) => out.iter_mut().zip(pair).for_each(|(o, x)| *o = x as f32),
            Features::Point(point) => out.iter_mut().zip(point).for_each(|(o, x)| *o = x as f32),
            Features::Class(class) => out.iter_mut().skip(class).take(1).for_each(|o| *o = 1.0),
        }
        true
    }

    /// Standard error `error` of the number `x` after scaling: half of what lies between one error above and one below; none
    /// if it is not above 0, or the number is missing.
    pub(crate) fn error(&self, reading: Reading, x: Option<f64>, error: Option<f64>) -> Option<f64> {
        let (x, error) = (x?, error.filter(|e| *e > 0.0)?);
        let at = |x: f64| match self.features(reading, &Raw::Numbers(vec![Some(x)]), 0)? {
            Features::Number(x) | Features::Plain(x) => Some(x),
            _ => None,
        };
        let (middle, above) = (at(x)?, at(x + error)?);
        // A logarithm may have no value one error below.
        let width = at(x - error).map_or(above - middle, |below| 0.5 * (above - below));
        (width > 0.0 && width.is_finite()).then_some(width)
    }

    fn features(&self, reading: Reading, raw: &Raw, i: usize) -> Option<Features> {
        match (raw, reading, self) {
            (Raw::Flags(flags), Reading::Flag, _) => {
                let flag = (*flags.get(i)?)?;
                Some(Features::Number(if flag { 1.0 } else { -1.0 }))
            }
            (Raw::Numbers(numbers), Reading::Plain, _) => Some(Features::Plain(number(numbers, i)?)),
            (Raw::Numbers(numbers), Reading::Angle, _) => {
                let radians = number(numbers, i)?.rem_euclid(360.0).to_radians();
                Some(Features::Pair([radians.sin(), radians.cos()]))
            }
            (Raw::Places(ra, dec), Reading::Sky, _) => {
                Some(Features::Point(sphere::place(number(ra, i)?, number(dec, i)?)?))
            }
            (Raw::Numbers(numbers), Reading::Quantile, Self::Quantile(distribution)) => {
                Some(Features::Number(distribution.normal(number(numbers, i)?)))
            }
            (Raw::Numbers(numbers), reading, Self::Standard { mean, deviation }) => {
                let x = compressed(reading, number(numbers, i)?)?;
                Some(Features::Number((x - mean) / deviation))
            }
            (Raw::Texts(texts), Reading::Category { most }, Self::Category(names)) => {
                let text = class(texts, i)?;
                Some(Features::Class(names.iter().position(|n| n == text).unwrap_or(most)))
            }
            _ => None,
        }
    }
}

enum Features {
    Number(f64),
    Plain(f64),
    Pair([f64; 2]),
    Point([f64; 3]),
    Class(usize),
}

/// Learns one column's [`Scaler`], a batch at a time.
#[derive(Clone, Debug)]
pub(crate) struct Learner {
    reading: Reading,
    count: u64,
    /// Running mean and sum of squared differences (Welford 1962): no data is kept.
    mean: f64,
    squares: f64,
    sample: Sample,
    classes: BTreeMap<String, u64>,
}

impl Learner {
    pub(crate) fn new(reading: Reading) -> Self {
        Self { reading, count: 0, mean: 0.0, squares: 0.0, sample: Sample::new(), classes: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, raw: &Raw) {
        match raw {
            Raw::Numbers(numbers) => {
                for i in 0..numbers.len() {
                    if let Some(x) = number(numbers, i).and_then(|x| compressed(self.reading, x)) {
                        self.count += 1;
                        if self.reading == Reading::Quantile {
                            self.sample.add(x);
                        } else {
                            let before = x - self.mean;
                            self.mean += before / self.count as f64;
                            self.squares += before * (x - self.mean);
                        }
                    }
                }
            }
            Raw::Texts(texts) => {
                for i in 0..texts.len() {
                    if let Some(text) = class(texts, i) {
                        self.count += 1;
                        match self.classes.get_mut(text) {
                            Some(count) => *count += 1,
                            None => drop(self.classes.insert(text.to_owned(), 1)),
                        }
                    }
                }
            }
            Raw::Places(ra, dec) => {
                let places = ra.iter().zip(dec).filter_map(|(ra, dec)| sphere::place((*ra)?, (*dec)?));
                self.count += places.count() as u64;
            }
            Raw::Flags(flags) => self.count += flags.iter().flatten().count() as u64,
        }
    }

    /// `None` if there was no value.
    pub(crate) fn finish(self) -> Option<Scaler> {
        if self.count == 0 {
            return None;
        }
        Some(match self.reading {
            Reading::Plain | Reading::Flag | Reading::Angle | Reading::Sky => Scaler::Fixed,
            Reading::Quantile => Scaler::Quantile(self.sample.finish()?),
            Reading::Category { most } => {
                let mut classes: Vec<(String, u64)> = self.classes.into_iter().collect();
                // A stable sort: equally frequent ones stay in the order of their names.
                classes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                Scaler::Category(classes.into_iter().take(most).map(|(name, _)| name).collect())
            }
            Reading::Standard | Reading::Log | Reading::Asinh { .. } => {
                let deviation = (self.squares / self.count as f64).sqrt();
                // What is constant up to rounding tells nothing: it becomes 0 instead of noise.
                let constant = !deviation.is_finite() || deviation <= 1e-12 * self.mean.abs().max(f64::MIN_POSITIVE);
                Scaler::Standard { mean: self.mean, deviation: if constant { 1.0 } else { deviation } }
            }
        })
    }
}

/// A usable number. What does not fit an f32 is an overflow upstream, not a measurement.
fn number(numbers: &[Option<f64>], i: usize) -> Option<f64> {
    (*numbers.get(i)?).filter(|x| (*x as f32).is_finite())
}

/// A class; catalogues write an empty text where they have none.
fn class(texts: &[Option<String>], i: usize) -> Option<&str> {
    texts.get(i)?.as_deref().map(str::trim).filter(|t| !t.is_empty())
}

/// The logarithm or asinh that comes before standardization; `None` if it doesn't exist.
fn compressed(reading: Reading, x: f64) -> Option<f64> {
    match reading {
        Reading::Log => (x > 0.0).then(|| x.log10()),
        Reading::Asinh { softening } => Some((x / softening).asinh()).filter(|x| x.is_finite()),
        _ => Some(x),
    }
}
