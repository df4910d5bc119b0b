//! One column cut out of nested arrow arrays.
//!
//! Arrow leaves whatever it likes under a null: a null list may have elements, a null struct's
//! children may have values. So masks of every level (struct, list, leaf) are applied on the way
//! down, and only what is left is compacted. Comes in: any nesting of structs and lists. Goes out:
//! offsets per list level, and a leaf array whose nulls are all the nulls there are.

use super::column::step;
use super::error::DataError;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, LargeListArray, RecordBatch, UInt64Array};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field};
use std::sync::Arc;

/// A column without its structs.
pub(super) struct Extracted {
    /// Per row: whether it is there, that is, neither it nor what it stands in is null.
    pub(super) present: Vec<bool>,
    /// Per list level, outermost first: where the elements of each list begin and end.
    pub(super) offsets: Vec<Vec<usize>>,
    /// The values.
    pub(super) leaf: ArrayRef,
}

/// Cuts `path` out of `batch`; none if it isn't there.
pub(super) fn extract(batch: &RecordBatch, path: &str) -> Result<Option<Extracted>, DataError> {
    walk(batch, path).map_err(|source| DataError::Arrow { column: path.to_owned(), source })
}

fn walk(batch: &RecordBatch, path: &str) -> Result<Option<Extracted>, ArrowError> {
    let Some((index, mut rest)) = step(batch.schema_ref().fields(), path) else { return Ok(None) };
    let mut current = Arc::clone(batch.column(index));
    let mut offsets: Vec<Vec<usize>> = Vec::new();
    let mut present: Option<Vec<bool>> = None;
    loop {
        match current.data_type() {
            DataType::Struct(fields) if !rest.is_empty() => {
                let Some((index, below)) = step(fields, rest) else { return Ok(None) };
                rest = below;
                let outer = current.as_struct();
                current = hide(outer.column(index), outer.nulls())?;
            }
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                present.get_or_insert_with(|| validity(&current));
                let (ends, elements) = descend(&current)?;
                offsets.push(ends);
                current = elements;
            }
            _ if !rest.is_empty() => return Ok(None),
            _ => {
                let present = present.unwrap_or_else(|| validity(&current));
                return Ok(Some(Extracted { present, offsets, leaf: current }));
            }
        }
    }
}

fn validity(array: &ArrayRef) -> Vec<bool> {
    match array.logical_nulls() {
        Some(nulls) => nulls.iter().collect(),
        None => vec![true; array.len()],
    }
}

/// `array` with nulls where `outer` has them.
fn hide(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<ArrayRef, ArrowError> {
    match outer {
        Some(nulls) if nulls.null_count() > 0 => {
            arrow_select::nullif::nullif(array, &BooleanArray::new(!nulls.inner(), None))
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// One list level: compacted offsets and elements. A null list counts as empty.
fn descend(lists: &ArrayRef) -> Result<(Vec<usize>, ArrayRef), ArrowError> {
    let (ranges, elements): (Vec<(usize, usize)>, &ArrayRef) = match lists.data_type() {
        DataType::List(_) => {
            let list = lists.as_list::<i32>();
            (list.value_offsets().windows(2).map(|w| (w[0] as usize, w[1] as usize)).collect(), list.values())
        }
        DataType::LargeList(_) => {
            let list = lists.as_list::<i64>();
            (list.value_offsets().windows(2).map(|w| (w[0] as usize, w[1] as usize)).collect(), list.values())
        }
        _ => {
            let list = lists.as_fixed_size_list();
            let size = list.value_length() as usize;
            ((0..list.len()).map(|i| (i * size, (i + 1) * size)).collect(), list.values())
        }
    };
    let mut ends = Vec::with_capacity(ranges.len() + 1);
    ends.push(0);
    let mut kept: Vec<(usize, usize)> = Vec::with_capacity(ranges.len());
    let mut total = 0;
    for (i, &(start, end)) in ranges.iter().enumerate() {
        if lists.is_valid(i) && end > start {
            total += end - start;
            match kept.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => kept.push((start, end)),
            }
        }
        ends.push(total);
    }
    let elements = match kept[..] {
        [] => elements.slice(0, 0),
        [(start, end)] => elements.slice(start, end - start),
        _ => {
            // Garbage lies between: only a copy can leave it out.
            let indices: UInt64Array = kept.iter().flat_map(|&(start, end)| start as u64..end as u64).collect();
            arrow_select::take::take(elements, &indices, None)?
        }
    };
    Ok((ends, elements))
}

impl Extracted {
    /// Back to one arrow array of the same form for every file: large lists of `leaf`, `depth`
    /// levels of them, in which nothing is hidden under a null.
    pub(super) fn rebuild(&self, leaf: &DataType, depth: usize) -> Result<ArrayRef, ArrowError> {
        if self.offsets.len() != depth {
            // Only a column of type `Null` gets here: nothing in it.
            return Ok(arrow_array::new_null_array(&nested(leaf, depth), self.present.len()));
        }
        let mut array = cast(&self.leaf, leaf)?;
        for (level, offsets) in self.offsets.iter().enumerate().rev() {
            let ends: ScalarBuffer<i64> = offsets.iter().map(|&end| end as i64).collect();
            let nulls = (level == 0).then(|| NullBuffer::from(self.present.as_slice()));
            let field = Arc::new(Field::new("element", array.data_type().clone(), true));
            array = Arc::new(LargeListArray::try_new(field, OffsetBuffer::new(ends), array, nulls)?);
        }
        Ok(array)
    }
}

/// Large lists of `leaf`, `depth` levels of them.
pub(super) fn nested(leaf: &DataType, depth: usize) -> DataType {
    (0..depth).fold(leaf.clone(), |inner, _| DataType::LargeList(Arc::new(Field::new("element", inner, true))))
}
