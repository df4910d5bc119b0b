//! Rows -> arrays: each column's value as features in slots of its own.

use crate::config::{Plan, Reading, TableConfig};
use crate::scaler::{Learner, Raw, Scaler};
use panchroma_core::data::DataError;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, PrepareContext,
    Result, Rows, Section, Values,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The modality `table`.
///
/// Arrays: `values` `[B, C, P]` f32 for C columns in the order of their names and P features of all
/// columns together, valid `[B, C]`. Column `c` has its features in slots that no other column uses,
/// and zeros elsewhere, so that one linear map gives each column directions of its own.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    plan: Plan,
    /// One per column; empty before [`Modality::fit`].
    scalers: Vec<Scaler>,
}

impl Table {
    /// From its table.
    ///
    /// # Errors
    /// If a key is unknown, of the wrong type, out of range, or does not go with the column's kind.
    pub fn new(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        Ok(Self { name: context.name.into(), plan: Plan::read(section)?, scalers: Vec::new() })
    }

    fn width(&self) -> usize {
        self.plan.columns.iter().map(|(_, reading)| reading.width()).sum()
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Plugin { kind: "modality", name: self.name.clone(), reason }
    }
}

fn read(rows: &Rows, path: &str, reading: Reading) -> Result<Raw> {
    Ok(match reading {
        Reading::Flag => Raw::Flags(rows.flags(path)?),
        Reading::Category { .. } => Raw::Texts(rows.texts(path)?),
        _ => Raw::Numbers(rows.numbers(path)?),
    })
}

impl Modality for Table {
    fn columns(&self) -> Vec<Column> {
        let column = |(path, reading): &(String, Reading)| match reading {
            Reading::Flag => Column::flag(path),
            Reading::Category { .. } => Column::text(path),
            _ => Column::number(path),
        };
        self.plan.columns.iter().map(column).collect()
    }

    fn spec(&self) -> ArraysSpec {
        ArraysSpec {
            fields: vec![ArrayField { name: "values", axes: &["C", "P"], unit: String::new() }],
            valid_axes: &["C"],
            sizes: vec![("C", self.plan.columns.len()), ("P", self.width())],
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut learners: Vec<Learner> = self.plan.columns.iter().map(|(_, reading)| Learner::new(*reading)).collect();
        for rows in rows {
            let rows = rows?;
            for ((path, reading), learner) in self.plan.columns.iter().zip(&mut learners) {
                learner.add(&read(&rows, path, *reading)?);
            }
        }
        let finished = self.plan.columns.iter().zip(learners).map(|((path, _), learner)| {
            let missing = || DataError::AllMissing { column: path.clone(), modality: Some(self.name.clone()) };
            Ok(learner.finish().ok_or_else(missing)?)
        });
        self.scalers = finished.collect::<Result<Vec<_>>>()?;
        Ok(())
    }

    fn fitted(&self) -> Value {
        if self.scalers.is_empty() {
            return Value::Null;
        }
        let names = self.plan.columns.iter().map(|(name, _)| name.clone());
        let entries = names.zip(&self.scalers).map(|(name, scaler)| (name, serde_json::json!(scaler)));
        serde_json::json!({ "columns": entries.collect::<Map<String, Value>>() })
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let Some(entries) = fitted.get("columns").and_then(Value::as_object) else {
            return Err(self.wrong("the checkpoint has no scalers of `columns`".into()));
        };
        let mut scalers = Vec::with_capacity(self.plan.columns.len());
        for (name, reading) in &self.plan.columns {
            let Some(entry) = entries.get(name) else {
                return Err(self.wrong(format!("the checkpoint was made without column `{name}`")));
            };
            let scaler: Scaler = serde_json::from_value(entry.clone())
                .map_err(|e| self.wrong(format!("the checkpoint's scaler of column `{name}` can't be read: {e}")))?;
            if !scaler.fits(*reading) {
                return Err(self.wrong(format!("the checkpoint's scaler of column `{name}` is of another kind")));
            }
            scalers.push(scaler);
        }
        if let Some(other) = entries.keys().find(|key| !self.plan.columns.iter().any(|(name, _)| name == *key)) {
            return Err(self.wrong(format!("the checkpoint was made with column `{other}`, which the config lacks")));
        }
        self.scalers = scalers;
        Ok(())
    }

    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        if self.scalers.is_empty() {
            return Err(self.wrong("was used before its scalers were fitted or restored".into()));
        }
        let (b, c, p) = (rows.len(), self.plan.columns.len(), self.width());
        let mut values = vec![0f32; b * c * p];
        let mut valid = vec![0u8; b * c];
        let mut first = 0;
        for (index, ((path, reading), scaler)) in self.plan.columns.iter().zip(&self.scalers).enumerate() {
            let raw = read(rows, path, *reading)?;
            for row in 0..b {
                let place = row * c + index;
                let own = place * p + first..place * p + first + reading.width();
                if scaler.write(*reading, &raw, row, self.plan.clip, &mut values[own]) {
                    valid[place] = 1;
                }
            }
            first += reading.width();
        }
        let present = valid.chunks(c).map(|columns| columns.contains(&1)).collect();
        let fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, c, p], values)?)]);
        Ok(Arrays { present, valid: Array::new(&[b, c], Values::U8(valid))?, fields })
    }
}

inventory::submit! {
    Descriptor::<dyn Modality> {
        name: "table",
        summary: "columns of the catalogue: numbers, flags, classes and angles, any of them missing",
        origin: env!("CARGO_PKG_NAME"),
        example: r#"[columns]
ebv = { scale = "log" }
host_logmass = {}
host_offset_arcsec = { scale = "quantile" }
host_angle = { kind = "angle" }          # degrees
peak_band = { kind = "category", max_categories = 12 }
"#,
        schema: || schemars::schema_for!(TableConfig),
        build: |section, context| Ok(Box::new(Table::new(section, context)?)),
    }
}
