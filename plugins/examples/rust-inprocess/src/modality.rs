//! The modality `visibilities`: what an interferometer measured of an object, one complex number per baseline and time.
//!
//! Comes in: five lists per object. Goes out: arrays `u`, `v`, `re`, `im`, `weight` of axes `[L]`, the visibilities of an object in the
//! order of the catalogue. Amplitudes are divided by one number that is learned from the training split. An object of which no
//! visibility was measured is absent.

use panchroma_core::data::{DataError, Ragged};
use panchroma_core::reexport::rand::seq::index::sample;
use panchroma_core::reexport::{inventory, schemars, serde, serde_json};
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, ValueType, Values,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `[modality.NAME]` with `kind = "visibilities"`. The comments are the manual: `my-panchroma docs visibilities` prints them.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "panchroma_core::reexport::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_core::reexport::schemars")]
pub struct VisibilitiesConfig {
    /// Column with the east-west coordinates of the baselines, in kilo-wavelengths: a list per object. Default `u`.
    pub u: String,
    /// Column with the north-south coordinates, in kilo-wavelengths. Default `v`.
    pub v: String,
    /// Column with the real parts, in one unit for all objects. Default `real`.
    pub real: String,
    /// Column with the imaginary parts, in the same unit. Default `imaginary`.
    pub imaginary: String,
    /// Column with the weights: inverse variances of the real and of the imaginary part, 0 where a visibility is flagged. Default
    /// `weight`.
    pub weight: String,
    /// Most visibilities of an object, 1 to 65536. Of more, training draws so many anew each epoch; otherwise they are taken at even
    /// distances. Default 64.
    pub max_visibilities: usize,
}

impl Default for VisibilitiesConfig {
    fn default() -> Self {
        Self {
            u: "u".into(),
            v: "v".into(),
            real: "real".into(),
            imaginary: "imaginary".into(),
            weight: "weight".into(),
            max_visibilities: 64,
        }
    }
}

/// The modality `visibilities`.
#[derive(Clone, Debug)]
pub struct Visibilities {
    config: VisibilitiesConfig,
    /// The user's name of the modality, for messages.
    name: String,
    /// What amplitudes are divided by: their median in the training split.
    amplitude: f64,
}

/// One that was measured.
#[derive(Clone, Copy, Debug)]
struct Visibility {
    u: f32,
    v: f32,
    re: f64,
    im: f64,
    weight: f64,
}

/// The columns of a batch of objects.
struct Columns {
    u: Ragged<f32>,
    v: Ragged<f32>,
    real: Ragged<f64>,
    imaginary: Ragged<f64>,
    weight: Ragged<f64>,
}

impl Visibilities {
    /// From its table. Whatever only the plugin can know is checked here: `reject` points at the user's line.
    ///
    /// # Errors
    /// If a key is unknown or out of range.
    pub fn new(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        let config: VisibilitiesConfig = section.read()?;
        if !(1..=65_536).contains(&config.max_visibilities) {
            let reason = format!("expected 1 to 65536, got {}", config.max_visibilities);
            return Err(section.reject("max_visibilities", reason));
        }
        Ok(Self { config, name: context.name.into(), amplitude: 1.0 })
    }

    /// A column that can't be read as numbers is an error of `ragged_*`, which names it.
    fn read(&self, rows: &Rows) -> Result<Columns> {
        Ok(Columns {
            u: rows.ragged_f32(&self.config.u)?,
            v: rows.ragged_f32(&self.config.v)?,
            real: rows.ragged_f64(&self.config.real)?,
            imaginary: rows.ragged_f64(&self.config.imaginary)?,
            weight: rows.ragged_f64(&self.config.weight)?,
        })
    }

    /// What was measured of object `i`. A null list is empty, and a null in a list is NaN.
    fn measured(&self, columns: &Columns, i: usize, object: &str) -> Result<Vec<Visibility>> {
        let bad = |column: &str, reason: String| -> Error {
            DataError::BadValue { object: object.into(), column: column.into(), reason }.into()
        };
        let (u, v) = (columns.u.row(i), columns.v.row(i));
        let (real, imaginary, weight) = (columns.real.row(i), columns.imaginary.row(i), columns.weight.row(i));
        for (column, length) in [
            (&self.config.v, v.len()),
            (&self.config.real, real.len()),
            (&self.config.imaginary, imaginary.len()),
            (&self.config.weight, weight.len()),
        ] {
            if length != u.len() {
                let reason = format!("expected as many values as `{}` has, {}, got {length}", self.config.u, u.len());
                return Err(bad(column, reason));
            }
        }
        let mut measured = Vec::with_capacity(u.len());
        for k in 0..u.len() {
            if weight[k] < 0.0 {
                return Err(bad(&self.config.weight, format!("expected 0 and more, got {} at {k}", weight[k])));
            }
            // Numbers that single precision can't hold are no measurements; neither is what is flagged.
            let fits = |x: f64| (x as f32).is_finite();
            if !(weight[k] > 0.0 && fits(weight[k]) && fits(real[k]) && fits(imaginary[k])) {
                continue;
            }
            for (column, place) in [(&self.config.u, u[k]), (&self.config.v, v[k])] {
                if !place.is_finite() {
                    return Err(bad(column, format!("expected a finite number, got {place} at {k}")));
                }
            }
            // Brightness is real, so V(-u, -v) is the conjugate of V(u, v): of the two only one is known to the model.
            let mirror = u[k] < 0.0 || (u[k] == 0.0 && v[k] < 0.0);
            let sign: f32 = if mirror { -1.0 } else { 1.0 };
            measured.push(Visibility {
                u: sign * u[k],
                v: sign * v[k],
                re: real[k],
                im: f64::from(sign) * imaginary[k],
                weight: weight[k],
            });
        }
        Ok(measured)
    }

    /// No more than `max_visibilities` of them, in their order.
    fn chosen(&self, all: Vec<Visibility>, object: &str, context: &PrepareContext<'_>) -> Vec<Visibility> {
        let (n, most) = (all.len(), self.config.max_visibilities);
        if n <= most {
            return all;
        }
        let mut which = match context.mode {
            // The only source of random numbers: a function of seed, epoch and object, whatever the thread.
            Mode::Train => sample(&mut context.random(object, "visibilities"), n, most).into_vec(),
            Mode::Evaluate => (0..most).map(|k| k * n / most).collect(),
        };
        which.sort_unstable();
        which.into_iter().map(|k| all[k]).collect()
    }
}

impl Modality for Visibilities {
    fn columns(&self) -> Vec<Column> {
        let VisibilitiesConfig { u, v, real, imaginary, weight, .. } = &self.config;
        [u, v, real, imaginary, weight].map(|name| Column::number(name).list()).into()
    }

    fn spec(&self) -> ArraysSpec {
        let field = |(name, unit): (&'static str, &str)| ArrayField {
            name,
            axes: &["L"],
            unit: unit.into(),
            values: ValueType::F32,
        };
        let fields = [("u", "kilo-wavelength"), ("v", "kilo-wavelength"), ("re", ""), ("im", ""), ("weight", "")];
        ArraysSpec {
            fields: fields.map(field).into(),
            valid_axes: &["L"],
            sizes: vec![("L", self.config.max_visibilities)],
            labels: Vec::new(),
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut amplitudes = Vec::new();
        for rows in rows {
            let rows = rows?;
            let columns = self.read(&rows)?;
            for (i, object) in rows.ids().iter().enumerate() {
                let own = self.measured(&columns, i, object)?;
                amplitudes.extend(own.iter().map(|x| x.re.hypot(x.im)).filter(|a| *a > 0.0));
            }
        }
        amplitudes.sort_unstable_by(f64::total_cmp);
        let Some(median) = amplitudes.get(amplitudes.len() / 2) else {
            let (column, modality) = (self.config.real.clone(), Some(self.name.clone()));
            return Err(DataError::AllMissing { column, modality }.into());
        };
        self.amplitude = *median;
        Ok(())
    }

    fn fitted(&self) -> Value {
        json!({ "amplitude": self.amplitude })
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let found = fitted["amplitude"].as_f64().filter(|a| a.is_finite() && *a > 0.0);
        self.amplitude = found.ok_or_else(|| Error::Plugin {
            kind: "modality",
            name: self.name.clone(),
            reason: format!("expected `amplitude`, a number above 0, got {fitted}"),
        })?;
        Ok(())
    }

    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        let columns = self.read(rows)?;
        let mut objects = Vec::with_capacity(rows.len());
        for (i, object) in rows.ids().iter().enumerate() {
            objects.push(self.chosen(self.measured(&columns, i, object)?, object, context));
        }
        // Padded to the longest of the batch: what is behind the end of an object is 0, and not valid.
        let (b, l) = (objects.len(), objects.iter().map(Vec::len).max().unwrap_or(0));
        let mut valid = vec![0u8; b * l];
        let mut fields = ["u", "v", "re", "im", "weight"].map(|name| (name, vec![0f32; b * l]));
        for (i, own) in objects.iter().enumerate() {
            for (k, x) in own.iter().enumerate() {
                let values = [
                    x.u,
                    x.v,
                    (x.re / self.amplitude) as f32,
                    (x.im / self.amplitude) as f32,
                    (x.weight * self.amplitude * self.amplitude) as f32,
                ];
                // A valid place holds finite numbers, whatever the catalogue holds.
                if !values.iter().all(|x| x.is_finite()) {
                    continue;
                }
                valid[i * l + k] = 1;
                for ((_, field), value) in fields.iter_mut().zip(values) {
                    field[i * l + k] = value;
                }
            }
        }
        let present = (0..b).map(|i| valid[i * l..(i + 1) * l].contains(&1)).collect();
        let field = |(name, values): (&str, Vec<f32>)| Ok((name.to_owned(), Array::f32(&[b, l], values)?));
        Ok(Arrays {
            present,
            valid: Array::new(&[b, l], Values::U8(valid))?,
            fields: fields.into_iter().map(field).collect::<Result<BTreeMap<_, _>>>()?,
        })
    }
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "visibilities",
    summary: "complex visibilities of an interferometer, as measured, without an image",
    origin: env!("CARGO_PKG_NAME"),
    example: "real = \"real\"\nimaginary = \"imaginary\"\nmax_visibilities = 128\n",
    schema: || schemars::schema_for!(VisibilitiesConfig),
    build: |section, context| Ok(Box::new(Visibilities::new(section, context)?)),
} }
