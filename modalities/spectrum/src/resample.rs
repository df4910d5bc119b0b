//! Any wavelength sampling onto one common grid, conserving flux and propagating errors.
//!
//! A sample of the grid gets the mean over its bin of the straight lines that join the good input
//! samples. Where the input is finer than the grid this is an average that conserves flux, as in
//! SpectRes (Carnall 2017, arXiv:1705.05165); where it is coarser it is linear interpolation; there
//! is no seam between the two. The mean is a weighted sum of input samples, so its variance is the
//! sum of their variances times the squared weights. It is not weighted by inverse variance: that
//! would shift lines towards their well measured side.

use crate::config::Spacing;

/// The common wavelength grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Wavelength of the samples, in Angstrom.
    pub centres: Vec<f64>,
    /// Borders of their bins: one more than samples.
    edges: Vec<f64>,
}

impl Grid {
    /// `samples` (2 or more) wavelengths from `from` to `to`, in Angstrom; positive with [`Spacing::Log`].
    #[must_use]
    pub fn new(from: f64, to: f64, samples: usize, spacing: Spacing) -> Self {
        let steps = samples.max(2) as f64 - 1.0;
        let at = |i: f64| match spacing {
            Spacing::Log => from * (to / from).powf(i / steps),
            // The grid of a batch whose objects have samples of their own is only a place for them.
            Spacing::Linear | Spacing::Own => from + (to - from) * i / steps,
        };
        Self {
            centres: (0..samples).map(|i| at(i as f64)).collect(),
            edges: (0..=samples).map(|i| at(i as f64 - 0.5)).collect(),
        }
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.centres.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.centres.is_empty()
    }

    /// Width of each bin in Angstrom.
    #[must_use]
    pub fn widths(&self) -> Vec<f64> {
        self.edges.windows(2).map(|e| e[1] - e[0]).collect()
    }
}

/// One sample of a spectrum as measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Angstrom, strictly ascending over a spectrum.
    pub wavelength: f64,
    /// Flux density per Angstrom; finite where `good`.
    pub flux: f64,
    /// Its variance; 0 if unknown.
    pub variance: f64,
    /// Whether the flux means anything.
    pub good: bool,
}

/// A spectrum on the common grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    /// `[L]` flux density; 0 where not valid.
    pub flux: Vec<f64>,
    /// `[L]` inverse variance; 0 where not valid or not known.
    pub ivar: Vec<f64>,
    /// `[L]` whether at least half of the bin lies between good samples.
    pub valid: Vec<bool>,
}

/// A straight line between two good samples.
struct Piece {
    from: Sample,
    to: Sample,
    /// Whether the piece before ends where this one starts.
    joined: bool,
}

/// Steps to either side that say what a usual step is. An even number: where the samples of two arms alternate, the wide steps
/// among them are half of all.
const NEARBY: usize = 4;

/// Brings `samples` onto `grid`. A step between good samples is bridged if it is at most `max_gap` times the upper median of the
/// steps nearby, four between measured wavelengths to either side: where two arms of different steps meet, half of them are of the
/// coarser arm; a sample or two alone in a gap are outvoted and do not bridge it.
#[must_use]
pub fn resample(samples: &[Sample], grid: &Grid, max_gap: f64) -> Resampled {
    let pieces = pieces(samples, max_gap);
    let mut out =
        Resampled { flux: vec![0.0; grid.len()], ivar: vec![0.0; grid.len()], valid: vec![false; grid.len()] };
    let mut first = 0;
    for (i, edge) in grid.edges.windows(2).enumerate() {
        let (low, high) = (edge[0], edge[1]);
        while pieces.get(first).is_some_and(|p| p.to.wavelength <= low) {
            first += 1;
        }
        let (mut covered, mut sum, mut variance) = (0.0, 0.0, 0.0);
        // Weight of the sample where two pieces meet: both add to it before it is squared.
        let mut shared = (0.0, 0.0);
        for piece in pieces[first..].iter().take_while(|p| p.from.wavelength < high) {
            let (a, b) = (piece.from.wavelength.max(low), piece.to.wavelength.min(high));
            let part = b - a;
            let t = (0.5 * (a + b) - piece.from.wavelength) / (piece.to.wavelength - piece.from.wavelength);
            let (mut left, right) = (part * (1.0 - t), part * t);
            covered += part;
            sum += left * piece.from.flux + right * piece.to.flux;
            if piece.joined {
                left += shared.0;
            } else {
                variance += shared.0 * shared.0 * shared.1;
            }
            variance += left * left * piece.from.variance;
            shared = (right, piece.to.variance);
        }
        variance += shared.0 * shared.0 * shared.1;
        // A flux near the largest number there is overflows in the sum; it is no measurement.
        if covered >= 0.5 * (high - low) && sum.is_finite() {
            out.valid[i] = true;
            out.flux[i] = sum / covered;
            out.ivar[i] = if variance > 0.0 { covered * covered / variance } else { 0.0 };
        }
    }
    out
}

/// The samples from `from` to `to` (Angstrom) as they are, in the first of `length` places, and their wavelengths. None if there are more
/// samples than places.
#[must_use]
pub fn keep(samples: &[Sample], (from, to): (f64, f64), length: usize) -> Option<(Resampled, Vec<f64>)> {
    let inside: Vec<&Sample> = samples.iter().filter(|s| (from..=to).contains(&s.wavelength)).collect();
    if inside.len() > length {
        return None;
    }
    let mut out = Resampled { flux: vec![0.0; length], ivar: vec![0.0; length], valid: vec![false; length] };
    let wavelength = inside.iter().map(|s| s.wavelength).collect();
    for (l, sample) in inside.iter().enumerate().filter(|(_, s)| s.good) {
        (out.flux[l], out.valid[l]) = (sample.flux, true);
        out.ivar[l] = if sample.variance > 0.0 { 1.0 / sample.variance } else { 0.0 };
    }
    Some((out, wavelength))
}

fn pieces(samples: &[Sample], max_gap: f64) -> Vec<Piece> {
    let steps: Vec<f64> = samples.windows(2).map(|pair| pair[1].wavelength - pair[0].wavelength).collect();
    let good: Vec<usize> = (0..samples.len()).filter(|i| samples[*i].good).collect();
    let mut pieces: Vec<Piece> = Vec::with_capacity(good.len());
    let mut last = None;
    for pair in good.windows(2) {
        let (i, j) = (pair[0], pair[1]);
        let step = samples[j].wavelength - samples[i].wavelength;
        let nearby = steps[i.saturating_sub(NEARBY)..i].iter().chain(steps[j..].iter().take(NEARBY));
        let (wide, all) = nearby.fold((0, 0), |(wide, all), s| (wide + usize::from(step <= max_gap * s), all + 1));
        // The upper median is large enough if half of them are. A spectrum of two samples has none.
        if 2 * wide >= all {
            pieces.push(Piece { from: samples[i], to: samples[j], joined: last == Some(i) });
            last = Some(j);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_of_other_steps_are_joined_and_a_sample_alone_in_a_gap_is_not() {
        let valid = |wavelengths: &[f64], at: &[f64]| {
            let sample = |w: &f64| Sample { wavelength: *w, flux: 1.0, variance: 0.0, good: true };
            let samples: Vec<Sample> = wavelengths.iter().map(sample).collect();
            let grid = Grid::new(at[0], at[at.len() - 1], at.len(), Spacing::Linear);
            resample(&samples, &grid, 3.0).valid
        };
        let alone = [4000.0, 4005.0, 5000.0, 6000.0, 6005.0];
        assert_eq!(valid(&alone, &[4500.0, 5000.0, 5500.0]), [false; 3]);
        let two_alone = [3990.0, 3995.0, 4000.0, 4005.0, 5000.0, 5500.0, 6500.0, 6505.0, 6510.0, 6515.0];
        assert_eq!(valid(&two_alone, &[4500.0, 5000.0, 5500.0, 6000.0]), [false; 4]);
        let arms = [4000.0, 4001.0, 4002.0, 4003.0, 4007.0, 4011.0, 4015.0, 4019.0];
        assert_eq!(valid(&arms, &[4001.0, 4003.0, 4005.0, 4007.0, 4009.0]), [true; 5]);
        // Two arms over the same wavelengths: steps of 0.1 and 0.9 in turns.
        let both: Vec<f64> = (0..30).map(|i| 4000.0 + f64::from(i / 2) + 0.1 * f64::from(i % 2)).collect();
        assert_eq!(valid(&both, &[4004.0, 4006.0, 4008.0, 4010.0]), [true; 4]);
        // One sample per factor of 1.5 all the way.
        let coarse: Vec<f64> = (0..8).map(|i| 1000.0 * 1.5f64.powi(i)).collect();
        assert_eq!(valid(&coarse, &[1500.0, 3500.0, 5500.0, 7500.0, 9500.0, 11500.0, 13500.0, 15500.0]), [true; 8]);
    }

    fn spectrum(n: usize, step: f64) -> Vec<Sample> {
        (0..n)
            .map(|i| {
                // Steps that vary by 20 %, as between two arms of a spectrograph.
                let wavelength = 4000.0 + step * (i as f64 + 0.1 * (i as f64).sin());
                let flux = 5.0 + (wavelength / 37.0).sin() + 0.002 * (wavelength - 4000.0);
                Sample { wavelength, flux, variance: 0.5 + 0.3 * (i as f64 * 0.7).cos(), good: i % 17 != 5 }
            })
            .collect()
    }

    /// Mean over each bin and its variance, from the weights that a fine quadrature gives.
    fn naive(samples: &[Sample], grid: &Grid) -> Vec<(f64, f64)> {
        let good: Vec<Sample> = samples.iter().copied().filter(|s| s.good).collect();
        let n = 20_000;
        grid.edges
            .windows(2)
            .map(|e| {
                let mut weight = vec![0.0; good.len()];
                for k in 0..n {
                    let x = e[0] + (e[1] - e[0]) * (k as f64 + 0.5) / n as f64;
                    let right = good.iter().position(|s| s.wavelength > x).expect("inside the spectrum");
                    let (a, b) = (&good[right - 1], &good[right]);
                    let t = (x - a.wavelength) / (b.wavelength - a.wavelength);
                    weight[right - 1] += (1.0 - t) / n as f64;
                    weight[right] += t / n as f64;
                }
                let flux = weight.iter().zip(&good).map(|(w, s)| w * s.flux).sum();
                let variance: f64 = weight.iter().zip(&good).map(|(w, s)| w * w * s.variance).sum();
                (flux, 1.0 / variance)
            })
            .collect()
    }

    #[test]
    fn fine_and_coarse_input_agree_with_a_naive_quadrature() {
        for (step, n) in [(1.3, 800), (40.0, 28)] {
            for spacing in [Spacing::Log, Spacing::Linear] {
                let samples = spectrum(n, step);
                let grid = Grid::new(4100.0, 4900.0, 60, spacing);
                let out = resample(&samples, &grid, 3.0);
                for (i, (flux, ivar)) in naive(&samples, &grid).into_iter().enumerate() {
                    assert!(out.valid[i]);
                    assert!((out.flux[i] - flux).abs() < 1e-4, "step {step}, bin {i}: {} and {flux}", out.flux[i]);
                    assert!(
                        (out.ivar[i] / ivar - 1.0).abs() < 1e-3,
                        "step {step}, bin {i}: {} and {ivar}",
                        out.ivar[i]
                    );
                }
            }
        }
    }

    #[test]
    fn flux_is_conserved() {
        let mut samples = spectrum(900, 1.0);
        samples.iter_mut().for_each(|s| s.good = true);
        let grid = Grid::new(4100.0, 4700.0, 97, Spacing::Log);
        let out = resample(&samples, &grid, 3.0);
        let total: f64 = out.flux.iter().zip(grid.widths()).map(|(f, w)| f * w).sum();
        let (low, high) = (grid.edges[0], grid.edges[97]);
        // Trapezoids under the input between the outer borders of the grid.
        let value = |x: f64, a: &Sample, b: &Sample| {
            a.flux + (b.flux - a.flux) * (x - a.wavelength) / (b.wavelength - a.wavelength)
        };
        let expected: f64 = samples
            .windows(2)
            .map(|p| (p[0].wavelength.max(low), p[1].wavelength.min(high), &p[0], &p[1]))
            .filter(|(x, y, _, _)| y > x)
            .map(|(x, y, a, b)| 0.5 * (value(x, a, b) + value(y, a, b)) * (y - x))
            .sum();
        assert!((total / expected - 1.0).abs() < 1e-12, "{total} and {expected}");
    }

    #[test]
    fn gaps_and_what_lies_outside_stay_without_data() {
        let mut samples = spectrum(400, 2.0);
        for s in &mut samples {
            s.good = !(4300.0..4400.0).contains(&s.wavelength);
        }
        let grid = Grid::new(3900.0, 4900.0, 101, Spacing::Linear);
        let out = resample(&samples, &grid, 3.0);
        for (centre, (valid, flux)) in grid.centres.iter().zip(out.valid.iter().zip(&out.flux)) {
            let inside = (4005.0..4295.0).contains(centre) || (4405.0..4790.0).contains(centre);
            let outside = *centre < 3995.0 || (4305.0..4395.0).contains(centre) || *centre > 4805.0;
            assert!(!inside || *valid, "{centre}");
            assert!(!(outside && (*valid || *flux != 0.0)), "{centre}");
        }
    }

    #[test]
    fn unknown_errors_stay_unknown() {
        let mut samples = spectrum(100, 2.0);
        samples.iter_mut().for_each(|s| s.variance = 0.0);
        let out = resample(&samples, &Grid::new(4050.0, 4100.0, 10, Spacing::Log), 3.0);
        assert!(out.ivar.iter().all(|v| *v == 0.0) && out.valid.iter().all(|v| *v));
    }

    #[test]
    fn no_good_sample_gives_nothing() {
        let grid = Grid::new(4050.0, 4100.0, 10, Spacing::Log);
        for samples in [vec![], spectrum(1, 2.0)] {
            assert!(!resample(&samples, &grid, 3.0).valid.contains(&true));
        }
    }
}
