//! One plane of an image: which pixels are good, its background and noise, and its cut-out.

use crate::config::{Background, ImageConfig, Scaling};

/// Pixels of one plane as measured, line after line.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// `[height, width]`.
    pub flux: &'a [f32],
    /// Same shape, or empty: true is bad.
    pub mask: &'a [bool],
    /// Same shape, or empty: 0 or NaN is bad.
    pub ivar: &'a [f32],
    /// Number of lines.
    pub height: usize,
    /// Pixels in a line.
    pub width: usize,
}

/// A mirroring and turning of a square.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Mirror left and right, first.
    pub flip: bool,
    /// Quarter turns after that.
    pub quarters: u8,
}

impl Turn {
    /// Where the pixel at line `y`, place `x` of a turned square of `size` comes from.
    #[must_use]
    pub fn source(self, mut y: usize, mut x: usize, size: usize) -> (usize, usize) {
        for _ in 0..self.quarters % 4 {
            (y, x) = (x, size - 1 - y);
        }
        (y, if self.flip { size - 1 - x } else { x })
    }
}

impl Plane<'_> {
    fn good(&self, at: usize) -> Option<f64> {
        let flagged = self.mask.get(at).copied().unwrap_or(false);
        let informed = self.ivar.get(at).is_none_or(|v| *v > 0.0);
        let flux = f64::from(*self.flux.get(at)?);
        (flux.is_finite() && !flagged && informed).then_some(flux)
    }

    /// Background to subtract and flux to divide by, as `config` says, from all good pixels.
    fn levels(&self, config: &ImageConfig) -> (f64, f64) {
        let mut flux: Vec<f64> = (0..self.flux.len()).filter_map(|i| self.good(i)).collect();
        if flux.is_empty() {
            return (0.0, 1.0);
        }
        let middle = median(&mut flux);
        let background = if config.background == Background::Median { middle } else { 0.0 };
        let unit = config.softening.unwrap_or_else(|| {
            let mean = flux.iter().sum::<f64>() / flux.len() as f64;
            let deviation = (flux.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / flux.len() as f64).sqrt();
            flux.iter_mut().for_each(|f| *f = (*f - middle).abs());
            let robust = 1.4826 * median(&mut flux);
            // More than half of the pixels may be equal: blank sky that was set to 0.
            [robust, deviation].into_iter().find(|s| *s > 0.0 && s.is_finite()).unwrap_or(1.0)
        });
        (background, unit)
    }

    /// Scaled values of the `size` x `size` pixels around the centre, turned; none where bad, or
    /// outside of the image.
    #[must_use]
    pub fn cut_out(&self, config: &ImageConfig, turn: Turn) -> Vec<Option<f64>> {
        let (background, unit) = self.levels(config);
        let size = config.size;
        let inside = |place: usize, length: usize| -> Option<usize> {
            // Of a difference that is odd, the larger half is cut, or the smaller padded, at the end.
            let at = if length >= size {
                place + (length - size) / 2
            } else {
                place.checked_sub((size - length).div_ceil(2))?
            };
            (at < length).then_some(at)
        };
        let mut values = Vec::with_capacity(size * size);
        for y in 0..size {
            for x in 0..size {
                let (y, x) = turn.source(y, x, size);
                let pixel = inside(y, self.height).zip(inside(x, self.width));
                let flux = pixel.and_then(|(y, x)| self.good(y * self.width + x));
                let value = flux.map(|f| (f - background) / unit);
                let value = match config.scaling {
                    Scaling::Asinh => value.map(f64::asinh),
                    Scaling::Linear => value,
                };
                values.push(value.filter(|v| v.is_finite()));
            }
        }
        values
    }
}

/// The upper median; reorders `values`, which must not be empty.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchroma_core::Section;

    fn config(size: usize, more: &str) -> ImageConfig {
        let text = format!("channels = [\"r\"]\nsize = {size}\n{more}");
        ImageConfig::read(&Section::from_toml("modality.test", &text).expect("TOML")).expect("valid")
    }

    fn plane(flux: &[f32], height: usize, width: usize) -> Plane<'_> {
        Plane { flux, mask: &[], ivar: &[], height, width }
    }

    const RAW: &str = "scaling = \"linear\"\nsoftening = 1\nbackground = \"none\"\n";

    #[test]
    fn the_centre_is_cut_out_or_padded() {
        let flux: Vec<f32> = (0..25).map(|i| i as f32).collect();
        let cut = plane(&flux, 5, 5).cut_out(&config(3, RAW), Turn::default());
        let expected = [6., 7., 8., 11., 12., 13., 16., 17., 18.].map(Some);
        assert_eq!(cut, expected);
        let padded = plane(&flux[..2], 1, 2).cut_out(&config(4, RAW), Turn::default());
        let mut expected = [None; 16];
        // One line of four padded by two above and one below; two places by one at each side.
        (expected[9], expected[10]) = (Some(0.0), Some(1.0));
        assert_eq!(padded, expected);
    }

    #[test]
    fn four_quarter_turns_and_two_flips_change_nothing() {
        for (y, x) in [(0, 0), (0, 4), (3, 1)] {
            assert_eq!(Turn { flip: false, quarters: 4 }.source(y, x, 5), (y, x));
            let (fy, fx) = Turn { flip: true, quarters: 0 }.source(y, x, 5);
            assert_eq!(Turn { flip: true, quarters: 0 }.source(fy, fx, 5), (y, x));
        }
        // The eight turnings of a square without symmetry all differ.
        let all: std::collections::BTreeSet<Vec<(usize, usize)>> = [false, true]
            .into_iter()
            .flat_map(|flip| (0..4).map(move |quarters| Turn { flip, quarters }))
            .map(|turn| (0..9).map(|i| turn.source(i / 3, i % 3, 3)).collect())
            .collect();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn noise_and_background_are_robust() {
        // Background 10, deviations 1 of half of the pixels each way, one star, one bad pixel.
        let mut flux: Vec<f32> = (0..101).map(|i| if i % 2 == 0 { 9.0 } else { 11.0 }).collect();
        flux[50] = 10.0;
        flux[3] = 1e6;
        flux[4] = f32::NAN;
        let (background, unit) = plane(&flux, 1, 101).levels(&config(3, ""));
        assert!((background - 10.0).abs() <= 1.0 && unit <= 2.0 * 1.4826, "{background} {unit}");
        let (_, unit) = plane(&[0.0, 0.0, 0.0, 4.0], 2, 2).levels(&config(2, ""));
        // Most pixels equal: the standard deviation of 0, 0, 0, 4.
        assert!((unit - 3f64.sqrt()).abs() < 1e-12, "{unit}");
        assert_eq!(plane(&[5.0; 4], 2, 2).levels(&config(2, "")), (5.0, 1.0));
    }

    #[test]
    fn flagged_uninformed_and_infinite_pixels_are_bad() {
        let flux = [1.0, 2.0, f32::INFINITY, 4.0];
        let plane =
            Plane { flux: &flux, mask: &[true, false, false, false], ivar: &[1.0, 1.0, 1.0, 0.0], height: 2, width: 2 };
        assert_eq!(plane.cut_out(&config(2, RAW), Turn::default()), [None, Some(2.0), None, None]);
    }
}
