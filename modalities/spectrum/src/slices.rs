//! The tokenizer `slices`: windows of a spectrum, as SpecFormer of AstroCLIP has them (Parker et al.
//! 2024, arXiv:2310.03024: 20 samples, 10 of them shared), at the wavelength of their centre.

use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, ArraysSpec, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keys of `[modality.NAME.tokenizer]` with `kind = "slices"`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlicesConfig {
    /// Samples of a token; default 16.
    #[serde(default = "sixteen")]
    pub width: usize,
    /// Samples that a token shares with the next; default 0, less than `width`.
    #[serde(default)]
    pub overlap: usize,
    /// Whether a token also says which of its samples were measured (default): `width` more values
    /// of 0 or 1.
    #[serde(default = "yes")]
    pub mask_channel: bool,
    /// Smallest part of a token's samples that must be measured; a token with less is left out. Default
    /// 0: one sample is enough.
    #[serde(default)]
    pub min_valid_fraction: f64,
}

fn sixteen() -> usize {
    16
}
fn yes() -> bool {
    true
}

/// Windows of arrays that have `flux` `[C, L]` and `wavelength` `[L]`; `ivar` `[C, L]` gives weights.
///
/// A token holds its window channel by channel, then which samples are valid: P = `width` (C + 1), or `width` C
/// without `mask_channel`. Samples that are not valid, or behind the end of the grid, are 0. Weights are relative:
/// over the valid values of an object and channel their mean is 1; they are 0 at what was not measured
/// and for the mask, so that masked training is not scored there; 1 at measured values of unknown error.
#[derive(Debug, Clone)]
pub struct Slices {
    config: SlicesConfig,
    channels: usize,
    samples: usize,
    tokens: usize,
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "slices",
    summary: "windows of a spectrum at their wavelength, overlapping or not",
    origin: env!("CARGO_PKG_NAME"),
    example: "width = 16\noverlap = 0\n",
    schema: || schemars::schema_for!(SlicesConfig),
    build: |section, context| Ok(Box::new(Slices::build(section, context)?)),
} }

impl Slices {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a value is out of its range, or the modality has no flux over wavelength.
    pub fn build(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: SlicesConfig = section.read()?;
        let arrays = context.arrays;
        let (Some(channels), Some(samples), true) = (arrays.size("C"), arrays.size("L"), is_spectrum(arrays)) else {
            let reason =
                format!("`slices` needs a modality with flux over wavelength, which `{}` is not", context.modality);
            return Err(section.reject("kind", reason));
        };
        if config.width == 0 || config.width > samples {
            let reason = format!("expected 1 to {samples}, the samples of the spectrum, got {}", config.width);
            return Err(section.reject("width", reason));
        }
        if config.overlap >= config.width {
            let reason = format!("expected less than `width` = {}, got {}", config.width, config.overlap);
            return Err(section.reject("overlap", reason));
        }
        if !(0.0..=1.0).contains(&config.min_valid_fraction) {
            let reason = format!("expected a number from 0 to 1, got {}", config.min_valid_fraction);
            return Err(section.reject("min_valid_fraction", reason));
        }
        let tokens = (samples - config.overlap).div_ceil(config.width - config.overlap);
        Ok(Self { config, channels, samples, tokens })
    }

    /// P.
    fn patch(&self) -> usize {
        self.config.width * (self.channels + usize::from(self.config.mask_channel))
    }

    /// Samples of token `t`.
    fn window(&self, t: usize) -> std::ops::Range<usize> {
        let start = t * (self.config.width - self.config.overlap);
        start..(start + self.config.width).min(self.samples)
    }

    fn wrong(&self, what: &str, expected: String, found: &[usize]) -> Error {
        Error::Shape { part: format!("tokenizer `slices`, {what}"), expected, found: format!("shape {found:?}") }
    }

    /// Weight of each sample `[C, L]` of one object: mean 1 over what was measured.
    fn weights(&self, ivar: Option<&[f32]>, valid: &[u8]) -> Vec<f32> {
        let measured = valid.iter().filter(|v| **v == 1).count().max(1) as f64;
        let mut weights = vec![0f32; self.channels * self.samples];
        for (c, row) in weights.chunks_mut(self.samples).enumerate() {
            let own = ivar.and_then(|v| v.get(c * self.samples..(c + 1) * self.samples));
            let total: f64 = own
                .map_or(0.0, |own| own.iter().zip(valid).filter(|(_, v)| **v == 1).map(|(w, _)| f64::from(*w)).sum());
            for l in (0..self.samples).filter(|l| valid[*l] == 1) {
                row[l] = match own.and_then(|own| own.get(l)) {
                    Some(w) if total > 0.0 => (f64::from(*w) * measured / total) as f32,
                    _ => 1.0,
                };
            }
        }
        weights
    }
}

fn is_spectrum(arrays: &ArraysSpec) -> bool {
    let has = |name: &str, axes: &[&str]| arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
    has("flux", &["C", "L"]) && has("wavelength", &["L"]) && arrays.valid_axes == ["L"]
}

impl Tokenizer for Slices {
    fn spec(&self) -> TokenSpec {
        // ln(wavelength): 0.01 is 3000 km/s; 4 is four times the range from 3000 to 10,000 Angstrom and more.
        let encoding = Encoding::Fourier { shortest: 0.01, longest: 4.0, frequencies: 16 };
        TokenSpec {
            kind: TokenKind::Patches { width: self.patch() },
            max_tokens: self.tokens,
            coordinates: vec![Coordinate {
                name: "ln_wavelength".into(),
                unit: "ln Angstrom",
                encoding,
                metadata: false,
            }],
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (batch, samples, channels) = (arrays.len(), self.samples, self.channels);
        let (shape, flux) = arrays.f32("flux")?;
        if shape != [batch, channels, samples] {
            return Err(self.wrong("flux", format!("[{batch}, {channels}, {samples}]"), shape));
        }
        let (shape, valid) = arrays.valid()?;
        let (other, wavelength) = arrays.f64("wavelength")?;
        for (what, shape) in [("valid", shape), ("wavelength", other)] {
            if shape != [batch, samples] {
                return Err(self.wrong(what, format!("[{batch}, {samples}]"), shape));
            }
        }
        let ivar = match arrays.fields.contains_key("ivar") {
            true => Some(arrays.f32("ivar")?.1),
            false => None,
        };
        let (width, tokens, patch) = (self.config.width, self.tokens, self.patch());
        let mut values = vec![0f32; batch * tokens * patch];
        let mut weights = values.clone();
        let mut token_valid = vec![0u8; batch * tokens];
        let mut coordinates = vec![0f32; batch * tokens];
        for b in 0..batch {
            let valid = &valid[b * samples..(b + 1) * samples];
            let object = b * channels * samples..(b + 1) * channels * samples;
            let own = self.weights(ivar.and_then(|v| v.get(object.clone())), valid);
            let flux = &flux[object];
            for t in 0..tokens {
                let window = self.window(t);
                let at = b * tokens + t;
                let measured = valid[window.clone()].iter().filter(|v| **v == 1).count();
                let needed = (self.config.min_valid_fraction * width as f64).max(1.0);
                token_valid[at] = u8::from(measured as f64 >= needed && arrays.present[b]);
                let logs = wavelength[b * samples..(b + 1) * samples][window.clone()].iter().map(|w| w.ln());
                coordinates[at] = (logs.sum::<f64>() / window.len() as f64) as f32;
                if token_valid[at] == 0 {
                    continue;
                }
                let values = &mut values[at * patch..(at + 1) * patch];
                let weights = &mut weights[at * patch..(at + 1) * patch];
                for (k, l) in window.enumerate().filter(|(_, l)| valid[*l] == 1) {
                    for c in 0..channels {
                        values[c * width + k] = flux[c * samples + l];
                        weights[c * width + k] = own[c * samples + l];
                    }
                    if self.config.mask_channel {
                        values[channels * width + k] = 1.0;
                    }
                }
            }
        }
        let cpu = Device::Cpu;
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(values, (batch, tokens, patch), &cpu)?),
            valid: Tensor::from_vec(token_valid, (batch, tokens), &cpu)?,
            coordinates: Tensor::from_vec(coordinates, (batch, tokens, 1), &cpu)?,
            weights: Some(Tensor::from_vec(weights, (batch, tokens, patch), &cpu)?),
            present: arrays.present.clone(),
        })
    }

    /// The mean over the tokens that hold a sample. Which samples were measured comes from the mask
    /// channel, else from the weights, else every sample of a valid token counts. `ivar` is 0 (unknown):
    /// tokens keep relative weights only. Wavelengths between the centres of tokens are interpolated in
    /// ln(wavelength), exact for a logarithmic grid.
    fn reconstruct(&self, tokens: &Tokens, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("slices", &self.spec())?;
        let TokenValues::Patches(values) = &tokens.values else { return Ok(None) };
        let (batch, count, patch) = values.dims3()?;
        if count != self.tokens {
            return Err(self.wrong("tokens", format!("{} of them", self.tokens), values.dims()));
        }
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        let weights = tokens.weights.as_ref().map(|w| w.flatten_all()?.to_vec1::<f32>()).transpose()?;
        let token_valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let centres = tokens.coordinates.flatten_all()?.to_vec1::<f32>()?;
        let (samples, channels, width) = (self.samples, self.channels, self.config.width);
        let mut flux = vec![0f32; batch * channels * samples];
        let mut shares = vec![0f32; batch * samples];
        for at in (0..batch * count).filter(|at| token_valid[*at] == 1) {
            let (b, t) = (at / count, at % count);
            for (k, l) in self.window(t).enumerate() {
                let measured = if self.config.mask_channel {
                    values[at * patch + channels * width + k] > 0.5
                } else {
                    weights.as_ref().is_none_or(|w| (0..channels).any(|c| w[at * patch + c * width + k] > 0.0))
                };
                if !measured {
                    continue;
                }
                shares[b * samples + l] += 1.0;
                for c in 0..channels {
                    flux[(b * channels + c) * samples + l] += values[at * patch + c * width + k];
                }
            }
        }
        for b in 0..batch {
            for (i, f) in flux[b * channels * samples..(b + 1) * channels * samples].iter_mut().enumerate() {
                *f /= shares[b * samples + i % samples].max(1.0);
            }
        }
        let valid = shares.iter().map(|s| u8::from(*s > 0.0)).collect();
        let wavelength = centres.chunks(count).flat_map(|row| self.wavelengths(row)).collect();
        let fields = BTreeMap::from([
            ("ivar".to_owned(), Array::f32(&[batch, channels, samples], vec![0.0; flux.len()])?),
            ("flux".to_owned(), Array::f32(&[batch, channels, samples], flux)?),
            ("wavelength".to_owned(), Array::new(&[batch, samples], Values::F64(wavelength))?),
        ]);
        let valid = Array::new(&[batch, samples], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }
}

impl Slices {
    /// Wavelengths of all samples from ln(wavelength) at the centres of tokens.
    fn wavelengths(&self, centres: &[f32]) -> Vec<f64> {
        let place = |t: usize| {
            let window = self.window(t);
            0.5 * (window.start + window.end) as f64 - 0.5
        };
        let known: Vec<(f64, f64)> = centres.iter().enumerate().map(|(t, c)| (place(t), f64::from(*c))).collect();
        (0..self.samples)
            .map(|l| {
                let right = known.partition_point(|(x, _)| *x <= l as f64).clamp(1, known.len().max(2) - 1);
                match (known.get(right - 1), known.get(right)) {
                    (Some((x0, y0)), Some((x1, y1))) => (y0 + (y1 - y0) * (l as f64 - x0) / (x1 - x0)).exp(),
                    (Some((_, y)), None) => y.exp(),
                    _ => 0.0,
                }
            })
            .collect()
    }
}
