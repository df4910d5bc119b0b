//! Rows -> arrays: each column's value as features in slots of its own.

use crate::config::{Plan, Planned, Reading, TableConfig};
use crate::scaler::{Learner, Raw, Scaler};
use panchroma_core::data::DataError;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, PrepareContext,
    Result, Rows, Section, ValueType, Values,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The modality `table`.
///
/// Arrays: `values` `[B, C, P]` f32 for C columns in the order of their names and P features of all
/// columns together, valid `[B, C]`. Column `c` has its features in slots that no other column uses,
/// and zeros elsewhere, so that one linear map gives each column directions of its own. If any column names its error,
/// `error` `[B, C]` f32 is the standard error after scaling, 0 where unknown.
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
        self.plan.columns.iter().map(|column| column.reading.width()).sum()
    }

    fn has_errors(&self) -> bool {
        self.plan.columns.iter().any(|column| column.error.is_some())
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Plugin { kind: "modality", name: self.name.clone(), reason }
    }
}

fn read(rows: &Rows, column: &Planned) -> Result<Raw> {
    Ok(match (column.reading, column.paths.as_slice()) {
        (Reading::Flag, [path, ..]) => Raw::Flags(rows.flags(path)?),
        (Reading::Category { .. }, [path, ..]) => Raw::Texts(rows.labels(path)?),
        (Reading::Sky, [ra, dec, ..]) => Raw::Places(rows.numbers(ra)?, rows.numbers(dec)?),
        (_, [path, ..]) => match column.element {
            Some((number, length)) => Raw::Numbers(element(rows, path, number, length)?),
            None => Raw::Numbers(rows.numbers(path)?),
        },
        _ => Raw::Numbers(Vec::new()),
    })
}

/// One number of each object's list of `length`.
fn element(rows: &Rows, path: &str, number: usize, length: usize) -> Result<Vec<Option<f64>>> {
    let lists = rows.ragged_f64(path)?;
    let one = |(row, object): (usize, &String)| match lists.row(row) {
        [] => Ok(None),
        list if list.len() == length => Ok(list.get(number).copied()),
        list => {
            let reason = format!("expected {length} numbers, as `length` says, got {}", list.len());
            Err(DataError::BadValue { object: object.clone(), column: path.into(), reason }.into())
        }
    };
    rows.ids().iter().enumerate().map(one).collect()
}

impl Modality for Table {
    fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for column in &self.plan.columns {
            columns.extend(column.paths.iter().map(|path| match column.reading {
                Reading::Flag => Column::flag(path),
                Reading::Category { .. } => Column::label(path),
                _ if column.element.is_some() => Column::number(path).list(),
                _ => Column::number(path),
            }));
            columns.extend(column.error.iter().map(Column::number));
        }
        // A place on the sky may be read from columns that are entries too.
        columns.sort_by(|a, b| a.path.cmp(&b.path));
        columns.dedup_by(|a, b| a.path == b.path);
        columns
    }

    fn spec(&self) -> ArraysSpec {
        let mut fields =
            vec![ArrayField { name: "values", axes: &["C", "P"], unit: String::new(), values: ValueType::F32 }];
        if self.has_errors() {
            fields.push(ArrayField { name: "error", axes: &["C"], unit: String::new(), values: ValueType::F32 });
        }
        let names = self.plan.columns.iter().map(|column| column.name.clone()).collect();
        ArraysSpec {
            fields,
            valid_axes: &["C"],
            sizes: vec![("C", self.plan.columns.len()), ("P", self.width())],
            labels: vec![("C", names)],
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut learners: Vec<Learner> = self.plan.columns.iter().map(|c| Learner::new(c.reading)).collect();
        for rows in rows {
            let rows = rows?;
            for (column, learner) in self.plan.columns.iter().zip(&mut learners) {
                learner.add(&read(&rows, column)?);
            }
        }
        let finished = self.plan.columns.iter().zip(learners).map(|(column, learner)| {
            let missing =
                || DataError::AllMissing { column: column.paths.join(" and "), modality: Some(self.name.clone()) };
            Ok(learner.finish().ok_or_else(missing)?)
        });
        self.scalers = finished.collect::<Result<Vec<_>>>()?;
        Ok(())
    }

    fn fitted(&self) -> Value {
        if self.scalers.is_empty() {
            return Value::Null;
        }
        let names = self.plan.columns.iter().map(|column| column.name.clone());
        let entries = names.zip(&self.scalers).map(|(name, scaler)| (name, serde_json::json!(scaler)));
        serde_json::json!({ "columns": entries.collect::<Map<String, Value>>() })
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let Some(entries) = fitted.get("columns").and_then(Value::as_object) else {
            return Err(self.wrong("the checkpoint has no scalers of `columns`".into()));
        };
        let mut scalers = Vec::with_capacity(self.plan.columns.len());
        for Planned { name, reading, .. } in &self.plan.columns {
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
        if let Some(other) = entries.keys().find(|key| !self.plan.columns.iter().any(|column| column.name == **key)) {
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
        let mut errors = vec![0f32; b * c];
        for (index, (column, scaler)) in self.plan.columns.iter().zip(&self.scalers).enumerate() {
            let (raw, reading) = (read(rows, column)?, column.reading);
            for row in 0..b {
                let place = row * c + index;
                let own = place * p + first..place * p + first + reading.width();
                if scaler.write(reading, &raw, row, self.plan.clip, &mut values[own]) {
                    valid[place] = 1;
                }
            }
            if let (Some(path), Raw::Numbers(numbers)) = (&column.error, &raw) {
                for (row, (x, error)) in numbers.iter().zip(rows.numbers(path)?).enumerate() {
                    errors[row * c + index] = scaler.error(reading, *x, error).unwrap_or(0.0) as f32;
                }
            }
            first += reading.width();
        }
        let present = valid.chunks(c).map(|columns| columns.contains(&1)).collect();
        let mut fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, c, p], values)?)]);
        if self.has_errors() {
            fields.insert("error".to_owned(), Array::f32(&[b, c], errors)?);
        }
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
magpsf = { error = "sigmapsf" }          # the token knows how well it was measured
position = { kind = "sky", columns = ["ra", "dec"] }
"#,
        schema: || schemars::schema_for!(TableConfig),
        build: |section, context| Ok(Box::new(Table::new(section, context)?)),
    }
}
