//! Where the data is, and which object belongs to which split.
//!
//! An object's split is a hash of its name (or of its place on the sky), so it depends on neither
//! the order of the files nor what else the catalogue holds: objects keep their split when a
//! catalogue grows.

use crate::config::Section;
use crate::{Result, random};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A part of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To judge by.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// `train`, `validation` or `test`, as in the config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What must not be torn apart by the split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// Every object for itself, by its name.
    #[default]
    Object,
    /// Objects in one pixel of the sky together, so that neighbours, which may share a host, an
    /// image or a calibration, are not on both sides. Needs the column `_healpix_29`.
    Healpix,
}

/// What part of the objects each split gets. Together 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fractions {
    /// To learn from. 0 to 1, default 0 if this table is given, else 0.8.
    #[serde(default)]
    pub train: f64,
    /// To choose by. 0 to 1, default 0 if this table is given, else 0.1.
    #[serde(default)]
    pub validation: f64,
    /// To judge by. 0 to 1, default 0 if this table is given, else 0.1.
    #[serde(default)]
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { train: 0.8, validation: 0.1, test: 0.1 }
    }
}

impl Fractions {
    /// The fraction of one split.
    #[must_use]
    pub fn of(&self, split: Split) -> f64 {
        match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
            Split::Test => self.test,
        }
    }

    /// The split of a key that hashes to `fraction` in `[0, 1)`.
    fn assign(&self, fraction: f64) -> Split {
        let mut end = 0.0;
        let mut last = Split::Train;
        for split in Split::ALL {
            let share = self.of(split);
            if share > 0.0 {
                end += share;
                last = split;
                if fraction < end {
                    break;
                }
            }
        }
        // Rounding may leave a sliver above the last end: it belongs to the last split that has a share.
        last
    }
}

/// `[data]`: which catalogue, how it is split, and what reading it may cost.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder of a HATS catalogue, folder of Parquet files (also in folders below it), or one
    /// Parquet file. Relative to where the command runs.
    pub path: PathBuf,
    /// More catalogues whose objects are used beside those of `path`, for example one per survey. An object has the modalities whose
    /// columns its catalogue has; a column must be in one of them. No name may be in two. Default none.
    #[serde(default)]
    pub also: Vec<PathBuf>,
    /// Column with the names of the objects: text or whole numbers, no two alike. Default
    /// `object_id`.
    #[serde(default = "default_id")]
    pub id: String,
    /// Fractions of the objects for `train`, `validation` and `test`; together 1. Default 0.8, 0.1
    /// and 0.1; in a table that is given, what is left out is 0.
    #[serde(default)]
    pub split: Fractions,
    /// What the split keeps together: `object` (default), or `healpix`: a pixel of the sky.
    #[serde(default)]
    pub split_by: SplitBy,
    /// With `split_by = "healpix"`: order of the pixels, 0 to 29. Default 5: pixels 1.8 degrees
    /// wide. Higher is smaller.
    #[serde(default = "default_healpix_order")]
    pub healpix_order: u8,
    /// Any text. Another one gives another split of the same fractions. Default `panchroma`.
    #[serde(default = "default_salt")]
    pub split_salt: String,
    /// What happens to an object of which a modality can't make sense, such as wavelengths that go back and forth: `error` (default) stops
    /// and names it; `absent` goes on as if the object lacked that modality, and names it in the log.
    #[serde(default)]
    pub bad_rows: BadRowsPolicy,
    /// Threads that read and prepare, 1 to 256. Changes speed, never results. Default 2.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// Batches prepared ahead, 1 to 1024. Default 4.
    #[serde(default = "default_prefetch")]
    pub prefetch: usize,
    /// Memory for decoded rows that will be needed again, MiB. Should hold `shuffle_window` rows.
    /// Default 512.
    #[serde(default = "default_cache_mib")]
    pub cache_mib: usize,
    /// Training draws its batches from this many rows at a time, at least 1: larger mixes better,
    /// smaller reads less at random. Default 16384.
    #[serde(default = "default_shuffle_window")]
    pub shuffle_window: usize,
}

/// What happens to an object of which a modality can't make sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadRowsPolicy {
    /// An error that names it.
    #[default]
    Error,
    /// It counts as without the modality.
    Absent,
}

fn default_id() -> String {
    "object_id".into()
}
fn default_healpix_order() -> u8 {
    5
}
fn default_salt() -> String {
    "panchroma".into()
}
fn default_threads() -> usize {
    2
}
fn default_prefetch() -> usize {
    4
}
fn default_cache_mib() -> usize {
    512
}
fn default_shuffle_window() -> usize {
    16384
}

impl DataConfig {
    /// Everything but the path at its default.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            also: Vec::new(),
            id: default_id(),
            split: Fractions::default(),
            split_by: SplitBy::default(),
            healpix_order: default_healpix_order(),
            split_salt: default_salt(),
            bad_rows: BadRowsPolicy::default(),
            threads: default_threads(),
            prefetch: default_prefetch(),
            cache_mib: default_cache_mib(),
            shuffle_window: default_shuffle_window(),
        }
    }

    /// Reads and checks the table `[data]`.
    ///
    /// # Errors
    /// A config error that points at the value which is out of range.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read_plain()?;
        for split in Split::ALL {
            let share = config.split.of(split);
            if !(0.0..=1.0).contains(&share) {
                let reason = format!("must be between 0 and 1, is {share}");
                return Err(match section.section("split")? {
                    Some(table) => table.reject(split.name(), reason),
                    None => section.reject("split", reason),
                });
            }
        }
        let sum: f64 = Split::ALL.iter().map(|&split| config.split.of(split)).sum();
        if (sum - 1.0).abs() > 1e-6 {
            return Err(section.reject("split", format!("the fractions must sum to 1, they sum to {sum}")));
        }
        let ranges = [
            ("healpix_order", usize::from(config.healpix_order), 0, 29),
            ("threads", config.threads, 1, 256),
            ("prefetch", config.prefetch, 1, 1024),
            ("cache_mib", config.cache_mib, 0, 1 << 30),
            ("shuffle_window", config.shuffle_window, 1, usize::MAX),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let range = if most == usize::MAX {
                    format!("at least {least}")
                } else {
                    format!("between {least} and {most}")
                };
                return Err(section.reject(key, format!("must be {range}, is {value}")));
            }
        }
        if config.id.is_empty() {
            return Err(section.reject("id", "must name a column"));
        }
        Ok(config)
    }

    /// The split of an object.
    ///
    /// `pixel` is the object's HEALPix pixel of order 29, nested; used with [`SplitBy::Healpix`].
    pub(super) fn assign(&self, id: &str, pixel: Option<i64>) -> Split {
        let fraction = match (self.split_by, pixel) {
            (SplitBy::Healpix, Some(pixel)) => {
                let coarse = pixel >> (2 * (29 - u32::from(self.healpix_order.min(29))));
                random::fraction(&self.split_salt, &coarse.to_string())
            }
            _ => random::fraction(&self.split_salt, id),
        };
        self.split.assign(fraction)
    }
}
