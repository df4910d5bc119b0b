//! Losses against naive loops in f64, gradients against central differences.

use super::at_most::at_most;
use super::plain;
use crate::testing::{assert_close, features, head, plain_batch, vectors};
use candle_core::{Device, Tensor, Var};
use panchroma_core::{Features, Forward, Head, HeadOutput, Result, View};

const T: bool = true;
const F: bool = false;
const WIDTH: usize = 6;

fn forward(head: &dyn Head, features: &Features, n: usize) -> Result<HeadOutput> {
    head.forward(features, &plain_batch(n)?, &Forward::evaluate())
}

fn number(output: &HeadOutput, metric: &str) -> Result<f64> {
    Ok(f64::from(output.metrics[metric].to_scalar::<f32>()?))
}

fn loss_value(output: &HeadOutput) -> Result<f64> {
    Ok(f64::from(output.loss.as_ref().expect("there are pairs").to_scalar::<f32>()?))
}

/// Similarities of the objects of which `both` is true, from the predictions.
fn similarities(output: &HeadOutput, a: &str, b: &str, both: &[bool]) -> Result<Vec<Vec<f64>>> {
    let rows = |name: &str| -> Result<Vec<Vec<f32>>> {
        let all = output.predictions[&format!("embedding.{name}")].to_vec2::<f32>()?;
        Ok(all.into_iter().zip(both).filter(|(_, both)| **both).map(|(row, _)| row).collect())
    };
    let (a, b) = (rows(a)?, rows(b)?);
    let product = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    Ok(a.iter().map(|x| b.iter().map(|y| product(x, y)).collect()).collect())
}

fn naive_infonce(s: &[Vec<f64>], scale: f64) -> f64 {
    let n = s.len();
    let mut sum = 0.0;
    for i in 0..n {
        let row: f64 = (0..n).map(|j| (scale * s[i][j]).exp()).sum();
        let column: f64 = (0..n).map(|j| (scale * s[j][i]).exp()).sum();
        sum += 0.5 * (row.ln() + column.ln()) - scale * s[i][i];
    }
    sum / n as f64
}

fn naive_sigmoid(s: &[Vec<f64>], scale: f64, bias: f64) -> f64 {
    let n = s.len();
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..n {
            let y = if i == j { 1.0 } else { -1.0 };
            sum += (1.0 + (-y * (scale * s[i][j] + bias)).exp()).ln();
        }
    }
    sum / n as f64
}

/// Two modalities of six objects; objects 0, 2, 3 and 5 have both.
struct Two {
    a: Var,
    b: Var,
}

const A: [bool; 6] = [T, T, T, T, F, T];
const B: [bool; 6] = [T, F, T, T, T, T];
const BOTH: [bool; 6] = [T, F, T, T, F, T];

impl Two {
    fn new() -> Result<Self> {
        Ok(Self { a: vectors(&A, WIDTH, 0.0)?, b: vectors(&B, WIDTH, 0.7)? })
    }

    fn features(&self) -> Features {
        features(View::Isolated, &[("a", &self.a, &A), ("b", &self.b, &B)])
    }
}

#[test]
fn infonce_equals_a_naive_loop_over_objects_that_have_both() -> Result<()> {
    let (head, _) = head("contrastive", &["a", "b"], WIDTH, "dimensions = 5\ntemperature = 0.2")?;
    let output = forward(head.as_ref(), &Two::new()?.features(), 6)?;
    let expected = naive_infonce(&similarities(&output, "a", "b", &BOTH)?, 5.0);
    assert_close(&[loss_value(&output)?, number(&output, "loss.a-b")?], &[expected; 2], 1e-5);
    assert_close(&[number(&output, "logit_scale")?], &[5.0], 1e-5);
    Ok(())
}

#[test]
fn the_sigmoid_loss_equals_a_naive_loop() -> Result<()> {
    let toml = "loss = \"sigmoid\"\ndimensions = 5\nbias = -3.0\nprojection = \"linear\"";
    let (head, _) = head("contrastive", &["a", "b"], WIDTH, toml)?;
    let output = forward(head.as_ref(), &Two::new()?.features(), 6)?;
    // The temperature of the sigmoid loss begins at 0.1.
    let expected = naive_sigmoid(&similarities(&output, "a", "b", &BOTH)?, 10.0, -3.0);
    assert_close(&[loss_value(&output)?], &[expected], 1e-4);
    assert_close(&[number(&output, "logit_bias")?], &[-3.0], 0.0);
    Ok(())
}

#[test]
fn losses_of_extreme_logits_are_finite_with_finite_gradients() -> Result<()> {
    let logits = Var::new(&[[3e4f32, -3e4, 0.0], [3e4, -3e4, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu)?;
    for value in [plain::infonce(&logits)?, plain::sigmoid(&logits)?] {
        assert!(value.to_scalar::<f32>()?.is_finite());
        let gradients = value.backward()?;
        let gradient = gradients.get(&logits).expect("it depends on the logits").flatten_all()?.to_vec1::<f32>()?;
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
    // -y σ(-y 0) is 1/2 off the diagonal and -1/2 on it, over three rows; also exactly at zero.
    let gradients = plain::sigmoid(&logits)?.backward()?;
    let last = gradients.get(&logits).expect("it depends on the logits").get(2)?.to_vec1::<f32>()?;
    let last: Vec<f64> = last.into_iter().map(f64::from).collect();
    assert_close(&last, &[1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0], 1e-6);
    Ok(())
}

#[test]
fn gradients_equal_central_differences() -> Result<()> {
    for toml in [
        "temperature = 0.5",
        "loss = \"sigmoid\"\ntemperature = 0.5\nbias = -1.0",
        "projection = \"linear\"\ntemperature = 0.5",
    ] {
        let (head, parameters) = head("contrastive", &["a", "b"], WIDTH, &format!("dimensions = 4\n{toml}"))?;
        let two = Two::new()?;
        let value = || -> Result<f64> { loss_value(&forward(head.as_ref(), &two.features(), 6)?) };
        let gradients = forward(head.as_ref(), &two.features(), 6)?.loss.expect("there are pairs").backward()?;
        let mut vars: Vec<(String, Var)> = parameters.all().into_iter().map(|(name, p)| (name, p.var)).collect();
        vars.extend([("a".to_owned(), two.a.clone()), ("b".to_owned(), two.b.clone())]);
        for (name, var) in vars {
            let gradient = gradients.get(&var).expect("the loss depends on it").flatten_all()?.to_vec1::<f32>()?;
            let start = var.as_tensor().copy()?;
            let values = start.flatten_all()?.to_vec1::<f32>()?;
            // Every seventh value is enough of a matrix.
            for i in (0..values.len()).step_by(7) {
                let step = 1e-2f32;
                let at = |x: f32| -> Result<f64> {
                    let mut values = values.clone();
                    values[i] = x;
                    var.set(&Tensor::from_vec(values, start.shape(), &Device::Cpu)?)?;
                    value()
                };
                let slope = (at(values[i] + step)? - at(values[i] - step)?) / (2.0 * f64::from(step));
                assert!(
                    (slope - f64::from(gradient[i])).abs() < 1e-3,
                    "{toml}: {name} {i}: {slope} is not {}",
                    gradient[i]
                );
            }
            var.set(&start)?;
        }
    }
    Ok(())
}

#[test]
fn objects_without_a_partner_get_no_gradient_and_absent_ones_zero_vectors() -> Result<()> {
    let (head, _) = head("contrastive", &["a", "b"], WIDTH, "dimensions = 5")?;
    let two = Two::new()?;
    let output = forward(head.as_ref(), &two.features(), 6)?;
    let gradients = output.loss.as_ref().expect("there are pairs").backward()?;
    for (name, var, present) in [("a", &two.a, A), ("b", &two.b, B)] {
        let gradient = gradients.get(var).expect("the loss depends on it").to_vec2::<f32>()?;
        let embedding = output.predictions[&format!("embedding.{name}")].to_vec2::<f32>()?;
        for i in 0..6 {
            assert_eq!(gradient[i].iter().any(|g| *g != 0.0), BOTH[i], "{name} {i}");
            let length: f32 = embedding[i].iter().map(|x| x * x).sum();
            assert!((length - f32::from(u8::from(present[i]))).abs() < 1e-5, "{name} {i}: {length}");
        }
    }
    Ok(())
}

#[test]
fn an_absent_modality_changes_nothing_for_the_others() -> Result<()> {
    let (head, _) = head("contrastive", &["a", "b"], WIDTH, "dimensions = 5")?;
    let two = Two::new()?;
    let before = loss_value(&forward(head.as_ref(), &two.features(), 6)?)?;
    // Other values for object 1, which has no `b`.
    let other = two.a.as_tensor().to_vec2::<f32>()?;
    let other: Vec<f32> = other
        .into_iter()
        .enumerate()
        .flat_map(|(i, row)| row.into_iter().map(move |x| if i == 1 { 9.0 - x } else { x }))
        .collect();
    two.a.set(&Tensor::from_vec(other, (6, WIDTH), &Device::Cpu)?)?;
    assert_eq!(before, loss_value(&forward(head.as_ref(), &two.features(), 6)?)?);
    Ok(())
}

#[test]
fn three_modalities_make_three_pairs_and_pairs_without_objects_do_not_count() -> Result<()> {
    let (head, _) = head("contrastive", &["a", "b", "c"], WIDTH, "dimensions = 5\ntemperature = 0.5")?;
    let two = Two::new()?;
    // Objects 2 and 3 have all three.
    let third = [F, F, T, T, F, F];
    let c = vectors(&third, WIDTH, 1.9)?;
    let all = features(View::Isolated, &[("a", &two.a, &A), ("b", &two.b, &B), ("c", &c, &third)]);
    let output = forward(head.as_ref(), &all, 6)?;
    let pairs = [("a", "b", BOTH), ("a", "c", third), ("b", "c", third)];
    let mut sum = 0.0;
    for (a, b, both) in pairs {
        let expected = naive_infonce(&similarities(&output, a, b, &both)?, 2.0);
        assert_close(&[number(&output, &format!("loss.{a}-{b}"))?], &[expected], 1e-5);
        sum += expected;
    }
    assert_close(&[loss_value(&output)?], &[sum / 3.0], 1e-5);
    // One object with `c` is nothing to tell apart.
    let one = [F, F, T, F, F, F];
    let few = features(View::Isolated, &[("a", &two.a, &A), ("b", &two.b, &B), ("c", &c, &one)]);
    let output = forward(head.as_ref(), &few, 6)?;
    assert!(!output.metrics.contains_key("loss.a-c") && !output.metrics.contains_key("loss.b-c"));
    assert_eq!(loss_value(&output)?, number(&output, "loss.a-b")?);
    Ok(())
}

#[test]
fn a_batch_without_a_pair_has_no_loss_but_embeddings() -> Result<()> {
    let (head, _) = head("contrastive", &["a", "b"], WIDTH, "dimensions = 5")?;
    let a = vectors(&[T, T], WIDTH, 0.0)?;
    let output = forward(head.as_ref(), &features(View::Isolated, &[("a", &a, &[T, T])]), 2)?;
    assert!(output.loss.is_none());
    let absent = output.predictions["embedding.b"].to_vec2::<f32>()?;
    assert_eq!(absent, vec![vec![0.0; 5]; 2]);
    assert_ne!(output.predictions["embedding.a"].to_vec2::<f32>()?, absent);
    Ok(())
}

#[test]
fn the_scale_stays_at_its_maximum_but_can_come_back() -> Result<()> {
    let (head, parameters) = head("contrastive", &["a", "b"], WIDTH, "dimensions = 5")?;
    let (_, log_scale) = parameters.all().into_iter().find(|(name, _)| name == "log_scale").expect("it is trained");
    log_scale.var.set(&Tensor::new(9f32, &Device::Cpu)?)?;
    let output = forward(head.as_ref(), &Two::new()?.features(), 6)?;
    assert_close(&[number(&output, "logit_scale")?], &[100.0], 1e-3);
    // Gradient 2 leads down and stays, gradient -2 leads further up and goes.
    for (x, factor, expected) in [(9f32, 2.0, 2.0), (9.0, -2.0, 0.0), (1.0, -2.0, -2.0)] {
        let x = Var::new(x, &Device::Cpu)?;
        let gradients = (at_most(&x, 4.0)? * factor)?.backward()?;
        assert_eq!(gradients.get(&x).expect("it depends on x").to_scalar::<f32>()?, expected);
    }
    Ok(())
}

#[test]
fn a_temperature_that_is_not_learned_is_no_parameter() -> Result<()> {
    let toml = "dimensions = 5\nlearn_temperature = false\nloss = \"sigmoid\"\nprojection = \"linear\"";
    let (_, parameters) = head("contrastive", &["a", "b"], WIDTH, toml)?;
    let names: Vec<String> = parameters.all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["projection.a.out.weight", "projection.b.out.weight"]);
    Ok(())
}

#[test]
fn accuracy_is_the_share_of_rows_and_columns_that_find_their_partner() -> Result<()> {
    // Rows 0 and 2 have their largest value on the diagonal, of the columns 0, 1 and 2 only 2.
    let logits = Tensor::new(&[[2f32, 1.0, 0.0], [5.0, 0.0, 1.0], [0.0, 3.0, 4.0]], &Device::Cpu)?;
    assert_close(&[f64::from(plain::top1(&logits)?.to_scalar::<f32>()?)], &[0.5], 1e-6);
    Ok(())
}

#[test]
fn what_the_head_computes_in_blocks_equals_the_plain_losses() -> Result<()> {
    for (kind, toml) in [("infonce", "temperature = 0.2"), ("sigmoid", "loss = \"sigmoid\"\nbias = -2.0")] {
        let (head, _) = head("contrastive", &["a", "b"], WIDTH, &format!("dimensions = 5\n{toml}"))?;
        let output = forward(head.as_ref(), &Two::new()?.features(), 6)?;
        let similarities = similarities(&output, "a", "b", &BOTH)?.concat();
        let similarities: Vec<f32> = similarities.into_iter().map(|s| s as f32).collect();
        let logits = (Tensor::from_vec(similarities, (4, 4), &Device::Cpu)? * number(&output, "logit_scale")?)?;
        let expected = match kind {
            "infonce" => plain::infonce(&logits)?,
            _ => plain::sigmoid(&(&logits - 2.0)?)?,
        };
        assert_close(&[loss_value(&output)?], &[f64::from(expected.to_scalar::<f32>()?)], 1e-5);
        let top1 = f64::from(plain::top1(&logits)?.to_scalar::<f32>()?);
        assert_close(&[number(&output, "accuracy.a-b")?], &[top1], 1e-6);
    }
    Ok(())
}

#[test]
fn wrong_tables_are_refused_with_what_is_known() {
    let message = |toml: &str| match head("contrastive", &["image", "spectrum", "curve"], WIDTH, toml) {
        Ok(_) => String::new(),
        Err(e) => format!("{e}; {}", e.hint().unwrap_or_default()),
    };
    let unknown = message("modalities = [\"image\", \"spectra\"]");
    assert!(unknown.contains("no modality is called `spectra`") && unknown.contains("`spectrum`"), "{unknown}");
    assert!(message("pairs = [[\"image\", \"spectra\"]]").contains("no modality is called `spectra`"));
    assert!(message("modalities = [\"image\"]").contains("must be at least two, got 1"));
    assert!(message("modalities = [\"image\", \"image\"]").contains("`image` twice"));
    assert!(message("pairs = [[\"image\", \"image\"]]").contains("different"));
    assert!(message("pairs = [[\"image\", \"curve\"], [\"curve\", \"image\"]]").contains("once"));
    assert!(message("pairs = []").contains("at least one pair"));
    assert!(message("temperature = 0.0").contains("between 0.01 and 100"));
    assert!(message("dimensions = 0").contains("at least 1"));
    assert!(message("bias = -5.0").contains("sigmoid"));
    assert_eq!(message("pairs = [[\"image\", \"curve\"]]"), "");
}

#[test]
fn flops_count_projections_and_similarities() -> Result<()> {
    // Two linear maps 6 -> 5 of 10 objects, and 10 x 10 products of length 5: 2 * 2*10*6*5 + 2*100*5.
    let (head, _) = head("contrastive", &["a", "b"], WIDTH, "dimensions = 5\nprojection = \"linear\"")?;
    assert_eq!(head.flops(10), 2200.0);
    Ok(())
}
