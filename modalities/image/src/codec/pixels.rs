//! Between fluxes of some bands and what the network sees: a square around the centre, all bands that the codec knows, fluxes on one
//! zero point and compressed.

use super::config::Band;
use super::{ImageCodecConfig, codec_error};
use candle_core::{Device, Tensor};
use panchroma_core::Result;

/// Which of the codec's bands the channels of an image are.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    /// Number of the band of each channel.
    bands: Vec<usize>,
    /// What fluxes are divided by.
    units: Vec<f32>,
}

/// Images as the network sees them, on the CPU.
pub(super) struct Prepared {
    /// `[B, crop, crop, bands]`: compressed fluxes, 0 for bands that an image lacks.
    pub(super) values: Tensor,
    /// `[B, 1, 1, 1]`: what the projection of the bands is multiplied with, so that few bands weigh as much as all.
    pub(super) factors: Tensor,
    /// `[B, crop, crop, bands]`: how much each pixel counts in a loss, at most 1, 0 for those that were not measured.
    pub(super) weights: Tensor,
}

/// Fluxes `[B, C, H, W]` in rows, with what is known about them.
pub(super) struct Fluxes<'a> {
    pub(super) shape: [usize; 4],
    pub(super) flux: &'a [f32],
    /// Inverse variance of the shape of `flux`, 0 where unknown; empty: none is known.
    pub(super) ivar: &'a [f32],
    /// Of the shape of `flux`, 1 where measured; empty: everywhere.
    pub(super) valid: &'a [u8],
}

impl Channels {
    /// Finds each name among the codec's bands.
    pub(super) fn new(config: &ImageCodecConfig, names: &[&str]) -> Result<Self> {
        let known = || config.bands.iter().map(|band| format!("`{}`", band.name)).collect::<Vec<_>>().join(", ");
        if names.is_empty() {
            return Err(codec_error(format!("got an image without a band; the codec knows {}", known())));
        }
        let mut bands = Vec::with_capacity(names.len());
        for name in names {
            let Some(band) = config.bands.iter().position(|band| band.name == *name) else {
                return Err(codec_error(format!("was not trained for band `{name}`; it knows {}", known())));
            };
            if bands.contains(&band) {
                return Err(codec_error(format!("got band `{name}` twice")));
            }
            bands.push(band);
        }
        let of = |band: usize| &config.bands[band];
        let unit = |band: &usize| {
            // The survey of the first band decides for all.
            let survey = of(bands[0]).survey();
            let like = |other: &&Band| other.survey() == survey;
            let source = if config.as_reference { config.bands.iter().find(like) } else { None };
            source.unwrap_or_else(|| of(*band)).unit() as f32
        };
        Ok(Self { units: bands.iter().map(unit).collect(), bands })
    }

    /// Fluxes → what the network sees.
    pub(super) fn prepare(&self, config: &ImageCodecConfig, fluxes: &Fluxes<'_>, floor: f64) -> Result<Prepared> {
        let [batch, channels, height, width] = fluxes.shape;
        let (crop, bands) = (config.crop, config.bands.len());
        if channels != self.bands.len() {
            return Err(codec_error(format!("got {channels} planes for {} bands", self.bands.len())));
        }
        if height < crop || width < crop {
            let reason =
                format!("cuts out {crop} x {crop} pixels; expected images of at least that, got {height} x {width}");
            return Err(codec_error(reason));
        }
        let (top, left) = ((height - crop) / 2, (width - crop) / 2);
        let mut values = vec![0f32; batch * crop * crop * bands];
        let mut weights = vec![0f32; values.len()];
        let mut factors = Vec::with_capacity(batch);
        let compression = Compression::new(config);
        for image in 0..batch {
            let mut seen = 0;
            for (channel, (&band, &unit)) in self.bands.iter().zip(&self.units).enumerate() {
                let limit = config.bands[band].limit.map_or(f32::INFINITY, |limit| limit as f32);
                let mut any = false;
                for (line, column) in (0..crop).flat_map(|line| (0..crop).map(move |column| (line, column))) {
                    let from = ((image * channels + channel) * height + top + line) * width + left + column;
                    if fluxes.valid.get(from).is_some_and(|valid| *valid == 0) {
                        continue;
                    }
                    let to = ((image * crop + line) * crop + column) * bands + band;
                    let flux = fluxes.flux[from].clamp(-limit, limit) / unit;
                    if !flux.is_finite() {
                        let name = &config.bands[band].name;
                        return Err(codec_error(format!(
                            "got a flux that is not finite: image {image}, band `{name}`, line {}, column {}",
                            top + line,
                            left + column
                        )));
                    }
                    any = true;
                    values[to] = compression.apply(flux);
                    let ivar = fluxes.ivar.get(from).map_or(0.0, |ivar| f64::from(*ivar) * f64::from(unit).powi(2));
                    weights[to] = compression.weight(f64::from(flux), ivar, floor) as f32;
                }
                seen += usize::from(any);
            }
            factors.push(if seen == 0 { 0.0 } else { (bands as f64 / seen as f64).sqrt() as f32 });
        }
        let shape = (batch, crop, crop, bands);
        Ok(Prepared {
            values: Tensor::from_vec(values, shape, &Device::Cpu)?,
            factors: Tensor::from_vec(factors, (batch, 1, 1, 1), &Device::Cpu)?,
            weights: Tensor::from_vec(weights, shape, &Device::Cpu)?,
        })
    }

    /// What the network gives, `[B, h, w, bands]` → fluxes `[B, C, h, w]` at the zero points of their bands.
    pub(super) fn restore(&self, config: &ImageCodecConfig, decoded: &Tensor) -> Result<Tensor> {
        let (batch, height, width, bands) = decoded.dims4()?;
        let values = decoded.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let compression = Compression::new(config);
        let mut flux = Vec::with_capacity(batch * self.bands.len() * height * width);
        for image in values.chunks_exact((height * width * bands).max(1)) {
            for (&band, &unit) in self.bands.iter().zip(&self.units) {
                let unit = if config.as_reference { 1.0 } else { unit };
                flux.extend(image.chunks_exact(bands).map(|pixel| compression.reverse(pixel[band]) * unit));
            }
        }
        Ok(Tensor::from_vec(flux, (batch, self.bands.len(), height, width), &Device::Cpu)?)
    }
}

/// `y = m f asinh(x / f)`, which is linear for faint pixels and logarithmic for bright ones; `y = m x` for `f = 0`.
#[derive(Clone, Copy)]
struct Compression {
    range: f32,
    factor: f32,
}

impl Compression {
    fn new(config: &ImageCodecConfig) -> Self {
        Self { range: config.range as f32, factor: config.factor as f32 }
    }

    fn apply(self, x: f32) -> f32 {
        let compressed = if self.range > 0.0 { (x / self.range).asinh() * self.range } else { x };
        compressed * self.factor
    }

    fn reverse(self, y: f32) -> f32 {
        let x = y / self.factor;
        if self.range > 0.0 { (x / self.range).sinh() * self.range } else { x }
    }

    /// `floor² / (σ² + floor²)` with the variance of `y` by that of `x`: `dy/dx = m / √(1 + (x / f)²)`.
    fn weight(self, x: f64, ivar: f64, floor: f64) -> f64 {
        if ivar.is_nan() || ivar <= 0.0 {
            return 1.0;
        }
        let (range, factor) = (f64::from(self.range), f64::from(self.factor));
        let slope = if range > 0.0 { factor / (x / range).hypot(1.0) } else { factor };
        let floor = floor.powi(2);
        floor / (slope.powi(2) / ivar + floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_compressed_flux() {
        let config = ImageCodecConfig::default();
        let compression = Compression::new(&config);
        for (x, sigma) in [(0.0, 0.003), (0.01, 0.003), (-3.0, 0.1)] {
            // By differences of the compression itself, in f64.
            let y = |x: f64| 0.1 * (x / 0.01).asinh();
            let sigma_y = (y(x + 1e-6) - y(x - 1e-6)) / 2e-6 * sigma;
            let got = compression.weight(x, 1.0 / (sigma * sigma), 0.02);
            let expected = 0.02f64.powi(2) / (sigma_y.powi(2) + 0.02f64.powi(2));
            assert!((got / expected - 1.0).abs() < 1e-5, "{x}: {got}, not {expected}");
        }
        assert_eq!(compression.weight(1.0, 0.0, 0.02), 1.0);
    }

    #[test]
    fn compression_is_reversed() {
        for config in [ImageCodecConfig::default(), ImageCodecConfig { range: 0.0, ..Default::default() }] {
            let compression = Compression::new(&config);
            for x in [-25.0_f32, -0.3, 0.0, 1e-4, 0.02, 7.0] {
                let back = compression.reverse(compression.apply(x));
                assert!((back - x).abs() <= 1e-4 * x.abs(), "{x} became {back}");
            }
        }
    }
}
