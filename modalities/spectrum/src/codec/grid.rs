//! Straight lines between samples, read at other places, in f32 and with the conventions of AION-1's codec, so that codes agree.

/// Where each point of a new axis lies among samples of an old one.
#[derive(Debug)]
pub(super) struct Places {
    /// The sample on the left, and the step from it; `None` outside of the samples.
    places: Vec<Option<(usize, f32)>>,
}

impl Places {
    /// Of `points` among `samples`, which ascend; at least two samples. A point on a sample belongs to the line on its left.
    pub(super) fn new(samples: &[f32], points: &[f32]) -> Self {
        let (Some(first), Some(last), true) = (samples.first(), samples.last(), samples.len() > 1) else {
            return Self { places: vec![None; points.len()] };
        };
        let ascending = samples.is_sorted() && points.is_sorted();
        let mut from = 0;
        let places = points.iter().map(|point| {
            // Where samples do not ascend, such as behind their end, a search by halves gives what the reference gives.
            let below = if ascending {
                from += samples[from..].iter().take_while(|sample| *sample < point).count();
                from
            } else {
                lower_bound(samples, *point)
            };
            if point < first || point > last {
                return None;
            }
            let left = below.saturating_sub(1).min(samples.len() - 2);
            Some((left, point - samples[left]))
        });
        Self { places: places.collect() }
    }

    /// `values` at the points; 0 outside. `samples` are those of [`Self::new`].
    pub(super) fn read(&self, samples: &[f32], values: &[f32]) -> Vec<f32> {
        let at = |place: &Option<(usize, f32)>| {
            let &Some((left, step)) = place else { return 0.0 };
            let slope = (values[left] - values[left + 1]) / (samples[left] - samples[left + 1]);
            values[left] + step * slope
        };
        self.places.iter().map(at).collect()
    }

    /// At each point, whether both samples of its line are `good`; false outside.
    pub(super) fn both(&self, good: impl Fn(usize) -> bool) -> Vec<bool> {
        self.places.iter().map(|place| place.is_some_and(|(left, _)| good(left) && good(left + 1))).collect()
    }
}

/// The first sample that is not below `point`, by halves.
fn lower_bound(samples: &[f32], point: f32) -> usize {
    let (mut low, mut high) = (0, samples.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if samples[middle] >= point { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_at_points_and_nothing_outside() {
        let samples = [1.0, 2.0, 4.0];
        let places = Places::new(&samples, &[0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 4.5]);
        assert_eq!(places.read(&samples, &[10.0, 20.0, 0.0]), [0.0, 10.0, 15.0, 20.0, 10.0, 0.0, 0.0]);
        assert_eq!(places.both(|k| k > 0), [false, false, false, false, true, true, false]);
    }

    #[test]
    fn a_walk_and_a_search_find_the_same() {
        let samples: Vec<f32> = (0..100).map(|i| (i * i % 37) as f32 + i as f32 * 3.0).collect();
        let mut sorted = samples;
        sorted.sort_by(f32::total_cmp);
        for i in 0..700 {
            let point = i as f32 * 0.5 - 10.0;
            let walk = sorted.iter().take_while(|sample| **sample < point).count();
            assert_eq!(lower_bound(&sorted, point), walk);
        }
    }

    #[test]
    fn points_of_an_empty_axis_are_outside() {
        assert_eq!(Places::new(&[1.0], &[1.0]).read(&[1.0], &[5.0]), [0.0]);
    }
}
