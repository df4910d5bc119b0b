//! Weighted means over neighbours, with holes: other pixel sizes, and blur.
//!
//! A bad pixel is NaN and has no weight: what it held reaches no other pixel.

/// The pixels of a line, or a column, that one new pixel is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    start: usize,
    /// Together 1, less where the kernel reaches over the border.
    weights: Vec<f64>,
}

impl Taps {
    /// `size` new pixels over `length` old ones, `ratio` old pixels wide each, with the same middle. A new pixel is the
    /// mean, over its width, of the straight lines that join the old ones: an average that conserves flux when the image
    /// shrinks, interpolation when it grows.
    #[must_use]
    pub fn zoom(length: usize, size: usize, ratio: f64) -> Vec<Self> {
        let middle = |n: usize| 0.5 * (n as f64 - 1.0);
        let place = |i: usize| middle(length) + (i as f64 - middle(size)) * ratio;
        // Area of a triangle of height 1 over plus and minus 1, up to `u`.
        let area = |u: f64| {
            let u = u.clamp(-1.0, 1.0);
            0.5 + u - 0.5 * u * u.abs()
        };
        let weight = |u: f64| area(u + 0.5 * ratio) - area(u - 0.5 * ratio);
        (0..size).map(|i| Self::around(place(i), 0.5 * ratio + 1.0, length, weight)).collect()
    }

    /// A Gaussian of standard deviation `sigma` pixels, out to four of them.
    #[must_use]
    pub fn blur(length: usize, sigma: f64) -> Vec<Self> {
        let gauss = |u: f64| (-0.5 * (u / sigma).powi(2)).exp();
        (0..length).map(|i| Self::around(i as f64, 4.0 * sigma, length, gauss)).collect()
    }

    /// What is left of noise that differs from pixel to pixel, root mean square over the new pixels of which a part of the weight of
    /// `least` and more lies in the image; 1 if there are none.
    #[must_use]
    pub fn noise(all: &[Self], least: f64) -> f64 {
        let sums = all.iter().map(|taps| taps.weights.iter().fold((0.0, 0.0), |(sum, sq), w| (sum + w, sq + w * w)));
        let inside = sums.filter(|(sum, _)| *sum >= least && *sum > 0.0);
        let squares: Vec<f64> = inside.map(|(sum, square)| square / (sum * sum)).collect();
        if squares.is_empty() { 1.0 } else { (squares.iter().sum::<f64>() / squares.len() as f64).sqrt() }
    }

    fn around(place: f64, reach: f64, length: usize, weight: impl Fn(f64) -> f64) -> Self {
        let (from, to) = ((place - reach).ceil() as i64, (place + reach).floor() as i64);
        let total: f64 = (from..=to).map(|at| weight(at as f64 - place)).sum();
        let inside = from.max(0)..(to + 1).min(length as i64);
        let weights = inside.clone().map(|at| weight(at as f64 - place) / total).collect();
        Self { start: usize::try_from(inside.start).unwrap_or(0).min(length), weights }
    }
}

/// New pixels `[lines.len(), places.len()]` of the plane `flux` `[_, width]`; NaN where a smaller part of
/// the weight than `least` lies on good pixels.
#[must_use]
pub fn separable(flux: &[f32], width: usize, taps: (&[Taps], &[Taps]), least: f64) -> Vec<f32> {
    sums::<1>(flux, width, taps, least)
}

/// Variances of the new pixels that [`separable`] makes, from those of the old ones, NaN where bad, as if these were
/// independent: squares of the weights take the place of the weights.
#[must_use]
pub fn separable_variance(variance: &[f32], width: usize, taps: (&[Taps], &[Taps]), least: f64) -> Vec<f32> {
    sums::<2>(variance, width, taps, least)
}

/// Sums of what is good times the weights to the `POWER`, over the sum of the weights to the `POWER`.
fn sums<const POWER: i32>(plane: &[f32], width: usize, (lines, places): (&[Taps], &[Taps]), least: f64) -> Vec<f32> {
    let height = plane.len() / width.max(1);
    // Sums and weights of each old line at each new place.
    let mut across = vec![(0.0f64, 0.0f64); height * places.len()];
    for (line, out) in plane.chunks(width.max(1)).zip(across.chunks_mut(places.len().max(1))) {
        for (taps, out) in places.iter().zip(out) {
            let old = line.get(taps.start..).unwrap_or_default();
            for (w, v) in taps.weights.iter().zip(old).filter(|(_, v)| v.is_finite()) {
                *out = (out.0 + w.powi(POWER) * f64::from(*v), out.1 + w);
            }
        }
    }
    let mut new = Vec::with_capacity(lines.len() * places.len());
    for taps in lines {
        for x in 0..places.len() {
            let column = across.iter().skip(taps.start * places.len() + x).step_by(places.len());
            let add = |sum: (f64, f64), (w, v): (&f64, &(f64, f64))| (sum.0 + w.powi(POWER) * v.0, sum.1 + w * v.1);
            let (sum, weight) = taps.weights.iter().zip(column).fold((0.0, 0.0), add);
            let good = weight >= least && weight > 0.0;
            new.push(if good { (sum / weight.powi(POWER)) as f32 } else { f32::NAN });
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slope with one wild pixel that is bad.
    fn slope(height: usize, width: usize) -> Vec<f32> {
        (0..height * width).map(|i| 2.0 * (i % width) as f32 - (i / width) as f32).collect()
    }

    #[test]
    fn a_slope_stays_a_slope_at_any_pixel_size() {
        let flux = slope(21, 31);
        for ratio in [0.4, 1.0, 1.7, 3.0] {
            let new = separable(&flux, 31, (&Taps::zoom(21, 5, ratio), &Taps::zoom(31, 5, ratio)), 0.5);
            for (i, v) in new.iter().enumerate() {
                let (y, x) = (10.0 + (i / 5) as f64 * ratio - 2.0 * ratio, 15.0 + (i % 5) as f64 * ratio - 2.0 * ratio);
                assert!((f64::from(*v) - (2.0 * x - y)).abs() < 1e-4, "{ratio} {i}: {v}");
            }
        }
    }

    #[test]
    fn nothing_of_a_bad_pixel_gets_out_and_the_outside_is_bad() {
        let mut flux = slope(9, 9);
        flux[4 * 9 + 4] = f32::NAN;
        let blurred = separable(&flux, 9, (&Taps::blur(9, 1.0), &Taps::blur(9, 1.0)), 0.0);
        assert!(blurred.iter().all(|v| v.is_finite() && v.abs() < 20.0));
        // The middle is the mean of a symmetric ring: the slope's own value.
        assert!((blurred[4 * 9 + 4] - 4.0).abs() < 1e-4);
        let wide = separable(&flux, 9, (&Taps::zoom(9, 7, 3.0), &Taps::zoom(9, 7, 3.0)), 0.5);
        assert!(wide[0].is_nan() && wide[3 * 7 + 3].is_finite());
    }

    #[test]
    fn variances_are_those_of_a_naive_sum_over_good_pixels() {
        let (lines, places) = (Taps::zoom(6, 3, 1.7), Taps::zoom(5, 2, 1.7));
        let variance: Vec<f32> = (0..30).map(|i| if i == 13 { f32::NAN } else { 1.0 + i as f32 }).collect();
        let new = separable_variance(&variance, 5, (&lines, &places), 0.5);
        for (at, found) in new.iter().enumerate() {
            let (down, right) = (&lines[at / 2], &places[at % 2]);
            let (mut sum, mut weight) = (0.0, 0.0);
            for (y, wy) in (down.start..).zip(&down.weights) {
                for (x, wx) in (right.start..).zip(&right.weights).filter(|(x, _)| y * 5 + x != 13) {
                    sum += (wy * wx).powi(2) * f64::from(variance[y * 5 + x]);
                    weight += wy * wx;
                }
            }
            assert!((f64::from(*found) * weight * weight / sum - 1.0).abs() < 1e-5, "{at}: {found}");
        }
    }

    #[test]
    fn noise_left_by_a_mean_is_that_of_its_weights() {
        // Triangles over plus and minus 1, averaged over 2 pixels: a new pixel between two old ones has 1/16, 7/16, 7/16, 1/16 of
        // them, and the square root of the sum of the squares is 0.625.
        let taps = Taps::zoom(40, 3, 2.0);
        assert!((Taps::noise(&taps, 0.5) - 0.625).abs() < 1e-12, "{}", Taps::noise(&taps, 0.5));
        // A blur that is wider than the image is a mean over nearly all of it: 1 / sqrt(9).
        assert!((Taps::noise(&Taps::blur(9, 50.0), 0.0) - 1.0 / 3.0).abs() < 1e-3);
    }

    #[test]
    fn blur_has_the_stated_width() {
        let mut flux = vec![0f32; 41 * 41];
        flux[20 * 41 + 20] = 1.0;
        let new = separable(&flux, 41, (&Taps::blur(41, 2.5), &Taps::blur(41, 2.5)), 0.0);
        let moment = |power: i32| -> f64 {
            new.iter().enumerate().map(|(i, v)| f64::from(*v) * ((i % 41) as f64 - 20.0).powi(power)).sum()
        };
        assert!((moment(0) - 1.0).abs() < 1e-3 && (moment(2) / moment(0) - 6.25).abs() < 0.05, "{}", moment(2));
    }
}
