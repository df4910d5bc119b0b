//! The modality `image`: planes of any size -> scaled squares of one size.

use crate::config::ImageConfig;
use crate::plane::{Plane, Turn};
use panchroma_core::data::{DataError, Ragged};
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, Values,
};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

/// An image of one or more channels.
///
/// Arrays (`C` channels, `H` = `W` = `size` pixels): `flux` `[B, C, H, W]` f32, background subtracted, scaled,
/// and standardised over the training split, 0 where not valid; `valid` of the same shape. A pixel
/// is bad if its flag is true, its flux is not finite or its inverse variance is 0; so are all pixels of a
/// channel that the object lacks.
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

/// The columns of one batch, read once.
struct Read {
    names: Ragged<String>,
    flux: Ragged<f32>,
    mask: Ragged<bool>,
    ivar: Ragged<f32>,
}

impl Image {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range.
    pub fn build(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        Ok(Self { name: context.name.into(), config: ImageConfig::read(section)?, scalers: Vec::new() })
    }

    fn path(&self, field: &str) -> String {
        if self.config.column.is_empty() { field.into() } else { format!("{}.{field}", self.config.column) }
    }

    fn read(&self, rows: &Rows) -> Result<Read> {
        Ok(Read {
            names: rows.ragged_text(&self.path(&self.config.channels_from))?,
            flux: rows.ragged_f32(&self.path(&self.config.flux))?,
            mask: rows.ragged_flags(&self.path(&self.config.mask))?,
            ivar: rows.ragged_f32(&self.path(&self.config.ivar))?,
        })
    }

    fn bad(&self, object: &str, field: &str, reason: String) -> Error {
        DataError::BadValue { object: object.into(), column: self.path(field), reason }.into()
    }

    /// The planes of row `i`, one place per channel.
    fn planes<'a>(&self, read: &'a Read, i: usize, object: &str) -> Result<Vec<Option<Plane<'a>>>> {
        let config = &self.config;
        let mut channels = vec![None; config.channels.len()];
        let planes = lists(&read.flux, 0, i);
        let names = read.names.row(i);
        if names.len() != planes.len() {
            let reason = format!("expected a name for each of {} planes, got {}", planes.len(), names.len());
            return Err(self.bad(object, &config.channels_from, reason));
        }
        let mask_planes = self.companion(&read.mask, i, &planes, (&config.mask, object))?;
        let ivar_planes = self.companion(&read.ivar, i, &planes, (&config.ivar, object))?;
        for (place, (plane, name)) in planes.clone().zip(names).enumerate() {
            let Some(channel) = config.channels.iter().position(|c| c == name) else { continue };
            if channels[channel].is_some() {
                let reason =
                    format!("two planes are called `{name}`; does another field tell them apart (`channels_from`)?");
                return Err(self.bad(object, &config.channels_from, reason));
            }
            let (height, width, pixels) = self.rectangle(&read.flux, plane, name, (&config.flux, object))?;
            if pixels.is_empty() {
                continue;
            }
            let beside = |field: &str, shape: (usize, usize)| match shape == (height, width) {
                true => Ok(()),
                false => {
                    let reason = format!(
                        "expected {height} lines of {width} pixels in `{name}`, as `{}` has, got {} of {}",
                        config.flux, shape.0, shape.1
                    );
                    Err(self.bad(object, field, reason))
                }
            };
            let mut mask: &[bool] = &[];
            if let Some(start) = mask_planes {
                let (h, w, own) = self.rectangle(&read.mask, start + place, name, (&config.mask, object))?;
                beside(&config.mask, (h, w))?;
                mask = read.mask.values.get(own).unwrap_or_default();
            }
            let mut ivar: &[f32] = &[];
            if let Some(start) = ivar_planes {
                let (h, w, own) = self.rectangle(&read.ivar, start + place, name, (&config.ivar, object))?;
                beside(&config.ivar, (h, w))?;
                ivar = read.ivar.values.get(own).unwrap_or_default();
            }
            let flux = read.flux.values.get(pixels).unwrap_or_default();
            channels[channel] = Some(Plane { flux, mask, ivar, height, width });
        }
        Ok(channels)
    }

    /// First plane of an optional column in row `i`; `None` if the row lacks it.
    fn companion<T>(
        &self,
        column: &Ragged<T>,
        i: usize,
        planes: &Range<usize>,
        (field, object): (&str, &str),
    ) -> Result<Option<usize>> {
        if !column.present.get(i).copied().unwrap_or(false) {
            return Ok(None);
        }
        let own = lists(column, 0, i);
        if own.len() != planes.len() {
            let reason = format!("expected {} planes, as `{}` has, got {}", planes.len(), self.config.flux, own.len());
            return Err(self.bad(object, field, reason));
        }
        Ok(Some(own.start))
    }

    /// Height, width and where the pixels are, of one plane.
    fn rectangle<T>(
        &self,
        column: &Ragged<T>,
        plane: usize,
        name: &str,
        (field, object): (&str, &str),
    ) -> Result<(usize, usize, Range<usize>)> {
        let lines = lists(column, 1, plane);
        let width = lines.clone().next().map_or(0, |line| lists(column, 2, line).len());
        let Some(odd) = lines.clone().find(|line| lists(column, 2, *line).len() != width) else {
            let pixels = lists(column, 2, lines.start).start..lists(column, 2, lines.end.saturating_sub(1)).end;
            return Ok((lines.len(), width, if lines.is_empty() { 0..0 } else { pixels }));
        };
        let reason = format!(
            "expected a rectangle, but plane `{name}` has {width} pixels in its first line and {} in line {}",
            lists(column, 2, odd).len(),
            odd - lines.start
        );
        Err(self.bad(object, field, reason))
    }
}

/// Elements of list `i` at list level `level`; empty if there is no such list.
fn lists<T>(column: &Ragged<T>, level: usize, i: usize) -> Range<usize> {
    let ends = column.offsets.get(level).and_then(|ends| Some((*ends.get(i)?, *ends.get(i + 1)?)));
    ends.map_or(0..0, |(from, to)| from..to)
}

impl Modality for Image {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::text(self.path(&self.config.channels_from)).list(),
            Column::number(self.path(&self.config.flux)).depth(3),
            Column::flag(self.path(&self.config.mask)).depth(3).optional(),
            Column::number(self.path(&self.config.ivar)).depth(3).optional(),
        ]
    }

    fn spec(&self) -> ArraysSpec {
        let size = self.config.size;
        ArraysSpec {
            fields: vec![ArrayField { name: "flux", axes: &["C", "H", "W"], unit: String::new() }],
            valid_axes: &["C", "H", "W"],
            sizes: vec![("C", self.config.channels.len()), ("H", size), ("W", size)],
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut sums = vec![(0.0f64, 0.0f64, 0.0f64); self.config.channels.len()];
        for rows in rows {
            let rows = rows?;
            let read = self.read(&rows)?;
            for (i, object) in rows.ids().iter().enumerate() {
                for (plane, sum) in self.planes(&read, i, object)?.iter().zip(&mut sums) {
                    let Some(plane) = plane else { continue };
                    for v in plane.cut_out(&self.config, Turn::default()).into_iter().flatten() {
                        *sum = (sum.0 + 1.0, sum.1 + v, sum.2 + v * v);
                    }
                }
            }
        }
        let mut scalers = Vec::with_capacity(sums.len());
        for ((count, sum, squares), name) in sums.into_iter().zip(&self.config.channels) {
            if count == 0.0 {
                let column = format!("{}, plane {name}", self.path(&self.config.flux));
                return Err(DataError::AllMissing { column, modality: Some(self.name.clone()) }.into());
            }
            let mean = sum / count;
            let deviation = (squares / count - mean * mean).max(0.0).sqrt();
            let usable = mean.is_finite() && deviation.is_finite() && deviation > 1e-6 * mean.abs().max(1e-6);
            scalers.push(if usable { (mean, deviation) } else { (0.0, 1.0) });
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
        let read = self.read(rows)?;
        let mut flux = vec![0f32; batch * channels * pixels];
        let mut valid = vec![0u8; batch * channels * pixels];
        let mut present = vec![false; batch];
        for (i, object) in rows.ids().iter().enumerate() {
            let turn = match context.mode {
                Mode::Evaluate => Turn::default(),
                Mode::Train => {
                    let mut random = context.random(object, "turn");
                    let (flip, quarters) = (random.random::<bool>(), random.random_range(0..4u8));
                    Turn { flip: flip && self.config.flip, quarters: if self.config.rotate { quarters } else { 0 } }
                }
            };
            for (c, plane) in self.planes(&read, i, object)?.into_iter().enumerate() {
                let Some(plane) = plane else { continue };
                let (mean, deviation) = self.scalers.get(c).copied().unwrap_or((0.0, 1.0));
                let start = (i * channels + c) * pixels;
                for (at, value) in (start..).zip(plane.cut_out(&self.config, turn)) {
                    let Some(value) = value else { continue };
                    let value = ((value - mean) / deviation).clamp(-self.config.clip, self.config.clip);
                    flux[at] = value as f32;
                    valid[at] = 1;
                    present[i] = true;
                }
            }
        }
        let shape = [batch, channels, size, size];
        let fields = BTreeMap::from([("flux".to_owned(), Array::f32(&shape, flux)?)]);
        Ok(Arrays { present, valid: Array::new(&shape, Values::U8(valid))?, fields })
    }
}
