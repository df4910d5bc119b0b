//! Counts and percentiles of every column, which modalities objects have, and how these overlap.

use super::leaves::{Leaf, leaves, numbers};
use super::sample::Sample;
use super::table::Table;
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;
use panchroma_core::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Texts of a column that has more different ones are names, not classes, and are not counted.
pub const DISTINCT: usize = 10_000;

/// What a catalogue holds.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Number of objects.
    pub objects: u64,
    /// Number of files.
    pub files: usize,
    /// Struct columns of lists: measurements that an object may lack.
    pub modalities: Vec<ModalityStats>,
    /// Objects that have both of two modalities.
    pub overlap: Vec<Overlap>,
    /// In the files' order.
    pub columns: Vec<ColumnStats>,
}

/// How many objects have a modality.
#[derive(Clone, Debug, Serialize)]
pub struct ModalityStats {
    /// Name of the struct column.
    pub name: String,
    /// Objects that have at least one sample of it.
    pub objects: u64,
}

/// How many objects have two modalities.
#[derive(Clone, Debug, Serialize)]
pub struct Overlap {
    /// Their names.
    pub modalities: [String; 2],
    /// Objects that have both.
    pub objects: u64,
}

/// One column, or one field of a struct column.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnStats {
    /// Dotted name.
    pub column: String,
    /// Levels of lists.
    pub depth: usize,
    /// Objects that have it: not null, not an empty list.
    pub present: u64,
    /// Objects that lack it.
    pub missing: u64,
    /// Number of values over all objects.
    pub values: u64,
    /// Of these, null, NaN or infinite.
    pub not_finite: u64,
    /// Shortest, median and longest list.
    pub lengths: Option<[f64; 3]>,
    /// Mean of the finite values.
    pub mean: Option<f64>,
    /// Smallest, percentiles 1, 16, 50, 84, 99, and largest of the finite values.
    pub percentiles: Option<[f64; 7]>,
    /// Number of different texts; 10,000 also stands for more.
    pub distinct: Option<usize>,
    /// The most frequent texts with their numbers, unless there are more different ones than that.
    pub frequent: Vec<(String, u64)>,
}

/// Gathers what batches of a catalogue hold.
pub(crate) struct Gatherer {
    /// Number of the stream of batches.
    stream: u64,
    objects: u64,
    columns: BTreeMap<String, Gathered>,
    modalities: BTreeMap<String, u64>,
    pairs: BTreeMap<[String; 2], u64>,
}

struct Gathered {
    /// Stream and place in it: files may have other columns.
    order: (u64, usize),
    depth: usize,
    present: u64,
    values: u64,
    not_finite: u64,
    lengths: Sample,
    numbers: Sample,
    /// Different texts; none if there are too many to be classes.
    texts: Option<HashMap<String, u64>>,
    text: bool,
}

/// Reads a whole catalogue once. `progress` gets the number of objects done and of all.
///
/// # Errors
/// If a file can't be read.
pub fn stats(table: &Table, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<Stats> {
    let done = Mutex::new((0, progress));
    let whole = Mutex::new(Gatherer::new(u64::MAX));
    table.groups.par_iter().enumerate().try_for_each(|(stream, group)| -> Result<()> {
        let mut gatherer = Gatherer::new(stream as u64);
        for batch in table.group(*group, None)? {
            let (_, batch) = batch?;
            gatherer.add(&batch);
            if let Ok(mut done) = done.lock() {
                done.0 += batch.num_rows() as u64;
                let read = done.0;
                (done.1)(read, table.rows);
            }
        }
        whole.lock().unwrap_or_else(PoisonError::into_inner).merge(gatherer);
        Ok(())
    })?;
    Ok(whole.into_inner().unwrap_or_else(PoisonError::into_inner).finish(table.files.len()))
}

impl Gatherer {
    /// For the stream of this number: what comes of several streams does not depend on the order of merging.
    pub(crate) fn new(stream: u64) -> Self {
        let (columns, modalities, pairs) = Default::default();
        Self { stream, objects: 0, columns, modalities, pairs }
    }

    /// Takes the next objects of its stream.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        let mut has: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for (place, leaf) in leaves(batch).iter().enumerate() {
            if let (Some(lengths), Some((modality, _))) = (leaf.lengths(), leaf.path.split_once('.')) {
                let own = has.entry(modality.to_owned()).or_insert_with(|| vec![false; batch.num_rows()]);
                own.iter_mut().zip(lengths).for_each(|(has, length)| *has |= length > 0);
            }
            let new = || Gathered::new(self.stream, place);
            self.columns.entry(leaf.path.clone()).or_insert_with(new).add(leaf);
        }
        for (i, (name, present)) in has.iter().enumerate() {
            *self.modalities.entry(name.clone()).or_default() += present.iter().filter(|p| **p).count() as u64;
            for (other, also) in has.iter().skip(i + 1) {
                let both = present.iter().zip(also).filter(|(a, b)| **a && **b).count() as u64;
                *self.pairs.entry([name.clone(), other.clone()]).or_default() += both;
            }
        }
        self.objects += batch.num_rows() as u64;
    }

    /// Takes what another stream held.
    pub(crate) fn merge(&mut self, other: Self) {
        self.objects += other.objects;
        other.modalities.into_iter().for_each(|(name, n)| *self.modalities.entry(name).or_default() += n);
        other.pairs.into_iter().for_each(|(names, n)| *self.pairs.entry(names).or_default() += n);
        for (name, column) in other.columns {
            match self.columns.entry(name) {
                Entry::Occupied(mut own) => own.get_mut().merge(column),
                Entry::Vacant(place) => {
                    place.insert(column);
                }
            }
        }
    }

    /// What all of it held.
    pub(crate) fn finish(self, files: usize) -> Stats {
        let mut columns: Vec<(String, Gathered)> = self.columns.into_iter().collect();
        columns.sort_by_key(|(_, column)| column.order);
        Stats {
            objects: self.objects,
            files,
            modalities: self.modalities.into_iter().map(|(name, objects)| ModalityStats { name, objects }).collect(),
            overlap: self.pairs.into_iter().map(|(modalities, objects)| Overlap { modalities, objects }).collect(),
            columns: columns.into_iter().map(|(name, column)| column.finish(name, self.objects)).collect(),
        }
    }
}

impl Gathered {
    fn new(stream: u64, place: usize) -> Self {
        Self {
            order: (stream, place),
            depth: 0,
            present: 0,
            values: 0,
            not_finite: 0,
            lengths: Sample::new(stream),
            numbers: Sample::new(stream),
            texts: Some(HashMap::new()),
            text: false,
        }
    }

    fn add(&mut self, leaf: &Leaf) {
        self.depth = leaf.levels.len();
        self.present += leaf.present.iter().filter(|p| **p).count() as u64;
        self.values += leaf.values.len() as u64;
        for length in leaf.lengths().into_iter().flatten().filter(|l| *l > 0) {
            self.lengths.add(length as f64);
        }
        if let Some(values) = numbers(&leaf.values) {
            for value in values {
                if value.is_finite() { self.numbers.add(value) } else { self.not_finite += 1 }
            }
        } else if let Ok(values) = cast(&leaf.values, &DataType::LargeUtf8) {
            self.text = true;
            self.not_finite += values.null_count() as u64;
            for text in values.as_string::<i64>().iter().flatten() {
                self.count(text, 1);
            }
        }
    }

    fn count(&mut self, text: &str, times: u64) {
        let Some(texts) = &mut self.texts else { return };
        if let Some(count) = texts.get_mut(text) {
            *count += times;
        } else if texts.len() < DISTINCT {
            texts.insert(text.into(), times);
        } else {
            self.texts = None;
        }
    }

    fn merge(&mut self, other: Self) {
        self.order = self.order.min(other.order);
        self.depth = self.depth.max(other.depth);
        self.present += other.present;
        self.values += other.values;
        self.not_finite += other.not_finite;
        self.lengths.merge(other.lengths);
        self.numbers.merge(other.numbers);
        self.text |= other.text;
        match other.texts {
            None => self.texts = None,
            Some(texts) => BTreeMap::from_iter(texts).iter().for_each(|(text, times)| self.count(text, *times)),
        }
    }

    fn finish(self, column: String, objects: u64) -> ColumnStats {
        let distinct = self.text.then(|| self.texts.as_ref().map_or(DISTINCT, HashMap::len));
        let mut frequent: Vec<(String, u64)> = self.texts.unwrap_or_default().into_iter().collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        // Names of objects, which all differ, are no classes.
        frequent.retain(|(_, count)| *count > 1);
        frequent.truncate(5);
        ColumnStats {
            column,
            depth: self.depth,
            present: self.present,
            missing: objects.saturating_sub(self.present),
            values: self.values,
            not_finite: self.not_finite,
            lengths: self.lengths.percentiles().map(|p| [p[0], p[3], p[6]]),
            mean: self.numbers.mean(),
            percentiles: self.numbers.percentiles(),
            distinct,
            frequent,
        }
    }
}
