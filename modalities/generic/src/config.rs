//! What a user may write in `[modality.NAME.tokenizer]` with `kind = "windows"`.

use panchroma_core::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Any arrays, cut along the first axis of a field.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowsConfig {
    /// The field of the arrays that is cut along its first axis. Default: the first of single precision, else the first.
    #[serde(default)]
    pub field: Option<String>,
    /// Entries of that axis in a token: 1 up to its length, default 1. Of the other axes a token has everything.
    #[serde(default = "one")]
    pub length: usize,
    /// Values are divided by it: about their standard deviation, in the unit of the field. Above 0, default 1.
    #[serde(default = "unit")]
    pub scale: f64,
    /// Fields that say where a token stands: those with one number per entry of the axis that is cut. A token is told their mean over
    /// its measured entries. Default none: tokens are told apart by their number, for which all objects need the same grid.
    #[serde(default)]
    pub coordinates: Vec<FieldCoordinate>,
}

/// A field that is a coordinate.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldCoordinate {
    /// Name of the field.
    pub field: String,
    /// Shortest period that is told apart, in the unit of the field: about the smallest difference that matters. Above 0.
    pub shortest: f64,
    /// Longest period, in the same unit: about four times the range of the values. Above `shortest`.
    pub longest: f64,
    /// Number of periods between them, evenly spaced in logarithm. 1 to 256, default 16.
    #[serde(default = "sixteen")]
    pub frequencies: usize,
}

fn one() -> usize {
    1
}
fn unit() -> f64 {
    1.0
}
fn sixteen() -> usize {
    16
}

impl WindowsConfig {
    /// Checks what needs no knowledge of the arrays.
    pub(crate) fn check(&self, section: &Section) -> Result<()> {
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(section.reject("scale", format!("expected a number above 0, got {}", self.scale)));
        }
        let tables = section.list("coordinates")?;
        for (i, (own, table)) in self.coordinates.iter().zip(&tables).enumerate() {
            own.check(table)?;
            if self.coordinates.iter().take(i).any(|other| other.field == own.field) {
                return Err(table.reject("field", "expected each field once"));
            }
        }
        Ok(())
    }
}

impl FieldCoordinate {
    fn check(&self, table: &Section) -> Result<()> {
        if !(self.shortest.is_finite() && self.shortest > 0.0) {
            return Err(table.reject("shortest", format!("expected a number above 0, got {}", self.shortest)));
        }
        if !(self.longest.is_finite() && self.longest > self.shortest) {
            let reason = format!("expected more than `shortest`, {}, got {}", self.shortest, self.longest);
            return Err(table.reject("longest", reason));
        }
        if !(1..=256).contains(&self.frequencies) {
            return Err(table.reject("frequencies", format!("expected 1 to 256, got {}", self.frequencies)));
        }
        Ok(())
    }
}
