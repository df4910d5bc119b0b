//! Changes that leave an object what it is: training sees each spectrum a little different each time.

use crate::config::SpectrumConfig;
use panchroma_core::PrepareContext;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Multiplies by a random slope and curvature, adds noise, hides one run of samples; each as
/// far as `config` asks for it. `scale` is the typical absolute flux.
pub fn augment(
    (flux, valid): (&mut [f64], &mut [bool]),
    scale: f64,
    config: &SpectrumConfig,
    context: &PrepareContext<'_>,
    object_id: &str,
) {
    if config.tilt > 0.0 {
        let mut random = context.random(object_id, "tilt");
        let slope: f64 = StandardNormal.sample(&mut random);
        let curvature: f64 = StandardNormal.sample(&mut random);
        let last = flux.len().max(2) as f64 - 1.0;
        for (i, f) in flux.iter_mut().enumerate() {
            let x = 2.0 * i as f64 / last - 1.0;
            *f *= (config.tilt * (slope * x + curvature * (1.5 * x * x - 0.5))).exp();
        }
    }
    if config.noise > 0.0 {
        let mut random = context.random(object_id, "noise");
        for f in flux.iter_mut() {
            let draw: f64 = StandardNormal.sample(&mut random);
            *f += config.noise * scale * draw;
        }
    }
    if config.mask_fraction > 0.0 {
        let mut random = context.random(object_id, "mask");
        let longest = (config.mask_fraction * valid.len() as f64) as usize;
        let length = random.random_range(0..=longest.min(valid.len()));
        let start = random.random_range(0..=valid.len() - length);
        let hidden = start..start + length;
        // A run that would hide all there is hides nothing.
        if valid.iter().enumerate().any(|(i, v)| *v && !hidden.contains(&i)) {
            valid[hidden].fill(false);
        }
    }
}
