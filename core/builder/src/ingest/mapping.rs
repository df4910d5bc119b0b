//! What a mapping says: which files, which of their columns, under which names and in which units.

use crate::hats::SOURCE;
use panchroma_core::config::Document;
use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mapping from the files of a survey to the columns of a catalogue.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The files, and what an object is in them.
    pub source: Source,
    /// Plain columns. `object_id` is needed; `ra` and `dec`, in degrees, place objects on the sky.
    pub column: BTreeMap<String, Value>,
    /// Measurements: by name, the lists that each consists of, such as `flux` and `lambda`.
    #[serde(default)]
    pub measurement: BTreeMap<String, BTreeMap<String, Value>>,
}

/// The files.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Patterns such as `spectra/**/spec-*.fits`, relative to the folder where the command runs.
    pub files: Vec<String>,
    /// What is one object: a `file` (default), a `row` of `part`, or a `group` of rows (see `group`).
    #[serde(default)]
    pub layout: Layout,
    /// The HDU, group or table that columns are in, by name or number, unless they say another; default the first
    /// that has rows.
    #[serde(default)]
    pub part: Option<String>,
    /// With `layout = "group"`: which rows belong together.
    #[serde(default)]
    pub group: Option<Group>,
    /// `fail` (default) stops at a bad file; `skip` leaves it out and says so at the end.
    #[serde(default)]
    pub on_error: OnError,
}

/// What one object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// A file; its columns become lists.
    #[default]
    File,
    /// A row.
    Row,
    /// A group of rows.
    Group,
}

/// What to do with a bad file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Stop.
    #[default]
    Fail,
    /// Leave it out.
    Skip,
}

/// Which rows belong to an object: those with one value of `key`; or those from `first` to `last`, which are
/// columns of `part` that count the rows of another table from 1.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Column that is equal for rows of one object.
    #[serde(default)]
    pub key: Option<String>,
    /// Column with the number of the object's first row, from 1.
    #[serde(default)]
    pub first: Option<String>,
    /// Column with the number of the object's last row.
    #[serde(default)]
    pub last: Option<String>,
    /// HDU or group of the rows; default the first that has rows.
    #[serde(default)]
    pub part: Option<String>,
    /// The rows are in another file: replace this in the file's name ...
    #[serde(default)]
    pub replace: Option<String>,
    /// ... by this.
    #[serde(default)]
    pub with: Option<String>,
}

/// Where a column comes from: exactly one of `from`, `planes`, `keyword`, `file_name`, `constant` and `start`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Column of the file; `image` is the pixels of an image HDU.
    #[serde(default)]
    pub from: Option<String>,
    /// Columns, each `COLUMN@PART`, that become one list: the planes of an image.
    #[serde(default)]
    pub planes: Option<Vec<String>>,
    /// Keyword of a FITS header, or attribute of an HDF5 group.
    #[serde(default)]
    pub keyword: Option<String>,
    /// Text of the file's name between this and what `until` says; both may be empty.
    #[serde(default)]
    pub file_name: Option<String>,
    /// End of what `file_name` takes; default the last dot.
    #[serde(default)]
    pub until: Option<String>,
    /// The same for all objects: number, text, flag or list of these.
    #[serde(default)]
    pub constant: Option<Constant>,
    /// Keyword of the first value of an evenly spaced axis, such as `CRVAL1`.
    #[serde(default)]
    pub start: Option<String>,
    /// Keyword of its step, such as `CD1_1`.
    #[serde(default)]
    pub step: Option<String>,
    /// Column that the axis belongs to, for its length.
    #[serde(default)]
    pub along: Option<String>,
    /// HDU, group or table, by name or number.
    #[serde(default)]
    pub part: Option<String>,
    /// What is done to numbers: `pow10`, `inverse_square` (errors become inverse variances; 0 where not finite),
    /// `nonzero` (flags), `zero` (flags that are inverse), `absolute`.
    #[serde(default)]
    pub transform: Option<Transform>,
    /// Unit of the file, where it does not say or says it wrong; of a logarithm (`pow10`), that of the number itself. Default:
    /// as the file says. `ra` and `dec` in another unit than degrees are converted.
    #[serde(default)]
    pub unit: Option<String>,
    /// Unit of the catalogue; numbers are converted.
    #[serde(default)]
    pub to: Option<String>,
    /// `f32`, `f64`, `int`, `bool` or `text`. Default: lists of measured numbers are f32, but times f64; others as they are, in a
    /// type that holds what all files have.
    #[serde(default, rename = "type")]
    pub kind: Option<Kind>,
    /// Whether files may lack it; then it is missing there.
    #[serde(default)]
    pub optional: bool,
}

/// A value for all objects.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Constant {
    /// True or false.
    Flag(bool),
    /// Number.
    Number(f64),
    /// Text.
    Text(String),
    /// List of texts, such as bands.
    Texts(Vec<String>),
    /// List of numbers.
    Numbers(Vec<f64>),
}

/// What is done to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// 10 to the power of it.
    Pow10,
    /// 1 over its square; 0 where that is not finite.
    InverseSquare,
    /// Whether it is not 0.
    Nonzero,
    /// Whether it is 0.
    Zero,
    /// Without its sign.
    Absolute,
}

/// Type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// 64-bit integers.
    Int,
    /// Flags.
    Bool,
    /// Text.
    Text,
}

impl Mapping {
    /// Reads and checks a mapping.
    ///
    /// # Errors
    /// A config error at the line that caused it.
    pub fn read(document: &Document) -> Result<Self> {
        let root = document.root();
        let mapping: Self = root.read()?;
        if !mapping.column.contains_key("object_id") {
            return Err(root.reject("column", "expected `[column.object_id]`, the objects' names"));
        }
        if mapping.column.contains_key("ra") != mapping.column.contains_key("dec") {
            return Err(root.reject("column", "expected both `ra` and `dec`, or neither"));
        }
        let check = |section: &Section, name: &str, value: &Value| -> Result<()> {
            let given = [
                value.from.is_some(),
                value.planes.is_some(),
                value.keyword.is_some(),
                value.file_name.is_some(),
                value.constant.is_some(),
                value.start.is_some(),
            ];
            if given.iter().filter(|g| **g).count() != 1 {
                let reason = "expected exactly one of `from`, `planes`, `keyword`, `file_name`, `constant` and `start`";
                return Err(section.reject(name, reason));
            }
            if value.start.is_some() && (value.step.is_none() || value.along.is_none()) {
                return Err(section.reject(name, "`start` needs `step`, a keyword, and `along`, a column"));
            }
            if value.until.is_some() && value.file_name.is_none() {
                return Err(section.reject(name, "`until` belongs to `file_name`"));
            }
            Ok(())
        };
        let columns = root.section("column")?.unwrap_or_else(|| root.clone());
        mapping.column.iter().try_for_each(|(name, value)| check(&columns, name, value))?;
        for (name, section) in root.sections("measurement")? {
            for (field, value) in mapping.measurement.get(&name).into_iter().flatten() {
                check(&section, field, value)?;
            }
        }
        let columns = root.section("column")?.unwrap_or_else(|| root.clone());
        for name in ["_healpix_29", SOURCE] {
            if mapping.column.contains_key(name) {
                return Err(columns.reject(name, "is a name that the catalogue needs for itself"));
            }
        }
        for (name, section) in root.sections("measurement")? {
            if mapping.column.contains_key(&name) || ["_healpix_29", SOURCE].contains(&name.as_str()) {
                return Err(root.reject(&format!("measurement.{name}"), "is the name of a column, too"));
            }
            let fields = mapping.measurement.get(&name);
            let converts = |field: &str| fields.and_then(|f| f.get(field)).map(|value| value.to.is_some());
            for error in ["ivar", "flux_err", "error"] {
                // Values in one unit and their errors in another are worse than no conversion.
                if converts("flux") == Some(true) && converts(error) == Some(false) {
                    return Err(
                        section.reject(error, "needs `unit` and `to` as `flux` has; of an inverse variance, `(Jy)^-2`")
                    );
                }
            }
        }
        let source = root.section("source")?.unwrap_or_else(|| root.clone());
        if mapping.source.files.is_empty() {
            return Err(source.reject("files", "expected at least one pattern, such as `spectra/*.fits`"));
        }
        let grouped = mapping.source.layout == Layout::Group;
        match &mapping.source.group {
            None if grouped => return Err(source.reject("layout", "`group` needs `[source.group]`")),
            Some(_) if !grouped => return Err(source.reject("group", "needs `layout = \"group\"`")),
            Some(g) if g.key.is_some() == g.first.is_some() || g.first.is_some() != g.last.is_some() => {
                return Err(source.reject("group", "expected `key`, or `first` and `last`"));
            }
            _ => {}
        }
        Ok(mapping)
    }

    /// What makes the catalogue: all but which files are read and what happens to bad ones.
    pub(super) fn identity(&self) -> Vec<u8> {
        let mut same = self.clone();
        same.source.files.clear();
        same.source.on_error = OnError::Fail;
        serde_json::to_vec(&same).unwrap_or_default()
    }
}

impl Value {
    /// Whether it gives one value per object.
    pub(super) fn is_one(&self) -> bool {
        let plain = |c: &Constant| !matches!(c, Constant::Texts(_) | Constant::Numbers(_));
        self.keyword.is_some() || self.file_name.is_some() || self.constant.as_ref().is_some_and(plain)
    }
}

impl Transform {
    /// Whether what comes out is of another unit than what went in.
    pub(super) fn changes_unit(self) -> bool {
        !matches!(self, Self::Absolute)
    }
}
