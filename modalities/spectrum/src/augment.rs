//! Changes that leave an object what it is: training sees each spectrum a little different each time.

use crate::config::SpectrumConfig;
use crate::resample::Resampled;
use panchroma_core::PrepareContext;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Multiplies by a random slope and curvature, adds noise, hides one run of samples; each as far as `config` asks for it, and
/// errors with the flux. `wavelength` are those of the samples; there may be places behind the last. `scale` is the typical absolute flux.
pub fn augment(
    spectrum: &mut Resampled,
    wavelength: &[f64],
    scale: f64,
    config: &SpectrumConfig,
    context: &PrepareContext<'_>,
    object_id: &str,
) {
    let Resampled { flux, ivar, valid } = spectrum;
    if config.tilt > 0.0 {
        let mut random = context.random(object_id, "tilt");
        let slope: f64 = StandardNormal.sample(&mut random);
        let curvature: f64 = StandardNormal.sample(&mut random);
        let (from, to) = (config.place(config.wavelength_min), config.place(config.wavelength_max));
        for ((f, ivar), w) in flux.iter_mut().zip(ivar.iter_mut()).zip(wavelength) {
            let x = 2.0 * (config.place(*w) - from) / (to - from) - 1.0;
            let factor = (config.tilt * (slope * x + curvature * (1.5 * x * x - 0.5))).exp();
            *f *= factor;
            *ivar /= factor * factor;
        }
    }
    if config.noise > 0.0 {
        let mut random = context.random(object_id, "noise");
        let added = config.noise * scale;
        for (f, ivar) in flux.iter_mut().zip(ivar.iter_mut()) {
            let draw: f64 = StandardNormal.sample(&mut random);
            *f += added * draw;
            // Of unknown errors more is as unknown.
            if *ivar > 0.0 {
                *ivar = 1.0 / (1.0 / *ivar + added * added);
            }
        }
    }
    if config.mask_fraction > 0.0 {
        let mut random = context.random(object_id, "mask");
        // What lies before the first and behind the last measured sample is hidden as it is.
        let first = valid.iter().position(|v| *v).unwrap_or(0);
        let range = valid.iter().rposition(|v| *v).map_or(0, |last| last + 1 - first);
        let longest = (config.mask_fraction * range as f64) as usize;
        let length = random.random_range(0..=longest.min(range));
        let start = first + random.random_range(0..=range - length);
        let hidden = start..start + length;
        // A run that would hide all there is hides nothing.
        if valid.iter().enumerate().any(|(i, v)| *v && !hidden.contains(&i)) {
            valid[hidden].fill(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchroma_core::{Mode, Section};

    fn config(more: &str) -> SpectrumConfig {
        let text = format!("wavelength_min = 4000\nwavelength_max = 8000\nsamples = 1200\ngrid = \"own\"\n{more}");
        SpectrumConfig::read(&Section::from_toml("modality.test", &text).expect("TOML")).expect("valid")
    }

    /// 100 samples over the whole range in 1200 places, flux 1, error 0.1.
    fn spectrum() -> (Resampled, Vec<f64>) {
        let known = |v: f64| (0..1200).map(|i| if i < 100 { v } else { 0.0 }).collect();
        let spectrum = Resampled { flux: known(1.0), ivar: known(100.0), valid: (0..1200).map(|i| i < 100).collect() };
        (spectrum, (0..100).map(|i| 4000.0 + 4000.0 * f64::from(i) / 99.0).collect())
    }

    fn changed(more: &str, epoch: u64) -> Resampled {
        let (mut own, wavelength) = spectrum();
        let context = PrepareContext { mode: Mode::Train, seed: 1, epoch, modality: "test" };
        augment(&mut own, &wavelength, 1.0, &config(more), &context, "a");
        own
    }

    #[test]
    fn a_tilt_spans_what_was_measured_and_takes_errors_along() {
        let slopes = (0..40).map(|epoch| {
            let own = changed("tilt = 0.2\n", epoch);
            for l in 0..100 {
                assert!((own.ivar[l].sqrt() * own.flux[l] - 10.0).abs() < 1e-9, "the signal to noise stays");
            }
            (own.flux[99] / own.flux[0]).ln().abs()
        });
        // Slopes of deviation 0.2 to either side of the middle: 0.4 between the ends.
        let mean = slopes.sum::<f64>() / 40.0;
        assert!((0.2..0.5).contains(&mean), "{mean}");
    }

    #[test]
    fn noise_adds_to_the_error_that_is_known() {
        let own = changed("noise = 0.3\n", 0);
        // 0.1^2 + 0.3^2 = 0.1.
        assert!((own.ivar[5] - 10.0).abs() < 1e-9 && own.ivar[500] == 0.0, "{}", own.ivar[5]);
        let spread = (0..100).map(|l| (own.flux[l] - 1.0).powi(2)).sum::<f64>() / 100.0;
        assert!((spread.sqrt() - 0.3).abs() < 0.07, "{spread}");
    }

    #[test]
    fn a_hidden_run_hides_what_was_measured() {
        let hidden: Vec<usize> = (0..40)
            .map(|epoch| 100 - changed("mask_fraction = 0.5\n", epoch).valid.iter().filter(|v| **v).count())
            .collect();
        // Evenly from none to half.
        let mean = hidden.iter().sum::<usize>() as f64 / 40.0;
        assert!((17.0..33.0).contains(&mean) && hidden.iter().all(|n| *n <= 50), "{hidden:?}");
    }
}
