//! What a plugin should test: the contract by the suite, then its own promises, with numbers worked out by hand.

use crate::head::FluxRatio;
use crate::tokenizer::{features, mean_power};
use panchroma_core::reexport::arrow_array::{ArrayRef, Float64Array, RecordBatch};
use panchroma_core::reexport::arrow_schema::{DataType, Field};
use panchroma_core::reexport::candle_core::{Device, Tensor, Var};
use panchroma_core::reexport::serde_json::{Value, json};
use panchroma_core::{
    Arrays, Batch, Features, Forward, Head, HeadContext, HeadOutput, Mode, Parameters, Pooled, PrepareContext, Result,
    Rows, Section, TokenSet, View,
};
use panchroma_testing::{
    Case, Objects, build_modality, build_tokenizer, conformance, fitted, modality_descriptor, tokenizer_descriptor,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const MODALITY: &str = "kind = \"visibilities\"\nmax_visibilities = 3";
const COLUMNS: [&str; 5] = ["u", "v", "real", "imaginary", "weight"];

fn objects(list: &Value) -> Objects {
    let item = Arc::new(Field::new("element", DataType::Float64, true));
    let field = |name: &str| Field::new(name, DataType::List(item.clone()), true);
    Objects::new(list, COLUMNS.map(field).into())
}

/// More visibilities than are kept; none at all; fewer; all flagged; a mirror image.
fn some() -> Objects {
    objects(&json!([
        {
            "object_id": "many", "u": [10.0, 20.0, 30.0, 40.0], "v": [1.0, 2.0, 3.0, 4.0],
            "real": [3.0, 3.0, -3.0, 3.0], "imaginary": [4.0, -4.0, 4.0, 0.0], "weight": [1.0, 4.0, 9.0, 1.0],
        },
        {"object_id": "none"},
        {"object_id": "few", "u": [10.0, 20.0], "v": [5.0, 5.0], "real": ["NaN", 5.0], "imaginary": [1.0, 0.0], "weight": [1.0, 2.0]},
        {"object_id": "flagged", "u": [10.0], "v": [5.0], "real": [1.0], "imaginary": [1.0], "weight": [0.0]},
        {"object_id": "mirror", "u": [-10.0], "v": [5.0], "real": [0.0], "imaginary": [10.0], "weight": [null]},
        {"object_id": "mirrored", "u": [-10.0], "v": [5.0], "real": [0.0], "imaginary": [10.0], "weight": [2.0]},
    ]))
}

fn prepare(objects: &Objects, mode: Mode, epoch: u64) -> Result<Arrays> {
    let context = PrepareContext { mode, seed: 1, epoch, modality: "radio" };
    fitted(MODALITY, &some().rows()).prepare(&objects.rows(), &context)
}

#[test]
fn modality_and_tokenizer_keep_the_contract() {
    conformance(&Case {
        modality: MODALITY,
        tokenizer: "kind = \"visibility_tokens\"",
        objects: &some(),
        measured: &["u", "v", "re", "im", "weight"],
        reconstruction: None,
    });
}

#[test]
fn descriptors_are_true() {
    let modality = modality_descriptor("visibilities");
    let tokens = tokenizer_descriptor("visibility_tokens", &modality.spec()).spec();
    assert_eq!(tokens.max_tokens, 128);
    assert_eq!(tokens.coordinates.iter().map(|c| c.name.as_ref()).collect::<Vec<_>>(), ["u", "v"]);
}

#[test]
fn an_object_is_present_if_something_was_measured() -> Result<()> {
    let arrays = prepare(&some(), Mode::Evaluate, 0)?;
    assert_eq!(arrays.present, [true, false, true, false, false, true]);
    Ok(())
}

#[test]
fn amplitudes_are_divided_by_their_median_in_the_training_split() -> Result<()> {
    // Amplitudes 5, 5, 5, 3 and 5, and 10: the median is 5.
    assert_eq!(fitted(MODALITY, &some().rows()).fitted(), json!({ "amplitude": 5.0 }));
    let arrays = prepare(&some().select(&[2]), Mode::Evaluate, 0)?;
    // The first is no number, so the second is the only one: 5 / 5 with a weight of 2 * 5 * 5.
    let field = |name: &str| arrays.f32(name).map(|(_, values)| values.to_vec());
    assert_eq!((field("re")?, field("im")?, field("weight")?), (vec![1.0], vec![0.0], vec![50.0]));
    Ok(())
}

#[test]
fn a_visibility_and_its_mirror_image_are_one() -> Result<()> {
    let arrays = prepare(&some().select(&[5]), Mode::Evaluate, 0)?;
    let field = |name: &str| arrays.f32(name).map(|(_, values)| values.to_vec());
    assert_eq!((field("u")?, field("v")?, field("im")?), (vec![10.0], vec![-5.0], vec![-2.0]));
    Ok(())
}

#[test]
fn of_too_many_visibilities_training_draws_others_each_epoch() -> Result<()> {
    let u = |mode, epoch| prepare(&some().select(&[0]), mode, epoch)?.f32("u").map(|(_, u)| u.to_vec());
    // 4 of which 3 are kept: numbers 0, 1 and 2.
    assert_eq!(u(Mode::Evaluate, 0)?, [10.0, 20.0, 30.0]);
    assert_eq!(u(Mode::Train, 1)?, u(Mode::Train, 1)?);
    let different = (0..20).map(|epoch| u(Mode::Train, epoch)).collect::<Result<Vec<_>>>()?;
    assert!(different.iter().any(|own| *own != different[0]));
    assert!(different.iter().all(|own| own.len() == 3 && own.is_sorted()), "they keep their order");
    Ok(())
}

#[test]
fn what_makes_no_sense_is_an_error_that_names_object_and_column() {
    let good = json!({"object_id": "J1", "u": [1.0], "v": [1.0], "real": [1.0], "imaginary": [1.0], "weight": [1.0]});
    for (column, value, says) in [
        ("v", json!([1.0, 2.0]), "expected as many values as `u` has, 1, got 2"),
        ("imaginary", json!(null), "expected as many values as `u` has, 1, got 0"),
        ("weight", json!([-1.0]), "expected 0 and more, got -1 at 0"),
        ("u", json!(["inf"]), "expected a finite number, got inf at 0"),
        ("v", json!([null]), "expected a finite number, got NaN at 0"),
    ] {
        let mut wrong = good.clone();
        wrong[column] = value;
        let error = prepare(&objects(&json!([wrong])), Mode::Evaluate, 0).expect_err("refused");
        assert_eq!(error.to_string(), format!("object `J1`, column `{column}`: {says}"));
    }
}

#[test]
fn without_one_measured_visibility_nothing_can_be_learned() {
    let mut modality = build_modality(MODALITY);
    let rows = some().select(&[1, 3]).rows();
    let error = modality.fit(&mut std::iter::once(Ok(rows))).expect_err("nothing there").to_string();
    assert!(error.contains("`real`"), "{error}");
    assert!(modality.restore(&json!({ "amplitude": 0.0 })).is_err());
}

fn close(found: &[f32], expected: &[f64]) {
    assert!(found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?} is not {expected:?}");
}

#[test]
fn tokens_say_amplitudes_relative_to_their_mean_but_not_below_the_noise() {
    // 3 + 4i of variance 1/4, and 0 of variance 1: powers with noise of 25.25 and 1, weights of 4 and 1.
    let all = [[3.0, 4.0, 4.0], [0.0, 0.0, 1.0]];
    let mean = mean_power(&all);
    assert!((mean - (4.0 * 25.25 + 1.0) / 5.0).abs() < 1e-12);
    let (root, ln) = (mean.sqrt(), |x: f64| 0.5 * x.ln());
    close(&features(all[0], mean), &[3.0 / root, 4.0 / root, ln(25.25 / mean), ln(mean), ln(101.0)]);
    close(&features(all[1], mean), &[0.0, 0.0, ln(1.0 / mean), ln(mean), 0.0]);
    // A brighter source of the same shape, as well measured, differs in one number alone.
    let brighter = all.map(|[re, im, weight]| [10.0 * re, 10.0 * im, weight / 100.0]);
    let again = features(brighter[0], mean_power(&brighter));
    close(&again, &[3.0 / root, 4.0 / root, ln(25.25 / mean), ln(100.0 * mean), ln(101.0)]);
    for extreme in [[f32::MAX, f32::MAX, f32::MAX], [f32::MAX, 0.0, 0.0], [0.0, 0.0, f32::MAX]] {
        let extreme = extreme.map(f64::from);
        assert!(features(extreme, mean_power(&[extreme])).iter().all(|x| x.is_finite()), "{extreme:?}");
    }
}

#[test]
fn tables_that_are_wrong_are_refused() {
    let spec = build_modality(MODALITY).spec();
    let parameters = Parameters::new(0, &Device::Cpu);
    let context = panchroma_core::TokenizerContext { modality: "radio", arrays: &spec, parameters: &parameters };
    for toml in ["shortest = 0.0", "shortest = 20.0\nlongest = 20.0", "frequencies = 0", "shrotest = 1.0"] {
        let section = Section::from_toml("modality.radio.tokenizer", toml).expect("TOML");
        assert!(crate::tokenizer::VisibilityTokens::new(&section, &context).is_err(), "{toml}");
    }
    let section = Section::from_toml("modality.radio", "max_visibilities = 0").expect("TOML");
    let context = panchroma_core::ModalityContext { name: "radio" };
    assert!(crate::modality::Visibilities::new(&section, &context).is_err());
    // A tokenizer of a modality that it knows nothing of.
    let other = panchroma_core::ArraysSpec { fields: Vec::new(), ..spec.clone() };
    let section = Section::from_toml("modality.radio.tokenizer", "").expect("TOML");
    let context = panchroma_core::TokenizerContext { modality: "other", arrays: &other, parameters: &parameters };
    let error = crate::tokenizer::VisibilityTokens::new(&section, &context).expect_err("refused").to_string();
    assert!(error.contains("`other` is not"), "{error}");
    let _ = build_tokenizer("kind = \"visibility_tokens\"", &spec);
}

const WIDTH: usize = 3;
/// Object 3 has no modality at all, so no features.
const PRESENT: [bool; 5] = [true, true, true, false, true];

/// What the head says, its logarithms by a naive loop, and for each object whether its features get a gradient.
type Answer = (HeadOutput, Vec<f64>, Vec<bool>);

/// The answer for objects whose ratios are `ratios`.
fn head(ratios: Vec<Option<f64>>) -> Result<Answer> {
    let parameters = Parameters::new(3, &Device::Cpu);
    let context = HeadContext {
        name: "ratio",
        modalities: &["radio".into()],
        tokens: &[],
        width: WIDTH,
        parameters: &parameters,
    };
    let head = FluxRatio::new(&Section::from_toml("head.ratio", "target = \"q\"")?, &context)?;
    let x = |i: usize| if PRESENT[i / WIDTH] { (1.3 * i as f32).sin() } else { 0.0 };
    let x: Vec<f32> = (0..PRESENT.len() * WIDTH).map(x).collect();
    let vectors = Var::from_tensor(&Tensor::from_vec(x.clone(), (PRESENT.len(), WIDTH), &Device::Cpu)?)?;
    let pooled = Pooled { vectors: vectors.as_tensor().clone(), present: PRESENT.to_vec() };
    let features = Features {
        view: View::Joint,
        modality: BTreeMap::new(),
        joint: pooled,
        tokens: TokenSet { batch: PRESENT.len(), segments: Vec::new() },
        targets: Vec::new(),
    };
    let column: ArrayRef = Arc::new(Float64Array::from(ratios));
    let columns = RecordBatch::try_from_iter([("q", column)]).expect("a batch");
    let rows = Rows::new((0..PRESENT.len()).map(|i| i.to_string()).collect(), columns)?;
    let batch = Batch { rows, arrays: BTreeMap::new(), tokens: BTreeMap::new(), masks: BTreeMap::new() };
    let output = head.forward(&features, &batch, &Forward::evaluate())?;
    let all = parameters.all();
    let find = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, p)| p.var.as_tensor()).expect("a parameter");
    let (weight, bias) = (find("weight").flatten_all()?.to_vec1::<f32>()?, find("bias").to_vec1::<f32>()?);
    let log = |x: &[f32]| f64::from(bias[0] + x.iter().zip(&weight).map(|(x, w)| x * w).sum::<f32>());
    let logs = x.chunks(WIDTH).map(log).collect();
    let gradient = match &output.loss {
        Some(loss) => loss.backward()?.get(&vectors).map(|g| g.to_vec2::<f32>()).transpose()?,
        None => None,
    };
    let used = gradient.unwrap_or_default().iter().map(|g| g.iter().any(|g| *g != 0.0)).collect();
    Ok((output, logs, used))
}

#[test]
fn the_loss_is_over_objects_with_features_and_a_ratio() -> Result<()> {
    // Object 1 has no ratio, that of object 2 has no logarithm, object 3 has no features.
    let (output, logs, used) = head(vec![Some(0.1), None, Some(0.0), Some(0.5), Some(1.0)])?;
    let wrong = [logs[0] + 1.0, logs[4]];
    let loss = f64::from(output.loss.expect("two are known").to_scalar::<f32>()?);
    assert!((loss - (wrong[0].powi(2) + wrong[1].powi(2)) / 4.0).abs() < 1e-6);
    let dex = f64::from(output.metrics["dex"].to_scalar::<f32>()?);
    assert!((dex - (wrong[0].abs() + wrong[1].abs()) / 2.0).abs() < 1e-6);
    assert_eq!(used, [true, false, false, false, true]);
    // A prediction for every object all the same.
    let ratios = output.predictions["flux_ratio"].to_vec1::<f32>()?;
    assert!(ratios.iter().zip(&logs).all(|(q, log)| (f64::from(*q) / 10f64.powf(*log) - 1.0).abs() < 1e-5));
    Ok(())
}

#[test]
fn without_a_ratio_there_is_no_loss_but_a_prediction() -> Result<()> {
    let (output, _, _) = head(vec![None; 5])?;
    assert!(output.loss.is_none() && output.predictions["flux_ratio"].dims() == [5]);
    Ok(())
}
