//! What a codec is worth on held-out series, against guesses that need no codec: for each object sums over its observations.

use super::batch::Observed;
use candle_core::{Device, Tensor};
use panchroma_core::{Result, SUMS};
use std::collections::BTreeMap;

/// Sums of the objects of a batch by the name of the measure.
pub(super) struct Sums {
    objects: usize,
    sums: BTreeMap<String, Vec<[f32; 2]>>,
}

impl Sums {
    pub(super) fn new(objects: usize) -> Self {
        Self { objects, sums: BTreeMap::new() }
    }

    fn add(&mut self, name: &str, object: usize, sum: f64, by: f64) {
        let own = self.sums.entry(name.to_owned()).or_insert_with(|| vec![[0.0; 2]; self.objects]);
        if let Some(own) = own.get_mut(object) {
            own[0] += sum as f32;
            own[1] += by as f32;
        }
    }

    /// Measures `guess` of the observations at `places` of an object: `NAME` is `prefix`, `chi2` or `error`, and `suffix`.
    fn guess(&mut self, [prefix, suffix]: [&str; 2], object: usize, seen: &[Seen], guess: impl Fn(&Seen) -> f64) {
        for one in seen {
            let square = (guess(one) - one.value).powi(2);
            self.add(&format!("{prefix}error{suffix}"), object, one.weight * square, one.weight);
            if let Some(error) = one.error {
                self.add(&format!("{prefix}chi2{suffix}"), object, square / error.powi(2), 1.0);
            }
        }
    }

    /// Every observation, told again from codes of all of them, and as the object's best constant.
    pub(super) fn reconstructed(&mut self, object: usize, seen: &[Seen]) {
        let constant = mean(seen);
        self.guess(["", ""], object, seen, |one| one.told);
        self.guess(["", ".constant"], object, seen, |_| constant);
    }

    /// The observations `asked`, told from codes of those that were `given`, as the best constant of the latter, and as the line through
    /// those of the same band.
    pub(super) fn held_back(&mut self, object: usize, given: &[Seen], asked: &[Seen]) {
        let constant = mean(given);
        self.guess(["held_back.", ""], object, asked, |one| one.told);
        self.guess(["held_back.", ".constant"], object, asked, |_| constant);
        self.guess(["held_back.", ".linear"], object, asked, |one| interpolated(given, one));
    }

    pub(super) fn finish(self) -> Result<BTreeMap<String, Tensor>> {
        let tensor = |(name, sums): (String, Vec<[f32; 2]>)| -> Result<(String, Tensor)> {
            Ok((format!("{SUMS}{name}"), Tensor::from_vec(sums.concat(), (self.objects, 2), &Device::Cpu)?))
        };
        self.sums.into_iter().map(tensor).collect()
    }
}

/// One observation and what the codec says of it, in the units of the brightness feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) days: f32,
    /// Which band: equal for the same.
    pub(super) band: [u32; 2],
    pub(super) value: f64,
    pub(super) error: Option<f64>,
    /// Inverse variance with the floor, at most 1.
    pub(super) weight: f64,
    pub(super) told: f64,
}

impl Seen {
    /// Observations of an object of a batch; `told` `[T]` is what the codec says at each place.
    pub(super) fn of(observed: &Observed<'_>, object: usize, told: &[f32]) -> Vec<(usize, Self)> {
        let one = |(place, told): (usize, &f32)| {
            let at = observed.at(object, place)?;
            let seen = Self {
                days: observed.series.time[at],
                band: observed.band(at),
                value: f64::from(observed.brightness(at)),
                error: observed.series.error(at).map(f64::from),
                weight: observed.weight(at),
                told: f64::from(*told),
            };
            Some((place, seen))
        };
        told.iter().enumerate().filter_map(one).collect()
    }
}

/// The constant of least weighted square error.
fn mean(seen: &[Seen]) -> f64 {
    let total: f64 = seen.iter().map(|one| one.weight).sum();
    seen.iter().map(|one| one.weight * one.value).sum::<f64>() / total.max(f64::MIN_POSITIVE)
}

/// The value at the time of `asked` on the line through the two nearest observations of its band, the value of the nearest before the
/// first and after the last; of all bands if its own has none.
fn interpolated(given: &[Seen], asked: &Seen) -> f64 {
    let mut own: Vec<&Seen> = given.iter().filter(|one| one.band == asked.band).collect();
    if own.is_empty() {
        own = given.iter().collect();
    }
    // Observations come in the order of time.
    let after = own.partition_point(|one| one.days < asked.days);
    match (after.checked_sub(1).and_then(|before| own.get(before)), own.get(after)) {
        (Some(before), Some(after)) => {
            let share = f64::from(asked.days - before.days) / f64::from(after.days - before.days);
            before.value + (after.value - before.value) * share
        }
        (Some(only), None) | (None, Some(only)) => only.value,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(days: f32, band: u32, value: f64) -> Seen {
        Seen { days, band: [band, 0], value, error: Some(0.5), weight: 1.0, told: value + 1.0 }
    }

    #[test]
    fn lines_go_through_neighbours_of_the_same_band() {
        let given = [seen(0.0, 1, 1.0), seen(1.0, 2, 100.0), seen(2.0, 1, 3.0)];
        let at = |days, band| interpolated(&given, &seen(days, band, 0.0));
        assert_eq!((at(0.5, 1), at(-1.0, 1), at(5.0, 1)), (1.5, 1.0, 3.0));
        assert_eq!((at(7.0, 2), at(0.5, 3)), (100.0, 50.5));
    }

    #[test]
    fn sums_are_over_observations() {
        let mut sums = Sums::new(2);
        sums.reconstructed(1, &[seen(0.0, 1, 1.0), Seen { error: None, ..seen(1.0, 1, 3.0) }]);
        let found = sums.finish().unwrap();
        let of = |name: &str| found[&format!("sums.{name}")].to_vec2::<f32>().unwrap();
        assert_eq!(of("error"), [[0.0, 0.0], [2.0, 2.0]]);
        // The mean is 2; (1 / 0.5)² for the one with an error.
        assert_eq!(of("error.constant"), [[0.0, 0.0], [2.0, 2.0]]);
        assert_eq!(of("chi2"), [[0.0, 0.0], [4.0, 1.0]]);
    }
}
