//! The losses of head `masked` against plain ones, and what it refuses.

use super::*;
use crate::testing::head;
use candle_core::{DType, Var};
use panchroma_core::{Parameters, Pooled, TokenSet};

const WIDTH: usize = 6;

fn features(targets: Vec<Targets>, batch: usize) -> Result<Features> {
    let joint =
        Pooled { vectors: Tensor::zeros((batch, WIDTH), DType::F32, &Device::Cpu)?, present: vec![true; batch] };
    let tokens = TokenSet { batch, segments: Vec::new() };
    Ok(Features { view: View::Masked, modality: BTreeMap::new(), joint, tokens, targets })
}

fn vectors(count: usize, phase: f32) -> Result<Var> {
    let values: Vec<f32> = (0..count * WIDTH).map(|i| (i as f32 * 0.9 + phase).sin()).collect();
    Ok(Var::from_tensor(&Tensor::from_vec(values, (count, WIDTH), &Device::Cpu)?)?)
}

/// Codes `[2, 3]` of two modalities.
fn batch() -> Result<Batch> {
    let mut batch = crate::testing::plain_batch(2)?;
    for (name, codes) in [("a", [[0u32, 1, 2], [3, 2, 1]]), ("b", [[3, 3, 0], [1, 1, 2]])] {
        let tokens = Tokens::codes(Tensor::new(&codes, &Device::Cpu)?, vec![true; 2])?;
        batch.tokens.insert(name.into(), tokens);
    }
    Ok(batch)
}

fn parameter(parameters: &Parameters, name: &str) -> Vec<Vec<f32>> {
    let all = parameters.all();
    let (_, found) = all.iter().find(|(n, _)| n == name).expect("a parameter");
    found.var.as_tensor().to_vec2().expect("a matrix")
}

/// Cross entropies of rows of `vectors`, in f64.
fn plain(vectors: &Tensor, weight: &[Vec<f32>], targets: &[usize]) -> Vec<f64> {
    let rows = vectors.to_vec2::<f32>().expect("rows");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    rows.iter()
        .zip(targets)
        .map(|(row, target)| {
            let logits: Vec<f64> = weight.iter().map(|w| dot(row, w)).collect();
            logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[*target]
        })
        .collect()
}

#[test]
fn averages_are_those_of_their_names() -> Result<()> {
    let (a, b) = (vectors(3, 0.0)?, vectors(1, 2.0)?);
    let places = |places: &[(u32, u32)]| places.to_vec();
    for (average, weights) in [("modality", [0.5, 0.5]), ("token", [0.75, 0.25]), ("logit", [0.75, 0.25])] {
        let (head, parameters) = head("masked", &["a", "b"], WIDTH, &format!("loss = \"{average}\""))?;
        let targets = vec![
            Targets { modality: "a".into(), places: places(&[(0, 0), (0, 2), (1, 1)]), vectors: a.as_tensor().clone() },
            Targets { modality: "b".into(), places: places(&[(1, 2)]), vectors: b.as_tensor().clone() },
        ];
        let out = head.forward(&features(targets, 2)?, &batch()?, &Forward::evaluate())?;
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let of_a = mean(plain(a.as_tensor(), &parameter(&parameters, "a.weight"), &[0, 2, 2]));
        let of_b = mean(plain(b.as_tensor(), &parameter(&parameters, "b.weight"), &[2]));
        let expected = weights[0] * of_a + weights[1] * of_b;
        let loss = f64::from(out.loss.as_ref().expect("a loss").to_scalar::<f32>()?);
        assert!((loss - expected).abs() < 1e-5, "{average}: {loss} {expected}");
        assert!((f64::from(out.metrics["a"].to_scalar::<f32>()?) - of_a).abs() < 1e-5);
        assert_eq!(out.predictions["logits.b"].dims(), [1, 4]);
        let gradients = out.loss.expect("a loss").backward()?;
        assert!(gradients.get(a.as_tensor()).is_some() && gradients.get(b.as_tensor()).is_some());
    }
    Ok(())
}

#[test]
fn what_is_not_a_target_is_not_predicted_and_nothing_asked_is_no_loss() -> Result<()> {
    let (head, parameters) = head("masked", &["a", "b"], WIDTH, "targets = [\"a\"]")?;
    assert_eq!(parameters.all().len(), 1);
    let b = Targets { modality: "b".into(), places: vec![(0, 0)], vectors: vectors(1, 0.0)?.as_tensor().clone() };
    let out = head.forward(&features(vec![b], 2)?, &batch()?, &Forward::evaluate())?;
    assert!(out.loss.is_none() && out.predictions.is_empty());
    Ok(())
}

#[test]
fn a_code_beyond_the_vocabulary_names_it() -> Result<()> {
    let (head, _) = head("masked", &["a", "b"], WIDTH, "")?;
    let mut batch = batch()?;
    batch
        .tokens
        .insert("a".into(), Tokens::codes(Tensor::new(&[[9u32, 0, 0], [0, 0, 0]], &Device::Cpu)?, vec![true; 2])?);
    let a = Targets { modality: "a".into(), places: vec![(0, 0)], vectors: vectors(1, 0.0)?.as_tensor().clone() };
    let error = head.forward(&features(vec![a], 2)?, &batch, &Forward::evaluate()).expect_err("refused").to_string();
    assert!(error.contains("tokens of `a`") && error.contains("below 4") && error.contains('9'), "{error}");
    Ok(())
}

#[test]
fn bad_keys_point_at_themselves() {
    for (toml, part) in [
        ("targets = [\"c\"]", "`c`"),
        ("targets = []", "at least one"),
        ("label_smoothing = 2.0", "below 1"),
        ("los = 1", "los"),
    ] {
        let error = head("masked", &["a", "b"], WIDTH, toml).err().expect("refused").to_string();
        assert!(error.contains(part), "{toml}: {error}");
    }
}
