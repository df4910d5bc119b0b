//! Patches along the first axis of a field, of any modality.

use crate::config::{FieldCoordinate, WindowsConfig};
use crate::layout::Layout;
use candle_core::{Device, Tensor};
use panchroma_core::tokens::INDEX;
use panchroma_core::{
    ArrayField, Arrays, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, ValueType, Values,
};

/// The tokenizer `windows`.
///
/// A token holds `length` entries of the first axis, each with everything of the other axes, and behind them one flag per value: 1
/// if it was measured. What was not measured, is no number, or lies behind the end of an axis is 0 with flag 0. Weights are 1 at
/// measured values and 0 elsewhere, also for the flags, so that masked training is scored on measurements alone.
#[derive(Clone, Debug)]
pub struct Windows {
    field: &'static str,
    layout: Layout,
    length: usize,
    scale: f64,
    /// Each with the name and unit of its field.
    coordinates: Vec<(&'static str, Coordinate)>,
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "windows",
    summary: "the arrays of any modality, cut into patches along the first axis of a field",
    origin: env!("CARGO_PKG_NAME"),
    example: "field = \"flux\"\nlength = 4\nscale = 10.0\n\
              coordinates = [{ field = \"time\", shortest = 1.0, longest = 1000.0, frequencies = 16 }]\n",
    schema: || schemars::schema_for!(WindowsConfig),
    build: |section, context| Ok(Box::new(Windows::new(section, context)?)),
} }

impl Windows {
    /// From its table, for any arrays of which the mask has no axis that the field lacks.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has no such fields.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: WindowsConfig = section.read()?;
        config.check(section)?;
        let fields = &context.arrays.fields;
        let names = || fields.iter().map(|f| f.name.to_owned()).collect::<Vec<_>>();
        let find = |section: &Section, name: &str| {
            let found = fields.iter().find(|f| f.name == name);
            found.ok_or_else(|| section.unknown_reference("field", "field of the modality", name, &names()))
        };
        let field = match &config.field {
            Some(name) => find(section, name)?,
            None => fields
                .iter()
                .find(|f| f.values == ValueType::F32)
                .or(fields.first())
                .ok_or_else(|| section.reject("kind", "the modality has no fields"))?,
        };
        let layout = Layout::new(field, context.arrays).map_err(|reason| section.reject("field", reason))?;
        if !(1..=layout.entries()).contains(&config.length) {
            let (most, name) = (layout.entries(), field.name);
            let reason = format!("expected 1 to {most}, the entries of `{name}`, got {}", config.length);
            return Err(section.reject("length", reason));
        }
        let mut coordinates = Vec::with_capacity(config.coordinates.len());
        for (own, table) in config.coordinates.iter().zip(section.list("coordinates")?) {
            let found = find(&table, &own.field)?;
            if found.axes.len() != 1 || found.axes.first() != field.axes.first() {
                let (axis, name) = (field.axes.first().unwrap_or(&""), found.name);
                let reason = format!("expected a field of axes [{axis}]: `{name}` has [{}]", found.axes.join(", "));
                return Err(table.reject("field", reason));
            }
            coordinates.push((found.name, coordinate(own, found)));
        }
        Ok(Self { field: field.name, layout, length: config.length, scale: config.scale, coordinates })
    }

    /// Values of a token; it has as many flags.
    fn width(&self) -> usize {
        self.length * self.layout.width()
    }

    /// The values of field `name`, of the shape `[B, L]`.
    fn axis<'a>(&self, arrays: &'a Arrays, name: &str, shape: [usize; 2]) -> Result<&'a Values> {
        match arrays.fields.get(name) {
            Some(array) if array.shape == shape => Ok(&array.values),
            other => Err(Error::Shape {
                part: format!("tokenizer `windows`, field `{name}`"),
                expected: format!("shape {shape:?}"),
                found: other.map_or_else(|| "no such field".into(), |array| format!("shape {:?}", array.shape)),
            }),
        }
    }
}

fn coordinate(config: &FieldCoordinate, field: &ArrayField) -> Coordinate {
    let FieldCoordinate { shortest, longest, frequencies, .. } = *config;
    Coordinate {
        name: field.name.into(),
        unit: field.unit.clone().into(),
        encoding: Encoding::Fourier { shortest, longest, frequencies },
        metadata: false,
    }
}

/// A number, whatever its type; none if there is none, or it is not finite.
fn number(values: &Values, at: usize) -> Option<f64> {
    let value = match values {
        Values::F32(v) => v.get(at).copied().map(f64::from),
        Values::F64(v) => v.get(at).copied(),
        Values::U8(v) => v.get(at).copied().map(f64::from),
        Values::U32(v) => v.get(at).copied().map(f64::from),
    };
    value.filter(|v| v.is_finite())
}

impl Tokenizer for Windows {
    fn spec(&self) -> TokenSpec {
        let max_tokens = self.layout.entries().div_ceil(self.length);
        let mut coordinates: Vec<Coordinate> = self.coordinates.iter().map(|(_, own)| own.clone()).collect();
        if coordinates.is_empty() {
            let encoding = Encoding::Category { size: max_tokens };
            coordinates.push(Coordinate { name: INDEX.into(), unit: "".into(), encoding, metadata: false });
        }
        TokenSpec { kind: TokenKind::Patches { width: 2 * self.width() }, max_tokens, coordinates }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let b = arrays.len();
        let field = arrays.fields.get(self.field).ok_or_else(|| Error::Shape {
            part: format!("tokenizer `windows`, field `{}`", self.field),
            expected: "an array".into(),
            found: "no such field".into(),
        })?;
        let (valid_shape, valid) = arrays.valid()?;
        let places = self.layout.places(b, &field.shape, valid_shape)?;
        let l = places.entries;
        let axes: Vec<&Values> =
            self.coordinates.iter().map(|(name, _)| self.axis(arrays, name, [b, l])).collect::<Result<_>>()?;
        let (t, entry_width, width, own) =
            (l.div_ceil(self.length), self.layout.width(), self.width(), places.values.len());
        let mut patches = vec![0f32; b * t * 2 * width];
        let mut weights = patches.clone();
        let mut measured = vec![0u8; b * l];
        let present = (0..b * l).filter(|at| arrays.present[at / l]);
        for at in present {
            let (row, entry) = (at / l, at % l);
            let token = (row * t + entry / self.length) * 2 * width;
            let start = token + entry % self.length * entry_width;
            let mask = places.first(row, entry);
            for (k, (place, offset)) in places.values.iter().enumerate() {
                if valid.get(mask + offset).is_none_or(|v| *v == 0) {
                    continue;
                }
                let value = number(&field.values, at * own + k).map(|v| (v / self.scale) as f32);
                if let Some(value) = value.filter(|v| v.is_finite()) {
                    patches[start + place] = value;
                    patches[start + width + place] = 1.0;
                    weights[start + place] = 1.0;
                    measured[at] = 1;
                }
            }
        }
        let mut tokens = vec![0u8; b * t];
        let mut coordinates = vec![0f32; b * t * self.coordinates.len().max(1)];
        for token in 0..b * t {
            let first = token % t * self.length;
            let window = token / t * l + first..token / t * l + l.min(first + self.length);
            let window: Vec<usize> = window.filter(|at| measured[*at] == 1).collect();
            tokens[token] = u8::from(!window.is_empty());
            for (axis, values) in axes.iter().enumerate().filter(|_| !window.is_empty()) {
                let known = window.iter().filter_map(|at| number(values, *at));
                // Of nothing it is NaN: unknown.
                let (count, sum) = known.fold((0.0, 0.0), |(count, sum), v| (count + 1.0, sum + v));
                let mean = (sum / count) as f32;
                coordinates[token * axes.len() + axis] = if mean.is_finite() { mean } else { f32::NAN };
            }
            if axes.is_empty() {
                coordinates[token] = (token % t) as f32;
            }
        }
        let axes = self.coordinates.len().max(1);
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(patches, (b, t, 2 * width), &Device::Cpu)?),
            valid: Tensor::from_vec(tokens, (b, t), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, t, axes), &Device::Cpu)?,
            weights: Some(Tensor::from_vec(weights, (b, t, 2 * width), &Device::Cpu)?),
            present: arrays.present.clone(),
        })
    }
}
