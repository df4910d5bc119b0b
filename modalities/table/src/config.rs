//! What a user may write in `[modality.NAME]` with `kind = "table"`.

use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnMeaning {
    /// A quantity; `scale` says how it is brought to order one.
    #[default]
    Number,
    /// True or false.
    Flag,
    /// A text, a whole number or a flag that names a class; the classes are learned from the training split. An empty text is missing.
    Category,
    /// An angle in degrees, so that 359 and 1 are neighbours.
    Angle,
    /// A place on the sky: right ascension and declination in degrees, in two columns, as a point on the unit sphere. A declination
    /// outside -90 to 90, or a right ascension outside -360 to 360, such as -999, is missing.
    Sky,
}

/// How a number is brought to order one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Minus the mean, divided by the standard deviation.
    #[default]
    Standard,
    /// The same of log10; zero and negative values count as missing.
    Log,
    /// The same of asinh(value / `softening`): like `log`, for quantities of both signs.
    Asinh,
    /// The rank among the training values, mapped to a normal distribution: for any distribution, however skewed.
    Quantile,
    /// As it is, not even cut by `clip`: for tokenizers that make codes, so that what they decode has the column's unit.
    None,
}

/// One column.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    /// What its values mean: `number`, `flag` (true or false), `category`, `angle` (degrees) or `sky`. Default `number`.
    #[serde(default)]
    pub kind: ColumnMeaning,
    /// For `number`: `standard`, `log`, `asinh`, `quantile` or `none`. Default `standard`.
    #[serde(default)]
    pub scale: Option<Scale>,
    /// For `asinh`: where linear turns to logarithmic, in the column's unit; about its noise is good. Above 0, default 1.
    #[serde(default)]
    pub softening: Option<f64>,
    /// For `category`: the most frequent classes that are told apart; all others are one class `other`. 1 to 1024, default 16.
    #[serde(default)]
    pub max_categories: Option<usize>,
    /// For `number`: the column with its standard error, in the same unit. Its token is told how large that is after scaling; where it
    /// is missing or not above 0 it is unknown. In training `metadata_dropout` of the modality, by default 0.1, hides it for a share of
    /// the objects, so that the model also works without. Default none.
    #[serde(default)]
    pub error: Option<String>,
    /// For `number`: the column holds a list of so many numbers per object, such as the coefficients of a spectrum, and each is a column of its
    /// own, called `name[0]`, `name[1]` and so on. 1 to 4096; default none: one number.
    #[serde(default)]
    pub length: Option<usize>,
    /// For `sky`: the columns of right ascension and declination. Default `["ra", "dec"]`; the name of the entry is free then.
    #[serde(default)]
    pub columns: Option<[String; 2]>,
}

/// Columns of the catalogue, one token each.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The columns by name, each with a table that may be empty: `{ ebv = { scale = "log" }, peak_mag = {} }`. A name with dots goes into
    /// structs. Their order does not matter.
    pub columns: BTreeMap<String, ColumnConfig>,
    /// Columns of kind `number`, after `scale`, are cut at plus and minus this many of their standard deviations over the training
    /// split. Above 0, default 10.
    #[serde(default = "clip")]
    pub clip: f64,
}

fn clip() -> f64 {
    10.0
}

/// How a column is read, once its table has been checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    Standard,
    Log,
    Asinh { softening: f64 },
    Quantile,
    Plain,
    Flag,
    Category { most: usize },
    Angle,
    Sky,
}

impl Reading {
    /// How many features a value becomes.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Standard | Self::Log | Self::Asinh { .. } | Self::Quantile | Self::Plain | Self::Flag => 1,
            // Sine and cosine.
            Self::Angle => 2,
            Self::Sky => 3,
            // One per class, and one for all others.
            Self::Category { most } => most + 1,
        }
    }
}

/// One entry of the checked table.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) reading: Reading,
    /// Column of the standard error.
    pub(crate) error: Option<String>,
    /// Where it is read: a column, or two for a place on the sky.
    pub(crate) paths: Vec<String>,
    /// Of a column of lists: which number of a list it is, and how many a list has.
    pub(crate) element: Option<(usize, usize)>,
}

/// The checked table: columns in the order of their names.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) columns: Vec<Planned>,
    pub(crate) clip: f64,
}

impl Plan {
    /// Reads the table and checks what it says.
    ///
    /// # Errors
    /// A config error that points at the key.
    pub(crate) fn read(section: &Section) -> Result<Self> {
        let config: TableConfig = section.read()?;
        if config.columns.is_empty() {
            return Err(section.reject("columns", "expected at least one column in `columns`, got none"));
        }
        if !(config.clip.is_finite() && config.clip > 0.0) {
            return Err(section.reject("clip", format!("`clip` must be above 0, got {}", config.clip)));
        }
        let tables = section.section("columns")?;
        let mut columns = Vec::with_capacity(config.columns.len());
        for (name, column) in config.columns {
            let reading = column.reading().map_err(|(key, reason)| {
                let table = tables.as_ref().and_then(|t| t.section(&name).ok().flatten());
                let reason = format!("column `{name}`: {reason}");
                table.map_or_else(|| section.reject("columns", reason.clone()), |t| t.reject(key, reason.clone()))
            })?;
            let paths = match (reading, column.columns) {
                (Reading::Sky, Some(columns)) => columns.into(),
                (Reading::Sky, None) => vec!["ra".into(), "dec".into()],
                _ => vec![name.clone()],
            };
            let Some(length) = column.length else {
                columns.push(Planned { name, reading, error: column.error, paths, element: None });
                continue;
            };
            columns.extend((0..length).map(|i| {
                let (name, paths) = (format!("{name}[{i}]"), paths.clone());
                Planned { name, reading, error: None, paths, element: Some((i, length)) }
            }));
        }
        Ok(Self { columns, clip: config.clip })
    }
}

impl ColumnConfig {
    /// The key and the reason, if the keys don't go together.
    fn reading(&self) -> Result<Reading, (&'static str, String)> {
        use ColumnMeaning::{Angle, Category, Flag, Number, Sky};
        if self.scale.is_some() && self.kind != Number {
            return Err(("scale", "`scale` is for columns of kind `number`".into()));
        }
        if self.softening.is_some() && self.scale != Some(Scale::Asinh) {
            return Err(("softening", "`softening` is for columns with `scale = \"asinh\"`".into()));
        }
        if self.max_categories.is_some() && self.kind != Category {
            return Err(("max_categories", "`max_categories` is for columns of kind `category`".into()));
        }
        if self.error.is_some() && self.kind != Number {
            return Err(("error", "`error` is for columns of kind `number`".into()));
        }
        match self.length {
            Some(_) if self.kind != Number || self.error.is_some() => {
                return Err(("length", "`length` is for columns of kind `number` without `error`".into()));
            }
            Some(length) if !(1..=4096).contains(&length) => {
                return Err(("length", format!("`length` must be 1 to 4096, got {length}")));
            }
            _ => {}
        }
        if self.columns.is_some() && self.kind != Sky {
            return Err(("columns", "`columns` is for entries of kind `sky`".into()));
        }
        Ok(match (self.kind, self.scale.unwrap_or_default()) {
            (Flag, _) => Reading::Flag,
            (Angle, _) => Reading::Angle,
            (Sky, _) => Reading::Sky,
            (Category, _) => match self.max_categories.unwrap_or(16) {
                most @ 1..=1024 => Reading::Category { most },
                other => return Err(("max_categories", format!("`max_categories` must be 1 to 1024, got {other}"))),
            },
            (Number, Scale::Standard) => Reading::Standard,
            (Number, Scale::Log) => Reading::Log,
            (Number, Scale::Quantile) => Reading::Quantile,
            (Number, Scale::None) => Reading::Plain,
            (Number, Scale::Asinh) => match self.softening.unwrap_or(1.0) {
                softening if softening.is_finite() && softening > 0.0 => Reading::Asinh { softening },
                other => return Err(("softening", format!("`softening` must be above 0, got {other}"))),
            },
        })
    }
}
