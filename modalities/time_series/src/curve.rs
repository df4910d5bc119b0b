//! One object's observations: cleaned, ordered in time, thinned, and augmented in training.

use crate::config::{TimeOrigin, TimeSeriesConfig};
use panchroma_core::{Mode, PrepareContext};
use rand::Rng;
use rand_distr::StandardNormal;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Observation {
    /// Days since the object's origin.
    pub(crate) days: f64,
    /// In the data's unit.
    pub(crate) flux: f64,
    /// Standard error of the flux, if known.
    pub(crate) error: Option<f64>,
    /// Effective wavelength of the band, Angstrom, if known.
    pub(crate) wavelength: Option<f64>,
    /// Which of the config's channels it is.
    pub(crate) channel: Option<usize>,
    /// Nothing was seen: the flux is 0 and the error from the limit.
    pub(crate) limit: bool,
}

impl Observation {
    /// Flux over its error.
    pub(crate) fn significance(&self) -> Option<f64> {
        self.error.map(|error| self.flux / error)
    }
}

/// An object's usable observations in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    /// Never empty.
    pub(crate) observations: Vec<Observation>,
    /// A robust maximum of the flux, in the data's unit; above 0.
    pub(crate) scale: f64,
    /// Days, above 0.
    pub(crate) period: Option<f64>,
    /// Days that training added to all times.
    pub(crate) moved: f64,
}

/// Significance from which an observation may mark the peak.
const SIGNIFICANT: f64 = 5.0;

impl Curve {
    /// Cleans and orders `observations`, whose `days` are still absolute; `origin` is the object's
    /// own origin in days, if it has one. `None` if too few are usable.
    pub(crate) fn new(
        config: &TimeSeriesConfig,
        mut observations: Vec<Observation>,
        origin: Option<f64>,
    ) -> Option<Self> {
        // What does not fit an f32 is an overflow upstream, not a measurement.
        let usable = |x: f64| x.is_finite() && (x as f32).is_finite();
        observations.retain(|o| o.days.is_finite() && usable(o.flux));
        for o in &mut observations {
            o.error = o.error.filter(|e| usable(*e) && *e > 0.0 && (*e as f32) > 0.0);
        }
        observations.sort_by(|a, b| a.days.total_cmp(&b.days));
        let origin = origin.or_else(|| choose_origin(&observations, config.time_origin))?;
        for o in &mut observations {
            o.days -= origin;
        }
        observations.retain(|o| (o.days as f32).is_finite());
        if let Some([from, to]) = config.window_days {
            observations.retain(|o| (from..=to).contains(&o.days));
        }
        if observations.len() < config.min_observations.max(1) {
            return None;
        }
        let scale = robust_maximum(&observations);
        Some(Self { observations, scale, period: None, moved: 0.0 })
    }

    /// Phase of an observation from the object's origin, from 0 to below 1, also in single precision; none without a period. What
    /// training adds to all times moves the origin with them.
    pub(crate) fn phase(&self, observation: &Observation) -> Option<f32> {
        let phase = ((observation.days - self.moved) / self.period?).rem_euclid(1.0) as f32;
        // Just below 1 rounds up to it, which is 0.
        Some(if phase < 1.0 { phase } else { 0.0 })
    }

    /// Brings the curve to at most `max_observations`, and augments it in training.
    pub(crate) fn draw(&mut self, config: &TimeSeriesConfig, context: &PrepareContext<'_>, object: &str) {
        let train = context.mode == Mode::Train;
        if train && config.drop_fraction > 0.0 {
            let mut random = context.random(object, "drop");
            let share = config.drop_fraction * random.random::<f64>();
            let dropped = (share * self.observations.len() as f64).floor() as usize;
            let kept = (self.observations.len() - dropped).max(config.min_observations);
            self.keep_random(kept, &mut random);
        }
        if self.observations.len() > config.max_observations {
            if train {
                self.keep_random(config.max_observations, &mut context.random(object, "subset"));
            } else {
                self.keep_even(config.max_observations);
            }
        }
        if train && config.noise > 0.0 {
            let mut random = context.random(object, "noise");
            for o in &mut self.observations {
                // Drawn for all, so that one unknown error does not shift the noise of the others.
                let normal: f64 = random.sample(StandardNormal);
                if let Some(error) = o.error {
                    o.flux += config.noise * error * normal;
                    o.error = Some(error * config.noise.hypot(1.0));
                }
            }
        }
        if train && config.time_jitter_days > 0.0 {
            let unit: f64 = context.random(object, "jitter").random();
            let shift = (2.0 * unit - 1.0) * config.time_jitter_days;
            self.moved = shift;
            for o in &mut self.observations {
                o.days += shift;
            }
        }
    }

    fn keep_random(&mut self, count: usize, random: &mut impl Rng) {
        if count >= self.observations.len() {
            return;
        }
        let mut chosen = rand::seq::index::sample(random, self.observations.len(), count).into_vec();
        chosen.sort_unstable();
        self.observations = chosen.iter().filter_map(|&i| self.observations.get(i).copied()).collect();
    }

    /// Evenly spaced by rank in time, with both ends: the cover of time stays.
    fn keep_even(&mut self, count: usize) {
        let last = self.observations.len() - 1;
        let chosen = (0..count).map(|i| if count == 1 { last / 2 } else { i * last / (count - 1) });
        self.observations = chosen.filter_map(|i| self.observations.get(i).copied()).collect();
    }
}

/// The time that becomes zero; `None` without observations. They are in the order of time.
fn choose_origin(observations: &[Observation], choice: TimeOrigin) -> Option<f64> {
    match choice {
        TimeOrigin::First => observations.first().map(|o| o.days),
        TimeOrigin::Median => observations.get(observations.len() / 2).map(|o| o.days),
        TimeOrigin::Peak => {
            let significant = |o: &&Observation| o.significance().is_some_and(|s| s >= SIGNIFICANT);
            let brightest = |a: &&Observation, b: &&Observation| a.flux.total_cmp(&b.flux);
            let peak = observations.iter().filter(significant).max_by(brightest);
            peak.or_else(|| observations.iter().max_by(brightest)).map(|o| o.days)
        }
    }
}

/// The 95th percentile of |flux|, which one bad point does not move; 1 if all are zero.
fn robust_maximum(observations: &[Observation]) -> f64 {
    let mut sizes: Vec<f64> = observations.iter().map(|o| o.flux.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let rank = (0.95 * (sizes.len().saturating_sub(1)) as f64).round() as usize;
    let high = sizes.get(rank).copied().filter(|s| *s > 0.0);
    // With mostly zeros the percentile can vanish; then the largest must do.
    high.or_else(|| sizes.last().copied()).filter(|s| *s > 0.0).unwrap_or(1.0)
}
