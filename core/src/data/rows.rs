//! A batch of rows as read: raw columns under the names that the catalogue gives them.

use super::column::{ColumnKind, describe, expected};
use super::error::DataError;
use super::extract::{Extracted, extract};
use super::ragged::Ragged;
use crate::Result;
use crate::config::nearest;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a catalogue: one object each, with the columns that were asked for.
///
/// Cheap to clone. A column that the catalogue lacks reads as missing for every object.
#[derive(Clone, Debug)]
pub struct Rows {
    ids: Arc<[String]>,
    columns: RecordBatch,
    /// Path and depth of what was asked for; none if the rows are not from a catalogue.
    asked: Option<Arc<BTreeMap<String, usize>>>,
}

impl Rows {
    /// Rows from arrow: `ids[i]` is the name of row `i` of `columns`.
    ///
    /// # Errors
    /// [`DataError::IdCount`] if there are more or fewer names than rows.
    pub fn new(ids: Vec<String>, columns: RecordBatch) -> Result<Self> {
        if ids.len() != columns.num_rows() {
            return Err(DataError::IdCount { ids: ids.len(), rows: columns.num_rows() }.into());
        }
        Ok(Self { ids: ids.into(), columns, asked: None })
    }

    /// Rows of a catalogue, which knows what was asked for.
    pub(super) fn asked(ids: Vec<String>, columns: RecordBatch, asked: &Arc<BTreeMap<String, usize>>) -> Result<Self> {
        Ok(Self { asked: Some(Arc::clone(asked)), ..Self::new(ids, columns)? })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Names of the objects.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// One number per row; none where it is null, NaN or infinite.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn numbers(&self, path: &str) -> Result<Vec<Option<f64>>> {
        let Some(column) = self.scalar(path, ColumnKind::Number)? else { return Ok(vec![None; self.len()]) };
        let values = convert(path, &column.leaf, &DataType::Float64)?;
        let finite = values.as_primitive::<Float64Type>().iter().map(|v| v.filter(|v| v.is_finite()));
        Ok(finite.collect())
    }

    /// One text per row.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn texts(&self, path: &str) -> Result<Vec<Option<String>>> {
        let Some(column) = self.scalar(path, ColumnKind::Text)? else { return Ok(vec![None; self.len()]) };
        let values = convert(path, &column.leaf, &DataType::LargeUtf8)?;
        Ok(values.as_string::<i64>().iter().map(|v| v.map(str::to_owned)).collect())
    }

    /// One class per row, as text: of text, whole numbers or flags.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn labels(&self, path: &str) -> Result<Vec<Option<String>>> {
        let Some(column) = self.scalar(path, ColumnKind::Label)? else { return Ok(vec![None; self.len()]) };
        let values = convert(path, &column.leaf, &DataType::LargeUtf8)?;
        Ok(values.as_string::<i64>().iter().map(|v| v.map(str::to_owned)).collect())
    }

    /// One flag per row.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn flags(&self, path: &str) -> Result<Vec<Option<bool>>> {
        let Some(column) = self.scalar(path, ColumnKind::Flag)? else { return Ok(vec![None; self.len()]) };
        let values = convert(path, &column.leaf, &DataType::Boolean)?;
        Ok(values.as_boolean().iter().collect())
    }

    /// Lists of numbers in single precision. Null is NaN; NaN and infinite values stay.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn ragged_f32(&self, path: &str) -> Result<Ragged<f32>> {
        self.ragged(path, ColumnKind::Number, &DataType::Float32, |leaf| filled::<Float32Type>(leaf, f32::NAN))
    }

    /// Lists of numbers in double precision. Null is NaN; NaN and infinite values stay.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn ragged_f64(&self, path: &str) -> Result<Ragged<f64>> {
        self.ragged(path, ColumnKind::Number, &DataType::Float64, |leaf| filled::<Float64Type>(leaf, f64::NAN))
    }

    /// Lists of texts. Null is `""`.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn ragged_text(&self, path: &str) -> Result<Ragged<String>> {
        self.ragged(path, ColumnKind::Text, &DataType::LargeUtf8, |leaf| {
            leaf.as_string::<i64>().iter().map(|v| v.unwrap_or_default().to_owned()).collect()
        })
    }

    /// Lists of flags. Null is `false`.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if the column holds something else.
    pub fn ragged_flags(&self, path: &str) -> Result<Ragged<bool>> {
        self.ragged(path, ColumnKind::Flag, &DataType::Boolean, |leaf| {
            leaf.as_boolean().iter().map(|v| v.unwrap_or_default()).collect()
        })
    }

    /// The rows with the numbers `indices`, in that order; repeats are allowed.
    ///
    /// # Errors
    /// [`DataError::NoSuchRow`] if there is no such row.
    pub fn take(&self, indices: &[usize]) -> Result<Self> {
        let ids = indices
            .iter()
            .map(|&row| self.ids.get(row).cloned().ok_or(DataError::NoSuchRow { row, rows: self.len() }))
            .collect::<Result<Vec<_>, _>>()?;
        let picks: UInt64Array = indices.iter().map(|&row| row as u64).collect();
        let arrays = arrow_select::take::take_arrays(self.columns.columns(), &picks, None).map_err(whole)?;
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let columns = RecordBatch::try_new_with_options(self.columns.schema(), arrays, &options).map_err(whole)?;
        Ok(Self { ids: ids.into(), columns, asked: self.asked.clone() })
    }

    /// All `parts` one after the other. They must have the same columns.
    ///
    /// # Errors
    /// [`DataError::Arrow`] if the columns differ, [`DataError::NoSuchRow`] if there is no part.
    pub fn concat(parts: &[Self]) -> Result<Self> {
        let Some(first) = parts.first() else { return Err(DataError::NoSuchRow { row: 0, rows: 0 }.into()) };
        let ids: Arc<[String]> = parts.iter().flat_map(|p| p.ids.iter().cloned()).collect();
        if first.columns.num_columns() == 0 {
            let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
            let columns = RecordBatch::try_new_with_options(first.columns.schema(), vec![], &options).map_err(whole)?;
            return Ok(Self { ids, columns, asked: first.asked.clone() });
        }
        let batches = parts.iter().map(|p| &p.columns);
        let columns = arrow_select::concat::concat_batches(first.columns.schema_ref(), batches).map_err(whole)?;
        Ok(Self { ids, columns, asked: first.asked.clone() })
    }

    /// A column of one value per row, checked; none if it is absent.
    fn scalar(&self, path: &str, kind: ColumnKind) -> Result<Option<Extracted>> {
        match self.column(path)? {
            Some(column) if column.offsets.is_empty() && kind.accepts(column.leaf.data_type()) => Ok(Some(column)),
            Some(column) => Err(self.wrong(path, expected(kind, 0), &column)),
            None => Ok(None),
        }
    }

    fn ragged<T>(
        &self,
        path: &str,
        kind: ColumnKind,
        leaf_type: &DataType,
        values: impl FnOnce(&ArrayRef) -> Vec<T>,
    ) -> Result<Ragged<T>> {
        let depth = self.asked.as_ref().and_then(|asked| asked.get(path)).copied().unwrap_or(1);
        match self.column(path)? {
            Some(column) if !column.offsets.is_empty() && kind.accepts(column.leaf.data_type()) => {
                let leaf = convert(path, &column.leaf, leaf_type)?;
                Ok(Ragged { present: column.present, offsets: column.offsets, values: values(&leaf) })
            }
            Some(column) if *column.leaf.data_type() != DataType::Null => {
                Err(self.wrong(path, expected(kind, depth.max(1)), &column))
            }
            _ => Ok(Ragged::absent(self.len(), depth)),
        }
    }

    pub(super) fn column(&self, path: &str) -> Result<Option<Extracted>> {
        let column = extract(&self.columns, path)?;
        if let (None, Some(asked)) = (&column, &self.asked)
            && !asked.contains_key(path)
        {
            let nearest = nearest(path, asked.keys().map(String::as_str));
            return Err(DataError::ColumnNotAsked { column: path.to_owned(), nearest }.into());
        }
        Ok(column)
    }

    pub(super) fn wrong(&self, path: &str, expected: String, column: &Extracted) -> crate::Error {
        let found = super::extract::nested(column.leaf.data_type(), column.offsets.len());
        DataError::ColumnType {
            file: None,
            column: path.to_owned(),
            expected,
            found: describe(&found),
            reader: String::new(),
        }
        .into()
    }
}

fn whole(source: arrow_schema::ArrowError) -> DataError {
    DataError::Arrow { column: "*".into(), source }
}

fn convert(path: &str, leaf: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast(leaf, to).map_err(|source| DataError::Arrow { column: path.to_owned(), source })?)
}

/// The values of a primitive array, with `missing` for null.
fn filled<T: ArrowPrimitiveType>(leaf: &ArrayRef, missing: T::Native) -> Vec<T::Native> {
    let array = leaf.as_primitive::<T>();
    if array.null_count() == 0 {
        return array.values().to_vec();
    }
    array.iter().map(|v| v.unwrap_or(missing)).collect()
}
