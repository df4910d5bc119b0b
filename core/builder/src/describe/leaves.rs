//! A nested column, flattened: which rows have it, and its values in one array.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use arrow_select::take::take;
use std::ops::Range;

/// One column of plain values, or a field of a struct column, of one batch.
pub(super) struct Leaf {
    /// Dotted name.
    pub(super) path: String,
    /// Levels of lists, outermost first. Element `i` of a level holds the elements `[i]..[i + 1]` of the next one, or of the
    /// values; what is null holds none.
    pub(super) levels: Vec<Vec<usize>>,
    /// Whether the row has it: not null, and not an empty list.
    pub(super) present: Vec<bool>,
    /// All values of all rows in order, nulls among them.
    pub(super) values: ArrayRef,
}

impl Leaf {
    /// The outermost lists' lengths; none if one value per row.
    pub(super) fn lengths(&self) -> Option<impl Iterator<Item = usize> + '_> {
        Some(self.levels.first()?.windows(2).map(|w| w[1] - w[0]))
    }

    /// The elements of level `level` that belong to a row; the values, if there is no such level.
    pub(super) fn range(&self, row: usize, level: usize) -> Range<usize> {
        let end = |at: usize| self.levels.iter().take(level).fold(at, |at, l| l.get(at).copied().unwrap_or(0));
        end(row)..end(row + 1)
    }

    /// Lengths of the lists of level `level` that belong to a row.
    pub(super) fn lists(&self, row: usize, level: usize) -> impl Iterator<Item = usize> + '_ {
        let Range { start, end } = self.range(row, level);
        let starts = self.levels.get(level).and_then(|l| l.get(start..=end)).unwrap_or_default();
        starts.windows(2).map(|w| w[1] - w[0])
    }
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
    // Logical: a column of the type null has no mask of its own.
    let nulls = column.logical_nulls();
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let mut present: Vec<bool> = above.iter().enumerate().map(|(row, above)| *above && valid(row)).collect();
    if let DataType::Struct(fields) = column.data_type() {
        for (field, child) in fields.iter().zip(column.as_struct().columns()) {
            collect(format!("{path}.{}", field.name()), child, &present, into);
        }
        return;
    }
    let (mut values, mut levels): (_, Vec<Vec<usize>>) = (column.clone(), Vec::new());
    while let Some((offsets, inner)) = list(&values) {
        let nulls = values.logical_nulls();
        let has = |i: usize| match levels.is_empty() {
            true => present.get(i).copied().unwrap_or(false),
            false => nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i)),
        };
        let own = |(i, w): (usize, &[usize])| if has(i) { w[0]..w[1] } else { w[0]..w[0] };
        let ranges = || offsets.windows(2).enumerate().map(own);
        let mut starts = vec![0];
        let mut end = 0;
        for range in ranges() {
            end += range.len();
            starts.push(end);
        }
        let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
        values = if end == last.saturating_sub(first) {
            inner.slice(first, end)
        } else {
            // Lists of fixed size have values where they are null.
            let places: UInt64Array = ranges().flatten().map(|i| i as u64).collect();
            take(&inner, &places, None).unwrap_or(inner)
        };
        if levels.is_empty() {
            present.iter_mut().zip(starts.windows(2)).for_each(|(present, w)| *present &= w[1] > w[0]);
        }
        levels.push(starts);
    }
    into.push(Leaf { path, levels, present, values });
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

/// Whether values go up all the way, or down.
pub(super) fn ascending(values: &[f64]) -> bool {
    values.windows(2).all(|w| w[0] < w[1]) || values.windows(2).all(|w| w[0] > w[1])
}
