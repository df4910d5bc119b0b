//! What can be set of the codec of spectra; defaults are those of AION-1 (Parker et al. 2025, appendix A.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The codec of spectra: its grid, its network, its codes, and what it is trained with.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpectrumCodecConfig {
    /// First wavelength of the latent grid, in Angstrom; of a modality with `wavelength_unit = "other"`, where 0 is its `wavelength_min` and 1
    /// its `wavelength_max`. Default 3500.
    pub wavelength_min: f64,
    /// Step of the latent grid, in the same unit, above 0. Default 0.8.
    pub wavelength_step: f64,
    /// Samples of the latent grid: a multiple of 2^(stages + 1), which is how many samples share a token. Default 8704.
    pub samples: usize,
    /// Blocks of each stage of the encoder. Default `[3, 3, 9, 3]`.
    pub encoder_depths: Vec<usize>,
    /// Channels of each stage of the encoder. Default `[96, 192, 384, 512]`.
    pub encoder_widths: Vec<usize>,
    /// Blocks of each stage of the decoder, as many stages as the encoder has. Default `[3, 3, 9, 3]`.
    pub decoder_depths: Vec<usize>,
    /// Channels of each stage of the decoder; the last is 1 (flux) or 2 (flux, and whether a sample is bad). Default `[384, 192, 96, 1]`.
    pub decoder_widths: Vec<usize>,
    /// A code of the spectrum has so many bits, and the vocabulary 2^bits codes. 1 to 20, default 10.
    pub code_bits: usize,
    /// Numbers that stand between the network and the bits; if that is not `code_bits`, two more linear maps are between. Default: as many.
    pub code_width: Option<usize>,
    /// Codes of the normalisation, the first token. Default 1024.
    pub normalisation_codes: usize,
    /// Range of log10(1 + normalisation) that its codes share out evenly; the normalisation is the mean flux. Default `[-1.0, 5.0]`.
    pub normalisation_range: [f64; 2],
    /// Inverse variances above this count as this, before they are scaled. Above 0, default 100; `inf` for no limit.
    pub clip_ivar: f64,
    /// Fluxes beyond plus and minus this count as this, before they are scaled. Above 0, default `inf`: no limit.
    pub clip_flux: f64,
    /// What flux over normalisation minus 1, and its error, are multiplied by before the network. Default 0.2.
    pub input_scaling: f64,
    /// What flux is divided by before anything else, in its own unit, so that it is of order one: the normalisation knows nothing below 0.1.
    /// Above 0, default 1.
    pub flux_unit: f64,
    /// Error of every sample of a spectrum whose errors are unknown, as a share of its mean absolute flux. Above 0, default 0.1.
    pub assumed_error: f64,
    /// Whether tokens of wavelengths at which nothing was measured are left out; default true. A model that was trained with all of them, as
    /// AION-1, needs false.
    pub skip_unmeasured: bool,
    /// Training: weight of LFQ's entropies, `sample - diversity batch`. Default 0.1.
    pub entropy_weight: f64,
    /// Training: weight of the batch entropy in that; above 0 it keeps codes in use. Default 1.
    pub diversity: f64,
    /// Training: how sharply the distribution over codes falls with distance, 1 / temperature. Default 100; less, such as 1, lets a gradient
    /// through to dimensions that are far from 0.
    pub sharpness: f64,
    /// Training: weight of the commitment loss. Default 0.25.
    pub commitment_weight: f64,
    /// Training: error of a sample that is added to its own in quadrature, as a share of the normalisation, so that no sample rules the loss.
    /// Above 0, default 0.02.
    pub error_floor: f64,
}

impl Default for SpectrumCodecConfig {
    fn default() -> Self {
        Self {
            wavelength_min: 3500.0,
            wavelength_step: 0.8,
            samples: 8704,
            encoder_depths: vec![3, 3, 9, 3],
            encoder_widths: vec![96, 192, 384, 512],
            decoder_depths: vec![3, 3, 9, 3],
            decoder_widths: vec![384, 192, 96, 1],
            code_bits: 10,
            code_width: None,
            normalisation_codes: 1024,
            normalisation_range: [-1.0, 5.0],
            clip_ivar: 100.0,
            clip_flux: f64::INFINITY,
            input_scaling: 0.2,
            flux_unit: 1.0,
            assumed_error: 0.1,
            skip_unmeasured: true,
            entropy_weight: 0.1,
            diversity: 1.0,
            sharpness: 100.0,
            commitment_weight: 0.25,
            error_floor: 0.02,
        }
    }
}

impl SpectrumCodecConfig {
    /// The key that makes no sense, and why.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let stages = self.encoder_widths.len();
        let positive = |key, value: f64| {
            if value > 0.0 { Ok(()) } else { Err((key, format!("expected a number above 0, got {value}"))) }
        };
        let not_negative = |key, value: f64| {
            let fine = value >= 0.0 && value.is_finite();
            if fine { Ok(()) } else { Err((key, format!("expected 0 or more, got {value}"))) }
        };
        if !(2..=16).contains(&stages) {
            return Err(("encoder_widths", format!("expected 2 to 16 stages, got {stages}")));
        }
        for (key, found) in [
            ("encoder_depths", self.encoder_depths.len()),
            ("decoder_depths", self.decoder_depths.len()),
            ("decoder_widths", self.decoder_widths.len()),
        ] {
            if found != stages {
                return Err((key, format!("expected {stages} stages, as `encoder_widths` has, got {found}")));
            }
        }
        for (key, widths) in [("encoder_widths", &self.encoder_widths), ("decoder_widths", &self.decoder_widths)] {
            if widths.contains(&0) {
                return Err((key, format!("expected widths above 0, got {widths:?}")));
            }
        }
        if !matches!(self.decoder_widths.last(), Some(1 | 2)) {
            let reason = format!("expected 1 (flux) or 2 (flux and mask) at the end, got {:?}", self.decoder_widths);
            return Err(("decoder_widths", reason));
        }
        let share = self.samples_per_token();
        if self.samples == 0 || !self.samples.is_multiple_of(share) {
            let reason = format!("expected a multiple of {share}, the samples of a token, got {}", self.samples);
            return Err(("samples", reason));
        }
        if !(1..=20).contains(&self.code_bits) {
            return Err(("code_bits", format!("expected 1 to 20, got {}", self.code_bits)));
        }
        if self.code_width == Some(0) {
            return Err(("code_width", "expected at least 1, got 0".into()));
        }
        if self.normalisation_codes < 2 {
            return Err(("normalisation_codes", format!("expected at least 2, got {}", self.normalisation_codes)));
        }
        let [low, high] = self.normalisation_range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(("normalisation_range", format!("expected two rising numbers, got {low} and {high}")));
        }
        if !self.wavelength_min.is_finite() {
            return Err(("wavelength_min", format!("expected a number, got {}", self.wavelength_min)));
        }
        positive("wavelength_step", self.wavelength_step)?;
        positive("clip_ivar", self.clip_ivar)?;
        positive("clip_flux", self.clip_flux)?;
        positive("input_scaling", self.input_scaling)?;
        positive("flux_unit", self.flux_unit)?;
        positive("assumed_error", self.assumed_error)?;
        positive("sharpness", self.sharpness)?;
        positive("error_floor", self.error_floor)?;
        not_negative("entropy_weight", self.entropy_weight)?;
        not_negative("diversity", self.diversity)?;
        not_negative("commitment_weight", self.commitment_weight)
    }

    /// How many samples of the latent grid share a token.
    #[must_use]
    pub fn samples_per_token(&self) -> usize {
        1 << (self.encoder_widths.len() + 1)
    }

    /// Tokens of a spectrum: its normalisation, then its pieces.
    #[must_use]
    pub fn tokens(&self) -> usize {
        1 + self.samples / self.samples_per_token()
    }

    /// Numbers behind the network of the encoder.
    #[must_use]
    pub fn code_width(&self) -> usize {
        self.code_width.unwrap_or(self.code_bits)
    }

    /// Codes in all: of the normalisation or of the spectrum, whichever has more.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        (1 << self.code_bits).max(self.normalisation_codes)
    }

    /// The last wavelength of the grid.
    #[must_use]
    pub fn wavelength_max(&self) -> f64 {
        self.wavelength_min + self.wavelength_step * (self.samples.max(1) - 1) as f64
    }
}
