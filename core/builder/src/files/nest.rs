//! Lists of lists from flat values.

use arrow_array::{ArrayRef, ListArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use std::sync::Arc;

/// The name that `hats` and `lsdb` give to what is in a list.
pub(crate) const ELEMENT: &str = "element";

/// Lists of what `data_type` is.
pub(crate) fn list_of(data_type: DataType) -> DataType {
    DataType::List(element(data_type))
}

fn element(data_type: DataType) -> FieldRef {
    Arc::new(Field::new(ELEMENT, data_type, true))
}

/// The type of one row of `shape`, outermost dimension first.
pub(crate) fn nested_type(leaf: &DataType, shape: &[usize]) -> DataType {
    shape.iter().fold(leaf.clone(), |inner, _| list_of(inner))
}

/// Rows of `shape` (outermost dimension first) from their values one after the other.
pub(crate) fn nest(values: ArrayRef, shape: &[usize]) -> Result<ArrayRef, ArrowError> {
    let mut array = values;
    for &length in shape.iter().rev() {
        let lists = array.len().checked_div(length).unwrap_or(0);
        array = ragged(array, std::iter::repeat_n(length, lists))?;
    }
    Ok(array)
}

/// Lists of the given lengths.
pub(crate) fn ragged(values: ArrayRef, lengths: impl IntoIterator<Item = usize>) -> Result<ArrayRef, ArrowError> {
    let mut end = 0i32;
    let mut offsets = vec![0i32];
    for length in lengths {
        let next = i32::try_from(length).ok().and_then(|length| end.checked_add(length));
        end = next.ok_or_else(|| ArrowError::InvalidArgumentError("more than 2^31 values in one batch".into()))?;
        offsets.push(end);
    }
    let field = element(values.data_type().clone());
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, None)?))
}
