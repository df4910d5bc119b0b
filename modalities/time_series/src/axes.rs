//! The coordinates of tokens of a time series: time, wavelength, and as far as the modality has them channel and phase.

use panchroma_core::{Arrays, ArraysSpec, Coordinate, Encoding, Error, Result, Section, TokenizerContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How times and wavelengths are told apart: all that `observations` can be told.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AxesConfig {
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

pub(crate) fn shortest_days() -> f64 {
    1.0
}
pub(crate) fn longest_days() -> f64 {
    1000.0
}
pub(crate) fn frequencies() -> usize {
    16
}
pub(crate) fn wavelength_frequencies() -> usize {
    8
}

impl AxesConfig {
    /// # Errors
    /// If a value is out of its range.
    pub(crate) fn check(&self, section: &Section) -> Result<()> {
        if !(self.shortest_days.is_finite() && self.shortest_days > 0.0) {
            let reason = format!("`shortest_days` must be above 0, got {}", self.shortest_days);
            return Err(section.reject("shortest_days", reason));
        }
        if !(self.longest_days.is_finite() && self.longest_days > self.shortest_days) {
            let (least, got) = (self.shortest_days, self.longest_days);
            let reason = format!("`longest_days` must be above {least} (`shortest_days`), got {got}");
            return Err(section.reject("longest_days", reason));
        }
        for (key, value) in [("frequencies", self.frequencies), ("wavelength_frequencies", self.wavelength_frequencies)]
        {
            if !(1..=256).contains(&value) {
                return Err(section.reject(key, format!("`{key}` must be 1 to 256, got {value}")));
            }
        }
        Ok(())
    }
}

/// Stands for what is unknown in arrays, where all numbers are finite: below any channel, phase and logarithm of a wavelength, of which
/// those of gamma rays are negative.
pub(crate) const UNKNOWN: f32 = -1000.0;

/// The arrays of a time series, as a tokenizer reads them.
#[derive(Clone, Debug)]
pub(crate) struct Axes {
    config: AxesConfig,
    /// Largest L.
    pub(crate) most: usize,
    /// F.
    pub(crate) width: usize,
    pub(crate) channels: Option<usize>,
    wavelength: bool,
    phase: bool,
    pub(crate) weight: bool,
    pub(crate) error: bool,
}

/// The arrays of a batch: `time`, `valid` `[B, L]`, `values` `[B, L, F]`, and as many of the others as there are.
pub(crate) struct Series<'a> {
    pub(crate) b: usize,
    pub(crate) l: usize,
    pub(crate) valid: &'a [u8],
    pub(crate) time: &'a [f32],
    pub(crate) values: &'a [f32],
    wavelength: Option<&'a [f32]>,
    channel: Option<&'a [f32]>,
    phase: Option<&'a [f32]>,
    weight: Option<&'a [f32]>,
    error: Option<&'a [f32]>,
}

impl Axes {
    /// For arrays with fields `time` `[L]` and `values` `[L, F]`, perhaps `wavelength`, `channel`, `phase`, `weight` and `error`.
    ///
    /// # Errors
    /// If the modality has other arrays.
    pub(crate) fn new(config: AxesConfig, section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        config.check(section)?;
        let arrays: &ArraysSpec = context.arrays;
        let has = |name: &str, axes: &[&str]| arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
        let fits = has("time", &["L"]) && has("values", &["L", "F"]);
        let (Some(most), Some(width), true) = (arrays.size("L"), arrays.size("F"), fits) else {
            let found: Vec<&str> = arrays.fields.iter().map(|f| f.name).collect();
            let reason =
                format!("expected a modality of kind `time_series` with `time` and `values`, got one with {found:?}");
            return Err(section.reject("kind", reason));
        };
        let channels = arrays.size("channels").filter(|_| has("channel", &["L"]));
        let (wavelength, phase) = (has("wavelength", &["L"]), has("phase", &["L"]));
        let (weight, error) = (has("weight", &["L", "F"]), has("error", &["L"]));
        Ok(Self { config, most, width, channels, wavelength, phase, weight, error })
    }

    /// Time, wavelength, channel, phase: as many as there are.
    pub(crate) fn coordinates(&self) -> Vec<Coordinate> {
        let AxesConfig { shortest_days, longest_days, frequencies, wavelength_frequencies } = self.config;
        let time = Encoding::Fourier { shortest: shortest_days, longest: longest_days, frequencies };
        // Neighbouring broad bands differ by 0.2 or so; ultraviolet to mid infrared is 3.
        let wavelength = Encoding::Fourier { shortest: 0.1, longest: 12.0, frequencies: wavelength_frequencies };
        // Whole harmonics: a phase of 1 is one of 0.
        let phase = Encoding::Fourier { shortest: 0.125, longest: 1.0, frequencies: 4 };
        let mut all = vec![("time", "day", time)];
        all.extend(self.wavelength.then_some(("wavelength", "ln(Angstrom)", wavelength)));
        all.extend(self.channels.map(|size| ("channel", "", Encoding::Category { size })));
        all.extend(self.phase.then_some(("phase", "period", phase)));
        let coordinate = |(name, unit, encoding): (&'static str, &'static str, _)| Coordinate {
            name: name.into(),
            unit: unit.into(),
            encoding,
            metadata: false,
        };
        all.into_iter().map(coordinate).collect()
    }

    /// The arrays of a batch.
    ///
    /// # Errors
    /// If one has another shape; the error names `tokenizer`.
    pub(crate) fn series<'a>(&self, arrays: &'a Arrays, tokenizer: &str) -> Result<Series<'a>> {
        let wrong = |field: &str, expected: String, found: &[usize]| Error::Shape {
            part: format!("tokenizer `{tokenizer}`, field `{field}`"),
            expected,
            found: format!("{found:?}"),
        };
        let (shape, valid) = arrays.valid()?;
        let &[b, l] = shape else { return Err(wrong("valid", "[B, L]".into(), shape)) };
        let field = |name: &str, expected: &[usize]| {
            let (shape, values) = arrays.f32(name)?;
            if shape == expected { Ok(values) } else { Err(wrong(name, format!("{expected:?}"), shape)) }
        };
        Ok(Series {
            b,
            l,
            valid,
            time: field("time", &[b, l])?,
            values: field("values", &[b, l, self.width])?,
            wavelength: self.wavelength.then(|| field("wavelength", &[b, l])).transpose()?,
            weight: self.weight.then(|| field("weight", &[b, l, self.width])).transpose()?,
            error: self.error.then(|| field("error", &[b, l])).transpose()?,
            channel: self.channels.map(|_| field("channel", &[b, l])).transpose()?,
            phase: self.phase.then(|| field("phase", &[b, l])).transpose()?,
        })
    }

    /// Names of the fields that come after `time` in [`Self::coordinates`].
    pub(crate) fn more(&self) -> impl Iterator<Item = &'static str> {
        let channel = self.channels.map(|_| "channel");
        self.wavelength.then_some("wavelength").into_iter().chain(channel).chain(self.phase.then_some("phase"))
    }
}

impl Series<'_> {
    /// Wavelength, channel and phase at a place, as far as there are such; NaN if unknown.
    pub(crate) fn more(&self, at: usize) -> impl Iterator<Item = f32> {
        let lists = [self.wavelength, self.channel, self.phase].into_iter().flatten();
        lists.filter_map(move |list| list.get(at).copied()).map(known)
    }

    /// ln(wavelength) at a place, if it is known.
    pub(crate) fn wavelength(&self, at: usize) -> Option<f32> {
        self.wavelength?.get(at).copied().filter(|w| *w > UNKNOWN)
    }

    /// Writes the weights of the values at a place.
    pub(crate) fn weigh(&self, at: usize, out: &mut [f32]) {
        match self.weight.and_then(|weight| weight.get(at * out.len()..(at + 1) * out.len())) {
            Some(own) => out.copy_from_slice(own),
            None => out.fill(1.0),
        }
    }

    /// Standard error of the first feature at a place, if it is known.
    pub(crate) fn error(&self, at: usize) -> Option<f32> {
        self.error?.get(at).copied().filter(|error| *error > 0.0)
    }

    /// Phase at a place, NaN if unknown; none if the modality has none.
    pub(crate) fn phase(&self, at: usize) -> Option<f32> {
        self.phase?.get(at).copied().map(known)
    }

    /// Channel at a place, if it is known.
    pub(crate) fn channel(&self, at: usize) -> Option<usize> {
        self.channel?.get(at).filter(|c| **c >= 0.0).map(|c| *c as usize)
    }
}

/// What is unknown is NaN in tokens.
fn known(value: f32) -> f32 {
    if value > UNKNOWN { value } else { f32::NAN }
}
