//! The tokenizer `patches`: squares of an image, as in a vision transformer (Dosovitskiy et al. 2021,
//! arXiv:2010.11929), at their place relative to the centre.

use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keys of `[modality.NAME.tokenizer]` with `kind = "patches"`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchesConfig {
    /// Side of a square in pixels; must divide the image's side. Default 8.
    #[serde(default = "eight")]
    pub patch: usize,
    /// `across` (default): a token holds all channels of its square, in the order of `channels`, so that which band is where needs
    /// no telling; `per_band`: one channel, whose number and wavelength the token is told, so that a missing channel costs nothing
    /// and channels can be masked by themselves.
    #[serde(default)]
    pub layout: Layout,
    /// What each token is told about how its image was made: any of `psf_fwhm` (the seeing), `scale` (width of a pixel),
    /// `noise` (of a pixel as it is given, which is the brightness that is lost when images are divided by their noise).
    /// What is unknown adds nothing; `metadata_dropout` hides each at random in training. Default none.
    #[serde(default)]
    pub metadata: Vec<Known>,
}

/// What may be known about a channel, beside its wavelength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Width of a point source, arcseconds.
    PsfFwhm,
    /// Width of a pixel, arcseconds.
    Scale,
    /// Standard deviation of a pixel.
    Noise,
}

impl Known {
    /// Its field in the arrays.
    fn field(self) -> &'static str {
        match self {
            Self::PsfFwhm => "psf_fwhm",
            Self::Scale => "scale",
            Self::Noise => "noise",
        }
    }

    fn coordinate(self) -> Coordinate {
        let (unit, smallest, largest) = match self {
            Self::PsfFwhm => ("arcsec", 0.03, 30.0),
            Self::Scale => ("arcsec/pixel", 0.01, 30.0),
            Self::Noise => ("", 1e-6, 1e6),
        };
        let encoding = Encoding::Log { smallest, largest, frequencies: 8 };
        Coordinate { name: self.field().into(), unit: unit.into(), encoding, metadata: true }
    }
}

/// What one token holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// All channels of a square.
    #[default]
    Across,
    /// One channel of a square.
    PerBand,
}

fn eight() -> usize {
    8
}

/// Squares of arrays that have `flux` `[C, H, W]`, every value with its own validity.
///
/// A token holds its square channel by channel, line by line. Pixels that are not valid are 0 and have
/// weight 0; a token without a valid pixel is not valid. Weights are relative inverse variances: those of `ivar` `[C, H, W]`, cut
/// off at a thousandth and ten times their median, with mean 1 over the valid pixels of an object and channel; 1 where there
/// is none. Tokens go line by line over the image, with `per_band` channel after channel.
#[derive(Debug, Clone)]
pub struct Patches {
    patch: usize,
    layout: Layout,
    metadata: Vec<Known>,
    channels: usize,
    height: usize,
    width: usize,
    /// Whether the arrays have `ivar`.
    has_ivar: bool,
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "patches",
    summary: "squares of an image at their place, over all channels or one by one",
    origin: env!("CARGO_PKG_NAME"),
    example: "patch = 8\nlayout = \"across\"\n",
    schema: || schemars::schema_for!(PatchesConfig),
    build: |section, context| Ok(Box::new(Patches::build(section, context)?)),
} }

impl Patches {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If `patch` does not divide the image, or the modality is no image.
    pub fn build(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: PatchesConfig = section.read()?;
        let arrays = context.arrays;
        let axes: &[&str] = &["C", "H", "W"];
        let is_image = arrays.valid_axes == axes && arrays.fields.iter().any(|f| f.name == "flux" && f.axes == axes);
        let (Some(channels), Some(height), Some(width), true) =
            (arrays.size("C"), arrays.size("H"), arrays.size("W"), is_image)
        else {
            let reason = format!("`patches` needs a modality with images, which `{}` is not", context.modality);
            return Err(section.reject("kind", reason));
        };
        for side in [height, width] {
            if config.patch == 0 || side % config.patch != 0 {
                return Err(section.reject("patch", indivisible(config.patch, side)));
            }
        }
        let metadata = config.metadata;
        if (1..metadata.len()).any(|i| metadata[..i].contains(&metadata[i])) {
            return Err(section.reject("metadata", "expected each name once"));
        }
        if let Some(lacking) = metadata.iter().map(|m| m.field()).find(|name| !has_field(arrays, name)) {
            let reason = format!("modality `{}` says nothing of `{lacking}`", context.modality);
            return Err(section.reject("metadata", reason));
        }
        let has_ivar = arrays.fields.iter().any(|f| f.name == "ivar" && f.axes == axes);
        Ok(Self { patch: config.patch, layout: config.layout, metadata, channels, height, width, has_ivar })
    }

    /// Channels in one token.
    fn depth(&self) -> usize {
        if self.layout == Layout::Across { self.channels } else { 1 }
    }

    /// T.
    fn count(&self) -> usize {
        self.channels / self.depth() * (self.height / self.patch) * (self.width / self.patch)
    }

    /// First channel, line and place of token `t`.
    fn corner(&self, t: usize) -> (usize, usize, usize) {
        let (down, right) = (self.height / self.patch, self.width / self.patch);
        (t / (down * right), t / right % down * self.patch, t % right * self.patch)
    }

    /// Where in `[C, H, W]` the values of token `t` lie, in their order.
    fn pixels(&self, t: usize) -> impl Iterator<Item = usize> {
        let (c0, y0, x0) = self.corner(t);
        let (p, height, width) = (self.patch, self.height, self.width);
        (0..self.depth() * p * p).map(move |k| {
            let (c, y, x) = (c0 + k / (p * p), y0 + k / p % p, x0 + k % p);
            (c * height + y) * width + x
        })
    }

    /// What `[B, C]` says about the channels; nothing if the arrays lack it.
    fn about<'a>(&self, arrays: &'a Arrays, field: &str) -> Result<&'a [f32]> {
        if !arrays.fields.contains_key(field) {
            return Ok(&[]);
        }
        let (shape, values) = arrays.f32(field)?;
        if shape != [arrays.len(), self.channels] {
            return Err(self.wrong(field, format!("[{}, {}]", arrays.len(), self.channels), shape));
        }
        Ok(values)
    }

    /// Weight of every pixel `[B, C, H, W]`.
    fn weights(&self, arrays: &Arrays, valid: &[u8]) -> Result<Vec<f32>> {
        if !self.has_ivar {
            return Ok(valid.iter().map(|v| f32::from(*v)).collect());
        }
        let (shape, ivar) = arrays.f32("ivar")?;
        let expected = [arrays.len(), self.channels, self.height, self.width];
        if shape != expected {
            return Err(self.wrong("ivar", format!("{expected:?}"), shape));
        }
        let plane = self.height * self.width;
        Ok(ivar.chunks(plane).zip(valid.chunks(plane)).flat_map(|(ivar, valid)| relative(ivar, valid)).collect())
    }

    fn wrong(&self, what: &str, expected: String, found: &[usize]) -> Error {
        Error::Shape { part: format!("tokenizer `patches`, {what}"), expected, found: format!("shape {found:?}") }
    }
}

fn has_field(arrays: &panchroma_core::ArraysSpec, name: &str) -> bool {
    arrays.fields.iter().any(|f| f.name == name && f.axes == ["C"])
}

/// `10` does not divide 63, but 9 and 21 do.
fn indivisible(patch: usize, side: usize) -> String {
    let below = (1..patch.min(side + 1)).rev().find(|d| side.is_multiple_of(*d));
    let above = (patch + 1..=side).find(|d| side.is_multiple_of(*d));
    let nearest: Vec<String> = [below, above].into_iter().flatten().map(|d| format!("`{d}`")).collect();
    format!("`patch = {patch}` does not divide `size = {side}`; the nearest that do: {}", nearest.join(" and "))
}

/// Smallest and largest inverse variance of a pixel that counts, in units of the median: one pixel of next to no error must
/// not be all that is learned.
const WEIGHTS: (f64, f64) = (1e-3, 10.0);

/// Weights of the pixels of one plane, mean 1 over those that are valid; 1 if no inverse variance is known.
fn relative(ivar: &[f32], valid: &[u8]) -> Vec<f32> {
    let own = |(ivar, valid): (&f32, &u8)| (*valid == 1).then_some(f64::from(*ivar));
    let mut known: Vec<f64> = ivar.iter().zip(valid).filter_map(own).filter(|v| *v > 0.0).collect();
    if known.is_empty() {
        return valid.iter().map(|v| f32::from(*v)).collect();
    }
    let middle = known.len() / 2;
    let typical = *known.select_nth_unstable_by(middle, f64::total_cmp).1;
    let weight = |ivar: f64| (ivar / typical).clamp(WEIGHTS.0, WEIGHTS.1);
    let all = ivar.iter().zip(valid).filter_map(own).map(weight);
    let (count, sum) = all.fold((0.0, 0.0), |(count, sum), w| (count + 1.0, sum + w));
    ivar.iter().zip(valid).map(|pixel| own(pixel).map_or(0.0, |v| (weight(v) * count / sum) as f32)).collect()
}

/// Mean of what is known, which is above 0; else NaN.
fn known<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let known: Vec<f32> = values.copied().filter(|v| *v > 0.0).collect();
    known.iter().sum::<f32>() / known.len() as f32
}

impl Tokenizer for Patches {
    fn spec(&self) -> TokenSpec {
        let encoding = Encoding::Fourier {
            shortest: self.patch as f64,
            longest: 4.0 * self.height.max(self.width) as f64,
            frequencies: 12,
        };
        let mut coordinates: Vec<Coordinate> = ["x", "y"]
            .map(|name| Coordinate { name: name.into(), unit: "pixel".into(), encoding, metadata: false })
            .into();
        if self.layout == Layout::PerBand {
            let encoding = Encoding::Category { size: self.channels };
            coordinates.push(Coordinate { name: "channel".into(), unit: "".into(), encoding, metadata: false });
            // As time series have it.
            let encoding = Encoding::Fourier { shortest: 0.1, longest: 12.0, frequencies: 8 };
            let unit = "ln(Angstrom)";
            coordinates.push(Coordinate { name: "wavelength".into(), unit: unit.into(), encoding, metadata: false });
        }
        coordinates.extend(self.metadata.iter().map(|m| m.coordinate()));
        TokenSpec {
            kind: TokenKind::Patches { width: self.depth() * self.patch * self.patch },
            max_tokens: self.count(),
            coordinates,
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let batch = arrays.len();
        let expected = [batch, self.channels, self.height, self.width];
        let (shape, flux) = arrays.f32("flux")?;
        let (valid_shape, valid) = arrays.valid()?;
        for (what, shape) in [("flux", shape), ("valid", valid_shape)] {
            if shape != expected {
                return Err(self.wrong(what, format!("{expected:?}"), shape));
            }
        }
        let (count, patch) = (self.count(), self.depth() * self.patch * self.patch);
        let image = self.channels * self.height * self.width;
        let weight = self.weights(arrays, valid)?;
        let per_band = self.layout == Layout::PerBand;
        let axes = self.spec().coordinates.len();
        let wavelength = self.about(arrays, "wavelength")?;
        let metadata = self.metadata.iter().map(|m| self.about(arrays, m.field())).collect::<Result<Vec<_>>>()?;
        let mut values = Vec::with_capacity(batch * count * patch);
        let mut weights = Vec::with_capacity(batch * count * patch);
        let mut token_valid = vec![0u8; batch * count];
        let mut coordinates = Vec::with_capacity(batch * count * axes);
        let middle = |corner: usize, side: usize| corner as f32 + 0.5 * self.patch as f32 - 0.5 * side as f32;
        for (at, token) in token_valid.iter_mut().enumerate() {
            let (b, t) = (at / count, at % count);
            for pixel in self.pixels(t).map(|pixel| b * image + pixel) {
                let measured = valid[pixel] == 1 && arrays.present[b];
                values.push(if measured { flux[pixel] } else { 0.0 });
                weights.push(if measured { weight[pixel] } else { 0.0 });
                *token |= u8::from(measured);
            }
            let (channel, y, x) = self.corner(t);
            coordinates.extend([middle(x, self.width), middle(y, self.height)]);
            let one = |about: &[f32]| known(about.get(b * self.channels + channel).into_iter());
            if per_band {
                coordinates.extend([channel as f32, one(wavelength)]);
                coordinates.extend(metadata.iter().map(|about| one(about)));
            } else {
                // The mean of the channels that the token holds.
                let all = b * self.channels..(b + 1) * self.channels;
                coordinates
                    .extend(metadata.iter().map(|about| known(about.get(all.clone()).unwrap_or_default().iter())));
            }
        }
        let cpu = Device::Cpu;
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(values, (batch, count, patch), &cpu)?),
            valid: Tensor::from_vec(token_valid, (batch, count), &cpu)?,
            coordinates: Tensor::from_vec(coordinates, (batch, count, axes), &cpu)?,
            weights: Some(Tensor::from_vec(weights, (batch, count, patch), &cpu)?),
            present: arrays.present.clone(),
        })
    }

    /// Exact. Which pixels were measured comes from the weights; without weights all pixels of a valid
    /// token count. `ivar` is 0 (unknown): tokens keep relative weights only.
    fn reconstruct(&self, tokens: &Tokens, _like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("patches", &self.spec())?;
        let TokenValues::Patches(values) = &tokens.values else { return Ok(None) };
        let (batch, count, patch) = values.dims3()?;
        if count != self.count() {
            return Err(self.wrong("tokens", format!("{} of them", self.count()), values.dims()));
        }
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        let weights = tokens.weights.as_ref().map(|w| w.flatten_all()?.to_vec1::<f32>()).transpose()?;
        let token_valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let image = self.channels * self.height * self.width;
        let mut flux = vec![0f32; batch * image];
        let mut valid = vec![0u8; batch * image];
        for at in (0..batch * count).filter(|at| token_valid[*at] == 1) {
            let (b, t) = (at / count, at % count);
            for (k, pixel) in (at * patch..).zip(self.pixels(t)) {
                if weights.as_ref().is_none_or(|w| w[k] > 0.0) {
                    flux[b * image + pixel] = values[k];
                    valid[b * image + pixel] = 1;
                }
            }
        }
        let shape = [batch, self.channels, self.height, self.width];
        // What a token was told about its image may have been dropped: all unknown.
        let unknown = Array::f32(&[batch, self.channels], vec![0.0; batch * self.channels])?;
        let names = ["wavelength", "psf_fwhm", "scale", "noise"];
        let mut fields: BTreeMap<String, Array> = names.map(|name| (name.to_owned(), unknown.clone())).into();
        if self.has_ivar {
            fields.insert("ivar".to_owned(), Array::f32(&shape, vec![0.0; flux.len()])?);
        }
        fields.insert("flux".to_owned(), Array::f32(&shape, flux)?);
        let valid = Array::new(&shape, Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }
}
