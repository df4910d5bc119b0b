//! A column as it lies in memory, for readers behind a C interface: nothing is copied if its type is right.

use super::column::{Column, ColumnKind};
use super::error::DataError;
use super::rows::Rows;
use crate::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, new_empty_array};
use arrow_cast::cast;
use arrow_schema::DataType;
use std::sync::Arc;

/// One column of a batch of rows: offsets per level of lists, and values one after the other.
///
/// The same conventions as [`super::Ragged`]. Without lists there is a value per row.
#[derive(Clone, Debug)]
pub struct Flat {
    /// Per row: false if it is null or the catalogue lacks the column.
    pub present: Vec<bool>,
    /// Per list level, outermost first; see [`super::Ragged::offsets`].
    pub offsets: Vec<Vec<usize>>,
    /// Of the type that was asked for. Numbers and flags have no nulls: those are NaN and 0.
    pub values: ArrayRef,
}

impl Rows {
    /// The column that `column` describes, with values of `leaf`: `Float32` or `Float64` for numbers, `UInt8` for flags,
    /// `LargeUtf8` for texts.
    ///
    /// # Errors
    /// [`DataError::ColumnType`] if it holds something else.
    pub fn flat(&self, column: &Column, leaf: &DataType) -> Result<Flat> {
        let Column { path, kind, depth, .. } = column;
        let found = match self.column(path)? {
            Some(found) if found.offsets.len() == *depth && kind.accepts(found.leaf.data_type()) => found,
            Some(found) if *found.leaf.data_type() != DataType::Null => {
                return Err(self.wrong(path, column.expected(), &found));
            }
            _ => return Ok(self.absent(*depth, leaf)),
        };
        let arrow = |source| DataError::Arrow { column: path.clone(), source };
        // Numbers count as true if not 0; as a number, a flag of 255 would stay one.
        let values = match kind {
            ColumnKind::Flag => cast(&found.leaf, &DataType::Boolean).map_err(arrow)?,
            _ => found.leaf,
        };
        let values = without_nulls(cast(&values, leaf).map_err(arrow)?);
        Ok(Flat { present: found.present, offsets: found.offsets, values })
    }

    fn absent(&self, depth: usize, leaf: &DataType) -> Flat {
        let mut offsets = vec![vec![0]; depth];
        if let Some(outer) = offsets.first_mut() {
            *outer = vec![0; self.len() + 1];
        }
        let values = match depth {
            0 => without_nulls(arrow_array::new_null_array(leaf, self.len())),
            _ => new_empty_array(leaf),
        };
        Flat { present: vec![false; self.len()], offsets, values }
    }
}

/// Numbers with NaN for null, flags with 0.
fn without_nulls(values: ArrayRef) -> ArrayRef {
    fn filled<T: ArrowPrimitiveType>(values: &ArrayRef, missing: T::Native) -> ArrayRef {
        let values = values.as_primitive::<T>().iter().map(|v| v.unwrap_or(missing));
        Arc::new(PrimitiveArray::<T>::from_iter_values(values))
    }
    match values.data_type() {
        _ if values.null_count() == 0 => values,
        DataType::Float32 => filled::<Float32Type>(&values, f32::NAN),
        DataType::Float64 => filled::<Float64Type>(&values, f64::NAN),
        DataType::UInt8 => filled::<UInt8Type>(&values, 0),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float32Array, LargeListArray, RecordBatch, StringArray};

    fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
        let columns = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        Rows::new((0..columns.num_rows()).map(|i| format!("o{i}")).collect(), columns).unwrap()
    }

    #[test]
    fn values_of_the_right_type_are_not_copied() {
        let lists = LargeListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![]),
            Some(vec![Some(3.0)]),
        ]);
        let place = lists.values().as_primitive::<Float32Type>().values().as_ptr();
        let rows = rows(vec![("flux", Arc::new(lists))]);
        let flat = rows.flat(&Column::number("flux").list(), &DataType::Float32).unwrap();
        assert_eq!(flat.values.as_primitive::<Float32Type>().values().as_ptr(), place);
        assert_eq!(flat.offsets, [[0, 2, 2, 3]]);
        assert_eq!(flat.present, [true, true, true]);
    }

    #[test]
    fn nulls_are_nan_zero_or_absent() {
        let rows = rows(vec![
            ("z", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
            ("name", Arc::new(StringArray::from(vec![None, Some("x")]))),
        ]);
        let flat = rows.flat(&Column::number("z"), &DataType::Float64).unwrap();
        let values = flat.values.as_primitive::<Float64Type>().values().to_vec();
        assert!(values[0] == 0.5 && values[1].is_nan() && flat.present == [true, false]);
        let flat = rows.flat(&Column::text("name"), &DataType::LargeUtf8).unwrap();
        assert_eq!((flat.present, flat.values.len()), (vec![false, true], 2));
        let flat = rows.flat(&Column::flag("z"), &DataType::UInt8).unwrap();
        assert_eq!(flat.values.as_primitive::<UInt8Type>().values().to_vec(), [1, 0]);
        let flat = rows.flat(&Column::number("no").list().optional(), &DataType::Float32).unwrap();
        assert_eq!((flat.present, flat.offsets), (vec![false; 2], vec![vec![0; 3]]));
        assert!(rows.flat(&Column::number("name"), &DataType::Float32).is_err());
        assert!(rows.flat(&Column::number("z").list(), &DataType::Float32).is_err());
    }
}
