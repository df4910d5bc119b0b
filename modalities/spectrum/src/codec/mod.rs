//! A codec of spectra: a spectrum on any wavelengths becomes a few hundred codes, and codes a spectrum on any wavelengths.
//!
//! The first code is the normalisation, the mean flux. What is left is read on a latent grid of wavelengths that all instruments share
//! (`grid`, `prepare`), goes through an autoencoder of convolutions (`convnext`), and each of its places is quantized without a codebook, one
//! bit per dimension. The codec of AION-1 (Parker et al. 2025, section 3.1 and appendix A.2), with numbers that are the same; its
//! training terms are those of Yu et al. 2023 (MAGVIT-v2).

mod columns;
mod config;
mod convnext;
mod grid;
mod loss;
mod network;
mod prepare;
#[cfg(test)]
mod tests;

pub use columns::Spectra;
pub use config::SpectrumCodecConfig;
pub use loss::CodecLoss;
pub use prepare::Observed;

use candle_core::{DType, Device, Tensor};
use columns::{Columns, rows_of, shape};
use grid::Places;
use network::Network;
use panchroma_core::{Codebook, Error, Parameters, Result};
use prepare::{Prepared, scale_of};

/// What codes are decoded to; all `[B, L]`.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// f32 flux density. Outside of the grid it is the normalisation, and means nothing.
    pub flux: Tensor,
    /// u8, 1 where a sample is bad, or outside of the grid.
    pub mask: Tensor,
    /// f32, as asked for, or that of the grid.
    pub wavelength: Tensor,
}

/// How a mask is decoded that the network does not give, or gives outside of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskRule {
    /// Bad outside of the grid; without a channel of its own, good inside.
    Sensible,
    /// As the Python package: good outside of the grid; without a channel of its own, bad inside if wavelengths are given.
    AsReference,
}

/// The codec.
#[derive(Clone, Debug)]
pub struct SpectrumCodec {
    config: SpectrumCodecConfig,
    /// `[N]`.
    grid: Vec<f32>,
    levels: Codebook,
    network: Network,
    device: Device,
}

impl SpectrumCodec {
    /// Makes the parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] that names the key if the config makes no sense; or if a parameter exists already.
    pub fn new(config: &SpectrumCodecConfig, parameters: &Parameters) -> Result<Self> {
        config.check().map_err(|(key, reason)| Error::Shape {
            part: format!("codec of spectra, `{key}`"),
            expected: reason,
            found: "a config that does not fit".into(),
        })?;
        // In f32 as the reference computes it.
        let (first, step) = (config.wavelength_min as f32, config.wavelength_step as f32);
        let grid = (0..config.samples).map(|i| i as f32 * step + first).collect();
        let [low, high] = config.normalisation_range.map(|x| x as f32);
        Ok(Self {
            config: config.clone(),
            grid,
            levels: Codebook::linear(low, high, config.normalisation_codes)?,
            network: Network::new(config, parameters)?,
            device: parameters.device().clone(),
        })
    }

    /// With the grid and the codes of the normalisation as a file has them, which may be rounded otherwise.
    ///
    /// # Errors
    /// [`Error::Shape`] if one is not what the config says, to 1e-5 of its range.
    pub fn with_buffers(mut self, grid: Vec<f32>, levels: Vec<f32>) -> Result<Self> {
        for (name, own, given) in
            [("grid", &self.grid, &grid), ("normalisation codes", &self.levels.steps().to_vec(), &levels)]
        {
            let range = own.last().zip(own.first()).map_or(0.0, |(last, first)| (last - first).abs());
            let far =
                own.iter().zip(given).find(|(own, given)| given.is_nan() || (**own - **given).abs() > 1e-5 * range);
            let wrong = |expected: String, found: String| Error::Shape {
                part: format!("codec of spectra, {name} of the file beside those of the config"),
                expected,
                found,
            };
            if own.len() != given.len() {
                return Err(wrong(format!("{} numbers", own.len()), given.len().to_string()));
            }
            if let Some((own, given)) = far {
                return Err(wrong(own.to_string(), given.to_string()));
            }
        }
        self.levels = Codebook::new(levels)?;
        self.grid = grid;
        Ok(self)
    }

    /// What it was made from.
    #[must_use]
    pub fn config(&self) -> &SpectrumCodecConfig {
        &self.config
    }

    /// `[N]`: wavelengths of the latent grid.
    #[must_use]
    pub fn grid(&self) -> &[f32] {
        &self.grid
    }

    /// What the codes of the normalisation stand for: log10(1 + normalisation).
    #[must_use]
    pub fn levels(&self) -> &Codebook {
        &self.levels
    }

    /// Spectra -> codes `[B, T]` u32.
    ///
    /// # Errors
    /// If shapes or types disagree, or a spectrum lies outside of the grid altogether.
    pub fn encode(&self, spectra: Spectra<'_>) -> Result<Tensor> {
        let columns = Columns::read(spectra)?;
        self.encode_each(&columns.rows())
    }

    /// As [`Self::encode`], of spectra that may differ in length.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_each(&self, spectra: &[Observed<'_>]) -> Result<Tensor> {
        let prepared = self.prepare(spectra)?;
        let tokens = self.config.tokens();
        if prepared.is_empty() {
            return Ok(Tensor::zeros((0, tokens), DType::U32, &Device::Cpu)?);
        }
        let latent = self.network.frozen().encode(&self.input(&prepared)?)?;
        let bits = latent.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let mut codes = Vec::with_capacity(prepared.len() * tokens);
        let places = bits.chunks_exact((tokens - 1) * self.config.code_bits);
        for (prepared, places) in prepared.iter().zip(places) {
            codes.push(prepared.code);
            // The first dimension counts most.
            let code = |bits: &[f32]| bits.iter().fold(0, |code, bit| code << 1 | u32::from(*bit > 0.0));
            codes.extend(places.chunks_exact(self.config.code_bits).map(code));
        }
        Ok(Tensor::from_vec(codes, (prepared.len(), tokens), &Device::Cpu)?)
    }

    /// Codes `[B, T]` (u32 or i64) -> spectra, at `wavelength` `[B, L]` f32 or on the grid.
    ///
    /// # Errors
    /// If shapes or types disagree, a code is out of the vocabulary, or all wavelengths of a row lie outside of the grid.
    pub fn decode(&self, codes: &Tensor, wavelength: Option<&Tensor>, masks: MaskRule) -> Result<Decoded> {
        let (batch, scales, signs) = self.read_codes(codes)?;
        let signs = Tensor::from_vec(signs, (batch, self.config.tokens() - 1, self.config.code_bits), &self.device)?;
        let out = self.network.frozen().decode(&signs)?.to_device(&Device::Cpu)?;
        let channels = out.dim(2)?;
        let channel =
            |c: usize| -> Result<Vec<f32>> { Ok(out.narrow(2, c, 1)?.contiguous()?.flatten_all()?.to_vec1()?) };
        let flux = channel(0)?;
        let logits = if channels == 2 { Some(channel(1)?) } else { None };
        let samples = self.grid.len();
        let wanted = match wavelength {
            Some(given) => {
                let rows = rows_of("wavelength", given, DType::F32)?;
                if rows != (batch, given.dim(1)?) {
                    return Err(shape("wavelength", format!("[{batch}, L]"), format!("{:?}", given.dims())));
                }
                Some(given.flatten_all()?.to_vec1::<f32>()?)
            }
            None => None,
        };
        let length = wavelength.map_or(Ok(samples), |given| given.dim(1))?;
        let (mut fluxes, mut bad) = (Vec::with_capacity(batch * length), Vec::with_capacity(batch * length));
        for (row, scale) in scales.iter().enumerate() {
            let own = row * samples..(row + 1) * samples;
            let (flux, logits) = (&flux[own.clone()], logits.as_ref().map(|logits| &logits[own]));
            let physical = |flux: f32| (flux + 1.0) * scale;
            // A probability of exactly one half is rounded to even.
            let is_bad = |logit: f32| u8::from(logit > 0.0);
            let Some(wanted) = &wanted else {
                fluxes.extend(flux.iter().map(|flux| physical(*flux)));
                match logits {
                    Some(logits) => bad.extend(logits.iter().map(|logit| is_bad(*logit))),
                    None => bad.extend(std::iter::repeat_n(0, samples)),
                }
                continue;
            };
            let wanted = &wanted[row * length..(row + 1) * length];
            self.check_range(wanted)?;
            let places = Places::new(&self.grid, wanted);
            let inside = places.both(|_| true);
            fluxes.extend(places.read(&self.grid, flux).into_iter().map(physical));
            let logits = logits.map(|logits| places.read(&self.grid, logits));
            bad.extend(inside.into_iter().enumerate().map(|(i, inside)| match (&logits, masks) {
                (Some(logits), _) if inside => is_bad(logits[i]),
                (None, MaskRule::AsReference) if inside => 1,
                (_, MaskRule::Sensible) if !inside => 1,
                _ => 0,
            }));
        }
        let wavelength = match wavelength {
            Some(given) => given.clone(),
            None => Tensor::new(self.grid.as_slice(), &Device::Cpu)?.unsqueeze(0)?.repeat((batch, 1))?,
        };
        Ok(Decoded {
            flux: Tensor::from_vec(fluxes, (batch, length), &Device::Cpu)?,
            mask: Tensor::from_vec(bad, (batch, length), &Device::Cpu)?,
            wavelength,
        })
    }

    fn prepare(&self, spectra: &[Observed<'_>]) -> Result<Vec<Prepared>> {
        let one = |observed: &Observed<'_>| {
            let length = observed.flux.len();
            let others = [observed.ivar.len(), observed.bad.len(), observed.wavelength.len()];
            if length < 2 || others != [length; 3] {
                return Err(shape(
                    "flux, ivar, mask and wavelength",
                    "one length of at least 2".into(),
                    format!("{length}, {}, {}, {}", others[0], others[1], others[2]),
                ));
            }
            self.check_range(observed.wavelength)?;
            Ok(Prepared::new(&self.config, &self.grid, &self.levels, observed))
        };
        spectra.iter().map(one).collect()
    }

    /// Refuses wavelengths of which none is near the grid.
    fn check_range(&self, wavelength: &[f32]) -> Result<()> {
        let (Some(first), Some(last)) = (self.grid.first(), self.grid.last()) else { return Ok(()) };
        if wavelength.iter().any(|w| w >= first && w <= last) {
            return Ok(());
        }
        let ends = |fold: fn(f32, f32) -> f32| wavelength.iter().copied().reduce(fold).unwrap_or(f32::NAN);
        Err(shape(
            "wavelength",
            format!("some from {first} to {last}, the grid of the codec"),
            format!("{} to {}", ends(f32::min), ends(f32::max)),
        ))
    }

    fn input(&self, prepared: &[Prepared]) -> Result<Tensor> {
        let values: Vec<f32> = prepared.iter().flat_map(|p| &p.input).copied().collect();
        Ok(Tensor::from_vec(values, (prepared.len(), self.grid.len(), 2), &self.device)?)
    }

    /// The number of spectra, what each is multiplied by, and the signs behind the codes.
    fn read_codes(&self, codes: &Tensor) -> Result<(usize, Vec<f32>, Vec<f32>)> {
        let (bits, tokens) = (self.config.code_bits, self.config.tokens());
        let batch = match (codes.dims(), codes.dtype()) {
            (&[batch, found], DType::U32 | DType::I64) if found == tokens => batch,
            (dims, dtype) => {
                return Err(shape("codes", format!("u32 [B, {tokens}]"), format!("{} {dims:?}", dtype.as_str())));
            }
        };
        let codes = codes.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
        let unknown = |what: &str, most: usize, code: i64| shape(what, format!("0 to {}", most - 1), code.to_string());
        let mut scales = Vec::with_capacity(batch);
        let mut signs = Vec::with_capacity(batch * (tokens - 1) * bits);
        for row in codes.chunks_exact(tokens) {
            let (first, places) = (row[0], &row[1..]);
            let normalisation = u32::try_from(first).ok().and_then(|code| self.levels.value(code));
            let normalisation =
                normalisation.ok_or_else(|| unknown("code of the normalisation", self.levels.len(), first))?;
            scales.push(scale_of(normalisation));
            for code in places {
                if !(0..1_i64 << bits).contains(code) {
                    return Err(unknown("code of the spectrum", 1 << bits, *code));
                }
                signs.extend((0..bits).rev().map(|bit| if code >> bit & 1 == 1 { 1.0_f32 } else { -1.0 }));
            }
        }
        Ok((batch, scales, signs))
    }
}
