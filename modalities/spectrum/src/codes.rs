//! The tokenizer `spectrum_codec`: spectra as codes of [`crate::codec::SpectrumCodec`], trained in a run of its own.

use crate::codec::{MaskRule, Observed, SpectrumCodec, SpectrumCodecConfig};
use crate::config::Channel;
use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Coordinate, Descriptor, Encoding, Error, Forward, HeadOutput, Result, SUMS, Section, TokenKind,
    TokenSpec, TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Codes of arrays that have one channel of flux over wavelength, the normalised one: the first token is the mean flux, the others are pieces of
/// the codec's grid, each at the mean logarithm of its wavelengths.
///
/// Between measured samples a bad one is bridged by a straight line, and has no weight. A piece of the grid at which nothing was measured is a
/// token that is not valid, unless `skip_unmeasured` is off. Flux is decoded in the unit of the arrays: with `normalise = "none"` of the
/// modality that of the data.
#[derive(Debug, Clone)]
pub struct SpectrumCodes {
    codec: SpectrumCodec,
    samples: usize,
    is_wavelength: bool,
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "spectrum_codec",
    summary: "spectra as codes: a normalisation, and pieces of a grid of wavelengths that instruments share; trained on its own",
    origin: env!("CARGO_PKG_NAME"),
    example: "samples = 1024\nwavelength_step = 6.0\nencoder_depths = [1, 1, 2, 1]\nencoder_widths = [16, 32, 64, 64]\n\
              decoder_depths = [1, 1, 2, 1]\ndecoder_widths = [64, 32, 16, 1]\nsharpness = 1.0\n",
    schema: || schemars::schema_for!(SpectrumCodecConfig),
    build: |section, context| Ok(Box::new(SpectrumCodes::build(section, context)?)),
} }

/// One spectrum as the codec takes it, on the host.
struct Row {
    flux: Vec<f32>,
    ivar: Vec<f32>,
    bad: Vec<u8>,
    wavelength: Vec<f32>,
}

impl Row {
    fn observed(&self) -> Observed<'_> {
        Observed { flux: &self.flux, ivar: &self.ivar, bad: &self.bad, wavelength: &self.wavelength }
    }
}

impl SpectrumCodes {
    /// Builds it from its table, and makes the codec's parameters.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range, or the modality has other arrays.
    pub fn build(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: SpectrumCodecConfig = section.read()?;
        config.check().map_err(|(key, reason)| section.reject(key, reason))?;
        let arrays = context.arrays;
        let has = |name: &str, axes: &[&str]| arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
        let is_spectrum = has("flux", &["C", "L"]) && has("wavelength", &["L"]) && arrays.valid_axes == ["L"];
        let (Some(samples), true) = (arrays.size("L"), is_spectrum) else {
            let reason = format!(
                "`spectrum_codec` needs a modality with flux over wavelength, which `{}` is not",
                context.modality
            );
            return Err(section.reject("kind", reason));
        };
        if arrays.labels("C") != [Channel::Normalised.name()] || has("scale", &["S"]) {
            let reason = format!(
                "`spectrum_codec` needs `channels = [\"normalised\"]` and no `scale_token` in [modality.{}], got channels {:?}",
                context.modality,
                arrays.labels("C")
            );
            return Err(section.reject("kind", reason));
        }
        let is_wavelength = arrays.fields.iter().any(|f| f.name == "wavelength" && !f.unit.is_empty());
        let codec = SpectrumCodec::new(&config, context.parameters)?;
        Ok(Self { codec, samples, is_wavelength })
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> &SpectrumCodec {
        &self.codec
    }

    fn wrong(&self, what: &str, expected: String, found: &[usize]) -> Error {
        Error::Shape {
            part: format!("tokenizer `spectrum_codec`, {what}"),
            expected,
            found: format!("shape {found:?}"),
        }
    }

    /// The measured part of each object; `None` where it has none.
    fn rows(&self, arrays: &Arrays) -> Result<Vec<Option<Row>>> {
        let (batch, length) = (arrays.len(), self.samples);
        let (shape, flux) = arrays.f32("flux")?;
        if shape != [batch, 1, length] {
            return Err(self.wrong("flux", format!("[{batch}, 1, {length}]"), shape));
        }
        let (valid_shape, valid) = arrays.valid()?;
        let (other, wavelength) = arrays.f64("wavelength")?;
        for (what, shape) in [("valid", valid_shape), ("wavelength", other)] {
            if shape != [batch, length] {
                return Err(self.wrong(what, format!("[{batch}, {length}]"), shape));
            }
        }
        let ivar = arrays.f64("ivar").ok().filter(|(shape, _)| *shape == [batch, 1, length]).map(|(_, ivar)| ivar);
        let row = |row: usize| {
            let own = row * length..(row + 1) * length;
            let ivar = ivar.map(|ivar| &ivar[own.clone()]);
            arrays.present[row]
                .then(|| self.row(&flux[own.clone()], ivar, &valid[own.clone()], &wavelength[own]))
                .flatten()
        };
        Ok((0..batch).map(row).collect())
    }

    /// From the first to the last valid sample; `None` of fewer than two.
    fn row(&self, flux: &[f32], ivar: Option<&[f64]>, valid: &[u8], wavelength: &[f64]) -> Option<Row> {
        let usable: Vec<usize> = (0..valid.len()).filter(|l| valid[*l] == 1 && wavelength[*l].is_finite()).collect();
        let (&[first, ..], &[.., last]) = (usable.as_slice(), usable.as_slice()) else { return None };
        if first == last {
            return None;
        }
        let config = self.codec.config();
        let unit = config.flux_unit;
        let mean = usable.iter().map(|l| f64::from(flux[*l].abs())).sum::<f64>() / usable.len() as f64 / unit;
        let known = ivar.filter(|ivar| usable.iter().any(|l| ivar[*l] > 0.0));
        let assumed = 1.0 / (config.assumed_error * mean.max(f64::from(f32::MIN_POSITIVE))).powi(2);
        let mut row = Row {
            flux: vec![0.0; last + 1 - first],
            ivar: vec![0.0; last + 1 - first],
            bad: vec![1; last + 1 - first],
            wavelength: wavelength[first..=last].iter().map(|w| *w as f32).collect(),
        };
        for &l in &usable {
            row.flux[l - first] = (f64::from(flux[l]) / unit) as f32;
            row.ivar[l - first] = (known.map_or(assumed, |ivar| ivar[l] * unit * unit)).min(f64::from(f32::MAX)) as f32;
            row.bad[l - first] = 0;
        }
        // A straight line over bad samples.
        for pair in usable.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            for l in a + 1..b {
                let share = (wavelength[l] - wavelength[a]) / (wavelength[b] - wavelength[a]);
                let (low, high) = (f64::from(row.flux[a - first]), f64::from(row.flux[b - first]));
                row.flux[l - first] = if share.is_finite() { (low + (high - low) * share) as f32 } else { low as f32 };
            }
        }
        Some(row)
    }

    /// Which tokens say something that was measured.
    fn measured(&self, row: &Row) -> Vec<u8> {
        let config = self.codec.config();
        let pieces = config.tokens() - 1;
        if !config.skip_unmeasured {
            return vec![1; 1 + pieces];
        }
        let mut valid = vec![0; 1 + pieces];
        valid[0] = 1;
        let share = config.samples_per_token();
        // A piece is covered from half a step before its first sample to half a step behind its last.
        let width = config.wavelength_step * share as f64;
        let start = config.wavelength_min - 0.5 * config.wavelength_step;
        let place = |w: f32| (f64::from(w) - start) / width;
        for (good, wavelength) in row.bad.iter().zip(&row.wavelength) {
            let place = place(*wavelength);
            if *good == 0 && place >= 0.0 && place < pieces as f64 {
                valid[1 + place as usize] = 1;
            }
        }
        // Samples may be further apart than pieces are wide: the line between two of them was measured too.
        for (pair, bad) in row.wavelength.windows(2).zip(row.bad.windows(2)) {
            if bad == [0, 0] {
                let (from, to) = (place(pair[0]).max(0.0) as usize, place(pair[1]).clamp(0.0, pieces as f64) as usize);
                valid[1 + from.min(pieces)..(1 + to).max(1 + from.min(pieces))].fill(1);
            }
        }
        valid
    }

    /// Where each token lies; the first nowhere.
    fn places(&self) -> Vec<f32> {
        let share = self.codec.config().samples_per_token();
        let place = |w: &f32| match self.is_wavelength {
            true => f64::from(*w).ln(),
            false => f64::from(*w),
        };
        let piece = |piece: &[f32]| (piece.iter().map(place).sum::<f64>() / share as f64) as f32;
        std::iter::once(f32::NAN).chain(self.codec.grid().chunks(share).map(piece)).collect()
    }
}

impl Tokenizer for SpectrumCodes {
    fn spec(&self) -> TokenSpec {
        // As of the tokenizer `slices`: 0.01 of ln(wavelength) is 3000 km/s.
        let encoding = Encoding::Fourier { shortest: 0.01, longest: 4.0, frequencies: 16 };
        let (name, unit) = if self.is_wavelength { ("ln_wavelength", "ln Angstrom") } else { ("axis", "0 to 1") };
        let config = self.codec.config();
        TokenSpec {
            kind: TokenKind::Codes { vocabulary: config.vocabulary() },
            max_tokens: config.tokens(),
            coordinates: vec![Coordinate { name: name.into(), unit: unit.into(), encoding, metadata: false }],
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let rows = self.rows(arrays)?;
        let (batch, tokens) = (arrays.len(), self.codec.config().tokens());
        let there: Vec<(usize, &Row)> =
            rows.iter().enumerate().filter_map(|(i, row)| Some((i, row.as_ref()?))).collect();
        let observed: Vec<Observed<'_>> = there.iter().map(|(_, row)| row.observed()).collect();
        let codes = self.codec.encode_each(&observed)?.flatten_all()?.to_vec1::<u32>()?;
        let (mut all, mut valid) = (vec![0; batch * tokens], vec![0; batch * tokens]);
        for ((i, row), codes) in there.iter().zip(codes.chunks_exact(tokens)) {
            all[i * tokens..(i + 1) * tokens].copy_from_slice(codes);
            valid[i * tokens..(i + 1) * tokens].copy_from_slice(&self.measured(row));
        }
        let places: Vec<f32> = self.places().into_iter().cycle().take(batch * tokens).collect();
        Ok(Tokens {
            values: TokenValues::Codes(Tensor::from_vec(all, (batch, tokens), &Device::Cpu)?),
            valid: Tensor::from_vec(valid, (batch, tokens), &Device::Cpu)?,
            coordinates: Tensor::from_vec(places, (batch, tokens, 1), &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }

    /// At the wavelengths of `like`, where it has some, else on the codec's grid. What lies outside of the grid, or has no wavelength, or that
    /// a codec with a mask takes for bad, is not valid.
    fn reconstruct(&self, tokens: &Tokens, like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("spectrum_codec", &self.spec())?;
        let TokenValues::Codes(codes) = &tokens.values else { return Ok(None) };
        let batch = tokens.len();
        let there: Vec<u32> = (0..batch as u32).filter(|i| tokens.present[*i as usize]).collect();
        let length = if like.is_some() { self.samples } else { self.codec.grid().len() };
        let wavelength = match like {
            Some(like) => {
                let (shape, wavelength) = like.f64("wavelength")?;
                if shape != [batch, length] {
                    return Err(self.wrong("wavelength", format!("[{batch}, {length}]"), shape));
                }
                wavelength.to_vec()
            }
            None => self.codec.grid().iter().map(|w| f64::from(*w)).cycle().take(batch * length).collect(),
        };
        let mut valid = vec![0_u8; batch * length];
        let mut flux = vec![0.0_f32; batch * length];
        if !there.is_empty() {
            let index = Tensor::new(there.as_slice(), &Device::Cpu)?;
            let given = like.map(|_| {
                let values: Vec<f32> = wavelength.iter().map(|w| *w as f32).collect();
                Tensor::from_vec(values, (batch, length), &Device::Cpu)?.index_select(&index, 0)
            });
            let decoded =
                self.codec.decode(&codes.index_select(&index, 0)?, given.transpose()?.as_ref(), MaskRule::Sensible)?;
            let (own, bad) =
                (decoded.flux.flatten_all()?.to_vec1::<f32>()?, decoded.mask.flatten_all()?.to_vec1::<u8>()?);
            let unit = self.codec.config().flux_unit;
            for (row, (own, bad)) in there.iter().zip(own.chunks_exact(length).zip(bad.chunks_exact(length))) {
                for (l, (own, bad)) in own.iter().zip(bad).enumerate() {
                    let at = *row as usize * length + l;
                    let value = (f64::from(*own) * unit) as f32;
                    if *bad == 0 && value.is_finite() && wavelength[at].is_finite() {
                        (flux[at], valid[at]) = (value, 1);
                    }
                }
            }
        }
        let fields = BTreeMap::from([
            ("flux".to_owned(), Array::f32(&[batch, 1, length], flux)?),
            ("ivar".to_owned(), Array::new(&[batch, 1, length], Values::F64(vec![0.0; batch * length]))?),
            ("wavelength".to_owned(), Array::new(&[batch, length], Values::F64(wavelength))?),
            ("lsf_sigma".to_owned(), Array::f32(&[batch, length], vec![0.0; batch * length])?),
        ]);
        let valid = Array::new(&[batch, length], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&self, arrays: &Arrays, context: &Forward) -> Result<HeadOutput> {
        let rows = self.rows(arrays)?;
        let there: Vec<(usize, &Row)> =
            rows.iter().enumerate().filter_map(|(i, row)| Some((i, row.as_ref()?))).collect();
        let observed: Vec<Observed<'_>> = there.iter().map(|(_, row)| row.observed()).collect();
        let Some(found) = self.codec.loss(&observed, context.mode)? else { return Ok(HeadOutput::default()) };
        let of_all = |(name, own): (&str, Vec<[f32; 2]>)| -> Result<(String, Tensor)> {
            let mut sums = vec![[0.0_f32; 2]; rows.len()];
            there.iter().zip(own).for_each(|((row, _), own)| sums[*row] = own);
            Ok((format!("{SUMS}{name}"), Tensor::from_vec(sums.concat(), (rows.len(), 2), &Device::Cpu)?))
        };
        let predictions = found.sums.into_iter().map(of_all).collect::<Result<BTreeMap<_, _>>>()?;
        Ok(HeadOutput { loss: Some(found.loss), metrics: found.metrics, predictions })
    }
}
