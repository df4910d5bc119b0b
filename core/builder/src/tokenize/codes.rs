//! Tokens -> columns of codes: lists of the smallest type that holds the vocabulary.

use crate::files::nest::list_of;
use arrow_array::{ArrayRef, Float32Array, ListArray, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field};
use panchroma_core::data::{CodesNote, DataError};
use panchroma_core::model::Codec;
use panchroma_core::{Error, Model, Result, Rows, TokenValues, Tokens};
use std::sync::Arc;

/// What is behind the name of a modality in the name of the column of its codes.
const SUFFIX: &str = "_codes";

/// The columns of codes of a batch of objects.
pub(super) struct Coded {
    pub(super) columns: Vec<(Field, ArrayRef)>,
    /// Objects that have codes, by modality.
    pub(super) with: Vec<u64>,
}

/// The columns that codecs give.
pub(super) struct Columns(Vec<Own>);

/// Of one codec.
struct Own {
    modality: String,
    column: String,
    vocabulary: usize,
    /// Columns of the codes' coordinates, if they have others than their number.
    coordinates: Vec<String>,
}

/// The smallest type that holds codes below `vocabulary`, and its name.
fn smallest(vocabulary: usize) -> (DataType, &'static str) {
    match vocabulary {
        0..=0x100 => (DataType::UInt8, "u8"),
        0x101..=0x1_0000 => (DataType::UInt16, "u16"),
        _ => (DataType::UInt32, "u32"),
    }
}

impl Columns {
    pub(super) fn new(model: &Model, codecs: &[Codec]) -> Self {
        let own = codecs.iter().map(|codec| {
            let column = format!("{}{SUFFIX}", codec.modality);
            let coordinates = codec.coordinates(model, &column);
            Own { modality: codec.modality.clone(), column, vocabulary: codec.vocabulary, coordinates }
        });
        Self(own.collect())
    }

    /// Names of all of them.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().flat_map(|own| std::iter::once(&own.column).chain(&own.coordinates)).cloned().collect()
    }

    /// The name of each codec's type of code.
    pub(super) fn types(&self) -> Vec<&'static str> {
        self.0.iter().map(|own| smallest(own.vocabulary).1).collect()
    }

    /// What is noted of each column of codes.
    pub(super) fn notes(&self, codecs: &[Codec], from: &str) -> Vec<(String, CodesNote)> {
        let note = |(own, codec): (&Own, &Codec)| {
            let note = CodesNote {
                modality: codec.modality.clone(),
                kind: codec.kind.clone(),
                tokenizer: codec.tokenizer.clone(),
                vocabulary: codec.vocabulary,
                tokens: codec.tokens,
                coordinates: own.coordinates.clone(),
                codec: codec.run.as_ref().map_or_else(|| from.to_owned(), |run| run.display().to_string()),
                sha256: codec.sha256.clone(),
            };
            (own.column.clone(), note)
        };
        self.0.iter().zip(codecs).map(note).collect()
    }

    /// The columns of `rows`.
    pub(super) fn of(&self, model: &Model, rows: &Rows) -> Result<Coded> {
        let mut coded = Coded { columns: Vec::new(), with: Vec::new() };
        for own in &self.0 {
            let tokens = model.tokenize(&own.modality, rows)?;
            coded.with.push(tokens.present.iter().filter(|present| **present).count() as u64);
            coded.columns.extend(own.columns(&tokens)?);
        }
        Ok(coded)
    }
}

impl Own {
    fn columns(&self, tokens: &Tokens) -> Result<Vec<(Field, ArrayRef)>> {
        let TokenValues::Codes(codes) = &tokens.values else { return Ok(Vec::new()) };
        let codes = codes.to_vec2::<u32>()?;
        let valid = tokens.valid.to_vec2::<u8>()?;
        // What follows the last valid token is padding.
        let length = |row: &Vec<u8>| row.iter().rposition(|valid| *valid != 0).map_or(0, |last| last + 1);
        let lengths: Vec<Option<usize>> =
            tokens.present.iter().zip(&valid).map(|(present, row)| present.then(|| length(row))).collect();
        let places = || {
            let rows = lengths.iter().enumerate();
            rows.flat_map(|(row, length)| (0..length.unwrap_or(0)).map(move |place| (row, place)))
        };
        let is_valid = |row: usize, place: usize| valid.get(row).and_then(|v| v.get(place)).is_some_and(|v| *v != 0);
        let mut values: Vec<Option<u32>> = Vec::new();
        for (row, place) in places() {
            let code = codes.get(row).and_then(|own| own.get(place)).copied().filter(|_| is_valid(row, place));
            if let Some(code) = code.filter(|code| *code as usize >= self.vocabulary) {
                return Err(Error::Shape {
                    part: format!("tokenizer of `{}`", self.modality),
                    expected: format!("codes below {}", self.vocabulary),
                    found: code.to_string(),
                });
            }
            values.push(code);
        }
        let arrow = |source| Error::from(DataError::Arrow { column: self.column.clone(), source });
        let (data_type, _) = smallest(self.vocabulary);
        let values = cast(&UInt32Array::from(values), &data_type).map_err(arrow)?;
        let mut columns = vec![column(&self.column, values, &lengths).map_err(arrow)?];
        let all = tokens.coordinates.to_vec3::<f32>()?;
        if self.coordinates.is_empty() {
            let number = |row: usize, place: usize| all.get(row)?.get(place)?.first().copied();
            let other = places().find(|(row, place)| {
                is_valid(*row, *place) && number(*row, *place).is_none_or(|number| number != *place as f32)
            });
            if let Some((row, place)) = other {
                return Err(Error::Shape {
                    part: format!("tokenizer of `{}`", self.modality),
                    expected: format!("token {place} to be numbered so"),
                    found: format!("{:?}", number(row, place)),
                });
            }
        } else {
            for (axis, name) in self.coordinates.iter().enumerate() {
                let at = |row: usize, place: usize| all.get(row)?.get(place)?.get(axis).copied();
                let values: Float32Array =
                    places().map(|(row, place)| at(row, place).filter(|_| is_valid(row, place))).collect();
                columns.push(column(name, Arc::new(values), &lengths).map_err(arrow)?);
            }
        }
        Ok(columns)
    }
}

/// Lists of these lengths; null where there is none.
fn column(name: &str, values: ArrayRef, lengths: &[Option<usize>]) -> Result<(Field, ArrayRef), ArrowError> {
    let data_type = list_of(values.data_type().clone());
    let DataType::List(element) = &data_type else { return Err(ArrowError::NotYetImplemented(name.into())) };
    let nulls = lengths.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
    let lists = ListArray::try_new(element.clone(), offsets, values, Some(nulls))?;
    Ok((Field::new(name, data_type.clone(), true), Arc::new(lists)))
}
