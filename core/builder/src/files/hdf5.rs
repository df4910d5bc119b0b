//! HDF5: one part per group that holds data sets, the root first. Compound types are left out.

use super::nest::{nest, nested_type};
use super::{Field, Part, SourceFile, source};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
    UInt64Array,
};
use arrow_schema::DataType;
use panchroma_core::Result;
use rust_hdf5::format::messages::datatype::DatatypeMessage;
use rust_hdf5::{H5Dataset, H5File};
use serde_json::Value;
use std::collections::BTreeMap;
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
}

pub(super) fn open(path: &Path) -> Result<Hdf5> {
    let hint = "the file may be cut short: copy it again";
    let file = H5File::options()
        .best_effort_locking()
        .open(path)
        .map_err(|e| source(path, "", format!("can't be read as HDF5: {e}"), hint))?;
    let mut this = Hdf5 { path: path.into(), file, parts: Vec::new(), keywords: Vec::new() };
    let root = this.file.root_group();
    this.collect(&root, "", 0)?;
    if this.parts.is_empty() {
        return Err(source(path, "", "holds no data set that can be read".into(), "compound types are not supported"));
    }
    Ok(this)
}

impl Hdf5 {
    fn collect(&mut self, group: &rust_hdf5::H5Group, name: &str, depth: usize) -> Result<()> {
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
            let attributes = group.attr_names().unwrap_or_default();
            // The crate reads attributes of groups as text only, and of a number gives its bytes.
            let readable =
                |text: &String| !text.is_empty() && !text.contains(|c: char| c.is_control() || c == '\u{fffd}');
            let text = |key: &String| Some((key.clone(), group.attr_string(key).ok().filter(readable)?));
            self.keywords.push(attributes.iter().filter_map(text).map(|(key, text)| (key, text.into())).collect());
        }
        if depth < DEEPEST {
            for inner in group.group_names().map_err(&wrong)? {
                let inner = inner.rsplit('/').next().unwrap_or(&inner).to_owned();
                let child = group.group(&inner).map_err(&wrong)?;
                self.collect(&child, &join(name, &inner), depth + 1)?;
            }
        }
        Ok(())
    }
}

fn join(group: &str, name: &str) -> String {
    if group.is_empty() { name.into() } else { format!("{group}/{name}") }
}

fn unit(dataset: &H5Dataset) -> Option<String> {
    ["units", "unit"].iter().find_map(|key| dataset.attr(key).ok()?.read_string().ok()).filter(|u| !u.is_empty())
}

fn leaf(datatype: &DatatypeMessage) -> Option<DataType> {
    Some(match datatype {
        DatatypeMessage::FixedPoint { size: 8, signed: false, .. } => DataType::UInt64,
        DatatypeMessage::FixedPoint { .. } => DataType::Int64,
        DatatypeMessage::FloatingPoint { size, .. } if *size <= 4 => DataType::Float32,
        DatatypeMessage::FloatingPoint { .. } => DataType::Float64,
        // Two members of one byte are how flags are written; others are numbers.
        DatatypeMessage::Enum { base, members } => match (&**base, members.len()) {
            (DatatypeMessage::FixedPoint { size: 1, .. }, 2) => DataType::Boolean,
            (DatatypeMessage::FixedPoint { size: 1, .. }, _) => DataType::Int8,
            (DatatypeMessage::FixedPoint { size: 2, .. }, _) => DataType::Int16,
            (DatatypeMessage::FixedPoint { size: 4, .. }, _) => DataType::Int32,
            _ => return None,
        },
        DatatypeMessage::FixedString { .. } | DatatypeMessage::VarLenString { .. } => DataType::Utf8,
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
            DataType::Float32 => Arc::new(Float32Array::from(numbers!(f32))),
            DataType::Boolean => Arc::new(stored!(i8).into_iter().map(|f| Some(f != 0)).collect::<BooleanArray>()),
            DataType::Utf8 => {
                // The crate reads texts as a whole; they are short beside what they name.
                let texts = dataset.read_strings_lossy().map_err(|e| wrong(e.to_string()))?;
                let width: usize = counts.iter().skip(1).product();
                let from = starts.first().copied().unwrap_or(0) * width;
                let length = if scalar { texts.len() } else { counts.iter().product() };
                let texts = texts.get(from..from + length).ok_or_else(|| wrong("has fewer texts than rows".into()))?;
                Arc::new(texts.iter().map(|t| Some(t.trim_end_matches('\0').trim())).collect::<StringArray>())
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
