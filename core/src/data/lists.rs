//! Lists of numbers straight from Parquet's levels: twice as fast as by way of arrow's readers, which is most of what a loader does.
//!
//! Each value of a leaf column comes with two numbers (Melnik et al. 2010, PVLDB 3, 330, "Dremel"): the repetition level says which of the
//! lists around it goes on, the definition level how far down from the root there is anything.

use super::extract::Extracted;
use ::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use ::parquet::basic::Repetition;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType as Physical;
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::properties::ReaderProperties;
use ::parquet::file::reader::{ChunkReader, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedRowGroupReader;
use ::parquet::schema::types::SchemaDescriptor;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::NullBuffer;
use std::ops::Range;
use std::sync::Arc;

/// Rows whose levels are in memory at a time.
const ROWS: usize = 16;

/// Reads `rows` of a row group of the leaf column `leaf`; none if it is of another type than floats in lists.
pub(super) fn read(
    file: impl ChunkReader + 'static,
    metadata: &ArrowReaderMetadata,
    leaf: usize,
    (group, rows): (usize, Range<usize>),
) -> Result<Option<Extracted>> {
    let metadata = metadata.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let (Some(levels), Some(found)) = (list_levels(schema, leaf), metadata.row_groups().get(group)) else {
        return Ok(None);
    };
    if levels.is_empty() {
        return Ok(None);
    }
    let properties = Arc::new(ReaderProperties::builder().build());
    let index = metadata.page_index_for_row_group(group);
    let group = SerializedRowGroupReader::new(Arc::new(file), found, index, properties)?;
    let most = schema.column(leaf).max_def_level();
    let lists = Lists::new(levels, most);
    Ok(match group.get_column_reader(leaf)? {
        ColumnReader::FloatColumnReader(reader) => Some(lists.read::<_, Float32Type>(reader, rows)?),
        ColumnReader::DoubleColumnReader(reader) => Some(lists.read::<_, Float64Type>(reader, rows)?),
        _ => None,
    })
}

/// Definition level from which on the lists around the leaf, outermost first, have an element.
fn list_levels(schema: &SchemaDescriptor, leaf: usize) -> Option<Vec<i16>> {
    let column = schema.columns().get(leaf)?;
    let (mut node, mut level, mut levels) = (schema.root_schema(), 0, Vec::new());
    for part in column.path().parts() {
        if !node.is_group() {
            return None;
        }
        node = node.get_fields().iter().find(|field| field.name() == part)?;
        level += i16::from(node.get_basic_info().repetition() != Repetition::REQUIRED);
        if node.get_basic_info().repetition() == Repetition::REPEATED {
            levels.push(level);
        }
    }
    Some(levels)
}

/// What the levels so far amount to.
struct Lists {
    levels: Vec<i16>,
    /// Definition level of a value.
    most: i16,
    present: Vec<bool>,
    /// Where each list begins.
    offsets: Vec<Vec<usize>>,
    /// Elements of all lists of a level.
    counts: Vec<usize>,
    /// Whether each element of the innermost lists is a value; empty as long as all are.
    valid: Vec<bool>,
}

impl Lists {
    fn new(levels: Vec<i16>, most: i16) -> Self {
        let depth = levels.len();
        Self {
            levels,
            most,
            present: Vec::new(),
            offsets: vec![Vec::new(); depth],
            counts: vec![0; depth],
            valid: Vec::new(),
        }
    }

    fn read<P, A>(mut self, mut reader: ColumnReaderImpl<P>, rows: Range<usize>) -> Result<Extracted>
    where
        P: Physical<T = A::Native>,
        A: ArrowPrimitiveType,
    {
        let short = |found: usize| ParquetError::General(format!("{} rows promised, {found} found", rows.len()));
        if reader.skip_records(rows.start)? != rows.start {
            return Err(short(0));
        }
        let mut values: Vec<A::Native> = Vec::new();
        let (mut definition, mut repetition) = (Vec::new(), Vec::new());
        let mut read = 0;
        while read < rows.len() {
            definition.clear();
            repetition.clear();
            let wanted = ROWS.min(rows.len() - read);
            let (found, _, _) =
                reader.read_records(wanted, Some(&mut definition), Some(&mut repetition), &mut values)?;
            if found == 0 {
                return Err(short(read));
            }
            read += found;
            self.add(&definition, &repetition);
        }
        let elements = self.counts.last().copied().unwrap_or(0);
        let leaf: ArrayRef = if self.valid.is_empty() && values.len() == elements {
            Arc::new(PrimitiveArray::<A>::new(values.into(), None))
        } else {
            // Nulls are not among the values.
            let mut values = values.into_iter();
            let spread: Vec<A::Native> = self
                .valid
                .iter()
                .map(|v| if *v { values.next().unwrap_or_default() } else { A::Native::default() })
                .collect();
            if spread.len() != elements {
                return Err(ParquetError::General("its levels and its values don't agree".into()));
            }
            Arc::new(PrimitiveArray::<A>::try_new(spread.into(), Some(NullBuffer::from(self.valid)))?)
        };
        for (offsets, count) in self.offsets.iter_mut().zip(&self.counts) {
            offsets.push(*count);
        }
        Ok(Extracted { present: self.present, offsets: self.offsets, leaf })
    }

    fn add(&mut self, definition: &[i16], repetition: &[i16]) {
        let depth = self.levels.len();
        let innermost = depth as i16;
        let mut at = 0;
        while let (Some(&d), Some(&r)) = (definition.get(at), repetition.get(at)) {
            if r == 0 {
                // A list that is empty is there, one that is null is not.
                self.present.push(self.levels.first().is_some_and(|level| d >= level - 1));
                self.begin(0);
            }
            for k in (usize::try_from(r).unwrap_or(0).saturating_sub(1))..depth {
                if self.levels.get(k).is_none_or(|level| d < *level) {
                    break;
                }
                if let Some(count) = self.counts.get_mut(k) {
                    *count += 1;
                }
                if k + 1 < depth {
                    self.begin(k + 1);
                } else {
                    self.value(d == self.most, 1);
                }
            }
            at += 1;
            // The rest of the innermost list, as long as it has values: nearly all there is.
            let same = |(d, r): &(&i16, &i16)| **d == self.most && **r == innermost;
            let rest = definition.get(at..).unwrap_or_default().iter().zip(repetition.get(at..).unwrap_or_default());
            let more = rest.take_while(same).count();
            if more > 0 {
                if let Some(count) = self.counts.last_mut() {
                    *count += more;
                }
                self.value(true, more);
                at += more;
            }
        }
    }

    /// A list of level `k` begins here.
    fn begin(&mut self, k: usize) {
        if let (Some(offsets), Some(count)) = (self.offsets.get_mut(k), self.counts.get(k)) {
            offsets.push(*count);
        }
    }

    /// The last `count` elements of the innermost lists, which are counted already, are values or nulls.
    fn value(&mut self, is_value: bool, count: usize) {
        if self.valid.is_empty() && is_value {
            return;
        }
        let all = self.counts.last().copied().unwrap_or(0);
        self.valid.resize(all - count, true);
        self.valid.resize(all, is_value);
    }
}
