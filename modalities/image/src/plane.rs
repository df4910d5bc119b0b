//! One plane of an image: which pixels are good, its background and noise, and its cut-out.

use crate::config::{Background, ImageConfig, Scaling};
use crate::resample::{Taps, separable};
use panchroma_core::random::Random;
use rand::Rng;
use rand_distr::StandardNormal;

/// Pixels of one plane as measured, line after line.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// `[height, width]`.
    pub flux: &'a [f32],
    /// Same shape, or empty.
    pub mask: &'a [bool],
    /// Whether flags that are true are of good pixels; else of bad ones.
    pub marks_good: bool,
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

/// What happens to a plane on its way; the default leaves it as it is.
#[derive(Debug)]
pub struct Change {
    /// Mirroring and turning, alike for all planes of an object.
    pub turn: Turn,
    /// Pixels of the output that its middle is moved by, down and right.
    pub shift: (i64, i64),
    /// Old pixels in a new one.
    pub ratio: f64,
    /// What the flux is multiplied by, after its background is gone.
    pub factor: f64,
    /// Standard deviation of the blur, in old pixels; 0 is none.
    pub blur: f64,
    /// Size of the added noise, in units of each pixel's error, and where it is drawn from.
    pub noise: Option<(f64, Random)>,
}

impl Default for Change {
    fn default() -> Self {
        Self { turn: Turn::default(), shift: (0, 0), ratio: 1.0, factor: 1.0, blur: 0.0, noise: None }
    }
}

/// A plane that was cut out.
#[derive(Debug)]
pub struct CutOut {
    /// `[size, size]` scaled values; none where bad, or outside of the image.
    pub values: Vec<Option<f64>>,
    /// Noise of a pixel as it is given, in the data's unit: 1.4826 times the median absolute deviation of the good pixels of
    /// the plane, after everything that was done to them. Of noise that differs from pixel to pixel without being alike in
    /// neighbours.
    pub noise: f64,
}

/// Background and noise of a plane.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Levels {
    background: f64,
    noise: f64,
}

/// From here on a number is no measurement: pipelines write the largest there is where they have none.
const NO_FLUX: f64 = 1e30;

impl Plane<'_> {
    fn flagged(&self, at: usize) -> bool {
        self.mask.get(at).is_some_and(|flag| *flag != self.marks_good)
    }

    /// How many pixels the flags forbid, of all that have one.
    #[must_use]
    pub fn marked(&self) -> (usize, usize) {
        ((0..self.mask.len()).filter(|at| self.flagged(*at)).count(), self.mask.len())
    }

    fn good(&self, at: usize) -> Option<f64> {
        let flagged = self.flagged(at);
        let informed = self.ivar.get(at).is_none_or(|v| *v > 0.0);
        let flux = f64::from(*self.flux.get(at)?);
        (flux.abs() < NO_FLUX && !flagged && informed).then_some(flux)
    }

    /// Median error of the good pixels, by their inverse variance; none where that is not known.
    fn error(&self) -> Option<f64> {
        let known = self.ivar.iter().enumerate().filter(|(at, _)| self.good(*at).is_some());
        let mut errors: Vec<f64> = known.map(|(_, ivar)| f64::from(*ivar).powf(-0.5)).collect();
        (!errors.is_empty()).then(|| median(&mut errors))
    }

    /// From all good pixels; noise 1 if there are none or all are alike.
    fn levels(&self, config: &ImageConfig) -> Levels {
        let mut flux: Vec<f64> = (0..self.flux.len()).filter_map(|i| self.good(i)).collect();
        if flux.is_empty() {
            return Levels { background: 0.0, noise: 1.0 };
        }
        let middle = median(&mut flux);
        let background = if config.background == Background::Median { middle } else { 0.0 };
        let mean = flux.iter().sum::<f64>() / flux.len() as f64;
        let deviation = (flux.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / flux.len() as f64).sqrt();
        flux.iter_mut().for_each(|f| *f = (*f - middle).abs());
        let robust = 1.4826 * median(&mut flux);
        // More than half of the pixels may be equal: blank sky that was set to 0.
        let noise = [robust, deviation].into_iter().find(|s| *s > 0.0 && s.is_finite()).unwrap_or(1.0);
        Levels { background, noise }
    }

    /// Scaled values of the `size` x `size` pixels around the centre of a plane of channel `channel`, after `change`.
    #[must_use]
    pub fn cut_out(&self, config: &ImageConfig, channel: usize, mut change: Change) -> CutOut {
        let Levels { background, noise } = self.levels(config);
        // With room for the shift.
        let room = config.size + 2 * change.shift.0.abs().max(change.shift.1.abs()).unsigned_abs() as usize;
        let zoom = (change.ratio != 1.0)
            .then(|| (Taps::zoom(self.height, room, change.ratio), Taps::zoom(self.width, room, change.ratio)));
        // Of larger pixels each holds more flux; noise is averaged.
        let area = change.ratio * change.ratio;
        let averaged = zoom.as_ref().map_or(1.0, |(lines, places)| Taps::noise(lines) * Taps::noise(places));
        let softening = config.softening.as_ref().and_then(|softening| softening.of(channel));
        let unit = softening.unwrap_or(noise * area * averaged);
        let factor = change.factor * area / unit;
        let blur =
            (change.blur > 0.0).then(|| (Taps::blur(self.height, change.blur), Taps::blur(self.width, change.blur)));
        let smoothed = blur.as_ref().map_or(1.0, |(lines, places)| Taps::noise(lines) * Taps::noise(places));
        let added = change.noise.as_ref().map_or(0.0, |(size, _)| size * self.error().unwrap_or(noise));
        let given = (noise * smoothed).hypot(added) * averaged * area * change.factor;
        let plain = zoom.is_none() && blur.is_none() && change.noise.is_none();
        let size = config.size;
        let scale = |flux: Option<f64>| {
            let value = flux.map(|f| (f - background) * factor);
            let value = match config.scaling {
                Scaling::Asinh => value.map(f64::asinh),
                Scaling::Linear => value,
            };
            value.filter(|v| v.is_finite())
        };
        // Where line `y` and place `x` of the square lie in the plane it is cut from.
        let from = |y: usize, x: usize, height: usize, width: usize| {
            let (y, x) = change.turn.source(y, x, size);
            let at = |place: usize, length: usize, shift: i64| {
                let at = place as i64 + (length as i64 - size as i64).div_euclid(2) + shift;
                usize::try_from(at).ok().filter(|at| *at < length)
            };
            at(y, height, change.shift.0).zip(at(x, width, change.shift.1)).map(|(y, x)| y * width + x)
        };
        let square = |get: &dyn Fn(usize) -> Option<f64>, height: usize, width: usize| {
            (0..size * size).map(|i| scale(from(i / size, i % size, height, width).and_then(get))).collect()
        };
        if plain {
            let values = square(&|at| self.good(at), self.height, self.width);
            return CutOut { values, noise: given };
        }
        let good = |at: usize| self.good(at).map_or(f32::NAN, |f| f as f32);
        let mut flux: Vec<f32> = (0..self.flux.len()).map(good).collect();
        if let Some((lines, places)) = blur {
            let blurred = separable(&flux, self.width, (&lines, &places), 0.0);
            // What was bad stays bad.
            flux.iter_mut().zip(blurred).filter(|(f, _)| f.is_finite()).for_each(|(f, b)| *f = b);
        }
        if let Some((size, random)) = &mut change.noise {
            for (at, f) in flux.iter_mut().enumerate() {
                // Drawn for all, so that a bad pixel does not shift the noise of the others.
                let draw: f64 = random.sample(StandardNormal);
                let error = self.ivar.get(at).map_or(noise, |v| f64::from(*v).powf(-0.5));
                *f += (*size * error * draw) as f32;
            }
        }
        let (mut height, mut width) = (self.height, self.width);
        if let Some((lines, places)) = zoom {
            flux = separable(&flux, width, (&lines, &places), 0.5);
            (height, width) = (room, room);
        }
        let get = |at: usize| flux.get(at).copied().filter(|f| f.is_finite()).map(f64::from);
        CutOut { values: square(&get, height, width), noise: given }
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
        Plane { flux, mask: &[], marks_good: false, ivar: &[], height, width }
    }

    const RAW: &str = "scaling = \"linear\"\nsoftening = 1\nbackground = \"none\"\n";

    #[test]
    fn the_centre_is_cut_out_or_padded() {
        let flux: Vec<f32> = (0..25).map(|i| i as f32).collect();
        let cut = plane(&flux, 5, 5).cut_out(&config(3, RAW), 0, Change::default()).values;
        let expected = [6., 7., 8., 11., 12., 13., 16., 17., 18.].map(Some);
        assert_eq!(cut, expected);
        let padded = plane(&flux[..2], 1, 2).cut_out(&config(4, RAW), 0, Change::default()).values;
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
        let Levels { background, noise: unit } = plane(&flux, 1, 101).levels(&config(3, ""));
        assert!((background - 10.0).abs() <= 1.0 && unit <= 2.0 * 1.4826, "{background} {unit}");
        let Levels { noise: unit, .. } = plane(&[0.0, 0.0, 0.0, 4.0], 2, 2).levels(&config(2, ""));
        // Most pixels equal: the standard deviation of 0, 0, 0, 4.
        assert!((unit - 3f64.sqrt()).abs() < 1e-12, "{unit}");
        assert_eq!(plane(&[5.0; 4], 2, 2).levels(&config(2, "")), Levels { background: 5.0, noise: 1.0 });
    }

    #[test]
    fn flagged_uninformed_and_infinite_pixels_are_bad() {
        let flux = [1.0, 2.0, f32::INFINITY, 4.0];
        let plane = Plane {
            flux: &flux,
            mask: &[true, false, false, false],
            marks_good: false,
            ivar: &[1.0, 1.0, 1.0, 0.0],
            height: 2,
            width: 2,
        };
        assert_eq!(plane.cut_out(&config(2, RAW), 0, Change::default()).values, [None, Some(2.0), None, None]);
    }

    fn values(cut: CutOut) -> Vec<f64> {
        cut.values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
    }

    #[test]
    fn larger_pixels_hold_more_flux() {
        let flux = vec![2.0f32; 64];
        let change = Change { ratio: 2.0, ..Change::default() };
        let cut = values(plane(&flux, 8, 8).cut_out(&config(4, RAW), 0, change));
        assert!(cut.iter().all(|v| (v - 8.0).abs() < 1e-6), "{cut:?}");
        let change = Change { ratio: 2.0, shift: (3, 0), ..Change::default() };
        let cut = values(plane(&flux, 8, 8).cut_out(&config(4, RAW), 0, change));
        assert!((cut[0] - 8.0).abs() < 1e-6 && cut[3 * 4].is_nan(), "{cut:?}");
    }

    #[test]
    fn a_shift_moves_the_square() {
        let flux: Vec<f32> = (0..25).map(|i| i as f32).collect();
        let change = Change { shift: (1, -1), ..Change::default() };
        let cut = values(plane(&flux, 5, 5).cut_out(&config(3, RAW), 0, change));
        assert_eq!(cut, [10., 11., 12., 15., 16., 17., 20., 21., 22.]);
    }

    #[test]
    fn noise_has_the_size_that_the_inverse_variance_says() {
        let (flux, ivar) = (vec![5.0f32; 10_000], vec![0.25f32; 10_000]);
        let noisy = Plane { flux: &flux, mask: &[], marks_good: false, ivar: &ivar, height: 100, width: 100 };
        let random = panchroma_core::random::stream(1, "test", &[]);
        let change = Change { noise: Some((1.5, random)), ..Change::default() };
        let cut = values(noisy.cut_out(&config(100, RAW), 0, change));
        let mean = cut.iter().sum::<f64>() / 1e4;
        let deviation = (cut.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e4).sqrt();
        assert!((mean - 5.0).abs() < 0.15 && (deviation - 3.0).abs() < 0.1, "{mean} {deviation}");
    }
}
