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
    /// What each token is told about how it was measured: any of `noise` (typical error of its first channel, after normalising) and
    /// `lsf_sigma` (width of the instrument's line spread function). What is unknown adds nothing; `metadata_dropout` hides each at random
    /// in training. Default none.
    #[serde(default)]
    pub metadata: Vec<Known>,
}

/// What may be known about the samples of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Typical error of the first channel.
    Noise,
    /// Standard deviation of the line spread function, in Angstrom or the unit of the axis.
    LsfSigma,
}

impl Known {
    /// `unit` is that of the axis.
    fn coordinate(self, unit: &'static str) -> Coordinate {
        let (name, unit, smallest, largest) = match self {
            Self::Noise => ("noise", "", 1e-3, 1e2),
            Self::LsfSigma => ("lsf_sigma", unit, 0.1, 100.0),
        };
        let encoding = Encoding::Log { smallest, largest, frequencies: 8 };
        Coordinate { name: name.into(), unit: unit.into(), encoding, metadata: true }
    }
}

fn sixteen() -> usize {
    16
}
fn yes() -> bool {
    true
}

/// Windows of arrays that have `flux` `[C, L]` and `wavelength` `[L]`; `ivar` `[C, L]` f64 gives weights. A token is told the mean of
/// ln(wavelength) over those samples of its window that have one, measured or not; of a wavelength without unit, the mean of it as it is.
///
/// A token holds its window channel by channel, then which samples are valid: P = `width` (C + 1), or `width` C
/// without `mask_channel`. Samples that are not valid, or behind the end of the grid, are 0. Weights are relative:
/// over the valid values of an object and channel their mean is 1; they are 0 at what was not measured
/// and for the mask, so that masked training is not scored there; 1 at measured values of unknown error.
///
/// If the arrays have `scale` `[2]`, a first token, of no wavelength, holds it.
#[derive(Debug, Clone)]
pub struct Slices {
    config: SlicesConfig,
    channels: usize,
    samples: usize,
    /// Whether the axis is a wavelength; else where a sample is from 0 to 1.
    is_wavelength: bool,
    /// 1 if the first token is the scale.
    lead: usize,
    /// Windows.
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
        let has = |name: &str, axes: &[&str]| arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
        if config.metadata.contains(&Known::LsfSigma) && !has("lsf_sigma", &["L"]) {
            let reason = format!("modality `{}` says nothing of `lsf_sigma`", context.modality);
            return Err(section.reject("metadata", reason));
        }
        if (1..config.metadata.len()).any(|i| config.metadata[..i].contains(&config.metadata[i])) {
            return Err(section.reject("metadata", "expected each name once"));
        }
        let lead = usize::from(has("scale", &["S"]) && arrays.size("S") == Some(2));
        let tokens = (samples - config.overlap).div_ceil(config.width - config.overlap);
        let is_wavelength = arrays.fields.iter().any(|f| f.name == "wavelength" && !f.unit.is_empty());
        let slices = Self { config, channels, samples, is_wavelength, lead, tokens };
        if slices.lead == 1 && slices.patch() < 2 {
            return Err(
                section.reject("width", "expected at least 2, since a first token holds the two numbers of the scale")
            );
        }
        Ok(slices)
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

    /// Writes the first token of each object: its scale, at no wavelength.
    fn scale_tokens(
        &self,
        arrays: &Arrays,
        (values, weights): (&mut [f32], &mut [f32]),
        valid: &mut [u8],
        coordinates: &mut [f32],
    ) -> Result<()> {
        let (batch, tokens, patch) = (arrays.len(), self.lead + self.tokens, self.patch());
        let (shape, scale) = arrays.f32("scale")?;
        if shape != [batch, 2] {
            return Err(self.wrong("scale", format!("[{batch}, 2]"), shape));
        }
        let (_, measured) = arrays.valid()?;
        let axes = 1 + self.config.metadata.len();
        for (b, scale) in scale.chunks(2).enumerate() {
            let at = b * tokens;
            coordinates[at * axes..(at + 1) * axes].fill(f32::NAN);
            let own = measured.get(b * self.samples..(b + 1) * self.samples).unwrap_or_default();
            if arrays.present[b] && own.contains(&1) {
                valid[at] = 1;
                values[at * patch..at * patch + 2].copy_from_slice(scale);
                weights[at * patch..at * patch + 2].fill(1.0);
            }
        }
        Ok(())
    }

    /// Weight of each sample `[C, L]` of one object: mean 1 over what was measured.
    fn weights(&self, ivar: Option<&[f64]>, valid: &[u8]) -> Vec<f32> {
        let measured = valid.iter().filter(|v| **v == 1).count().max(1) as f64;
        let mut weights = vec![0f32; self.channels * self.samples];
        for (c, row) in weights.chunks_mut(self.samples).enumerate() {
            let own = ivar.and_then(|v| v.get(c * self.samples..(c + 1) * self.samples));
            let total: f64 =
                own.map_or(0.0, |own| own.iter().zip(valid).filter(|(_, v)| **v == 1).map(|(w, _)| *w).sum());
            for l in (0..self.samples).filter(|l| valid[*l] == 1) {
                row[l] = match own.and_then(|own| own.get(l)) {
                    Some(w) if total > 0.0 => (w * measured / total) as f32,
                    _ => 1.0,
                };
            }
        }
        weights
    }
}

/// Mean of what is above 0 at the valid samples of a window; NaN if nothing is.
fn mean_above_0<T: Into<f64> + Copy>(values: Option<&[T]>, valid: &[u8], window: &std::ops::Range<usize>) -> f64 {
    let known = window.clone().filter(|l| valid[*l] == 1).filter_map(|l| values?.get(l).map(|v| (*v).into()));
    mean(known.filter(|v| *v > 0.0))
}

/// NaN of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), v| (count + 1.0, sum + v));
    sum / count
}

fn is_spectrum(arrays: &ArraysSpec) -> bool {
    let has = |name: &str, axes: &[&str]| arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
    has("flux", &["C", "L"]) && has("wavelength", &["L"]) && arrays.valid_axes == ["L"]
}

impl Tokenizer for Slices {
    fn spec(&self) -> TokenSpec {
        // ln(wavelength): 0.01 is 3000 km/s; 4 is four times the range from 3000 to 10,000 Angstrom and more, or from 0 to 1.
        let encoding = Encoding::Fourier { shortest: 0.01, longest: 4.0, frequencies: 16 };
        let (name, unit, of_axis) = match self.is_wavelength {
            true => ("ln_wavelength", "ln Angstrom".into(), "Angstrom"),
            false => ("axis", "0 to 1".into(), ""),
        };
        TokenSpec {
            kind: TokenKind::Patches { width: self.patch() },
            max_tokens: self.lead + self.tokens,
            coordinates: std::iter::once(Coordinate { name: name.into(), unit, encoding, metadata: false })
                .chain(self.config.metadata.iter().map(|m| m.coordinate(of_axis)))
                .collect(),
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
            true => Some(arrays.f64("ivar")?.1),
            false => None,
        };
        let lsf = match arrays.fields.contains_key("lsf_sigma") {
            true => Some(arrays.f32("lsf_sigma")?.1),
            false => None,
        };
        let (width, patch, axes) = (self.config.width, self.patch(), 1 + self.config.metadata.len());
        let (lead, tokens) = (self.lead, self.lead + self.tokens);
        let mut values = vec![0f32; batch * tokens * patch];
        let mut weights = values.clone();
        let mut token_valid = vec![0u8; batch * tokens];
        let mut coordinates = vec![0f32; batch * tokens * axes];
        if lead == 1 {
            self.scale_tokens(arrays, (&mut values, &mut weights), &mut token_valid, &mut coordinates)?;
        }
        for b in 0..batch {
            let valid = &valid[b * samples..(b + 1) * samples];
            let object = b * channels * samples..(b + 1) * channels * samples;
            let ivar = ivar.and_then(|v| v.get(object.clone()));
            let lsf = lsf.and_then(|lsf| lsf.get(b * samples..(b + 1) * samples));
            let own = self.weights(ivar, valid);
            let flux = &flux[object];
            for t in 0..self.tokens {
                let window = self.window(t);
                let at = b * tokens + lead + t;
                let measured = valid[window.clone()].iter().filter(|v| **v == 1).count();
                let needed = (self.config.min_valid_fraction * width as f64).max(1.0);
                token_valid[at] = u8::from(measured as f64 >= needed && arrays.present[b]);
                let along = wavelength[b * samples..(b + 1) * samples][window.clone()].iter().filter(|w| w.is_finite());
                coordinates[at * axes] = mean(along.map(|w| if self.is_wavelength { w.ln() } else { *w })) as f32;
                for (to, known) in coordinates[at * axes + 1..(at + 1) * axes].iter_mut().zip(&self.config.metadata) {
                    *to = match known {
                        Known::Noise => mean_above_0(ivar, valid, &window).powf(-0.5) as f32,
                        Known::LsfSigma => mean_above_0(lsf, valid, &window) as f32,
                    };
                }
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
            coordinates: Tensor::from_vec(coordinates, (batch, tokens, axes), &cpu)?,
            weights: Some(Tensor::from_vec(weights, (batch, tokens, patch), &cpu)?),
            present: arrays.present.clone(),
        })
    }

    /// The mean over the tokens that hold a sample. Which samples were measured comes from the mask
    /// channel, else from the weights, else every sample of a valid token counts. `ivar` is 0 (unknown):
    /// tokens keep relative weights only. Wavelengths between the centres of tokens are interpolated in
    /// ln(wavelength): exact for a logarithmic grid, roughly for samples as measured. What tokens were told of their measurement is 0 (unknown).
    fn reconstruct(&self, tokens: &Tokens, _like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("slices", &self.spec())?;
        let TokenValues::Patches(values) = &tokens.values else { return Ok(None) };
        let (batch, count, patch) = values.dims3()?;
        if count != self.lead + self.tokens {
            return Err(self.wrong("tokens", format!("{} of them", self.lead + self.tokens), values.dims()));
        }
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        let weights = tokens.weights.as_ref().map(|w| w.flatten_all()?.to_vec1::<f32>()).transpose()?;
        let token_valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let centres = tokens.coordinates.flatten_all()?.to_vec1::<f32>()?;
        let (samples, channels, width) = (self.samples, self.channels, self.config.width);
        let mut flux = vec![0f32; batch * channels * samples];
        let mut shares = vec![0f32; batch * samples];
        for at in (0..batch * count).filter(|at| token_valid[*at] == 1 && at % count >= self.lead) {
            let (b, t) = (at / count, at % count - self.lead);
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
        let axes = 1 + self.config.metadata.len();
        let centres: Vec<f32> = centres.iter().copied().step_by(axes).collect();
        let wavelength = centres.chunks(count).flat_map(|row| self.wavelengths(&row[self.lead..])).collect();
        let mut fields = BTreeMap::from([
            ("lsf_sigma".to_owned(), Array::f32(&[batch, samples], vec![0.0; batch * samples])?),
            ("ivar".to_owned(), Array::new(&[batch, channels, samples], Values::F64(vec![0.0; flux.len()]))?),
            ("flux".to_owned(), Array::f32(&[batch, channels, samples], flux)?),
            ("wavelength".to_owned(), Array::new(&[batch, samples], Values::F64(wavelength))?),
        ]);
        if self.lead == 1 {
            let first = values.chunks(count * patch).flat_map(|row| [row[0], row[1]]).collect();
            fields.insert("scale".to_owned(), Array::f32(&[batch, 2], first)?);
        }
        let valid = Array::new(&[batch, samples], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }
}

impl Slices {
    /// Wavelengths of all samples from the centres of those tokens that have one.
    fn wavelengths(&self, centres: &[f32]) -> Vec<f64> {
        let place = |t: usize| {
            let window = self.window(t);
            0.5 * (window.start + window.end) as f64 - 0.5
        };
        let known: Vec<(f64, f64)> =
            centres.iter().enumerate().filter(|(_, c)| c.is_finite()).map(|(t, c)| (place(t), f64::from(*c))).collect();
        let wavelength = |place: f64| if self.is_wavelength { place.exp() } else { place };
        (0..self.samples)
            .map(|l| {
                let right = known.partition_point(|(x, _)| *x <= l as f64).clamp(1, known.len().max(2) - 1);
                match (known.get(right - 1), known.get(right)) {
                    (Some((x0, y0)), Some((x1, y1))) => wavelength(y0 + (y1 - y0) * (l as f64 - x0) / (x1 - x0)),
                    (Some((_, y)), None) => wavelength(*y),
                    _ => 0.0,
                }
            })
            .collect()
    }
}
