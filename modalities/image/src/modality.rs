//! The modality `image`: planes of any size -> scaled squares of one size.

use crate::config::{ImageConfig, Resize};
use crate::plane::{Change, Turn};
use crate::read::{Found, Read, columns};
use crate::sketch;
use panchroma_core::bands::extinction;
use panchroma_core::data::DataError;
use panchroma_core::sketch::Sketch;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, ValueType, Values,
};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An image of one or more channels.
///
/// Arrays (`C` channels, `H` = `W` = `size` pixels): `flux` `[B, C, H, W]` f32, background subtracted, scaled,
/// and, unless the config says no, standardised over the training split, 0 where not valid; `valid` of the same shape. A pixel
/// is bad if its flag says so, its flux is not finite or beyond 1e30, or its inverse variance is 0 or not finite; so are all pixels of a
/// channel that the object lacks. `ivar` of the same shape, unless the config says `ivar = ""`: the inverse variance of the values of
/// `flux`, by that of the data and all that was done to it, with neighbours taken as independent; 0 where unknown. Beside
/// them, `[B, C]` f32 and 0 where unknown: `wavelength` (natural logarithm of Angstrom), `psf_fwhm`
/// (arcseconds), `scale` (arcseconds per pixel of the square), `noise` (of a pixel as it is given, in the unit of the flux).
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    config: ImageConfig,
    /// Mean and standard deviation per channel over the training split; empty before that is known.
    scalers: Vec<(f64, f64)>,
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "image",
    summary: "planes of pixels, cut to one size, background subtracted and scaled by asinh",
    origin: env!("CARGO_PKG_NAME"),
    example: "channels = [\"g\", \"r\", \"z\"]\nsize = 64\nflip = true\nrotate = true\n",
    schema: || schemars::schema_for!(ImageConfig),
    build: |section, context| Ok(Box::new(Image::build(section, context)?)),
} }

impl Image {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range.
    pub fn build(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        Ok(Self { name: context.name.into(), config: ImageConfig::read(section)?, scalers: Vec::new() })
    }
}

impl Modality for Image {
    fn columns(&self) -> Vec<Column> {
        columns(&self.config)
    }

    fn spec(&self) -> ArraysSpec {
        let size = self.config.size;
        let mut fields = vec![
            ArrayField { name: "flux", axes: &["C", "H", "W"], unit: String::new(), values: ValueType::F32 },
            ArrayField { name: "wavelength", axes: &["C"], unit: "ln(Angstrom)".into(), values: ValueType::F32 },
            ArrayField { name: "psf_fwhm", axes: &["C"], unit: "arcsec".into(), values: ValueType::F32 },
            ArrayField { name: "scale", axes: &["C"], unit: "arcsec/pixel".into(), values: ValueType::F32 },
            ArrayField { name: "noise", axes: &["C"], unit: String::new(), values: ValueType::F32 },
        ];
        if !self.config.ivar.is_empty() {
            fields.push(ArrayField {
                name: "ivar",
                axes: &["C", "H", "W"],
                unit: String::new(),
                values: ValueType::F32,
            });
        }
        ArraysSpec {
            fields,
            valid_axes: &["C", "H", "W"],
            sizes: vec![("C", self.config.channels.len()), ("H", size), ("W", size)],
            labels: Vec::new(),
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut sums = vec![(0.0f64, 0.0f64, 0.0f64); self.config.channels.len()];
        let (mut marked, mut flags) = (0, 0);
        for rows in rows {
            let rows = rows?;
            let read = Read::new(&self.config, &rows)?;
            for (i, object) in rows.ids().iter().enumerate() {
                let planes = read.planes(i, object)?;
                for (c, (found, sum)) in planes.iter().zip(&mut sums).enumerate() {
                    let Some(found) = found else { continue };
                    let (own, of) = found.plane.marked();
                    (marked, flags) = (marked + own, flags + of);
                    let change = self.calibration(found, read.ebv(i));
                    for v in found.plane.cut_out(&self.config, c, change).values.into_iter().flatten() {
                        *sum = (sum.0 + 1.0, sum.1 + v, sum.2 + v * v);
                    }
                }
            }
        }
        if self.config.mask_marks.is_none() && marked as f64 > MOST_MARKED * flags as f64 {
            let share = 100.0 * marked as f64 / flags as f64;
            let reason = format!(
                "`{}` marks {share:.0} % of the pixels that are good without it: does it mark the good ones? say so by \
                 `mask_marks = \"good\"`, or `mask_marks = \"bad\"` if it is right",
                self.config.path(&self.config.mask)
            );
            return Err(Error::Plugin { kind: "modality", name: self.name.clone(), reason });
        }
        let mut scalers = Vec::with_capacity(sums.len());
        for ((count, sum, squares), name) in sums.into_iter().zip(&self.config.channels) {
            if count == 0.0 {
                let column = format!("{}, plane {name}", self.config.path(&self.config.flux));
                return Err(DataError::AllMissing { column, modality: Some(self.name.clone()) }.into());
            }
            let mean = sum / count;
            let deviation = (squares / count - mean * mean).max(0.0).sqrt();
            let usable = mean.is_finite() && deviation.is_finite() && deviation > 1e-6 * mean.abs().max(1e-6);
            scalers.push(if usable && self.config.standardise { (mean, deviation) } else { (0.0, 1.0) });
        }
        self.scalers = scalers;
        Ok(())
    }

    fn fitted(&self) -> Value {
        if self.scalers.is_empty() {
            return Value::Null;
        }
        let one = |(mean, deviation): &(f64, f64)| json!({ "mean": mean, "deviation": deviation });
        json!({ "channels": self.scalers.iter().map(one).collect::<Vec<_>>() })
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        if fitted.is_null() {
            self.scalers = Vec::new();
            return Ok(());
        }
        let one = |v: &Value| {
            let (mean, deviation) = (v.get("mean")?.as_f64()?, v.get("deviation")?.as_f64()?);
            (mean.is_finite() && deviation > 0.0).then_some((mean, deviation))
        };
        let list = fitted.get("channels").and_then(Value::as_array);
        let scalers: Option<Vec<(f64, f64)>> = list.and_then(|list| list.iter().map(one).collect());
        let expected = self.config.channels.len();
        self.scalers = scalers.filter(|s| s.len() == expected).ok_or_else(|| Error::Plugin {
            kind: "modality",
            name: self.name.clone(),
            reason: format!(
                "expected `channels` with `mean` and a positive `deviation` for each of {expected}, got {fitted}"
            ),
        })?;
        Ok(())
    }

    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        let (batch, size, channels) = (rows.len(), self.config.size, self.config.channels.len());
        let pixels = size * size;
        let read = Read::new(&self.config, rows)?;
        let mut flux = vec![0f32; batch * channels * pixels];
        let has_ivar = !self.config.ivar.is_empty();
        let mut ivar = vec![0f32; if has_ivar { flux.len() } else { 0 }];
        let mut valid = vec![0u8; batch * channels * pixels];
        let mut present = vec![false; batch];
        let mut known: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0f32; batch * channels]);
        for (i, object) in rows.ids().iter().enumerate() {
            let draw = Draw::new(&self.config, context, object);
            for (c, found) in read.planes(i, object)?.into_iter().enumerate() {
                let Some(found) = found else { continue };
                let (mean, deviation) = self.scalers.get(c).copied().unwrap_or((0.0, 1.0));
                let mut change = self.calibration(&found, read.ebv(i));
                let ratio = change.ratio;
                let blur = draw.apply(&self.config, context, &mut change, (&found, object, c));
                let cut = found.plane.cut_out(&self.config, c, change);
                let most = if self.config.standardise { self.config.clip } else { f64::INFINITY };
                let start = (i * channels + c) * pixels;
                for (at, value) in (start..).zip(cut.values) {
                    let Some(value) = value else { continue };
                    let value = ((value - mean) / deviation).clamp(-most, most);
                    flux[at] = value as f32;
                    valid[at] = 1;
                    present[i] = true;
                }
                for (own, to) in cut.ivar.iter().zip(ivar.iter_mut().skip(start)) {
                    *to = (own * deviation * deviation).min(LARGEST) as f32;
                }
                // The blur adds to the seeing; in a unit that only the pixel's width tells.
                let psf_fwhm = match (found.psf_fwhm, found.scale) {
                    (Some(own), Some(scale)) => own.hypot(blur * scale),
                    (Some(own), None) if blur == 0.0 => own,
                    _ => 0.0,
                };
                let wavelength = found.wavelength.map_or(0.0, f64::ln);
                let about = [wavelength, psf_fwhm, found.scale.map_or(0.0, |s| s * ratio), cut.noise];
                for (list, value) in known.iter_mut().zip(about) {
                    list[i * channels + c] = value as f32;
                }
            }
        }
        let shape = [batch, channels, size, size];
        let mut fields = BTreeMap::from([("flux".to_owned(), Array::f32(&shape, flux)?)]);
        for (name, values) in ["wavelength", "psf_fwhm", "scale", "noise"].into_iter().zip(known) {
            fields.insert(name.to_owned(), Array::f32(&[batch, channels], values)?);
        }
        if has_ivar {
            fields.insert("ivar".to_owned(), Array::f32(&shape, ivar)?);
        }
        Ok(Arrays { present, valid: Array::new(&shape, Values::U8(valid))?, fields })
    }

    fn sketch(&self, arrays: &Arrays, row: usize) -> Result<Option<Sketch>> {
        sketch::sketch(arrays, row, &self.config.channels)
    }
}

impl Image {
    /// What happens to a plane in training and in use alike: its dust, its pixels.
    fn calibration(&self, found: &Found<'_>, ebv: Option<f64>) -> Change {
        let longest = found.plane.height.max(found.plane.width) as f64;
        let ratio = match (self.config.resize, self.config.pixel_scale, found.scale) {
            (Resize::Stretch, _, _) => longest / self.config.size as f64,
            (Resize::Crop, Some(wanted), Some(own)) => wanted / own,
            _ => 1.0,
        };
        let dust = ebv.zip(found.wavelength).map_or(1.0, |(ebv, w)| 10f64.powf(0.4 * ebv * extinction(w)));
        Change { ratio, factor: dust, ..Change::default() }
    }
}

/// What was drawn for an object in training, alike for all of its planes; nothing in use.
#[derive(Default)]
struct Draw {
    turn: Turn,
    shift: (i64, i64),
    /// Pixels of the data, full width at half maximum.
    blur: f64,
    noise: f64,
    ebv: f64,
}

impl Draw {
    fn new(config: &ImageConfig, context: &PrepareContext<'_>, object: &str) -> Self {
        if context.mode == Mode::Evaluate {
            return Self::default();
        }
        let mut random = context.random(object, "turn");
        let (flip, quarters) = (random.random::<bool>(), random.random_range(0..4u8));
        let turn = Turn { flip: flip && config.flip, quarters: if config.rotate { quarters } else { 0 } };
        let mut random = context.random(object, "shift");
        let most = config.shift as i64;
        let shift = (random.random_range(-most..=most), random.random_range(-most..=most));
        let unit = |purpose: &str| context.random(object, purpose).random::<f64>();
        let (blur, noise) = (config.blur * unit("blur"), config.noise * unit("noise"));
        Self { turn, shift, blur, noise, ebv: config.redden * (2.0 * unit("redden") - 1.0) }
    }

    /// Adds it to `change`; gives the blur in pixels.
    fn apply(
        &self,
        config: &ImageConfig,
        context: &PrepareContext<'_>,
        change: &mut Change,
        (found, object, channel): (&Found<'_>, &str, usize),
    ) -> f64 {
        (change.turn, change.shift) = (self.turn, self.shift);
        change.blur = self.blur / FWHM;
        if let Some(wavelength) = found.wavelength {
            change.factor *= 10f64.powf(-0.4 * self.ebv * extinction(wavelength));
        }
        if self.noise > 0.0
            && let Some(name) = config.channels.get(channel)
        {
            change.noise = Some((self.noise, context.random(object, &format!("noise of {name}"))));
        }
        self.blur
    }
}

/// Flags that mark a larger share of the pixels mean something else.
const MOST_MARKED: f64 = 0.9;

/// Inverse variances beyond it do not fit into single precision.
const LARGEST: f64 = 1e37;

/// Full width at half maximum of a Gaussian, in standard deviations.
const FWHM: f64 = 2.354_820_045;
