//! Counts and percentiles of every column, which modalities objects have, and how these overlap.

use super::leaves::{Leaf, leaves, numbers, texts};
use super::sample::Sample;
use super::table::Table;
use panchroma_core::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Distinct texts of a column are counted up to this many.
const DISTINCT: usize = 10_000;

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
    /// The most frequent texts with their numbers.
    pub frequent: Vec<(String, u64)>,
}

#[derive(Default)]
struct Gathered {
    order: usize,
    depth: usize,
    present: u64,
    values: u64,
    not_finite: u64,
    lengths: Sample,
    numbers: Sample,
    texts: HashMap<String, u64>,
    text: bool,
}

/// Reads a whole catalogue once. `progress` gets the number of objects done and of all.
///
/// # Errors
/// If a file can't be read.
pub fn stats(table: &Table, progress: &mut dyn FnMut(u64, u64)) -> Result<Stats> {
    let mut columns: BTreeMap<String, Gathered> = BTreeMap::new();
    let mut modalities: BTreeMap<String, u64> = BTreeMap::new();
    let mut pairs: BTreeMap<[String; 2], u64> = BTreeMap::new();
    let mut done = 0;
    for file in &table.files {
        for batch in Table::batches(file, None)? {
            let (_, batch) = batch?;
            let mut has: BTreeMap<String, Vec<bool>> = BTreeMap::new();
            let found = leaves(&batch);
            for leaf in &found {
                let order = columns.len();
                columns.entry(leaf.path.clone()).or_insert_with(|| Gathered { order, ..Default::default() });
                if let (Some(lengths), Some((modality, _))) = (&leaf.lengths, leaf.path.split_once('.')) {
                    let own = has.entry(modality.to_owned()).or_insert_with(|| vec![false; batch.num_rows()]);
                    own.iter_mut().zip(lengths).for_each(|(has, length)| *has |= *length > 0);
                }
            }
            columns.par_iter_mut().for_each(|(path, column)| {
                found.iter().filter(|leaf| leaf.path == *path).for_each(|leaf| column.add(leaf));
            });
            for (i, (name, present)) in has.iter().enumerate() {
                *modalities.entry(name.clone()).or_default() += present.iter().filter(|p| **p).count() as u64;
                for (other, also) in has.iter().skip(i + 1) {
                    let both = present.iter().zip(also).filter(|(a, b)| **a && **b).count() as u64;
                    *pairs.entry([name.clone(), other.clone()]).or_default() += both;
                }
            }
            done += batch.num_rows() as u64;
            progress(done, table.rows);
        }
    }
    let mut columns: Vec<(String, Gathered)> = columns.into_iter().collect();
    columns.sort_by_key(|(_, column)| column.order);
    Ok(Stats {
        objects: done,
        files: table.files.len(),
        modalities: modalities.into_iter().map(|(name, objects)| ModalityStats { name, objects }).collect(),
        overlap: pairs.into_iter().map(|(modalities, objects)| Overlap { modalities, objects }).collect(),
        columns: columns.into_iter().map(|(name, column)| column.finish(name, done)).collect(),
    })
}

impl Gathered {
    fn add(&mut self, leaf: &Leaf) {
        self.depth = leaf.depth;
        self.present += leaf.present.iter().filter(|p| **p).count() as u64;
        self.values += leaf.values.len() as u64;
        for length in leaf.lengths.iter().flatten().filter(|l| **l > 0) {
            self.lengths.add(*length as f64);
        }
        if let Some(values) = numbers(&leaf.values) {
            for value in values {
                if value.is_finite() { self.numbers.add(value) } else { self.not_finite += 1 }
            }
        } else if let Some(values) = texts(&leaf.values) {
            self.text = true;
            for value in values {
                let Some(text) = value else {
                    self.not_finite += 1;
                    continue;
                };
                if let Some(count) = self.texts.get_mut(&text) {
                    *count += 1;
                } else if self.texts.len() < DISTINCT {
                    self.texts.insert(text, 1);
                }
            }
        }
    }

    fn finish(self, column: String, objects: u64) -> ColumnStats {
        let distinct = self.text.then_some(self.texts.len());
        let mut frequent: Vec<(String, u64)> = self.texts.into_iter().collect();
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
