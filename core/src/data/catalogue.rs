//! A catalogue: which objects there are, which split they are in, and any of their rows on demand.

use super::cache::Cache;
use super::codes;
use super::column::{Column, ColumnKind, Found};
use super::error::DataError;
use super::hats::list;
use super::parquet::{Canonical, ParquetFile, Run, assemble, schema};
use super::rows::Rows;
use super::split::{DataConfig, Split, SplitBy};
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Where HATS has an object's pixel of order 29.
const PIXEL: &str = "_healpix_29";

/// Rows are decoded in runs of about this many bytes, so that one row of a large row group doesn't
/// cost all of it. A constant, because runs are shuffled: the order must not depend on a setting of speed.
const RUN_BYTES: u64 = 64 << 20;

/// An opened catalogue. Reading is by `&self` from any thread.
pub struct Catalogue {
    config: DataConfig,
    files: Vec<ParquetFile>,
    names: Vec<String>,
    runs: Vec<FileRun>,
    columns: Vec<Canonical>,
    asked: Arc<BTreeMap<String, usize>>,
    ids: Vec<String>,
    splits: [Arc<[u32]>; 3],
    cache: Cache,
}

/// Rows that are decoded together.
struct FileRun {
    file: usize,
    run: Run,
    /// Row number in the catalogue of its first row.
    first: u32,
    /// Estimate, once decoded.
    bytes: u64,
}

/// What a catalogue amounts to, for plans and reports.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// Files.
    pub files: usize,
    /// Objects.
    pub rows: usize,
    /// Objects in the train, validation and test split.
    pub splits: [usize; 3],
    /// Size of the files, bytes; with columns that nobody reads.
    pub bytes_on_disk: u64,
    /// About how many bytes the columns that are read take in memory.
    pub decoded_bytes: u64,
    /// About how many of them one shuffle window takes; the cache should be as large.
    pub window_bytes: u64,
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").field("path", &self.config.path).field("description", &self.describe()).finish()
    }
}

impl Catalogue {
    /// Finds and checks the files of a catalogue, for reading `columns`.
    ///
    /// Reads every footer and the names of all objects, and nothing else.
    ///
    /// # Errors
    /// [`DataError`]: no such folder, no files, damaged files, missing columns, columns of another
    /// type, names that are missing or not unique.
    pub fn open(config: &DataConfig, columns: &[Column]) -> Result<Self> {
        let (mut files, mut names, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = 0u64;
        for (number, path) in std::iter::once(&config.path).chain(&config.also).enumerate() {
            let listing = list(path)?;
            codes::check(&listing.root, columns)?;
            let own = listing.files.par_iter().map(|path| ParquetFile::open(path)).collect::<Result<Vec<_>>>()?;
            let found: u64 = own.iter().flat_map(ParquetFile::groups).map(|rows| rows as u64).sum();
            if let Some(expected) = listing.expected_rows.filter(|expected| *expected != found) {
                return Err(DataError::RowCount { path: path.clone(), expected, found }.into());
            }
            let before = if number == 0 { String::new() } else { format!("{number}/") };
            names.extend(own.iter().map(|f| format!("{before}{}", relative(&listing.root, &f.path))));
            owners.extend(own.iter().map(|_| path.as_path()));
            files.extend(own);
            rows += found;
        }
        match rows {
            0 => return Err(DataError::NoRows { path: config.path.clone() }.into()),
            _ if rows > u64::from(u32::MAX) => {
                return Err(DataError::TooManyRows { path: config.path.clone(), rows }.into());
            }
            _ => {}
        }
        let canonical = canonical(&files, &owners, columns)?;
        let (ids, pixels) = read_ids(&files, config)?;
        check_unique(&files, &ids)?;
        let mut splits: [Vec<u32>; 3] = Default::default();
        for (row, id) in (0u32..).zip(&ids) {
            let split = config.assign(id, pixels.get(row as usize).copied());
            splits[split as usize].push(row);
        }
        let mut asked = BTreeMap::new();
        for column in columns {
            asked.entry(column.path.clone()).or_insert(column.depth);
        }
        Ok(Self {
            runs: runs(&files, &canonical),
            cache: Cache::new(config.cache_mib.saturating_mul(1 << 20)),
            config: config.clone(),
            files,
            names,
            columns: canonical,
            asked: Arc::new(asked),
            ids,
            splits: splits.map(Arc::from),
        })
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none; never so, as [`Self::open`] refuses that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Names of the objects, by row number.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// What it was opened with.
    #[must_use]
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Row numbers of a split, ascending.
    ///
    /// # Errors
    /// [`DataError::EmptySplit`] if it has none.
    pub fn split(&self, split: Split) -> Result<Arc<[u32]>> {
        let rows = &self.splits[split as usize];
        if rows.is_empty() {
            let fraction = self.config.split.of(split);
            return Err(DataError::EmptySplit { split: split.name(), fraction, objects: self.len() }.into());
        }
        Ok(Arc::clone(rows))
    }

    /// The rows with the numbers `rows`, in that order.
    ///
    /// # Errors
    /// [`DataError::NoSuchRow`], or [`DataError::Unreadable`] if a file is damaged.
    pub fn read(&self, rows: &[u32]) -> Result<Rows> {
        let mut ids = Vec::with_capacity(rows.len());
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut position_of: BTreeMap<usize, usize> = BTreeMap::new();
        let mut picks = Vec::with_capacity(rows.len());
        for &row in rows {
            let missing = || DataError::NoSuchRow { row: row as usize, rows: self.len() };
            ids.push(self.ids.get(row as usize).ok_or_else(missing)?.clone());
            if self.columns.is_empty() {
                continue;
            }
            let number = self.runs.partition_point(|run| run.first <= row).checked_sub(1).ok_or_else(missing)?;
            let run = self.runs.get(number).ok_or_else(missing)?;
            let position = match position_of.get(&number) {
                Some(&position) => position,
                None => {
                    batches.push(self.cache.get(number, || self.decode(run))?);
                    position_of.insert(number, batches.len() - 1);
                    batches.len() - 1
                }
            };
            picks.push((position, (row - run.first) as usize));
        }
        let batch = self.gather(&batches, &picks, rows.len());
        Rows::asked(ids, batch.map_err(|source| DataError::Arrow { column: "*".into(), source })?, &self.asked)
    }

    /// Adds to an error about an object where the object is.
    #[must_use]
    pub fn locate(&self, error: Error) -> Error {
        let Error::Data(data) = error else { return error };
        let DataError::BadValue { object, .. } = &*data else { return Error::Data(data) };
        let row = self.ids.iter().zip(0u32..).find(|(id, _)| *id == object).map(|(_, row)| row);
        let run = row.and_then(|row| self.runs.get(self.runs.partition_point(|run| run.first <= row).checked_sub(1)?));
        match run.and_then(|run| Some((self.files.get(run.file)?.path.clone(), run.run.group))) {
            Some((file, group)) => DataError::BadRow { file, group, value: data }.into(),
            None => Error::Data(data),
        }
    }

    fn decode(&self, run: &FileRun) -> Result<RecordBatch> {
        match self.files.get(run.file) {
            Some(file) => file.decode(run.run, &self.columns),
            None => Err(DataError::NoSuchRow { row: run.first as usize, rows: self.len() }.into()),
        }
    }

    fn gather(
        &self,
        batches: &[RecordBatch],
        picks: &[(usize, usize)],
        rows: usize,
    ) -> Result<RecordBatch, ArrowError> {
        let schema = schema(&self.columns);
        if batches.is_empty() {
            let empty =
                self.columns.iter().enumerate().map(|(i, _)| arrow_array::new_empty_array(schema.field(i).data_type()));
            return assemble(&schema, empty.collect(), rows);
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for index in 0..self.columns.len() {
            let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(index).as_ref()).collect();
            arrays.push(arrow_select::interleave::interleave(&parts, picks)?);
        }
        assemble(&schema, arrays, rows)
    }

    /// First row number of each run of rows that are decoded together.
    pub(super) fn run_starts(&self) -> Vec<u32> {
        self.runs.iter().map(|run| run.first).collect()
    }

    /// Sizes, for plans.
    #[must_use]
    pub fn describe(&self) -> Description {
        let decoded_bytes: u64 = self.runs.iter().map(|run| run.bytes).sum();
        let share = (self.config.shuffle_window as f64 / self.len().max(1) as f64).min(1.0);
        Description {
            files: self.files.len(),
            rows: self.len(),
            splits: [0, 1, 2].map(|i: usize| self.splits[i].len()),
            bytes_on_disk: self.files.iter().map(|f| f.bytes).sum(),
            decoded_bytes,
            window_bytes: (decoded_bytes as f64 * share) as u64,
        }
    }

    /// Changes if a file is added, removed, renamed or rewritten in another size: SHA-256 over
    /// names, sizes and numbers of rows.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (name, file) in self.names.iter().zip(&self.files) {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(file.bytes.to_le_bytes());
            hash.update(file.groups().map(|rows| rows as u64).sum::<u64>().to_le_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }
}

fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    // The same on every system.
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Checks every column in every file, and finds the form that fits all files. A catalogue has a required column in all of its
/// files or in none, and one catalogue has it; `owners` says to which each file belongs.
fn canonical(files: &[ParquetFile], owners: &[&Path], columns: &[Column]) -> Result<Vec<Canonical>> {
    let mut wanted: BTreeMap<&str, Canonical> = BTreeMap::new();
    for column in columns {
        let mut leaf: Option<DataType> = None;
        let mut missing: BTreeMap<&Path, Error> = BTreeMap::new();
        let mut with: BTreeSet<&Path> = BTreeSet::new();
        for (file, owner) in files.iter().zip(owners) {
            let found = match file.find(column) {
                Err(Error::Data(error)) if matches!(*error, DataError::ColumnMissing { .. }) => {
                    missing.entry(owner).or_insert(Error::Data(error));
                    continue;
                }
                found => found?,
            };
            let Some(found) = found else { continue };
            with.insert(owner);
            leaf = Some(match leaf {
                None | Some(DataType::Null) => found.leaf,
                Some(leaf) if leaf == found.leaf || found.leaf == DataType::Null => leaf,
                Some(_) => column.kind.widest(),
            });
        }
        if let Some((_, error)) = missing.into_iter().find(|(owner, _)| with.is_empty() || with.contains(owner)) {
            return Err(error);
        }
        let Some(leaf) = leaf else { continue };
        // A label keeps its type where all files agree: somebody else may read the column as flags or numbers.
        let leaf = if leaf.is_primitive() || leaf == DataType::Boolean { leaf } else { column.kind.widest() };
        let canonical = Canonical { path: column.path.clone(), leaf, depth: column.depth };
        wanted.entry(&column.path).or_insert(canonical);
    }
    Ok(wanted.into_values().collect())
}

/// Names of all objects, and their pixels if the split needs them.
fn read_ids(files: &[ParquetFile], config: &DataConfig) -> Result<(Vec<String>, Vec<i64>)> {
    let by_pixel = config.split_by == SplitBy::Healpix;
    let id = Column::text(&config.id).read_by("[data]");
    let pixel = Column::number(PIXEL).read_by("[data]");
    let mut columns = vec![Canonical { path: config.id.clone(), leaf: DataType::LargeUtf8, depth: 0 }];
    if by_pixel {
        columns.push(Canonical { path: PIXEL.into(), leaf: DataType::Int64, depth: 0 });
    }
    let (mut ids, mut pixels) = (Vec::new(), Vec::new());
    for file in files {
        let whole = |found: &Found| found.depth == 0 && found.leaf.is_integer();
        let named = |found: &Found| whole(found) || (found.depth == 0 && ColumnKind::Text.accepts(&found.leaf));
        file.find_as(&id, "text or whole numbers", named)?;
        if by_pixel {
            file.find_as(&pixel, "whole numbers", whole)?;
        }
        let mut row_in_file = 0;
        for (group, rows) in file.groups().enumerate().filter(|&(_, rows)| rows > 0) {
            let batch = file.decode(Run { group, start: 0, rows }, &columns)?;
            for (row, name) in batch.column(0).as_string::<i64>().iter().enumerate() {
                let null =
                    || DataError::NullId { file: file.path.clone(), column: config.id.clone(), row: row_in_file + row };
                ids.push(name.ok_or_else(null)?.to_owned());
            }
            if by_pixel {
                let values = batch.column(1).as_primitive::<Int64Type>();
                for (value, object) in values.iter().zip(ids.iter().skip(ids.len() - rows)) {
                    pixels.push(value.ok_or_else(|| DataError::NoPosition { object: object.clone(), column: PIXEL })?);
                }
            }
            row_in_file += rows;
        }
    }
    Ok((ids, pixels))
}

fn check_unique(files: &[ParquetFile], ids: &[String]) -> Result<()> {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
    let file_of = |row: usize| {
        let mut first_after = 0;
        let holds = |file: &&ParquetFile| {
            first_after += file.groups().sum::<usize>();
            row < first_after
        };
        files.iter().find(holds).map(|file| file.path.clone()).unwrap_or_default()
    };
    for (row, id) in ids.iter().enumerate() {
        if let Some(earlier) = seen.insert(id, row) {
            return Err(DataError::DuplicateId { id: id.clone(), first: file_of(earlier), second: file_of(row) }.into());
        }
    }
    Ok(())
}

/// Cuts row groups into runs of about [`RUN_BYTES`].
fn runs(files: &[ParquetFile], columns: &[Canonical]) -> Vec<FileRun> {
    let mut runs = Vec::new();
    let mut first = 0u32;
    for (number, file) in files.iter().enumerate() {
        for (group, rows) in file.groups().enumerate().filter(|&(_, rows)| rows > 0) {
            let bytes = file.decoded_bytes(group, columns);
            let pieces = usize::try_from(bytes.div_ceil(RUN_BYTES)).unwrap_or(rows).clamp(1, rows);
            let length = rows.div_ceil(pieces);
            for start in (0..rows).step_by(length) {
                let run = Run { group, start, rows: length.min(rows - start) };
                runs.push(FileRun { file: number, run, first, bytes: bytes * run.rows as u64 / rows as u64 });
                // Fits: `open` refused more than u32::MAX rows.
                first += run.rows as u32;
            }
        }
    }
    runs
}
