//! Linear interpolation on slices, chunks of spectra as tasks.

use crate::ops::tasks::light_rows;
use rayon::prelude::*;

/// Where a point of the grid lies.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    /// The sample at or before it; [`OUTSIDE`] if there is none.
    sample: u32,
    /// Share of the next sample. It is 0 at a sample: the next one then has no part, whatever it holds.
    share: f32,
}

const OUTSIDE: u32 = u32::MAX;

/// Where the points of the grid lie, among samples that all spectra share or among each one's own.
pub(super) struct Places {
    all: Vec<Place>,
    points: usize,
}

impl Places {
    pub(super) fn points(&self) -> usize {
        self.points
    }

    fn of_row(&self, row: usize) -> &[Place] {
        match self.all.len() > self.points {
            true => &self.all[row * self.points..][..self.points],
            false => &self.all,
        }
    }
}

/// For one or more rows of ascending wavelengths.
pub(super) fn places(wavelength: &[f32], samples: usize, grid: &[f32]) -> Places {
    let points = grid.len();
    if wavelength.is_empty() {
        return Places { all: vec![Place { sample: OUTSIDE, share: 0.0 }; points], points };
    }
    let all = wavelength.par_chunks(samples).flat_map_iter(|row| grid.iter().map(|&point| place(row, point))).collect();
    Places { all, points }
}

fn place(wavelength: &[f32], point: f32) -> Place {
    let outside = Place { sample: OUTSIDE, share: 0.0 };
    let Some(sample) = wavelength.partition_point(|w| *w <= point).checked_sub(1) else { return outside };
    let low = wavelength[sample];
    let share = match wavelength.get(sample + 1) {
        _ if low == point => 0.0,
        // In f64, since a step may be larger than the largest f32.
        Some(&high) => ((f64::from(point) - f64::from(low)) / (f64::from(high) - f64::from(low))) as f32,
        None => return outside,
    };
    Place { sample: sample as u32, share }
}

/// `f(a_k, 1 - t) + f(a_{k+1}, t)`; a sample whose part is 0 isn't looked at.
fn between(row: &[f32], place: Place, f: impl Fn(f32, f32) -> f64) -> f64 {
    let part = |sample: usize, share: f32| if share == 0.0 { 0.0 } else { f(row[sample], share) };
    part(place.sample as usize, 1.0 - place.share) + part(place.sample as usize + 1, place.share)
}

/// `1 / ((1 - t)² / w_k + t² / w_{k+1})`, 0 if a sample that has a part has none; comes as zeros.
pub(super) fn inverse_variances(ivar: &[f32], samples: usize, places: &Places, out: &mut [f32]) {
    by_rows(out, places, |row, out| {
        let ivar = &ivar[row * samples..][..samples];
        // NaN and negative weights are none. In f64, since 1 / w may be larger than the largest f32.
        let part = |w: f32, share: f32| {
            if w > 0.0 { f64::from(share) * f64::from(share) / f64::from(w) } else { f64::INFINITY }
        };
        for (place, out) in places.of_row(row).iter().zip(out) {
            if place.sample != OUTSIDE {
                *out = (1.0 / between(ivar, *place, part)).min(f64::from(f32::MAX)) as f32;
            }
        }
    });
}

/// Flux at the points whose `weights` aren't 0; comes as zeros.
pub(super) fn forward(flux: &[f32], samples: usize, places: &Places, weights: &[f32], out: &mut [f32]) {
    by_rows(out, places, |row, out| {
        let flux = &flux[row * samples..][..samples];
        let weights = &weights[row * places.points..][..places.points];
        for ((place, out), weight) in places.of_row(row).iter().zip(out).zip(weights) {
            if *weight > 0.0 {
                *out = between(flux, *place, |flux, share| f64::from(share) * f64::from(flux)) as f32;
            }
        }
    });
}

/// Adds the gradient of each point to the samples that have a part in it, in the order of the grid;
/// `dflux` comes as zeros.
pub(super) fn backward(grad: &[f32], samples: usize, places: &Places, weights: &[f32], dflux: &mut [f32]) {
    if dflux.is_empty() || places.points == 0 {
        return;
    }
    let points = places.points;
    let rows = light_rows(dflux.len() / samples, samples);
    dflux.par_chunks_mut(samples).enumerate().with_min_len(rows).for_each(|(row, dflux)| {
        let (grad, weights) = (&grad[row * points..][..points], &weights[row * points..][..points]);
        for (place, (grad, weight)) in places.of_row(row).iter().zip(grad.iter().zip(weights)) {
            if *weight > 0.0 {
                let sample = place.sample as usize;
                dflux[sample] += (1.0 - place.share) * grad;
                if place.share != 0.0 {
                    dflux[sample + 1] += place.share * grad;
                }
            }
        }
    });
}

/// Calls `f` with the number of each row of `[B, G]` and the row.
fn by_rows(out: &mut [f32], places: &Places, f: impl Fn(usize, &mut [f32]) + Sync) {
    let points = places.points;
    if let Some(rows) = out.len().checked_div(points) {
        let least = light_rows(rows, points);
        out.par_chunks_mut(points).enumerate().with_min_len(least).for_each(|(row, out)| f(row, out));
    }
}
