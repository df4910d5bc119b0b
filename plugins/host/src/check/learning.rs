//! The promises of what learns: gradients that are those of the outputs.

use super::codec::on_own_arrays;
use super::made_up::Like;
use super::{Outcome, Steps, request};
use crate::arrays::Spec;
use crate::head::ForeignHead;
use crate::instance::{Chosen, Request};
use crate::library::Loaded;
use crate::tokenizer::ForeignTokenizer;
use panchroma_core::reexport::arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use panchroma_core::reexport::candle_core::{Device, Tensor};
use panchroma_core::{
    Batch, Error, Features, Forward, Head, HeadContext, Mode, Parameters, Pooled, Result, Rows, TokenSet, Tokenizer,
    View,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a batch, and width of its vectors.
const ROWS: usize = 6;
const WIDTH: usize = 5;

/// Step of a finite difference, and how far a gradient may be from it, in parts of the largest.
const STEP: f64 = 1e-2;
const TOLERANCE: f64 = 2e-2;

fn text(error: Error) -> String {
    error.to_string()
}

/// Tries a head.
pub(super) fn check_head(steps: &mut Steps<'_>, chosen: &Chosen, config: &Value) {
    let parameters = Parameters::new(1, &Device::Cpu);
    let modalities = ["a".to_owned(), "b".to_owned()];
    let context =
        HeadContext { name: "check", modalities: &modalities, tokens: &[], width: WIDTH, parameters: &parameters };
    let mut head = None;
    steps.step("describe", || {
        let request = Request { modalities: &modalities, width: WIDTH, ..request(config, None) };
        head = Some(ForeignHead::new(chosen.clone(), &request, &context).map_err(text)?);
        Ok(format!("{} parameters", parameters.all().len()))
    });
    let Some(head) = head else { return };
    let trial = |like: Like| Trial::new(&head, like).map_err(text);
    steps.step("loss and predictions", || {
        let output = trial(Like::Plain(3))?.forward(&head).map_err(text)?;
        match output {
            Some(loss) => Ok(format!("loss {loss:.4}")),
            None => Err("plain numbers give it nothing to learn from".into()),
        }
    });
    steps.step("rows without a target", || {
        let output = trial(Like::Missing)?.forward(&head).map_err(text)?;
        Ok(if output.is_none() { "no loss" } else { "a loss all the same" }.into())
    });
    steps.step("gradients", || trial(Like::Plain(3))?.gradients(&head, &parameters).map_err(text)?);
}

/// A batch for a head.
struct Trial {
    inputs: Vec<Tensor>,
    batch: Batch,
}

impl Trial {
    fn new(head: &ForeignHead, like: Like) -> Result<Self> {
        let rows = made_up_rows(head, like)?;
        let batch = Batch { rows, arrays: BTreeMap::new(), tokens: BTreeMap::new(), masks: BTreeMap::new() };
        let value = |i: usize| ((i * 37 % 23) as f32 - 11.0) / 12.0;
        let input = |number: usize| {
            let values: Vec<f32> = (0..ROWS * WIDTH).map(|i| value(i + 100 * number)).collect();
            Tensor::from_vec(values, (ROWS, WIDTH), &Device::Cpu)
        };
        Ok(Self { inputs: (0..3).map(input).collect::<Result<_, _>>()?, batch })
    }

    /// The first input is the joint one, the others are those of the modalities.
    fn features(&self, inputs: &[Tensor], view: View) -> Features {
        let pooled = |number: usize| Pooled {
            vectors: inputs.get(number).cloned().unwrap_or_else(|| self.inputs[0].clone()),
            // A row that is absent counts in the one input where it is.
            present: (0..ROWS).map(|row| number == 0 || row != number).collect(),
        };
        let modality = BTreeMap::from([("a".to_owned(), pooled(1)), ("b".to_owned(), pooled(2))]);
        let tokens = TokenSet { batch: ROWS, segments: Vec::new() };
        Features { view, modality, joint: pooled(0), tokens, targets: Vec::new() }
    }

    fn loss(&self, head: &ForeignHead, inputs: &[Tensor]) -> Result<Option<Tensor>> {
        let context = Forward { mode: Mode::Train, seed: 1, step: 0 };
        Ok(head.forward(&self.features(inputs, head.view()), &self.batch, &context)?.loss)
    }

    fn forward(&self, head: &ForeignHead) -> Result<Option<f32>> {
        Ok(self.loss(head, &self.inputs)?.map(|loss| loss.to_scalar()).transpose()?)
    }

    /// Gradients of inputs and parameters against finite differences.
    fn gradients(&self, head: &ForeignHead, parameters: &Parameters) -> Result<Result<String, String>> {
        use panchroma_core::reexport::candle_core::Var;
        let vars: Vec<Var> = self.inputs.iter().map(Var::from_tensor).collect::<Result<_, _>>()?;
        let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let Some(loss) = self.loss(head, &inputs)? else { return Ok(Err("there is no loss".into())) };
        let gradients = loss.backward()?;
        let own = parameters.all().into_iter().map(|(name, p)| (format!("parameter `{name}`"), p.var));
        let all = vars.into_iter().enumerate().map(|(n, v)| (format!("input {n}"), v)).chain(own);
        let mut compared = 0;
        for (name, var) in all {
            let Some(gradient) = gradients.get(var.as_tensor()) else { continue };
            let loss = || -> Result<f64> {
                let loss = self.loss(head, &inputs)?;
                Ok(loss.map(|l| l.to_scalar::<f32>()).transpose()?.map_or(f64::NAN, f64::from))
            };
            match differences(&var, gradient, &loss)? {
                Ok(count) => compared += count,
                Err(reason) => return Ok(Err(format!("{name}: {reason}"))),
            }
        }
        Ok(match compared {
            0 => Err("nothing gets a gradient".into()),
            compared => Ok(format!("{compared} numbers against finite differences")),
        })
    }
}

/// Compares `gradient` with finite differences of `loss` in `var`, at some of its places.
fn differences(
    var: &panchroma_core::reexport::candle_core::Var,
    gradient: &Tensor,
    loss: &dyn Fn() -> Result<f64>,
) -> Result<Result<usize, String>> {
    let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
    let before = var.as_tensor().copy()?;
    let values = before.flatten_all()?.to_vec1::<f32>()?;
    let largest = gradient.iter().fold(1e-3f64, |most, g| most.max(f64::from(g.abs())));
    let stride = (values.len() / 16).max(1);
    let mut compared = 0;
    for place in (0..values.len()).step_by(stride) {
        let at = |by: f64| -> Result<f64> {
            let mut moved = values.clone();
            if let Some(value) = moved.get_mut(place) {
                *value += by as f32;
            }
            var.set(&Tensor::from_vec(moved, before.shape(), before.device())?)?;
            loss()
        };
        let expected = (at(STEP)? - at(-STEP)?) / (2.0 * STEP);
        let found = f64::from(gradient.get(place).copied().unwrap_or(f32::NAN));
        let off = (found - expected).abs();
        if off.is_nan() || off > TOLERANCE * largest.max(expected.abs()) {
            var.set(&before)?;
            return Ok(Err(format!("at {place} the gradient is {found:.5}, a finite difference {expected:.5}")));
        }
        compared += 1;
    }
    var.set(&before)?;
    Ok(Ok(compared))
}

/// Rows with the columns that a head reads.
fn made_up_rows(head: &ForeignHead, like: Like) -> Result<Rows> {
    use panchroma_core::reexport::arrow_array::types::Float64Type;
    use panchroma_core::reexport::arrow_array::{Float64Array, LargeListArray, LargeStringArray};
    let missing = like == Like::Missing;
    let columns = head.columns().into_iter().enumerate().map(|(number, column)| {
        let value = |row: usize| 0.5 + ((row * 7 + number) % 5) as f64 / 4.0;
        let array: ArrayRef = match (column.kind, column.depth) {
            (panchroma_core::ColumnKind::Text | panchroma_core::ColumnKind::Label, _) => Arc::new(
                (0..ROWS).map(|row| (!missing).then(|| format!("text {}", row % 2))).collect::<LargeStringArray>(),
            ),
            (_, 0) => Arc::new((0..ROWS).map(|row| (!missing).then(|| value(row))).collect::<Float64Array>()),
            _ => Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>(
                (0..ROWS).map(|row| (!missing).then(|| vec![Some(value(row)); 3])),
            )),
        };
        (column.path, array, true)
    });
    let ids = (0..ROWS).map(|i| format!("object {i}")).collect();
    let columns: Vec<(String, ArrayRef, bool)> = columns.collect();
    let broken = |error: &dyn std::fmt::Display| Error::Shape {
        part: "made-up rows".into(),
        expected: "columns of one length".into(),
        found: error.to_string(),
    };
    if columns.is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(ROWS));
        let schema = Arc::new(panchroma_core::reexport::arrow_schema::Schema::empty());
        let none = RecordBatch::try_new_with_options(schema, Vec::new(), &options).map_err(|e| broken(&e))?;
        return Rows::new(ids, none);
    }
    Rows::new(ids, RecordBatch::try_from_iter_with_nullable(columns).map_err(|e| broken(&e))?)
}

/// Tries a tokenizer with parameters.
pub(super) fn check_tokenizer(steps: &mut Steps<'_>, chosen: &Chosen, config: &Value, loaded: &Arc<Loaded>) {
    let parameters = Parameters::new(1, &Device::Cpu);
    let mut number = 0;
    let make = |spec: &Spec| {
        number += 1;
        ForeignTokenizer::new(chosen.clone(), &request(config, Some(spec)), spec, &parameters.pp(number)).map_err(text)
    };
    let (tokenizer, _, arrays) = match on_own_arrays(loaded, make) {
        Err(reason) => return steps.say("describe", Outcome::Skipped(reason)),
        Ok(found) => found,
    };
    steps.say("describe", Outcome::Passed(format!("{} parameters", parameters.all().len())));
    for (name, arrays) in ["tokens", "tokens of missing rows", "tokens of no rows"].into_iter().zip(&arrays) {
        steps.step(name, || {
            let tokens = tokenizer.tokenize(arrays, &Forward::evaluate()).map_err(text)?;
            tokens.check("check", &tokenizer.spec()).map_err(text)?;
            Ok(format!("{} rows", tokens.len()))
        });
    }
    let Some(layer) = tokenizer.layer() else {
        return steps.say("gradients", Outcome::Skipped("it has no `forward`".into()));
    };
    steps.step("gradients", || {
        let gradients = || -> Result<Result<String, String>> {
            use panchroma_core::reexport::candle_core::Var;
            let panchroma_core::TokenKind::Patches { width } = tokenizer.spec().kind else {
                return Ok(Err("its tokens are no patches".into()));
            };
            let values: Vec<f32> = (0..ROWS * width).map(|i| ((i * 29 % 17) as f32 - 8.0) / 9.0).collect();
            let x = Var::from_tensor(&Tensor::from_vec(values, (ROWS, width), &Device::Cpu)?)?;
            let loss = || -> Result<Tensor> {
                let y = layer.forward(x.as_tensor())?;
                let weights: Vec<f32> = (0..y.elem_count()).map(|i| ((i * 13 % 7) as f32 - 3.0) / 4.0).collect();
                Ok((&y * Tensor::from_vec(weights, y.shape(), &Device::Cpu)?)?.sum_all()?)
            };
            let found = loss()?.backward()?;
            let own = parameters.all().into_iter().map(|(name, p)| (format!("parameter `{name}`"), p.var));
            let mut compared = 0;
            for (name, var) in std::iter::once(("patches".to_owned(), x.clone())).chain(own) {
                let Some(gradient) = found.get(var.as_tensor()) else { continue };
                let number = || -> Result<f64> { Ok(f64::from(loss()?.to_scalar::<f32>()?)) };
                match differences(&var, gradient, &number)? {
                    Ok(count) => compared += count,
                    Err(reason) => return Ok(Err(format!("{name}: {reason}"))),
                }
            }
            Ok(Ok(format!("{compared} numbers against finite differences")))
        };
        gradients().map_err(text)?
    });
}
