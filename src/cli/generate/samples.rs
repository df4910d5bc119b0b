//! `--predict`: samples, decoded, as rows of a table.

use super::{Skipped, Work, named, page};
use crate::cli::{print, print_json};
use crate::report::{PosteriorPlot, PredictionPlot};
use panchroma_core::generate::{Cells, ColumnOf, Generated, TableWriter, codes, scalar_truth};
use panchroma_core::{Arrays, Batch, Bins, Model, Result, TokenKind, TokenValues, Tokens, Values, metrics};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn write(work: &Work<'_>) -> Result<()> {
    let args = work.args;
    let request = args.request();
    let mut writer = TableWriter::new(&args.out);
    let mut skipped = Skipped::default();
    let mut objects = 0;
    let mut scalars: BTreeMap<(String, usize), Scalars> = BTreeMap::new();
    work.batches(|batch| {
        let generated = request.draw(work.model, batch)?;
        let drawn = |i: &usize| generated.objects.binary_search(i).is_ok();
        (0..batch.len()).filter(|i| !drawn(i)).filter_map(|i| batch.rows.ids().get(i)).for_each(|id| skipped.add(id));
        if generated.objects.is_empty() {
            return Ok(());
        }
        objects += generated.objects.len();
        for target in &args.predict {
            for (token, bins) in work.model.bins(target).into_iter().enumerate() {
                let own = scalars.entry((target.clone(), token)).or_insert_with(|| Scalars::new(bins));
                own.add(batch, &generated, (target, token))?;
            }
        }
        writer.write(&columns(work, batch, &generated)?)
    })?;
    let rows = writer.finish()?;
    if rows == 0 {
        return Err(work.nobody());
    }
    let scalars: Vec<Scalars> = scalars.into_values().collect();
    if let Some(path) = &args.report {
        page(args, path, scalars.iter().map(|own| own.plot(&args.given)).collect(), Vec::new())?;
    }
    let measured = scalars.iter().filter(|own| !own.truth.is_empty());
    let measured: BTreeMap<&str, _> = measured
        .map(|own| {
            let (r2, rmse) = (metrics::r2(&own.truth, &own.mean), metrics::rmse(&own.truth, &own.mean));
            (own.bins.name.as_str(), json!({ "objects": own.truth.len(), "r2": r2, "rmse": rmse }))
        })
        .collect();
    if args.json() {
        return print_json(&json!({
            "objects": objects, "samples": args.samples, "rows": rows, "left_out": skipped.count, "file": args.out,
            "report": args.report, "truth": measured,
        }));
    }
    let (samples, file) = (args.samples, args.out.display());
    print(&format!("{objects} objects, {samples} samples each{}: {file}\n", skipped.text()))
}

/// One row per object and sample.
fn columns(work: &Work<'_>, batch: &Batch, generated: &Generated) -> Result<Vec<ColumnOf>> {
    let samples = generated.samples;
    let of = |i: &usize| std::iter::repeat_n(batch.rows.ids().get(*i).cloned().unwrap_or_default(), samples);
    let ids: Vec<String> = generated.objects.iter().flat_map(of).collect();
    let numbers = (0..ids.len()).map(|row| (row % samples) as u32).collect();
    let mut columns =
        vec![ColumnOf::plain("object_id", Cells::Text(ids)), ColumnOf::plain("sample", Cells::Whole(numbers))];
    for target in &work.args.predict {
        if let Some(tokens) = generated.tokens.get(target) {
            columns.push(raw(work.model, target, tokens)?);
            columns.extend(decoded(work, batch, generated, target, tokens)?);
        }
    }
    Ok(columns)
}

/// Codes, or the values of patches one behind the other.
fn raw(model: &Model, target: &str, tokens: &Tokens) -> Result<ColumnOf> {
    Ok(match (&tokens.values, model.token_spec(target).map(|spec| spec.kind)) {
        (TokenValues::Codes(_), Some(TokenKind::Codes { vocabulary })) => {
            ColumnOf::plain(format!("{target}.codes"), Cells::Codes(codes(tokens)?))
                .with("vocabulary", vocabulary.to_string())
        }
        (TokenValues::Patches(values) | TokenValues::Codes(values), _) => {
            let values = values.to_dtype(panchroma_core::reexport::candle_core::DType::F32)?;
            let width = values.dims().get(2).copied().unwrap_or(1);
            let rows = values.flatten_from(1)?.to_vec2::<f32>()?;
            ColumnOf::plain(format!("{target}.patches"), Cells::Values(rows.into_iter().map(Some).collect()))
                .with("width", width.to_string())
        }
    })
}

/// What tokens stand for: numbers of scalars, lists of all else that can be decoded.
fn decoded(
    work: &Work<'_>,
    batch: &Batch,
    generated: &Generated,
    target: &str,
    tokens: &Tokens,
) -> Result<Vec<ColumnOf>> {
    let bins = work.model.bins(target);
    if !bins.is_empty() {
        let rows = codes(tokens)?;
        let column = |(token, bins): (usize, &Bins)| {
            let value = |row: &Vec<u32>| bins.centres.get(*row.get(token)? as usize).copied();
            ColumnOf::plain(format!("{target}.{}", bins.name), Cells::Number(rows.iter().map(value).collect()))
                .with("unit", bins.unit.as_str())
        };
        return Ok(bins.iter().enumerate().map(column).collect());
    }
    let rows: Vec<usize> = generated.objects.iter().flat_map(|i| std::iter::repeat_n(*i, generated.samples)).collect();
    let like = batch.arrays.get(target).filter(|_| work.args.as_measured).map(|arrays| arrays.take(&rows));
    let Some(arrays) = work.model.reconstruct(target, tokens, like.as_ref())? else { return Ok(Vec::new()) };
    Ok(fields(target, &arrays, like.as_ref()))
}

/// One column of lists per field; null where an object has no places of its own to decode at.
fn fields(target: &str, arrays: &Arrays, like: Option<&Arrays>) -> Vec<ColumnOf> {
    let mut columns = Vec::new();
    for (name, array) in arrays.fields.iter().chain([(&"valid".to_owned(), &arrays.valid)]) {
        let width: usize = array.shape.iter().skip(1).product();
        let values: Vec<f32> = match &array.values {
            Values::F32(values) => values.clone(),
            Values::F64(values) => values.iter().map(|x| *x as f32).collect(),
            Values::U8(values) => values.iter().map(|x| f32::from(*x)).collect(),
            Values::U32(values) => values.iter().map(|x| *x as f32).collect(),
        };
        let row = |(i, present): (usize, &bool)| {
            let there = *present && like.is_none_or(|like| like.present.get(i) == Some(&true));
            there.then(|| values.get(i * width..(i + 1) * width).unwrap_or_default().to_vec())
        };
        let cells = Cells::Values(arrays.present.iter().enumerate().map(row).collect());
        let column = ColumnOf::plain(format!("{target}.{name}"), cells);
        columns.push(match array.shape.get(1..) {
            Some(shape) if shape.len() > 1 => column.with("shape", json!(shape).to_string()),
            _ => column,
        });
    }
    columns
}

/// Samples of one scalar of objects whose truth is known.
struct Scalars {
    bins: Bins,
    truth: Vec<f64>,
    mean: Vec<f64>,
    central68: Vec<[f64; 2]>,
    below: Vec<f64>,
    examples: Vec<PosteriorPlot>,
}

/// Objects whose samples are drawn as a histogram.
const EXAMPLES: usize = 4;

impl Scalars {
    fn new(bins: Bins) -> Self {
        let none = Vec::new();
        Self { bins, truth: none.clone(), mean: none.clone(), central68: Vec::new(), below: none, examples: Vec::new() }
    }

    fn add(&mut self, batch: &Batch, generated: &Generated, (target, token): (&str, usize)) -> Result<()> {
        let Some(tokens) = generated.tokens.get(target) else { return Ok(()) };
        let truth = scalar_truth(batch, (target, token), &self.bins)?;
        let rows = codes(tokens)?;
        for (object, own) in generated.objects.iter().zip(rows.chunks(generated.samples)) {
            let Some((_, truth)) = truth.get(*object).copied().flatten() else { continue };
            let drawn: Vec<usize> = own.iter().filter_map(|row| Some(*row.get(token)? as usize)).collect();
            let mut values: Vec<f64> = drawn.iter().filter_map(|code| self.bins.centres.get(*code).copied()).collect();
            if values.is_empty() {
                continue;
            }
            values.sort_by(f64::total_cmp);
            let count = values.len() as f64;
            let at = |share: f64| values.get((share * (count - 1.0)).round() as usize).copied().unwrap_or(f64::NAN);
            self.truth.push(truth);
            self.mean.push(values.iter().sum::<f64>() / count);
            self.central68.push([at(0.1587), at(0.8413)]);
            let under = values.iter().filter(|value| **value < truth).count() as f64;
            let equal = values.iter().filter(|value| **value == truth).count() as f64;
            self.below.push((under + 0.5 * equal) / count);
            if self.examples.len() < EXAMPLES {
                let mut probabilities = vec![0.0; self.bins.centres.len()];
                drawn.iter().filter_map(|code| probabilities.get_mut(*code).map(|p| *p += 1.0 / count)).count();
                self.examples.push(PosteriorPlot { edges: self.bins.edges.clone(), probabilities, truth });
            }
        }
        Ok(())
    }

    fn plot(&self, given: &[String]) -> PredictionPlot {
        PredictionPlot {
            name: named(&self.bins),
            given: given.to_vec(),
            truth: self.truth.clone(),
            predicted: self.mean.clone(),
            central68: self.central68.clone(),
            below: self.below.clone(),
            r2: metrics::r2(&self.truth, &self.mean),
            examples: self.examples.clone(),
        }
    }
}
