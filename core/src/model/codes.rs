//! Codes that were computed once: `codes = "COLUMN"` beside `codec = "RUN"` in the table of a modality reads them from the
//! catalogue, where `panchroma tokenize` put them, instead of running the codec.
//!
//! A row of the column is a list of whole numbers: null where the object lacks the modality, and null for a token without one
//! measured value. Tokens that have other coordinates than their number have a column of numbers for each.

use crate::data::{CodecId, Column, DataError};
use crate::{
    Array, ArrayField, Arrays, ArraysSpec, Encoding, Modality, PrepareContext, Result, Rows, Section, TokenKind,
    TokenSpec, TokenValues, Tokens, ValueType, Values,
};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// The key in the table of a modality that names the column.
pub(super) const KEY: &str = "codes";

/// The field of the codes.
const CODES: &str = "codes";

/// The field of their coordinates.
const COORDINATES: &str = "coordinates";

/// Where the codes of a codec are.
#[derive(Clone, Debug)]
pub(super) struct StoredCodes {
    column: String,
    spec: TokenSpec,
    vocabulary: usize,
    codec: CodecId,
}

/// Whether `arrays` are codes and no measurement.
pub(super) fn is_codes(arrays: &Arrays) -> bool {
    arrays.fields.contains_key(CODES) && arrays.fields.contains_key(COORDINATES)
}

/// The columns of the coordinates of the codes in `column`: none if they are told apart by their number alone.
pub(super) fn coordinates(column: &str, spec: &TokenSpec) -> Vec<String> {
    match spec.coordinates.as_slice() {
        [only] if only.encoding == (Encoding::Category { size: spec.max_tokens }) => Vec::new(),
        all => all.iter().map(|coordinate| format!("{column}_{}", coordinate.name)).collect(),
    }
}

impl StoredCodes {
    /// What the table of a modality says of codes that look like `spec`; an empty name is none, so that `--set` can take it away.
    pub(super) fn read(section: &Section, spec: &TokenSpec, run: &Path, identity: &str) -> Result<Option<Self>> {
        let Some(column) = section.get::<String>(KEY)?.filter(|column| !column.is_empty()) else { return Ok(None) };
        let TokenKind::Codes { vocabulary } = spec.kind else {
            return Err(section.reject(KEY, "can't be read, as the tokenizer of that run gives values, not codes"));
        };
        let codec = CodecId { run: run.display().to_string(), sha256: identity.to_owned() };
        Ok(Some(Self { column, spec: spec.clone(), vocabulary, codec }))
    }

    fn error(&self, object: &str, reason: String) -> crate::Error {
        DataError::BadValue { object: object.to_owned(), column: self.column.clone(), reason }.into()
    }

    /// The code that stands at a place of a list; none if it is null.
    fn code(&self, value: f64, object: &str) -> Result<Option<u32>> {
        if value.is_nan() {
            return Ok(None);
        }
        if value < 0.0 || value.fract() != 0.0 || value >= self.vocabulary as f64 {
            let reason = format!("{value} is not in the vocabulary of the codec, 0 to {}", self.vocabulary - 1);
            return Err(self.error(object, reason));
        }
        // Whole and below the vocabulary, which fits.
        Ok(Some(value as u32))
    }

    /// What [`Modality::prepare`] gave -> tokens, as the codec would have given them.
    pub(super) fn tokens(&self, arrays: &Arrays) -> Result<Tokens> {
        let (shape, valid) = arrays.valid()?;
        let (batch, tokens) = (arrays.len(), shape.get(1).copied().unwrap_or(0));
        let codes = match arrays.fields.get(CODES).map(|array| &array.values) {
            Some(Values::U32(codes)) => codes.clone(),
            _ => Vec::new(),
        };
        let (_, coordinates) = arrays.f32(COORDINATES)?;
        let width = self.spec.coordinates.len();
        Ok(Tokens {
            values: TokenValues::Codes(Tensor::from_vec(codes, (batch, tokens), &Device::Cpu)?),
            valid: Tensor::from_slice(valid, (batch, tokens), &Device::Cpu)?,
            coordinates: Tensor::from_slice(coordinates, (batch, tokens, width), &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }
}

impl Modality for StoredCodes {
    fn columns(&self) -> Vec<Column> {
        let codes = Column::number(&self.column).list().made_by(self.codec.clone());
        let others = coordinates(&self.column, &self.spec).into_iter().map(|path| Column::number(path).list());
        std::iter::once(codes).chain(others).collect()
    }

    fn spec(&self) -> ArraysSpec {
        let field = |name, axes| ArrayField { name, axes, unit: String::new(), values: ValueType::F32 };
        ArraysSpec {
            fields: vec![field(CODES, &["T"]).of(ValueType::U32), field(COORDINATES, &["T", "C"])],
            valid_axes: &["T"],
            sizes: vec![("T", self.spec.max_tokens), ("C", self.spec.coordinates.len())],
            labels: Vec::new(),
        }
    }

    fn prepare(&self, rows: &Rows, _: &PrepareContext<'_>) -> Result<Arrays> {
        let lists = rows.ragged_f64(&self.column)?;
        let others = coordinates(&self.column, &self.spec);
        let others = others.iter().map(|path| rows.ragged_f32(path)).collect::<Result<Vec<_>>>()?;
        let (batch, tokens, width) = (rows.len(), self.spec.max_tokens, self.spec.coordinates.len());
        let mut codes = vec![0; batch * tokens];
        let mut valid = vec![0; batch * tokens];
        // Without columns of their own, tokens are numbered.
        let number = |i: usize| if others.is_empty() { ((i / width.max(1)) % tokens.max(1)) as f32 } else { f32::NAN };
        let mut coordinates: Vec<f32> = (0..batch * tokens * width).map(number).collect();
        for (row, object) in rows.ids().iter().enumerate() {
            let list = lists.row(row);
            if list.len() > tokens {
                return Err(self.error(object, format!("{} codes, but the codec gives at most {tokens}", list.len())));
            }
            for (place, value) in list.iter().enumerate() {
                let at = row * tokens + place;
                if let (Some(code), Some(to), Some(valid)) =
                    (self.code(*value, object)?, codes.get_mut(at), valid.get_mut(at))
                {
                    (*to, *valid) = (code, 1);
                }
                for (axis, other) in others.iter().enumerate() {
                    if let (Some(to), Some(value)) = (coordinates.get_mut(at * width + axis), other.row(row).get(place))
                    {
                        *to = *value;
                    }
                }
            }
        }
        let shape = [batch, tokens];
        let fields = BTreeMap::from([
            (CODES.to_owned(), Array::new(&shape, Values::U32(codes))?),
            (COORDINATES.to_owned(), Array::f32(&[batch, tokens, width], coordinates)?),
        ]);
        Ok(Arrays { present: lists.present, valid: Array::new(&shape, Values::U8(valid))?, fields })
    }
}
