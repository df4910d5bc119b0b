//! One token per stretch of consecutive observations: fewer tokens for long series.
//!
//! As the patches of PatchTST (Nie et al. 2023, arXiv:2211.14730, section 3.1), but the series may be irregular: a token also says when,
//! from its own middle, and at which wavelength each of its observations was made.

use crate::axes::{self, Axes, AxesConfig};
use candle_core::{Device, Tensor};
use panchroma_core::{
    Arrays, Coordinate, Descriptor, Forward, Result, Section, TokenKind, TokenSpec, TokenValues, Tokenizer,
    TokenizerContext, Tokens,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One token per stretch of consecutive observations.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimePatchesConfig {
    /// Observations of a token; 2 to 4096, default 8.
    #[serde(default = "eight")]
    pub observations: usize,
    /// Days of the distance in time, within a token, that count as 1: about the length of a token. Above 0, default 10.
    #[serde(default = "ten")]
    pub patch_days: f64,
    /// Shortest period of time that the model tells apart, of the middle of a token, in days. Above 0, default 1.
    #[serde(default = "axes::shortest_days")]
    pub shortest_days: f64,
    /// Longest period of time, in days: about four times the length of the series. Above `shortest_days`, default 1000.
    #[serde(default = "axes::longest_days")]
    pub longest_days: f64,
    /// Number of periods between them, evenly spaced in logarithm. 1 to 256, default 16.
    #[serde(default = "axes::frequencies")]
    pub frequencies: usize,
}

fn eight() -> usize {
    8
}
fn ten() -> f64 {
    10.0
}

/// The tokenizer `time_patches`.
///
/// A token holds, for each of its places, the F features of an observation, asinh of its time from the middle of the token over
/// `patch_days`, ln(wavelength / 6000 Angstrom), its channel's place as a 1 among zeros if there are channels, and 1; zeros where
/// the series has ended. Its time is the mean of theirs, and its phase that of the observation in its middle.
#[derive(Clone, Debug)]
pub struct TimePatches {
    axes: Axes,
    size: usize,
    days: f64,
}

impl TimePatches {
    /// From its table, for the arrays of a time series.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has other arrays.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: TimePatchesConfig = section.read()?;
        if !(2..=4096).contains(&config.observations) {
            let reason = format!("`observations` must be 2 to 4096, got {}", config.observations);
            return Err(section.reject("observations", reason));
        }
        if !(config.patch_days.is_finite() && config.patch_days > 0.0) {
            return Err(
                section.reject("patch_days", format!("`patch_days` must be above 0, got {}", config.patch_days))
            );
        }
        let TimePatchesConfig { shortest_days, longest_days, frequencies, .. } = config;
        let axes = AxesConfig { shortest_days, longest_days, frequencies, wavelength_frequencies: 1 };
        let axes = Axes::new(axes, section, context)?;
        Ok(Self { axes, size: config.observations, days: config.patch_days })
    }

    /// Numbers of one observation.
    fn slot(&self) -> usize {
        self.axes.width + 3 + self.axes.channels.unwrap_or(0)
    }

    /// Those of the coordinates that a token has as a whole.
    fn coordinates(&self) -> Vec<Coordinate> {
        let mut all = self.axes.coordinates();
        all.retain(|c| c.name == "time" || c.name == "phase");
        all
    }
}

/// The middle of visible light: wavelengths are given relative to it.
const MIDDLE_LN_ANGSTROM: f32 = 8.7;

impl Tokenizer for TimePatches {
    fn spec(&self) -> TokenSpec {
        TokenSpec {
            kind: TokenKind::Patches { width: self.size * self.slot() },
            max_tokens: self.axes.most.div_ceil(self.size),
            coordinates: self.coordinates(),
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let series = self.axes.series(arrays, "time_patches")?;
        let (b, l, f, slot) = (series.b, series.l, self.axes.width, self.slot());
        let (t, axes) = (l.div_ceil(self.size), self.coordinates().len());
        let width = self.size * slot;
        let mut patches = vec![0f32; b * t * width];
        let mut weights = patches.clone();
        let mut valid = vec![0u8; b * t];
        let mut coordinates = vec![0f32; b * t * axes];
        for token in 0..b * t {
            let (row, first) = (token / t, token % t * self.size);
            let places = row * l + first..row * l + l.min(first + self.size);
            let own: Vec<usize> = places.filter(|at| series.valid[*at] != 0).collect();
            let Some(&middle) = own.get(own.len() / 2) else { continue };
            let mean = own.iter().map(|at| f64::from(series.time[*at])).sum::<f64>() / own.len() as f64;
            valid[token] = 1;
            coordinates[token * axes] = mean as f32;
            if let Some(phase) = series.phase(middle)
                && let Some(to) = coordinates.get_mut(token * axes + 1)
            {
                *to = phase;
            }
            for (k, &at) in own.iter().enumerate() {
                let start = token * width + k * slot;
                let out = &mut patches[start..start + slot];
                out[..f].copy_from_slice(&series.values[at * f..(at + 1) * f]);
                out[f] = ((f64::from(series.time[at]) - mean) / self.days).asinh() as f32;
                out[f + 1] = series.wavelength(at).map_or(0.0, |wavelength| wavelength - MIDDLE_LN_ANGSTROM);
                out[f + 2] = 1.0;
                // Only what was measured is to be told again.
                series.weigh(at, &mut weights[start..start + f]);
                if let Some(to) = series.channel(at).and_then(|c| out.get_mut(f + 3 + c)) {
                    *to = 1.0;
                }
            }
        }
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(patches, (b, t, width), &Device::Cpu)?),
            valid: Tensor::from_vec(valid, (b, t), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, t, axes), &Device::Cpu)?,
            weights: Some(Tensor::from_vec(weights, (b, t, width), &Device::Cpu)?),
            present: arrays.present.clone(),
        })
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "time_patches",
        summary: "one token per stretch of consecutive observations, for long series",
        origin: env!("CARGO_PKG_NAME"),
        example: "observations = 16\npatch_days = 30.0\n",
        schema: || schemars::schema_for!(TimePatchesConfig),
        build: |section, context| Ok(Box::new(TimePatches::new(section, context)?)),
    }
}
