//! What can be wrong with the data, each case with what the reader of the message needs.

use super::storage::scheme;
use crate::config::nearest::did_you_mean;
use std::path::{Path, PathBuf};

/// The data is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path of the data doesn't exist.
    #[error("`{}` doesn't exist", path.display())]
    Missing {
        /// As the user wrote it.
        path: PathBuf,
        /// Neighbours with similar names.
        nearest: Vec<String>,
    },
    /// An address can't be used.
    #[error("`{}` can't be reached", path.display())]
    Remote {
        /// As the user wrote it, or a file below it.
        path: PathBuf,
        /// What the server, the network or the build said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address where something is to be written.
    #[error("`{}` is an address: only folders on a disk can be written", path.display())]
    NotWritable {
        /// As the user wrote it.
        path: PathBuf,
    },
    /// The folder holds no Parquet file.
    #[error("no Parquet file below `{}`", path.display())]
    NoParquet {
        /// The folder.
        path: PathBuf,
    },
    /// The files hold no row.
    #[error("the Parquet files below `{}` hold no object", path.display())]
    NoRows {
        /// The folder.
        path: PathBuf,
    },
    /// The catalogue says that it has another number of rows than its files.
    #[error("the catalogue `{}` says that it has {expected} objects, its files hold {found}", path.display())]
    RowCount {
        /// The catalogue.
        path: PathBuf,
        /// What its properties say.
        expected: u64,
        /// What the footers of the files say.
        found: u64,
    },
    /// More rows than row numbers can count.
    #[error("`{}` holds {rows} objects, more than {}", path.display(), u32::MAX)]
    TooManyRows {
        /// The catalogue.
        path: PathBuf,
        /// How many there are.
        rows: u64,
    },
    /// A file is damaged, cut short, or no Parquet file.
    #[error("`{}` can't be read as Parquet", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: ::parquet::errors::ParquetError,
    },
    /// A column that is needed isn't there.
    #[error("`{}` has no column `{column}`{}", file.display(), which(reader))]
    ColumnMissing {
        /// The first file that lacks it.
        file: PathBuf,
        /// The column.
        column: String,
        /// The table of the config that asks for it; empty if unknown.
        reader: String,
        /// Columns with similar names.
        nearest: Vec<String>,
    },
    /// A column holds something else than what is needed.
    #[error("column `{column}`{}{}: expected {expected}, got {found}", of_file(file.as_ref()), which(reader))]
    ColumnType {
        /// The first file in which it does; none if a batch of rows was at hand.
        file: Option<PathBuf>,
        /// The column.
        column: String,
        /// For example `a list of numbers`.
        expected: String,
        /// For example `text`.
        found: String,
        /// The table of the config that asks for it; empty if unknown.
        reader: String,
    },
    /// A plugin reads a column that it did not ask for.
    #[error("column `{column}` was read but not asked for")]
    ColumnNotAsked {
        /// The column.
        column: String,
        /// What was asked for, with similar names.
        nearest: Vec<String>,
    },
    /// An object without a name.
    #[error("row {row} of `{}` has no `{column}`", file.display())]
    NullId {
        /// The file.
        file: PathBuf,
        /// The column of names.
        column: String,
        /// Row in the file, from 0.
        row: usize,
    },
    /// Two objects of one name.
    #[error("two objects are called `{id}`: {}", in_files(first, second))]
    DuplicateId {
        /// The name.
        id: String,
        /// File of the first.
        first: PathBuf,
        /// File of the second.
        second: PathBuf,
    },
    /// A row without a position on the sky, where the split goes by position.
    #[error("object `{object}` has no `{column}`")]
    NoPosition {
        /// The object.
        object: String,
        /// The column of positions.
        column: &'static str,
    },
    /// A split that is needed has no object.
    #[error("the {split} split has no object: its fraction is {fraction}, of {objects} objects")]
    EmptySplit {
        /// `train`, `validation` or `test`.
        split: &'static str,
        /// As configured.
        fraction: f64,
        /// How many the catalogue has.
        objects: usize,
    },
    /// A column from which something must be learned has no value.
    #[error("column `{column}`{} has no value in the training split", of_modality(modality.as_ref()))]
    AllMissing {
        /// The column.
        column: String,
        /// The modality that reads it.
        modality: Option<String>,
    },
    /// A value that can't be used.
    #[error("object `{object}`, column `{column}`: {reason}")]
    BadValue {
        /// The object.
        object: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object whose position is none, where positions are matched.
    #[error("`{}`, row {row}: object `{object}`, column `{column}`: {reason}", file.display())]
    BadPosition {
        /// The file.
        file: PathBuf,
        /// Row in the file, from 0.
        row: usize,
        /// The object.
        object: String,
        /// Right ascension or declination.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The same as [`Self::BadValue`], with the file that holds the object.
    #[error("{value}, in `{}` (row group {group})", file.display())]
    BadRow {
        /// The file.
        file: PathBuf,
        /// Row group, from 0.
        group: usize,
        /// What is wrong.
        value: Box<DataError>,
    },
    /// A split has fewer batches than there are processes to share them.
    #[error("{batches} batches of {batch} objects can't be divided between {processes} processes")]
    TooFewBatches {
        /// In an epoch.
        batches: u64,
        /// Objects in a batch.
        batch: usize,
        /// Who shares them.
        processes: u64,
    },
    /// Rows and names differ in number.
    #[error("{ids} names for {rows} rows")]
    IdCount {
        /// Names.
        ids: usize,
        /// Rows.
        rows: usize,
    },
    /// A file that a survey published can't be used.
    #[error("`{}`{}: {reason}", file.display(), at(place))]
    Source {
        /// The file.
        file: PathBuf,
        /// Where in the file, for example "HDU 1 (COADD), column `flux`"; empty for all of it.
        place: String,
        /// What is wrong.
        reason: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// No object has a counterpart.
    #[error("no pair lies within {radius_arcsec} arcseconds")]
    NoMatch {
        /// Radius.
        radius_arcsec: f64,
    },
    /// What would be written is there already.
    #[error("`{}` exists", path.display())]
    Exists {
        /// Where to.
        path: PathBuf,
    },
    /// Another command works in a folder.
    #[error("another command writes in `{}`", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A check found faults, which have been listed.
    #[error("`{}` is not sound: {errors} {} of errors", path.display(), if *errors == 1 { "kind" } else { "kinds" })]
    Unsound {
        /// The catalogue.
        path: PathBuf,
        /// How many kinds.
        errors: usize,
    },
    /// A row number that the catalogue doesn't have.
    #[error("row {row} asked for, of {rows}")]
    NoSuchRow {
        /// Asked for.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// Arrow refused an operation on a column.
    #[error("column `{column}` can't be converted")]
    Arrow {
        /// The column, or `*` for all.
        column: String,
        /// What arrow said.
        #[source]
        source: arrow_schema::ArrowError,
    },
    /// A plugin or a decoder panicked on a loader thread.
    #[error("batch {batch} of epoch {epoch} can't be prepared: {reason}")]
    Panicked {
        /// Epoch, from 0.
        epoch: u64,
        /// Batch in the epoch, from 0.
        batch: u64,
        /// The message of the panic.
        reason: String,
    },
    /// The system gives no thread.
    #[error("can't start a loader thread")]
    Thread {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl DataError {
    /// What the user can do about it, if anything is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { path, .. } if scheme(path).is_some() => Some("check the address".into()),
            Self::Missing { nearest, .. } => suggestion(nearest)
                .or_else(|| Some("check the path; it is relative to the folder where the command runs".into())),
            Self::NoParquet { .. } => Some(CATALOGUE.into()),
            Self::RowCount { .. } => {
                Some("a file is missing, doubled or of another version: copy the catalogue again".into())
            }
            Self::Remote { path, .. } => match scheme(path) {
                Some("s3") => Some(
                    "a private bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, another server AWS_ENDPOINT"
                        .into(),
                ),
                Some("hf") => Some("a private data set needs `HF_TOKEN` or `hf auth login`".into()),
                _ => None,
            },
            Self::Unreadable { path, .. } if scheme(path).is_some() => {
                Some("run the same command again; if it stays so, the file is cut short".into())
            }
            Self::Unreadable { path, .. } if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("parquet")) => {
                Some(CATALOGUE.into())
            }
            Self::Unreadable { .. } => {
                Some("the file may be cut short: copy it again, or take it out of the folder".into())
            }
            Self::ColumnMissing { nearest, reader, .. } => suggestion(nearest).or_else(|| named_in(reader)),
            Self::ColumnType { reader, .. } => named_in(reader),
            Self::ColumnNotAsked { nearest, .. } => {
                suggestion(nearest).or_else(|| Some("add it to what the plugin's `columns` gives".into()))
            }
            Self::NullId { .. } => {
                Some("every object needs a name; `id` in [data], or `--id`, says in which column".into())
            }
            Self::DuplicateId { first, second, .. } if first == second => {
                Some("names must be unique; `id` in [data], or `--id`, says in which column they are".into())
            }
            Self::DuplicateId { .. } => {
                Some("is a copy of the catalogue, or a margin of it, in the same folder?".into())
            }
            Self::NoPosition { .. } => Some("set `split_by = \"object\"` in [data], or fill the column".into()),
            Self::EmptySplit { .. } => Some("raise its fraction in [data.split]".into()),
            Self::AllMissing { .. } => Some("check the column's name and its values, or leave it out".into()),
            Self::BadValue { .. } => Some(
                "correct it; or train with `bad_rows = \"absent\"` in [data], which goes on without that measurement"
                    .into(),
            ),
            Self::BadPosition { .. } => Some("correct it, or leave such objects out by `--drop-bad`".into()),
            Self::BadRow { value, .. } => value.hint(),
            Self::TooFewBatches { .. } => Some("lower `batch` in [train], or use fewer processes".into()),
            Self::NoMatch { .. } => Some("are positions in degrees, and of one epoch? raise `--radius`".into()),
            Self::NotWritable { .. } => Some("write to a folder, and copy it".into()),
            Self::Exists { .. } => Some("remove it, or give another name".into()),
            Self::Busy { .. } => Some("wait until it has ended, or give another name".into()),
            Self::Source { hint, .. } => hint.clone(),
            Self::NoRows { .. } => Some("the files have columns but no rows: check what wrote them".into()),
            Self::TooManyRows { .. } => Some("train on a part of the files".into()),
            _ => None,
        }
    }
}

/// What can be read as a catalogue.
const CATALOGUE: &str = "a catalogue is a HATS folder, a folder of `.parquet` files, or one such file; `panchroma data ingest` makes one of FITS, \
    HDF5, CSV and ECSV";

/// `did you mean ...?`, if there is something to suggest.
fn suggestion(nearest: &[String]) -> Option<String> {
    did_you_mean(nearest.get(..3).unwrap_or(nearest))
}

/// What to change, if it is known who asks for a column.
fn named_in(reader: &str) -> Option<String> {
    (!reader.is_empty()).then(|| format!("name another column in {reader}"))
}

/// `, which [modality.sdss] reads`.
fn which(reader: &str) -> String {
    if reader.is_empty() { String::new() } else { format!(", which {reader} reads") }
}

/// `, HDU 1`.
fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(", {place}") }
}

fn in_files(first: &Path, second: &Path) -> String {
    if first == second {
        return format!("both in `{}`", first.display());
    }
    format!("one in `{}`, one in `{}`", first.display(), second.display())
}

fn of_file(file: Option<&PathBuf>) -> String {
    file.map(|file| format!(" of `{}`", file.display())).unwrap_or_default()
}

fn of_modality(modality: Option<&String>) -> String {
    modality.map(|name| format!(" of [modality.{name}]")).unwrap_or_default()
}
