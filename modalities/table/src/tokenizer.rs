//! One token per column: its features as the patch, its number as a coordinate, and its error if it has one.
//!
//! Since each column has slots of its own in the patch, the linear map after it is the feature
//! tokenizer of Gorishniy et al. 2021, arXiv:2106.11959, section 3.3: `x_j W_j + b_j` for column j,
//! where the bias comes from the learned vector of the column's number.

use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One token per column; there is nothing to set.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnsConfig {}

/// The tokenizer `columns`: token `c` is column `c`; a missing value is a token that is not valid.
///
/// Weights are 1, or 1 / (1 + error²) where the scaled error is known: the inverse of the variance of the column, 1, plus that of the
/// measurement.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: usize,
    width: usize,
    /// Whether the modality says how large errors are.
    errors: bool,
}

impl Columns {
    /// From its table, for arrays with a field `values` `[C, P]`.
    ///
    /// # Errors
    /// If a key is unknown, or the modality has other arrays.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let ColumnsConfig {} = section.read()?;
        let arrays = context.arrays;
        let fits =
            arrays.fields.iter().any(|f| f.name == "values" && f.axes == ["C", "P"]) && arrays.valid_axes == ["C"];
        match (arrays.size("C"), arrays.size("P"), fits) {
            (Some(columns), Some(width), true) => {
                let errors = arrays.fields.iter().any(|f| f.name == "error" && f.axes == ["C"]);
                Ok(Self { columns, width, errors })
            }
            _ => {
                let found: Vec<&str> = arrays.fields.iter().map(|f| f.name).collect();
                let reason = format!(
                    "tokenizer `columns` needs a modality of kind `table`, with `values` [C, P], got one with {found:?}"
                );
                Err(section.reject("kind", reason))
            }
        }
    }
}

impl Tokenizer for Columns {
    fn spec(&self) -> TokenSpec {
        let encoding = Encoding::Category { size: self.columns };
        let mut coordinates = vec![Coordinate { name: "column".into(), unit: "".into(), encoding, metadata: false }];
        if self.errors {
            // In standard deviations of the column.
            let encoding = Encoding::Log { smallest: 1e-3, largest: 1e2, frequencies: 6 };
            coordinates.push(Coordinate { name: "error".into(), unit: "".into(), encoding, metadata: true });
        }
        TokenSpec { kind: TokenKind::Patches { width: self.width }, max_tokens: self.columns, coordinates }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (b, t, p) = (arrays.len(), self.columns, self.width);
        let (valid_shape, valid) = arrays.valid()?;
        let (shape, values) = arrays.f32("values")?;
        if valid_shape != [b, t] {
            return Err(wrong_shape("valid", &[b, t], valid_shape));
        }
        if shape != [b, t, p] {
            return Err(wrong_shape("values", &[b, t, p], shape));
        }
        let mut patches = values.to_vec();
        for (patch, _) in patches.chunks_mut(p).zip(valid).filter(|(_, v)| **v == 0) {
            patch.fill(0.0);
        }
        let mut weights: Vec<f32> = valid.iter().flat_map(|v| std::iter::repeat_n(f32::from(*v), p)).collect();
        let axes = 1 + usize::from(self.errors);
        let mut coordinates: Vec<f32> = (0..b * t).flat_map(|at| std::iter::repeat_n((at % t) as f32, axes)).collect();
        if self.errors {
            let (shape, errors) = arrays.f32("error")?;
            if shape != [b, t] {
                return Err(wrong_shape("error", &[b, t], shape));
            }
            let places = coordinates.iter_mut().skip(1).step_by(axes).zip(weights.chunks_mut(p));
            for ((to, weights), error) in places.zip(errors) {
                *to = if *error > 0.0 { *error } else { f32::NAN };
                // Values spread by 1 over the objects: an error that is small beside that costs nothing.
                weights.iter_mut().for_each(|w| *w /= 1.0 + error.max(0.0).powi(2));
            }
        }
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(patches, (b, t, p), &Device::Cpu)?),
            valid: Tensor::from_vec(valid.to_vec(), (b, t), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, t, axes), &Device::Cpu)?,
            weights: Some(Tensor::from_vec(weights, (b, t, p), &Device::Cpu)?),
            present: arrays.present.clone(),
        })
    }

    fn reconstruct(&self, tokens: &Tokens, _like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("columns", &self.spec())?;
        let TokenValues::Patches(values) = &tokens.values else { return Ok(None) };
        let (b, t) = tokens.valid.dims2()?;
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        let valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let mut fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, t, self.width], values)?)]);
        if self.errors {
            let own = tokens.coordinates.flatten_all()?.to_vec1::<f32>()?;
            let errors = own.iter().skip(1).step_by(2).map(|e| if e.is_nan() { 0.0 } else { *e }).collect();
            fields.insert("error".to_owned(), Array::f32(&[b, t], errors)?);
        }
        let valid = Array::new(&[b, t], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }
}

fn wrong_shape(field: &str, expected: &[usize], found: &[usize]) -> Error {
    Error::Shape {
        part: format!("tokenizer `columns`, field `{field}`"),
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "columns",
        summary: "one token per column of a table",
        origin: env!("CARGO_PKG_NAME"),
        example: "",
        schema: || schemars::schema_for!(ColumnsConfig),
        build: |section, context| Ok(Box::new(Columns::new(section, context)?)),
    }
}
