//! The tokenizer: windows of consecutive photons, described by their spectrum and rate, through a small network.
//!
//! A window has a fixed number of photons and takes as long as they take to arrive, so that bright phases get many short
//! windows and faint ones few long ones: each has the same counting noise. The network is `W₂ tanh(W₁ x + b₁) + b₂`.

use panchroma_sdk::prelude::*;

/// Keys of the tokenizer's table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "panchroma_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_sdk::schemars")]
pub struct Config {
    /// Photons of a window; the last of an object may have fewer.
    events: usize,
    /// Bands of the window's spectrum, evenly in the logarithm of energy. 1 to 256.
    bands: usize,
    /// Where the bands begin, keV.
    lowest_kev: f64,
    /// Where the bands end, keV.
    highest_kev: f64,
    /// Time that the detector takes to read out once, seconds: no window counts as shorter.
    frame_seconds: f64,
    /// Width of the hidden layer.
    hidden: usize,
    /// Width of the tokens.
    width: usize,
}

impl Default for Config {
    fn default() -> Self {
        let (lowest_kev, highest_kev, frame_seconds) = (0.3, 10.0, 0.1);
        Self { events: 16, bands: 8, lowest_kev, highest_kev, frame_seconds, hidden: 32, width: 64 }
    }
}

/// Windows of photons: patches of `bands + 1` values, the parts of the photons in each band and the logarithm of the rate.
#[derive(Debug)]
pub struct EventWindows {
    config: Config,
    max_tokens: usize,
    longest_seconds: f64,
}

impl Tokenizer for EventWindows {
    const NAME: &'static str = "event_windows";
    const SUMMARY: &'static str = "windows of photons as spectra and rates, through a small trained network";
    const EXAMPLE: &'static str = "events = 16\nbands = 8\nwidth = 64\n";
    type Config = Config;

    fn new(config: Config, request: &Request) -> Result<Self> {
        let arrays = request.arrays()?;
        arrays.field_named("time")?;
        arrays.field_named("energy")?;
        if config.events == 0 || config.hidden == 0 || config.width == 0 || !(1..=256).contains(&config.bands) {
            return Err(Error::invalid("`events`, `hidden` and `width` are above 0, `bands` is 1 to 256"));
        }
        if !(0.0 < config.lowest_kev && config.lowest_kev < config.highest_kev && config.frame_seconds > 0.0) {
            return Err(Error::invalid("0 < `lowest_kev` < `highest_kev`, and `frame_seconds` is above 0"));
        }
        let max_tokens = arrays.axis_longest("event")?.div_ceil(config.events);
        // A day: longer than most pointings of a telescope.
        Ok(Self { config, max_tokens, longest_seconds: 86_400.0 })
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn width(&self) -> usize {
        self.config.bands + 1
    }

    fn outputs(&self) -> usize {
        self.config.width
    }

    fn coordinates(&self) -> Vec<Coordinate> {
        vec![Coordinate::waves("time", "s", self.config.frame_seconds, self.longest_seconds, 32)]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Config { hidden, width, .. } = self.config;
        vec![
            Parameter::matrix("hidden.weight", hidden, self.width()),
            Parameter::bias("hidden.bias", hidden),
            Parameter::matrix("output.weight", width, hidden),
            Parameter::bias("output.bias", width),
        ]
    }

    fn plan(&self, arrays: &Arrays) -> Result<usize> {
        let photons = |row: usize| arrays.valid().row(row).iter().filter(|v| **v == 1).count();
        let most = (0..arrays.len()).map(photons).max().unwrap_or(1);
        Ok(most.div_ceil(self.config.events).clamp(1, self.max_tokens))
    }

    fn run(&self, arrays: &Arrays, tokens: &mut TokensMut) -> Result<()> {
        let (time, energy) = (arrays.f32("time")?, arrays.f32("energy")?);
        let (mut patches, mut valid, mut places) = (tokens.patches()?, tokens.valid()?, tokens.coordinates()?);
        for row in 0..arrays.len() {
            let all = time.row(row).iter().zip(energy.row(row)).zip(arrays.valid().row(row));
            let photons: Vec<(f32, f32)> = all.filter(|(_, m)| **m == 1).map(|((t, e), _)| (*t, *e)).collect();
            let into = patches.row_mut(row).chunks_mut(self.width());
            for ((place, window), patch) in photons.chunks(self.config.events).enumerate().zip(into) {
                let (Some((first, _)), Some((last, _))) = (window.first(), window.last()) else { continue };
                self.describe(window, last - first, patch);
                valid.row_mut(row)[place] = 1;
                places.row_mut(row)[place] = 0.5 * (first + last);
            }
        }
        Ok(())
    }

    fn forward(
        &self,
        _compute: &Compute,
        patches: &Array<f32>,
        parameters: &Parameters,
        outputs: &mut ArrayMut<f32>,
    ) -> Result<()> {
        let (weight, bias) = (parameters.get("output.weight")?, parameters.get("output.bias")?.values());
        for token in 0..patches.len() {
            let hidden = self.hidden(patches.row(token), parameters)?;
            for (to, out) in outputs.row_mut(token).iter_mut().enumerate() {
                *out = bias[to] + dot(weight.row(to), &hidden);
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        _compute: &Compute,
        patches: &Array<f32>,
        parameters: &Parameters,
        outputs_gradient: &Array<f32>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let (into, out_of) = (parameters.get("hidden.weight")?, parameters.get("output.weight")?);
        let mut to_patches = gradients.input(0)?;
        let (mut to_into, mut to_into_bias) =
            (gradients.parameter("hidden.weight")?, gradients.parameter("hidden.bias")?);
        let (mut to_out, mut to_out_bias) =
            (gradients.parameter("output.weight")?, gradients.parameter("output.bias")?);
        for token in 0..patches.len() {
            let (x, from) = (patches.row(token), outputs_gradient.row(token));
            let hidden = self.hidden(x, parameters)?;
            // y = W₂ h + b₂
            let mut to_hidden = vec![0.0; hidden.len()];
            for (to, from) in from.iter().enumerate() {
                to_out_bias.values_mut()[to] += from;
                add(to_out.row_mut(to), *from, &hidden);
                add(&mut to_hidden, *from, out_of.row(to));
            }
            // h = tanh(a), dh/da = 1 - h²; a = W₁ x + b₁
            for (unit, h) in hidden.iter().enumerate() {
                let slope = to_hidden[unit] * (1.0 - h * h);
                to_into_bias.values_mut()[unit] += slope;
                add(to_into.row_mut(unit), slope, x);
                add(to_patches.row_mut(token), slope, into.row(unit));
            }
        }
        Ok(())
    }
}

impl EventWindows {
    /// Parts of the photons in each band, and the logarithm of 1 + rate (photons per second).
    fn describe(&self, window: &[(f32, f32)], seconds: f32, patch: &mut [f32]) {
        let (low, high) = (self.config.lowest_kev.ln(), self.config.highest_kev.ln());
        let part = 1.0 / window.len() as f32;
        patch.fill(0.0);
        for (_, energy) in window {
            let band = ((f64::from(*energy).ln() - low) / (high - low) * self.config.bands as f64).floor();
            // What is outside of the bands counts for the nearest.
            patch[band.clamp(0.0, (self.config.bands - 1) as f64) as usize] += part;
        }
        patch[self.config.bands] = (window.len() as f32 / seconds.max(self.config.frame_seconds as f32)).ln_1p();
    }

    /// `tanh(W₁ x + b₁)`.
    fn hidden(&self, patch: &[f32], parameters: &Parameters) -> Result<Vec<f32>> {
        let (weight, bias) = (parameters.get("hidden.weight")?, parameters.get("hidden.bias")?.values());
        Ok(bias.iter().enumerate().map(|(unit, b)| (b + dot(weight.row(unit), patch)).tanh()).collect())
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `to += factor · what`.
fn add(to: &mut [f32], factor: f32, what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += factor * what;
    }
}
