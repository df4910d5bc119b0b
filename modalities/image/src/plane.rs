//! One plane of an image: which pixels are good, its background and noise, and its cut-out.

use crate::config::{Background, ImageConfig, Scaling};
use crate::resample::{Taps, separable, separable_variance};
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
    /// Same shape, or empty: 0, NaN and infinity are bad.
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
    /// Inverse variance of each of them, by that of the data and all that was done to it; 0 where there is none. Empty if the
    /// plane has no inverse variance.
    pub ivar: Vec<f64>,
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

    /// Flux of a pixel that is not bad, whatever its flag.
    fn measured(&self, at: usize) -> Option<f64> {
        let informed = self.ivar.get(at).is_none_or(|v| *v > 0.0 && v.is_finite());
        let flux = f64::from(*self.flux.get(at)?);
        (flux.abs() < NO_FLUX && informed).then_some(flux)
    }

    fn good(&self, at: usize) -> Option<f64> {
        self.measured(at).filter(|_| !self.flagged(at))
    }

    /// How many pixels the flags forbid, of all that have one and are not bad without it.
    #[must_use]
    pub fn marked(&self) -> (usize, usize) {
        let usable = (0..self.mask.len()).filter(|at| self.measured(*at).is_some());
        usable.fold((0, 0), |(marked, all), at| (marked + usize::from(self.flagged(at)), all + 1))
    }

    /// Error of a pixel by its inverse variance; NaN where that is not known.
    fn error(&self, at: usize) -> f64 {
        self.ivar.get(at).map_or(f64::NAN, |ivar| f64::from(*ivar).powf(-0.5))
    }

    /// Median error of the good pixels; none where it is not known.
    fn typical_error(&self) -> Option<f64> {
        let known = (0..self.ivar.len()).filter(|at| self.good(*at).is_some());
        let mut errors: Vec<f64> = known.map(|at| self.error(at)).collect();
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
        let kernels = Kernels::new(self, config.size, &change);
        let (smoothed, averaged) = kernels.noise();
        // Of larger pixels each holds more flux.
        let area = change.ratio * change.ratio;
        let softening = config.softening.as_ref().and_then(|softening| softening.of(channel));
        let factor = change.factor * area / softening.unwrap_or(noise * averaged * area);
        let added = change.noise.as_ref().map_or(0.0, |(size, _)| size * self.typical_error().unwrap_or(noise));
        let given = (noise * smoothed).hypot(added) * averaged * area * change.factor;
        let size = config.size;
        // Where line `y` and place `x` of the square lie in the plane it is cut from.
        let from = |y: usize, x: usize, height: usize, width: usize| {
            let (y, x) = change.turn.source(y, x, size);
            let at = |place: usize, length: usize, shift: i64| {
                let at = place as i64 + (length as i64 - size as i64).div_euclid(2) + shift;
                usize::try_from(at).ok().filter(|at| *at < length)
            };
            at(y, height, change.shift.0).zip(at(x, width, change.shift.1)).map(|(y, x)| y * width + x)
        };
        // `get` gives flux and error; the error in units of the noise.
        let square = |get: &dyn Fn(usize) -> Option<(f64, f64)>, height: usize, width: usize| {
            let pixel = |i: usize| {
                let (flux, error) = from(i / size, i % size, height, width).and_then(get)?;
                let flux = (flux - background) * factor;
                // The arcsinh flattens errors, too.
                let (value, slope) = match config.scaling {
                    Scaling::Asinh => (flux.asinh(), flux.hypot(1.0).recip()),
                    Scaling::Linear => (flux, 1.0),
                };
                value.is_finite().then(|| (value, (error * noise * factor * slope).powi(-2)))
            };
            let pixels: Vec<Option<(f64, f64)>> = (0..size * size).map(pixel).collect();
            let of = |pixel: &Option<(f64, f64)>| pixel.map_or(0.0, |(_, ivar)| ivar);
            let ivar = if self.ivar.is_empty() { Vec::new() } else { pixels.iter().map(of).collect() };
            CutOut {
                values: pixels.into_iter().map(|pixel| pixel.map(|(value, _)| value)).collect(),
                ivar,
                noise: given,
            }
        };
        if kernels.blur.is_none() && kernels.zoom.is_none() && change.noise.is_none() {
            return square(&|at| Some((self.good(at)?, self.error(at) / noise)), self.height, self.width);
        }
        let pixels = self.changed(&kernels, noise, change.noise.as_mut());
        let get = |at: usize| {
            let variance = pixels.variance.get(at).copied().unwrap_or(f32::NAN);
            pixels.flux.get(at).filter(|f| f.is_finite()).map(|f| (f64::from(*f), f64::from(variance).sqrt()))
        };
        square(&get, pixels.height, pixels.width)
    }

    /// All pixels, first blurred as by the air, then with the noise of a detector, then of another width.
    fn changed(&self, kernels: &Kernels, noise: f64, added: Option<&mut (f64, Random)>) -> Pixels {
        let of_good = |value: &dyn Fn(usize, f64) -> f64| {
            let one = |at: usize| self.good(at).map_or(f32::NAN, |flux| value(at, flux) as f32);
            (0..self.flux.len()).map(one).collect::<Vec<f32>>()
        };
        let mut flux = of_good(&|_, flux| flux);
        // In units of the square of the noise, so that no unit is too small or large for single precision.
        let known = !self.ivar.is_empty();
        let mut variance = if known { of_good(&|at, _| (self.error(at) / noise).powi(2)) } else { Vec::new() };
        let (mut height, mut width) = (self.height, self.width);
        // What was bad stays bad.
        let keep = |old: &mut [f32], new: Vec<f32>| {
            old.iter_mut().zip(new).filter(|(old, _)| old.is_finite()).for_each(|(old, new)| *old = new);
        };
        if let Some((lines, places)) = &kernels.blur {
            let blurred = separable(&flux, width, (lines, places), 0.0);
            keep(&mut flux, blurred);
            if known {
                let blurred = separable_variance(&variance, width, (lines, places), 0.0);
                keep(&mut variance, blurred);
            }
        }
        if let Some((size, random)) = added {
            for (at, f) in flux.iter_mut().enumerate() {
                // Drawn for all, so that a bad pixel does not shift the noise of the others.
                let draw: f64 = random.sample(StandardNormal);
                let error = *size * if known { self.error(at) } else { noise };
                *f += (error * draw) as f32;
                if let Some(variance) = variance.get_mut(at) {
                    *variance += (error / noise).powi(2) as f32;
                }
            }
        }
        if let Some((lines, places)) = &kernels.zoom {
            flux = separable(&flux, width, (lines, places), LEAST_GOOD);
            if known {
                variance = separable_variance(&variance, width, (lines, places), LEAST_GOOD);
            }
            (height, width) = (lines.len(), places.len());
        }
        Pixels { flux, variance, height, width }
    }
}

/// A new pixel is good if this part of it is.
const LEAST_GOOD: f64 = 0.5;

/// The pixels of a whole plane, on their way.
struct Pixels {
    /// `[height, width]`, NaN where bad.
    flux: Vec<f32>,
    /// Same shape, or empty.
    variance: Vec<f32>,
    height: usize,
    width: usize,
}

/// What lines and places are made of.
type Axes = (Vec<Taps>, Vec<Taps>);

/// The means that a change takes over neighbours.
struct Kernels {
    blur: Option<Axes>,
    zoom: Option<Axes>,
}

impl Kernels {
    fn new(plane: &Plane<'_>, size: usize, change: &Change) -> Self {
        let axes = |taps: &dyn Fn(usize) -> Vec<Taps>| (taps(plane.height), taps(plane.width));
        // With room for the shift.
        let room = size + 2 * change.shift.0.abs().max(change.shift.1.abs()).unsigned_abs() as usize;
        Self {
            blur: (change.blur > 0.0).then(|| axes(&|length| Taps::blur(length, change.blur))),
            zoom: (change.ratio != 1.0).then(|| axes(&|length| Taps::zoom(length, room, change.ratio))),
        }
    }

    /// What blur and other pixels leave of the noise.
    fn noise(&self) -> (f64, f64) {
        let left = |axes: Option<&Axes>, least: f64| {
            axes.map_or(1.0, |(lines, places)| Taps::noise(lines, least) * Taps::noise(places, least))
        };
        (left(self.blur.as_ref(), 0.0), left(self.zoom.as_ref(), LEAST_GOOD))
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
        let flux = [1.0, 2.0, f32::INFINITY, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let plane = Plane {
            flux: &flux,
            mask: &[true, false, false, false, false, false, false, false, true],
            marks_good: false,
            ivar: &[1.0, 1.0, 1.0, 0.0, f32::NAN, f32::INFINITY, 1.0, 1.0, 1.0],
            height: 3,
            width: 3,
        };
        let expected = [None, Some(2.0), None, None, None, None, Some(7.0), Some(8.0), None];
        assert_eq!(plane.cut_out(&config(3, RAW), 0, Change::default()).values, expected);
        // Of the five that are good without their flag two are flagged.
        assert_eq!(plane.marked(), (2, 5));
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
    fn noise_comes_after_the_blur() {
        let (flux, ivar) = (vec![5.0f32; 10_000], vec![1.0f32; 10_000]);
        let blurred = Plane { flux: &flux, mask: &[], marks_good: false, ivar: &ivar, height: 100, width: 100 };
        let random = panchroma_core::random::stream(1, "test", &[]);
        let change = Change { blur: 2.0, noise: Some((2.0, random)), ..Change::default() };
        let cut = blurred.cut_out(&config(100, RAW), 0, change);
        // The blur leaves 1 / (2 sqrt(pi) 2) of the noise that was there, 1, and nothing of what is added is lost.
        let left = 1.0 / (4.0 * std::f64::consts::PI.sqrt());
        assert!((cut.ivar[5050] * (left * left + 4.0) - 1.0).abs() < 1e-3, "{}", cut.ivar[5050]);
        assert!((cut.noise / left.hypot(2.0) - 1.0).abs() < 1e-3, "{}", cut.noise);
        let deviation = (values(cut).iter().map(|v| (v - 5.0).powi(2)).sum::<f64>() / 1e4).sqrt();
        assert!((deviation - 2.0).abs() < 0.06, "{deviation}");
    }

    #[test]
    fn noise_of_a_plane_of_unknown_errors_is_in_units_of_its_own() {
        let flux: Vec<f32> = (0..10_000).map(|i| if i % 2 == 0 { 4.0 } else { 6.0 }).collect();
        let random = panchroma_core::random::stream(1, "test", &[]);
        let change = Change { noise: Some((1.5, random)), ..Change::default() };
        let cut = plane(&flux, 100, 100).cut_out(&config(100, RAW), 0, change);
        // Half of the pixels lie 2 below the upper median, which is 6: a noise of 2 x 1.4826.
        assert!((cut.noise - 2.9652f64.hypot(1.5 * 2.9652)).abs() < 1e-6 && cut.ivar.is_empty(), "{}", cut.noise);
        let added = values(cut).into_iter().zip(&flux).map(|(v, f)| (v - f64::from(*f)).powi(2)).sum::<f64>() / 1e4;
        assert!((added.sqrt() / (1.5 * 2.9652) - 1.0).abs() < 0.03, "{added}");
    }

    #[test]
    fn inverse_variances_go_the_way_of_their_values() {
        let flux: Vec<f32> = (0..64).map(|i| if i % 3 == 0 { 4.0 } else { 2.0 }).collect();
        let ivar = vec![0.25f32; 64];
        let plane = Plane { flux: &flux, mask: &[], marks_good: false, ivar: &ivar, height: 8, width: 8 };
        let check = |more: &str, change: Change, expected: f64| {
            let found = plane.cut_out(&config(2, more), 0, change).ivar;
            assert!(
                found.len() == 4 && found.iter().all(|v| (v / expected - 1.0).abs() < 1e-4),
                "{found:?} {expected}"
            );
        };
        check(RAW, Change::default(), 0.25);
        // Over a softening of 2, variances are 4 times smaller.
        check(&RAW.replace("softening = 1", "softening = 2"), Change::default(), 1.0);
        check(RAW, Change { factor: 3.0, ..Change::default() }, 0.25 / 9.0);
        // Added noise of 1.5 sigma: the variance 4 grows by 2.25 times 4.
        let random = panchroma_core::random::stream(1, "test", &[]);
        check(RAW, Change { noise: Some((1.5, random)), ..Change::default() }, 1.0 / 13.0);
        // In a pixel of 2 x 2 lie 4 times the mean of the flux, whose error is 0.625 in each direction (see `resample`).
        check(RAW, Change { ratio: 2.0, ..Change::default() }, 0.25 / (4.0 * 0.625f64.powi(2)).powi(2));
        // Sampled Gaussian of deviation 0.5: weights 1, exp(-2), exp(-8) and so on to both sides, over their sum.
        let gauss: Vec<f64> = (-2i32..=2).map(|u| (-2.0 * f64::from(u * u)).exp()).collect();
        let (sum, squares) = (gauss.iter().sum::<f64>(), gauss.iter().map(|w| w * w).sum::<f64>());
        check(RAW, Change { blur: 0.5, ..Change::default() }, 0.25 / (squares / (sum * sum)).powi(2));
        // The derivative of asinh(x) is 1 / sqrt(1 + x^2): for x = 2 variances are 5 times smaller, for 4 17 times.
        let asinh = plane.cut_out(&config(2, "softening = 1\nbackground = \"none\"\n"), 0, Change::default());
        for (value, ivar) in asinh.values.iter().flatten().zip(&asinh.ivar) {
            let factor = if value.sinh() > 3.0 { 17.0 } else { 5.0 };
            assert!((ivar / (0.25 * factor) - 1.0).abs() < 1e-6, "{value} {ivar}");
        }
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
