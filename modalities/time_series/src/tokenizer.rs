//! One token per observation: its features as the patch, its time and wavelength as coordinates.
//!
//! Irregular sampling needs no grid this way: the model gets the time of each observation as sines
//! and cosines of many periods, as in attention networks for light curves (Donoso-Oliva et al. 2023,
//! A&A 670, A54, section 3.2; there the periods are of the position encoding, here of days).

use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One token per observation.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObservationsConfig {
    /// Shortest period of time that the model tells apart, days. Above 0, default 1.
    #[serde(default = "shortest_days")]
    pub shortest_days: f64,
    /// Longest period of time, days: about four times the length of the series. Above `shortest_days`, default 1000.
    #[serde(default = "longest_days")]
    pub longest_days: f64,
    /// Number of periods between them, evenly spaced in logarithm. 1 to 256, default 16.
    #[serde(default = "frequencies")]
    pub frequencies: usize,
    /// Number of periods that encode the logarithm of the wavelength. 1 to 256, default 8.
    #[serde(default = "wavelength_frequencies")]
    pub wavelength_frequencies: usize,
}

fn shortest_days() -> f64 {
    1.0
}
fn longest_days() -> f64 {
    1000.0
}
fn frequencies() -> usize {
    16
}
fn wavelength_frequencies() -> usize {
    8
}

/// The tokenizer `observations`: token `t` is observation `t`.
#[derive(Clone, Debug)]
pub struct Observations {
    config: ObservationsConfig,
    max_tokens: usize,
    width: usize,
}

impl Observations {
    /// From its table, for arrays with fields `time` and `wavelength` `[L]` and `values` `[L, F]`.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has other arrays.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: ObservationsConfig = section.read()?;
        if !(config.shortest_days.is_finite() && config.shortest_days > 0.0) {
            let reason = format!("`shortest_days` must be above 0, got {}", config.shortest_days);
            return Err(section.reject("shortest_days", reason));
        }
        if !(config.longest_days.is_finite() && config.longest_days > config.shortest_days) {
            let (least, got) = (config.shortest_days, config.longest_days);
            let reason = format!("`longest_days` must be above {least} (`shortest_days`), got {got}");
            return Err(section.reject("longest_days", reason));
        }
        for (key, value) in
            [("frequencies", config.frequencies), ("wavelength_frequencies", config.wavelength_frequencies)]
        {
            if !(1..=256).contains(&value) {
                return Err(section.reject(key, format!("`{key}` must be 1 to 256, got {value}")));
            }
        }
        let has = |name: &str, axes: &[&str]| context.arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
        let fits = has("time", &["L"]) && has("wavelength", &["L"]) && has("values", &["L", "F"]);
        let (Some(max_tokens), Some(width), true) = (context.arrays.size("L"), context.arrays.size("F"), fits) else {
            let found: Vec<&str> = context.arrays.fields.iter().map(|f| f.name).collect();
            let reason = format!(
                "tokenizer `observations` needs a modality of kind `time_series` with `time`, `wavelength` and `values`, \
                 got one with {found:?}"
            );
            return Err(section.reject("kind", reason));
        };
        Ok(Self { config, max_tokens, width })
    }
}

impl Tokenizer for Observations {
    fn spec(&self) -> TokenSpec {
        TokenSpec {
            kind: TokenKind::Patches { width: self.width },
            max_tokens: self.max_tokens,
            coordinates: vec![
                Coordinate {
                    name: "time".into(),
                    unit: "day",
                    encoding: Encoding::Fourier {
                        shortest: self.config.shortest_days,
                        longest: self.config.longest_days,
                        frequencies: self.config.frequencies,
                    },
                    metadata: false,
                },
                Coordinate {
                    name: "wavelength".into(),
                    unit: "ln(Angstrom)",
                    // Neighbouring broad bands differ by 0.2 or so; ultraviolet to mid infrared is 3.
                    encoding: Encoding::Fourier {
                        shortest: 0.1,
                        longest: 12.0,
                        frequencies: self.config.wavelength_frequencies,
                    },
                    metadata: false,
                },
            ],
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (shape, valid) = arrays.valid()?;
        let &[b, t] = shape else { return Err(wrong_shape("valid", "[B, L]", shape)) };
        let (time_shape, time) = arrays.f32("time")?;
        let (wavelength_shape, wavelength) = arrays.f32("wavelength")?;
        let (values_shape, values) = arrays.f32("values")?;
        if time_shape != shape || wavelength_shape != shape {
            return Err(wrong_shape("time` and `wavelength", &format!("{shape:?}"), time_shape));
        }
        if values_shape != [b, t, self.width] {
            return Err(wrong_shape("values", &format!("[{b}, {t}, {}]", self.width), values_shape));
        }
        let mut patches = vec![0f32; b * t * self.width];
        let mut coordinates = vec![0f32; b * t * 2];
        for (at, _) in valid.iter().enumerate().filter(|(_, v)| **v != 0) {
            let place = at * self.width..(at + 1) * self.width;
            patches[place.clone()].copy_from_slice(&values[place]);
            coordinates[2 * at] = time[at];
            coordinates[2 * at + 1] = wavelength[at];
        }
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(patches, (b, t, self.width), &Device::Cpu)?),
            valid: Tensor::from_vec(valid.to_vec(), (b, t), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, t, 2), &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }

    fn reconstruct(&self, tokens: &Tokens, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("observations", &self.spec())?;
        let TokenValues::Patches(values) = &tokens.values else { return Ok(None) };
        let flat = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
        let (b, t) = tokens.valid.dims2()?;
        let coordinates = flat(&tokens.coordinates)?;
        let coordinate = |which: usize| coordinates.iter().skip(which).step_by(2).copied().collect();
        let fields = BTreeMap::from([
            ("time".to_owned(), Array::f32(&[b, t], coordinate(0))?),
            ("values".to_owned(), Array::f32(&[b, t, self.width], flat(values)?)?),
            ("wavelength".to_owned(), Array::f32(&[b, t], coordinate(1))?),
        ]);
        let valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let valid = Array::new(&[b, t], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }
}

fn wrong_shape(field: &str, expected: &str, found: &[usize]) -> Error {
    Error::Shape {
        part: format!("tokenizer `observations`, field `{field}`"),
        expected: expected.into(),
        found: format!("{found:?}"),
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "observations",
        summary: "one token per observation of a time series, with time and wavelength as coordinates",
        origin: env!("CARGO_PKG_NAME"),
        example: "shortest_days = 1.0\nlongest_days = 1000.0\nfrequencies = 16\n",
        schema: || schemars::schema_for!(ObservationsConfig),
        build: |section, context| Ok(Box::new(Observations::new(section, context)?)),
    }
}
