//! The smooth part of a spectrum, so that lines can be told from colour.
//!
//! Typing supernovae by their spectra starts by dividing by a smooth continuum (SNID, Blondin &
//! Tonry 2007, ApJ 666, 1024). Here it is a local straight line in ln(wavelength) with Gaussian
//! weights (Cleveland 1979, JASA 74, 829): a local mean would leave the slope of the spectrum in the
//! ends of the range. Of an axis that is no wavelength its place stands for ln(wavelength). Three running means make the weights, which takes the same time for any width.

/// Running means of one half-width over a fixed grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoother {
    /// Place of each sample, from the middle of the grid.
    place: Vec<f64>,
    /// Samples `from..to` that each mean takes.
    windows: Vec<(usize, usize)>,
}

impl Smoother {
    /// For samples at ascending `places`, which are ln(wavelength); `width` is the standard deviation of the weights, as a difference of
    /// places.
    #[must_use]
    pub fn new(places: &[f64], width: f64) -> Self {
        // A mean over plus and minus h has the variance h^2 / 3, and three of them h^2. The tolerance
        // keeps rounding from moving a border by a sample.
        let reach = width + 1e-9;
        let windows = places
            .iter()
            .map(|p| (places.partition_point(|x| *x < p - reach), places.partition_point(|x| *x <= p + reach)))
            .collect();
        let middle = places.get(places.len() / 2).copied().unwrap_or(0.0);
        Self { place: places.iter().map(|p| p - middle).collect(), windows }
    }

    /// Smooth continuum `[L]` of `flux` `[L]` over the samples that are `valid` `[L]`; 0 where none is near.
    #[must_use]
    pub fn continuum(&self, flux: &[f64], valid: &[bool]) -> Vec<f64> {
        let smooth = |value: &dyn Fn(usize) -> f64| {
            let mut values: Vec<f64> = valid.iter().enumerate().map(|(l, v)| if *v { value(l) } else { 0.0 }).collect();
            for _ in 0..3 {
                values = self.mean(&values);
            }
            values
        };
        let x = &self.place;
        let count = smooth(&|_| 1.0);
        let (sum_x, sum_xx) = (smooth(&|l| x[l]), smooth(&|l| x[l] * x[l]));
        let (sum_f, sum_xf) = (smooth(&|l| flux[l]), smooth(&|l| x[l] * flux[l]));
        (0..valid.len())
            .map(|l| {
                let n = count[l];
                if n < 1e-9 {
                    return 0.0;
                }
                let (mean_x, mean_f) = (sum_x[l] / n, sum_f[l] / n);
                let spread = sum_xx[l] / n - mean_x * mean_x;
                // Of one sample, or several in one place, there is no slope.
                let slope = if spread > 1e-9 { (sum_xf[l] / n - mean_x * mean_f) / spread } else { 0.0 };
                mean_f + slope * (x[l] - mean_x)
            })
            .collect()
    }

    fn mean(&self, values: &[f64]) -> Vec<f64> {
        let mut total = 0.0;
        let mut until = vec![0.0];
        until.extend(values.iter().map(|v| {
            total += v;
            total
        }));
        self.windows.iter().map(|(from, to)| (until[*to] - until[*from]) / (to - from).max(1) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(n: usize) -> Vec<f64> {
        (0..n).map(|i| 8.3 + 0.002 * i as f64).collect()
    }

    #[test]
    fn a_straight_slope_is_its_own_continuum_also_at_ends_and_gaps() {
        let smoother = Smoother::new(&grid(300), 0.05);
        let valid: Vec<bool> = (0..300).map(|i| !(100..180).contains(&i)).collect();
        let line = |i: usize| 3.0 - 0.01 * i as f64;
        let flux: Vec<f64> = (0..300).map(|i| if valid[i] { line(i) } else { -99.0 }).collect();
        let continuum = smoother.continuum(&flux, &valid);
        for (i, c) in continuum.iter().enumerate().filter(|(i, _)| valid[*i]) {
            assert!((c - line(i)).abs() < 1e-6, "{i}: {c}");
        }
    }

    #[test]
    fn a_peak_is_smeared_to_the_stated_width() {
        let n = 1001;
        let smoother = Smoother::new(&grid(n), 0.1);
        let mut flux = vec![0.0; n];
        flux[500] = 1.0;
        let c = smoother.continuum(&flux, &vec![true; n]);
        let total: f64 = c.iter().sum();
        let variance: f64 =
            c.iter().enumerate().map(|(i, v)| v * (0.002 * (i as f64 - 500.0)).powi(2)).sum::<f64>() / total;
        // The sum of three means over 101 samples: variance 3 (101^2 - 1) / 12 steps^2 = 0.1010^2.
        assert!((variance.sqrt() - 0.1010).abs() < 1e-3, "{}", variance.sqrt());
    }
}
