//! The tokenizer `visibility_tokens`: one token per visibility.
//!
//! A token's place in the (u, v) plane is a coordinate, so that no grid is needed and any set of baselines will do: the framework
//! encodes it as sines and cosines. What a token says are five numbers: real and imaginary part and the logarithm of the amplitude, not below
//! its noise, all relative to the object's own mean amplitude; the logarithms of that and of signal over noise. So shape, which is in the
//! first three, does not depend on how bright an object is.

use panchroma_core::reexport::candle_core::{Device, Tensor};
use panchroma_core::reexport::{inventory, schemars, serde};
use panchroma_core::{
    Arrays, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec, TokenValues,
    Tokenizer, TokenizerContext, Tokens,
};

/// Numbers of a token.
pub const WIDTH: usize = 5;

/// The fields of the arrays that are read, each of axes `[L]`.
const FIELDS: [&str; 5] = ["u", "v", "re", "im", "weight"];

/// `[modality.NAME.tokenizer]` with `kind = "visibility_tokens"`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "panchroma_core::reexport::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_core::reexport::schemars")]
pub struct VisibilityTokensConfig {
    /// Shortest period in u and v that is told apart, in kilo-wavelengths: 206 over the width of the field, in arcseconds. Above 0,
    /// default 10.
    pub shortest: f64,
    /// Longest period, in kilo-wavelengths: about four times the longest baseline. Above `shortest`, default 4000.
    pub longest: f64,
    /// Number of periods between them, evenly spaced in logarithm. 1 to 256, default 16.
    pub frequencies: usize,
}

impl Default for VisibilityTokensConfig {
    fn default() -> Self {
        Self { shortest: 10.0, longest: 4000.0, frequencies: 16 }
    }
}

/// The tokenizer `visibility_tokens`.
#[derive(Clone, Debug)]
pub struct VisibilityTokens {
    config: VisibilityTokensConfig,
    /// Most visibilities of an object, as the modality says.
    most: usize,
}

impl VisibilityTokens {
    /// From its table, for the arrays of a modality that has what this tokenizer reads.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has other arrays.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: VisibilityTokensConfig = section.read()?;
        if !(config.shortest.is_finite() && config.shortest > 0.0) {
            return Err(section.reject("shortest", format!("expected a number above 0, got {}", config.shortest)));
        }
        if !(config.longest.is_finite() && config.longest > config.shortest) {
            let reason = format!("expected more than `shortest`, {}, got {}", config.shortest, config.longest);
            return Err(section.reject("longest", reason));
        }
        if !(1..=256).contains(&config.frequencies) {
            return Err(section.reject("frequencies", format!("expected 1 to 256, got {}", config.frequencies)));
        }
        let arrays = context.arrays;
        let has = |name: &&str| arrays.fields.iter().any(|f| f.name == *name && f.axes == ["L"]);
        match arrays.size("L") {
            Some(most) if FIELDS.iter().all(has) && arrays.valid_axes == ["L"] => Ok(Self { config, most }),
            _ => {
                let reason = format!("expected a modality of kind `visibilities`, which `{}` is not", context.modality);
                Err(section.reject("kind", reason))
            }
        }
    }
}

impl Tokenizer for VisibilityTokens {
    fn spec(&self) -> TokenSpec {
        let VisibilityTokensConfig { shortest, longest, frequencies } = self.config;
        let coordinate = |name: &'static str| Coordinate {
            name: name.into(),
            unit: "kilo-wavelength".into(),
            encoding: Encoding::Fourier { shortest, longest, frequencies },
            metadata: false,
        };
        TokenSpec {
            kind: TokenKind::Patches { width: WIDTH },
            max_tokens: self.most,
            coordinates: ["u", "v"].map(coordinate).into(),
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (shape, valid) = arrays.valid()?;
        let field = |name: &str| match arrays.f32(name)? {
            (found, values) if found == shape => Ok(values),
            (found, _) => Err(Error::Shape {
                part: format!("tokenizer `visibility_tokens`, field `{name}`"),
                expected: format!("{shape:?}"),
                found: format!("{found:?}"),
            }),
        };
        let (u, v, re, im, weight) = (field("u")?, field("v")?, field("re")?, field("im")?, field("weight")?);
        let (b, l) = (arrays.len(), shape.get(1).copied().unwrap_or(0));
        let mut patches = vec![0f32; b * l * WIDTH];
        let mut coordinates = vec![0f32; b * l * 2];
        for row in 0..b {
            // What is not valid stays 0: its values mean nothing, and may be NaN.
            let places: Vec<usize> = (row * l..(row + 1) * l).filter(|at| valid[*at] != 0).collect();
            let own: Vec<[f64; 3]> = places.iter().map(|at| [re[*at], im[*at], weight[*at]].map(f64::from)).collect();
            let mean = mean_power(&own);
            for (at, visibility) in places.into_iter().zip(own) {
                patches[at * WIDTH..(at + 1) * WIDTH].copy_from_slice(&features(visibility, mean));
                coordinates[at * 2..(at + 1) * 2].copy_from_slice(&[u[at], v[at]]);
            }
        }
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(patches, (b, l, WIDTH), &Device::Cpu)?),
            valid: Tensor::from_vec(valid.to_vec(), (b, l), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, l, 2), &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }
}

/// Variance of a visibility of this weight. Weights that single precision rounded to 0 are of something that was measured.
fn variance(weight: f64) -> f64 {
    1.0 / weight.max(f64::from(f32::MIN_POSITIVE))
}

/// Mean of the squared amplitude with its noise over an object's `[re, im, weight]`, by weight: above 0.
pub(crate) fn mean_power(all: &[[f64; 3]]) -> f64 {
    let sums = all.iter().fold([0.0, 0.0], |[power, weights], &[re, im, weight]| {
        let variance = variance(weight);
        [power + (re * re + im * im + variance) / variance, weights + 1.0 / variance]
    });
    sums[0] / sums[1]
}

/// What a token says of `[re, im, weight]`, of an object with this mean power.
pub(crate) fn features([re, im, weight]: [f64; 3], mean: f64) -> [f32; WIDTH] {
    // Noise makes amplitudes too large, and without it, at 0, the logarithm would be infinite.
    let (variance, power) = (variance(weight), re * re + im * im);
    let relative = [re, im].map(|x| x / mean.sqrt());
    let logs = [(power + variance) / mean, mean, 1.0 + power / variance].map(|x| 0.5 * x.ln());
    [relative[0], relative[1], logs[0], logs[1], logs[2]].map(|x| x as f32)
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "visibility_tokens",
    summary: "one token per visibility, at its place in the (u, v) plane",
    origin: env!("CARGO_PKG_NAME"),
    example: "shortest = 20.0\nlongest = 2000.0\nfrequencies = 16\n",
    schema: || schemars::schema_for!(VisibilityTokensConfig),
    build: |section, context| Ok(Box::new(VisibilityTokens::new(section, context)?)),
} }
