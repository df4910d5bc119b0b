//! A codec of catalogues of sources: for each object a list of sources, each with a few numbers, as one sequence of codes.
//!
//! Every field has codes of its own, one range after the other, so that a code says which field it belongs to. The sequence is source by
//! source, field by field; behind the last source of an object it is padded. The catalogue of AION-1 (Parker et al. 2025) has the pixel of a
//! source in an image of 96, and three numbers of its shape.

use super::{ScalarCodec, numbers, whole_numbers, wrong};
use candle_core::{DType, Device, Tensor};
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How one number of a source becomes a code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceField {
    /// A whole number from 0, such as a pixel, is its own code.
    Whole {
        /// How many there are.
        size: usize,
    },
    /// Bins.
    Scalar(ScalarCodec),
}

impl SourceField {
    /// Number of codes.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Whole { size } => *size,
            Self::Scalar(codec) => codec.vocabulary(),
        }
    }

    /// The code of a value; `None` if it has none.
    #[must_use]
    pub fn code(&self, value: f32) -> Option<u32> {
        match self {
            Self::Whole { size } => {
                (value.fract() == 0.0 && value >= 0.0 && value < *size as f32).then_some(value as u32)
            }
            Self::Scalar(codec) => Some(codec.code(value)),
        }
    }

    /// The value of a code; `None` if it is out of the vocabulary.
    #[must_use]
    pub fn value(&self, code: u32) -> Option<f32> {
        match self {
            Self::Whole { size } => ((code as usize) < *size).then_some(code as f32),
            Self::Scalar(codec) => codec.value(code),
        }
    }
}

/// Codes of sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesCodec {
    fields: Vec<(String, SourceField)>,
    /// What stands for no source, in values and in codes.
    padding: u32,
}

impl SourcesCodec {
    /// Fields by name, in the order of the sequence; `padding` stands for no source, as a value of every field and as a code.
    ///
    /// # Errors
    /// If there is no field, or the padding is a code of one.
    pub fn new(fields: Vec<(String, SourceField)>, padding: u32) -> Result<Self> {
        let size: usize = fields.iter().map(|(_, field)| field.vocabulary()).sum();
        if size == 0 {
            return Err(wrong("fields of a catalogue of sources", "at least one with codes".into(), 0));
        }
        if (padding as usize) < size {
            return Err(wrong(
                "padding of a catalogue of sources",
                format!("{size} or more, behind all codes"),
                padding,
            ));
        }
        Ok(Self { fields, padding })
    }

    /// The fields, in the order of the sequence.
    #[must_use]
    pub fn fields(&self) -> &[(String, SourceField)] {
        &self.fields
    }

    /// Codes of all fields together; the padding is none of them.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.fields.iter().map(|(_, field)| field.vocabulary()).sum()
    }

    /// What stands for no source.
    #[must_use]
    pub fn padding(&self) -> u32 {
        self.padding
    }

    /// The first code of each field.
    #[must_use]
    pub fn offsets(&self) -> Vec<u32> {
        let sizes = self.fields.iter().map(|(_, field)| field.vocabulary() as u32);
        sizes.scan(0, |end, size| Some(std::mem::replace(end, *end + size))).collect()
    }

    /// One tensor `[B, L]` per field, of f32 or whole numbers -> codes `[B, L F]` u32.
    ///
    /// # Errors
    /// If shapes disagree, a source is padding in some fields but not in all, or a whole number is out of its range; with field and place.
    pub fn encode(&self, values: &[Tensor]) -> Result<Tensor> {
        let count = self.fields.len();
        let (rows, length) = self.shape(values)?;
        let columns = values.iter().map(any_numbers).collect::<Result<Vec<Vec<f32>>>>()?;
        let padding = self.padding as f32;
        let mut codes = vec![self.padding; rows * length * count];
        for (source, codes) in codes.chunks_exact_mut(count).enumerate() {
            let absent = columns.iter().filter(|column| column[source] == padding).count();
            let part = |name: &str| {
                format!("catalogue of sources, `{name}` of source {} of object {}", source % length, source / length)
            };
            if absent != 0 && absent != count {
                let odd = columns.iter().position(|column| column[source] != padding).unwrap_or(0);
                let expected = format!("{padding}, as other fields have");
                return Err(wrong(&part(&self.fields[odd].0), expected, columns[odd][source]));
            }
            if absent == count {
                continue;
            }
            let fields = self.fields.iter().zip(self.offsets()).zip(&columns);
            for ((((name, field), offset), column), code) in fields.zip(codes) {
                let Some(own) = field.code(column[source]) else {
                    let expected = format!("a whole number from 0 to {}", field.vocabulary() - 1);
                    return Err(wrong(&part(name), expected, column[source]));
                };
                *code = own + offset;
            }
        }
        Ok(Tensor::from_vec(codes, (rows, length * count), &Device::Cpu)?)
    }

    /// Codes `[B, L F]` (u32 or i64) -> one tensor `[B, L]` per field, whole numbers as i64 and others as f32; -1 where the code is of no or of
    /// another field.
    ///
    /// # Errors
    /// If the length is no multiple of the number of fields.
    pub fn decode(&self, codes: &Tensor) -> Result<Vec<Tensor>> {
        let count = self.fields.len();
        let (rows, length) = match codes.dims() {
            &[rows, length] if length % count == 0 => (rows, length / count),
            dims => return Err(wrong("codes of sources", format!("[B, L * {count}]"), format!("{dims:?}"))),
        };
        let codes = whole_numbers(codes)?;
        let column = |((at, (_, field)), offset): ((usize, &(String, SourceField)), u32)| {
            let own = codes.iter().skip(at).step_by(count).map(|code| u32::try_from(code - i64::from(offset)).ok());
            let values = own.map(|code| code.and_then(|code| field.value(code)).unwrap_or(-1.0));
            Ok(match field {
                SourceField::Whole { .. } => {
                    Tensor::from_vec(values.map(|x| x as i64).collect::<Vec<i64>>(), (rows, length), &Device::Cpu)?
                }
                SourceField::Scalar(_) => Tensor::from_vec(values.collect::<Vec<f32>>(), (rows, length), &Device::Cpu)?,
            })
        };
        self.fields.iter().enumerate().zip(self.offsets()).map(column).collect()
    }

    fn shape(&self, values: &[Tensor]) -> Result<(usize, usize)> {
        if values.len() != self.fields.len() {
            return Err(wrong("fields of sources", self.fields.len().to_string(), values.len()));
        }
        let first = values.first().map_or(&[][..], Tensor::dims);
        let &[rows, length] = first else {
            return Err(wrong("catalogue of sources", "[B, L]".into(), format!("{first:?}")));
        };
        for ((name, _), tensor) in self.fields.iter().zip(values) {
            if tensor.dims() != first {
                let part = format!("catalogue of sources, `{name}`");
                return Err(Error::Shape {
                    part,
                    expected: format!("{first:?}"),
                    found: format!("{:?}", tensor.dims()),
                });
            }
        }
        Ok((rows, length))
    }
}

/// Numbers of any type as f32: pixels and the padding are exact in it.
fn any_numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype().is_int() { numbers(&tensor.to_dtype(DType::F32)?) } else { numbers(tensor) }
}
