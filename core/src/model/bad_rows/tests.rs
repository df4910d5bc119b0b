//! Bad rows are left out alone, named once, and change nothing for others.

use super::*;
use crate::{Array, ArrayField, ArraysSpec, Column, Mode, ValueType, Values};
use arrow_array::{Float64Array, RecordBatch};
use serde_json::{Value, json};
use std::sync::Arc;

/// The mean of `x` over the training split is taken away; a negative `x` is bad.
#[derive(Default)]
struct Mean(Option<f64>);

impl Mean {
    fn values(rows: &Rows) -> Result<Vec<f64>> {
        let values = rows.numbers("x")?;
        for (object, value) in rows.ids().iter().zip(&values) {
            if value.is_some_and(|v| v < 0.0) {
                let (object, column) = (object.clone(), "x".to_owned());
                return Err(DataError::BadValue { object, column, reason: "below 0".into() }.into());
            }
        }
        Ok(values.into_iter().flatten().collect())
    }
}

impl Modality for Mean {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("x")]
    }
    fn spec(&self) -> ArraysSpec {
        let fields = vec![ArrayField { name: "x", axes: &[], unit: String::new(), values: ValueType::F32 }];
        ArraysSpec { fields, valid_axes: &[], sizes: Vec::new(), labels: Vec::new() }
    }
    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut all = Vec::new();
        for rows in rows {
            all.extend(Self::values(&rows?)?);
        }
        self.0 = Some(all.iter().sum::<f64>() / all.len() as f64);
        Ok(())
    }
    fn fitted(&self) -> Value {
        json!(self.0)
    }
    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        let values = Self::values(rows)?;
        let own = values.iter().map(|v| (v - self.0.unwrap_or(0.0)) as f32).collect();
        Ok(Arrays {
            present: vec![true; values.len()],
            valid: Array::new(&[values.len()], Values::U8(vec![1; values.len()]))?,
            fields: BTreeMap::from([("x".to_owned(), Array::f32(&[values.len()], own)?)]),
        })
    }
}

fn rows(values: &[f64]) -> Rows {
    let ids = (0..values.len()).map(|i| format!("o{i}")).collect();
    let column = Arc::new(Float64Array::from(values.to_vec())) as arrow_array::ArrayRef;
    Rows::new(ids, RecordBatch::try_from_iter([("x", column)]).unwrap()).unwrap()
}

const CONTEXT: PrepareContext<'static> = PrepareContext { mode: Mode::Evaluate, seed: 0, epoch: 0, modality: "m" };

#[test]
fn bad_rows_are_absent_and_the_others_as_without_them() {
    let bad = BadRows::new(BadRowsPolicy::Absent);
    let mut modality = Mean::default();
    let all = rows(&[1.0, -5.0, 3.0, -7.0]);
    let parts = || [&[0usize, 1][..], &[2, 3]].into_iter().map(|part| all.take(part));
    bad.fit("m", &mut modality, parts).unwrap();
    assert_eq!(modality.fitted(), json!(2.0));
    let arrays = bad.prepare(&modality, &all, &CONTEXT).unwrap();
    assert_eq!(arrays.present, [true, false, true, false]);
    assert_eq!(arrays.f32("x").unwrap(), (&[4][..], &[-1.0, 0.0, 1.0, 0.0][..]));
    assert_eq!(arrays.valid().unwrap().1, [1, 0, 1, 0]);
    let told: Vec<String> =
        bad.news().into_iter().map(|b| format!("{} {} {}", b.modality, b.object, b.reason)).collect();
    assert_eq!(told, ["m o1 column `x`: below 0", "m o3 column `x`: below 0"]);
    assert!(bad.news().is_empty());
    // Nothing but bad rows.
    assert_eq!(bad.prepare(&modality, &all.take(&[1, 3]).unwrap(), &CONTEXT).unwrap().present, [false, false]);
}

#[test]
fn rows_that_turn_out_bad_in_use_are_found_there() {
    let bad = BadRows::new(BadRowsPolicy::Absent);
    let arrays = bad.prepare(&Mean(Some(0.0)), &rows(&[-1.0, 2.0]), &CONTEXT).unwrap();
    assert_eq!((arrays.present, bad.news().len()), (vec![false, true], 1));
}

#[test]
fn without_the_policy_the_first_bad_row_is_an_error() {
    let bad = BadRows::new(BadRowsPolicy::Error);
    let all = rows(&[1.0, -5.0]);
    let error = bad.fit("m", &mut Mean::default(), || std::iter::once(Ok(all.clone()))).unwrap_err();
    assert_eq!(error.to_string(), "object `o1`, column `x`: below 0");
    assert!(bad.prepare(&Mean(Some(0.0)), &all, &CONTEXT).is_err());
}
