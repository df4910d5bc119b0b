//! A nested column, flattened: which rows have it, and its values in one array.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;

/// One column of plain values, or a field of a struct column, of one batch.
pub(super) struct Leaf {
    /// Dotted name.
    pub(super) path: String,
    /// The outermost lists' lengths; none if one value per row. A row without list has 0.
    pub(super) lengths: Option<Vec<usize>>,
    /// How deep lists are nested.
    pub(super) depth: usize,
    /// Whether the row has it: not null, and not an empty list.
    pub(super) present: Vec<bool>,
    /// All values of all rows in order, nulls among them.
    pub(super) values: ArrayRef,
}

/// Every leaf of a batch, in the order of its columns.
pub(super) fn leaves(batch: &RecordBatch) -> Vec<Leaf> {
    let mut found = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let all = vec![true; column.len()];
        collect(field.name().clone(), column, &all, &mut found);
    }
    found
}

fn collect(path: String, column: &ArrayRef, above: &[bool], into: &mut Vec<Leaf>) {
    let mut present: Vec<bool> = above.iter().enumerate().map(|(row, above)| *above && !column.is_null(row)).collect();
    if let DataType::Struct(fields) = column.data_type() {
        for (field, child) in fields.iter().zip(column.as_struct().columns()) {
            collect(format!("{path}.{}", field.name()), child, &present, into);
        }
        return;
    }
    let (mut values, mut lengths, mut depth) = (column.clone(), None, 0);
    while let Some((offsets, inner)) = list(&values) {
        if lengths.is_none() {
            let mut own: Vec<usize> = offsets.windows(2).map(|w| w[1].saturating_sub(w[0])).collect();
            for (length, present) in own.iter_mut().zip(&mut present) {
                *length = if *present { *length } else { 0 };
                *present &= *length > 0;
            }
            lengths = Some(own);
        }
        let (start, end) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
        values = inner.slice(start, end.saturating_sub(start));
        depth += 1;
    }
    into.push(Leaf { path, lengths, depth, present, values });
}

/// Offsets and child of a list of any kind.
pub(crate) fn list(array: &ArrayRef) -> Option<(Vec<usize>, ArrayRef)> {
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            Some((list.offsets().iter().map(|&o| o as usize).collect(), list.values().clone()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            Some((list.offsets().iter().map(|&o| o as usize).collect(), list.values().clone()))
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            Some(((0..=array.len()).map(|i| i * size).collect(), array.as_fixed_size_list().values().clone()))
        }
        _ => None,
    }
}

/// Numbers as f64, NaN for null; `None` if the values are no numbers.
pub(super) fn numbers(values: &ArrayRef) -> Option<Vec<f64>> {
    if !(values.data_type().is_numeric() || *values.data_type() == DataType::Boolean) {
        return None;
    }
    let cast = cast(values, &DataType::Float64).ok()?;
    Some(cast.as_primitive::<arrow_array::types::Float64Type>().iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

/// Texts; `None` if the values can't be read as such.
pub(super) fn texts(values: &ArrayRef) -> Option<Vec<Option<String>>> {
    let cast = cast(values, &DataType::LargeUtf8).ok()?;
    Some(cast.as_string::<i64>().iter().map(|v| v.map(str::to_owned)).collect())
}
