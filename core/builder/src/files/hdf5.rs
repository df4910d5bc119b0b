//! HDF5: one part per group that holds data sets, the root first. Compound types are left out.

use super::hdf5_attributes::{Attributes, is_flag, value};
use super::nest::{nest, nested_type};
use super::{Field, Part, SourceFile, source};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::DataType;
use panchroma_core::Result;
use rust_hdf5::format::messages::attribute::AttributeMessage;
use rust_hdf5::format::messages::datatype::DatatypeMessage;
use rust_hdf5::{H5Dataset, H5File};
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Groups in groups: deeper is a loop of links.
const DEEPEST: usize = 16;

pub(super) struct Hdf5 {
    path: PathBuf,
    file: H5File,
    parts: Vec<Part>,
    /// By part.
    keywords: Vec<BTreeMap<String, Value>>,
    /// Texts of the columns that were read, by path: the crate reads them as a whole only.
    texts: BTreeMap<String, StringArray>,
}

pub(super) fn open(path: &Path) -> Result<Hdf5> {
    let hint = "the file may be cut short: copy it again";
    let file = H5File::options()
        .best_effort_locking()
        .open(path)
        .map_err(|e| source(path, "", format!("can't be read as HDF5: {e}"), hint))?;
    let mut this = Hdf5 { path: path.into(), file, parts: Vec::new(), keywords: Vec::new(), texts: BTreeMap::new() };
    let root = this.file.root_group();
    this.collect(&root, "", 0, &mut Attributes::open(path).ok())?;
    if this.parts.is_empty() {
        return Err(source(path, "", "holds no data set that can be read".into(), "compound types are not supported"));
    }
    Ok(this)
}

impl Hdf5 {
    fn collect(
        &mut self,
        group: &rust_hdf5::H5Group,
        name: &str,
        depth: usize,
        attributes: &mut Option<Attributes>,
    ) -> Result<()> {
        let path = self.path.clone();
        let place = name.to_owned();
        let wrong = move |e: rust_hdf5::Hdf5Error| source(&path, &place, e.to_string(), "the file may be damaged");
        let mut fields = Vec::new();
        for local in group.dataset_names().map_err(&wrong)? {
            let local = local.rsplit('/').next().unwrap_or(&local).to_owned();
            let dataset = self.file.dataset(&join(name, &local)).map_err(&wrong)?;
            let Some(leaf) = dataset.datatype().ok().as_ref().and_then(leaf) else { continue };
            fields.push((local, dataset.shape(), leaf, unit(&dataset)));
        }
        // Data sets of one value per object share their first dimension; most have it.
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for first in fields.iter().filter_map(|f| f.1.first()) {
            *counts.entry(*first).or_default() += 1;
        }
        let rows = counts.into_iter().max_by_key(|(_, count)| *count).map_or(1, |(rows, _)| rows);
        if !fields.is_empty() {
            let fields = fields.into_iter().map(|(name, shape, leaf, unit)| {
                let per_row = shape.first() == Some(&rows);
                let row = if per_row { shape.get(1..).unwrap_or_default() } else { &shape };
                Field { name, data_type: nested_type(&leaf, row), unit, per_row }
            });
            self.parts.push(Part { name: name.into(), rows, fields: fields.collect() });
            // Attributes that can't be read are not there.
            let found = attributes.as_mut().and_then(|all| all.of(name).ok()).unwrap_or_default();
            let one = found.into_iter().filter(|a| a.dataspace.dims.iter().product::<u64>() == 1);
            let keyword = |attribute: AttributeMessage| {
                let value = match is_text(&attribute.datatype) {
                    true => group.attr_string(&attribute.name).ok()?.into(),
                    false => value(&attribute.datatype, &attribute.data)?,
                };
                Some((attribute.name, value))
            };
            self.keywords.push(one.filter_map(keyword).collect());
        }
        if depth < DEEPEST {
            for inner in group.group_names().map_err(&wrong)? {
                let inner = inner.rsplit('/').next().unwrap_or(&inner).to_owned();
                let child = group.group(&inner).map_err(&wrong)?;
                self.collect(&child, &join(name, &inner), depth + 1, attributes)?;
            }
        }
        Ok(())
    }
}

fn join(group: &str, name: &str) -> String {
    if group.is_empty() { name.into() } else { format!("{group}/{name}") }
}

fn unit(dataset: &H5Dataset) -> Option<String> {
    let text = |key| {
        let attribute = dataset.attr(key).ok()?;
        attribute.datatype().is_ok_and(|t| is_text(&t)).then(|| attribute.read_string().ok())?
    };
    ["units", "unit"].into_iter().find_map(text).filter(|unit| !unit.is_empty())
}

fn is_text(datatype: &DatatypeMessage) -> bool {
    matches!(datatype, DatatypeMessage::FixedString { .. } | DatatypeMessage::VarLenString { .. })
}

fn leaf(datatype: &DatatypeMessage) -> Option<DataType> {
    Some(match datatype {
        DatatypeMessage::FixedPoint { size: 8, signed: false, .. } => DataType::UInt64,
        DatatypeMessage::FixedPoint { .. } => DataType::Int64,
        DatatypeMessage::FloatingPoint { size, .. } if *size <= 4 => DataType::Float32,
        DatatypeMessage::FloatingPoint { .. } => DataType::Float64,
        // Numbers that have names, or flags.
        DatatypeMessage::Enum { base, .. } => match **base {
            DatatypeMessage::FixedPoint { size: 1, .. } if is_flag(datatype) => DataType::Boolean,
            DatatypeMessage::FixedPoint { size: 1, signed: true, .. } => DataType::Int8,
            DatatypeMessage::FixedPoint { size: 2, signed: true, .. } => DataType::Int16,
            DatatypeMessage::FixedPoint { size: 4, signed: true, .. } => DataType::Int32,
            DatatypeMessage::FixedPoint { size: 1, .. } => DataType::UInt8,
            DatatypeMessage::FixedPoint { size: 2, .. } => DataType::UInt16,
            DatatypeMessage::FixedPoint { size: 4, .. } => DataType::UInt32,
            _ => return None,
        },
        text if is_text(text) => DataType::Utf8,
        _ => return None,
    })
}

impl SourceFile for Hdf5 {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn keyword(&self, part: usize, key: &str) -> Option<Value> {
        self.keywords.get(part)?.get(key).cloned()
    }

    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        super::check(&self.path, &self.parts, part, field, &rows)?;
        let found = super::find_field(&self.path, &self.parts, part, field)?.clone();
        let group = self.parts.get(part).map(|p| p.name.as_str()).unwrap_or_default();
        let place = super::place(&self.parts, part, field);
        let wrong = |e: String| source(&self.path, &place, e, "the file may be damaged: copy it again");
        let dataset = self.file.dataset(&join(group, &found.name)).map_err(|e| wrong(e.to_string()))?;
        let shape = dataset.shape();
        let (mut starts, mut counts) = (vec![0; shape.len()], shape.clone());
        if let (true, Some(start), Some(count)) = (found.per_row, starts.first_mut(), counts.first_mut()) {
            (*start, *count) = (rows.start, rows.len());
        }
        let scalar = shape.is_empty();
        macro_rules! numbers {
            ($type:ty) => {
                if scalar {
                    dataset.read_numeric_as::<$type>()
                } else {
                    dataset.read_numeric_slice_as::<$type>(&starts, &counts)
                }
                .map_err(|e| wrong(e.to_string()))?
            };
        }
        macro_rules! stored {
            ($type:ty) => {
                if scalar { dataset.read_raw::<$type>() } else { dataset.read_slice::<$type>(&starts, &counts) }
                    .map_err(|e| wrong(e.to_string()))?
            };
        }
        let values: ArrayRef = match innermost(&found.data_type) {
            DataType::Int64 => Arc::new(Int64Array::from(numbers!(i64))),
            DataType::UInt64 => Arc::new(UInt64Array::from(numbers!(u64))),
            DataType::Int8 => Arc::new(Int8Array::from(stored!(i8))),
            DataType::Int16 => Arc::new(Int16Array::from(stored!(i16))),
            DataType::Int32 => Arc::new(Int32Array::from(stored!(i32))),
            DataType::UInt8 => Arc::new(UInt8Array::from(stored!(u8))),
            DataType::UInt16 => Arc::new(UInt16Array::from(stored!(u16))),
            DataType::UInt32 => Arc::new(UInt32Array::from(stored!(u32))),
            DataType::Float32 => Arc::new(Float32Array::from(numbers!(f32))),
            DataType::Boolean => Arc::new(stored!(i8).into_iter().map(|f| Some(f != 0)).collect::<BooleanArray>()),
            DataType::Utf8 => {
                let texts = match self.texts.entry(join(group, &found.name)) {
                    Entry::Occupied(read) => read.into_mut(),
                    Entry::Vacant(new) => {
                        let texts = dataset.read_strings_lossy().map_err(|e| wrong(e.to_string()))?;
                        new.insert(texts.iter().map(|t| Some(t.trim_end_matches('\0').trim())).collect())
                    }
                };
                let width: usize = counts.iter().skip(1).product();
                let from = starts.first().copied().unwrap_or(0) * width;
                let length = if scalar { texts.len() } else { counts.iter().product() };
                if texts.len() < from + length {
                    return Err(wrong("has fewer texts than rows".into()));
                }
                Arc::new(texts.slice(from, length))
            }
            _ => Arc::new(Float64Array::from(numbers!(f64))),
        };
        let row = if found.per_row { shape.get(1..).unwrap_or_default() } else { &shape };
        nest(values, row).map_err(|e| wrong(e.to_string()))
    }
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(field) => innermost(field.data_type()),
        other => other,
    }
}
