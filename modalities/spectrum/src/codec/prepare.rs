//! From a spectrum as it was measured to what the network sees, and to what its output is compared with.

use super::config::SpectrumCodecConfig;
use super::grid::Places;
use panchroma_core::Codebook;

/// One spectrum as it was measured; all of one length, wavelengths ascending.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Flux density; anything where bad.
    pub flux: &'a [f32],
    /// Inverse variance of the flux.
    pub ivar: &'a [f32],
    /// Which samples are bad (1), such as hit by a cosmic ray.
    pub bad: &'a [u8],
    /// In the unit of the grid.
    pub wavelength: &'a [f32],
}

/// One spectrum on the latent grid.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The first token.
    pub(super) code: u32,
    /// `[N, 2]`: flux and its standard deviation's inverse, scaled and compressed.
    pub(super) input: Vec<f32>,
    /// `[N]`: flux over scale, minus 1.
    target: Vec<f32>,
    /// `[N]`: inverse of the standard deviation of that.
    inverse: Vec<f32>,
    /// `[N]`: whether both neighbours were measured well.
    good: Vec<bool>,
}

/// What a normalisation `log10(1 + x)` stands for, never too close to 0.
pub(super) fn scale_of(normalisation: f32) -> f32 {
    ((10_f64.powf(f64::from(normalisation)) as f32) - 1.0).max(0.1)
}

/// Where NaN is 0, and infinities are the largest numbers.
fn finite(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(f32::MIN, f32::MAX) }
}

impl Prepared {
    pub(super) fn new(config: &SpectrumCodecConfig, grid: &[f32], levels: &Codebook, observed: &Observed<'_>) -> Self {
        let (most_ivar, most_flux) = (config.clip_ivar as f32, config.clip_flux as f32);
        let flux: Vec<f32> = observed.flux.iter().map(|f| finite(*f).clamp(-most_flux, most_flux)).collect();
        let limited = |ivar: f32| if config.clip_ivar.is_finite() { ivar.clamp(0.0, most_ivar) } else { ivar };
        let inverse: Vec<f32> = observed.ivar.iter().map(|v| limited(finite(*v)).sqrt()).collect();
        let usable = || flux.iter().zip(observed.bad).filter(|(_, bad)| **bad == 0).map(|(f, _)| f64::from(*f));
        let mean = (usable().sum::<f64>() as f32) / (usable().count() as f32 + 1.0);
        // NaN has the last code.
        let mean = if mean < 0.1 { 0.1 } else { mean };
        let normalisation = levels.value(levels.code(f64::from(mean + 1.0).log10() as f32)).unwrap_or(0.0);
        let scale = scale_of(normalisation);
        let scaling = config.input_scaling as f32;
        let places = Places::new(observed.wavelength, grid);
        let scaled: Vec<f32> = flux.iter().map(|f| (f / scale - 1.0) * scaling).collect();
        let inverse_scaled: Vec<f32> = inverse.iter().map(|i| i / scale * scaling).collect();
        let [own, error] = [scaled, inverse_scaled].map(|values| places.read(observed.wavelength, &values));
        let compressed = |x: f32| f64::from(x).asinh() as f32;
        Self {
            code: levels.code(normalisation),
            input: own.iter().zip(&error).flat_map(|(own, error)| [compressed(*own), compressed(*error)]).collect(),
            target: own.iter().map(|own| own / scaling).collect(),
            inverse: places.read(observed.wavelength, &inverse).into_iter().map(|i| i * scale).collect(),
            good: places.both(|k| {
                observed.bad[k] == 0 && observed.flux[k].is_finite() && inverse[k] > 0.0 && inverse[k].is_finite()
            }),
        }
    }

    /// What the output is compared with, 0 where nothing is known.
    pub(super) fn targets(&self) -> impl Iterator<Item = f32> {
        self.target.iter().zip(&self.good).map(|(target, good)| if *good { *target } else { 0.0 })
    }

    /// How much each sample counts: its inverse variance with `floor` added to its error, a mean of 1 over what is known, 0 elsewhere.
    pub(super) fn weights(&self, floor: f64) -> Vec<f32> {
        let weight = |(inverse, good): (&f32, &bool)| {
            if *good { 1.0 / (1.0 / f64::from(*inverse).powi(2) + floor * floor) } else { 0.0 }
        };
        let weights: Vec<f64> = self.inverse.iter().zip(&self.good).map(weight).collect();
        let mean = weights.iter().sum::<f64>() / self.good.iter().filter(|good| **good).count().max(1) as f64;
        weights.iter().map(|weight| if mean > 0.0 { (weight / mean) as f32 } else { 0.0 }).collect()
    }

    /// Inverse variance of each sample in the unit of the target, 0 where nothing is known.
    pub(super) fn inverse_variances(&self) -> impl Iterator<Item = f32> {
        self.inverse.iter().zip(&self.good).map(|(inverse, good)| if *good { inverse * inverse } else { 0.0 })
    }

    /// 1 where nothing is known, for the channel of the mask.
    pub(super) fn unknown(&self) -> impl Iterator<Item = f32> {
        self.good.iter().map(|good| if *good { 0.0 } else { 1.0 })
    }
}
