//! Losses against naive loops in f64.

use crate::testing::{assert_close, batch, features, head, vectors};
use panchroma_core::reexport::arrow_array::{ArrayRef, Float64Array, StringArray};
use panchroma_core::{Forward, HeadOutput, Result, View};
use std::sync::Arc;

const WIDTH: usize = 3;
/// Object 3 has no modality, so no features.
const PRESENT: [bool; 5] = [true, true, true, false, true];

/// Output, and the layer's answers `[B][O]` from its parameters by a naive loop.
fn run(kind: &str, toml: &str, column: ArrayRef) -> Result<(HeadOutput, Vec<Vec<f64>>)> {
    let (head, parameters) = head(kind, &["a"], WIDTH, toml)?;
    let x = vectors(&PRESENT, WIDTH, 0.3)?;
    let features = features(View::Joint, &[("a", &x, &PRESENT)]);
    let output = head.forward(&features, &batch(5, ("t", column))?, &Forward::evaluate())?;
    if let Some(loss) = &output.loss {
        let gradients = loss.backward()?;
        let gradient = gradients.get(&x).expect("the loss depends on it").to_vec2::<f32>()?;
        assert!(gradient[3].iter().all(|g| *g == 0.0), "an absent object has no gradient");
        assert!(gradient[0].iter().any(|g| *g != 0.0), "object 0 has a target");
    }
    let all = parameters.all();
    let find =
        |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, p)| p.var.as_tensor()).expect("it has a layer");
    let (weight, bias) = (find("weight").to_vec2::<f32>()?, find("bias").to_vec1::<f32>()?);
    let x = x.as_tensor().to_vec2::<f32>()?;
    let answer = |x: &Vec<f32>, (w, b): (&Vec<f32>, &f32)| {
        f64::from(*b) + x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>()
    };
    Ok((output, x.iter().map(|x| weight.iter().zip(&bias).map(|layer| answer(x, layer)).collect()).collect()))
}

fn scalar(tensor: &candle_core::Tensor) -> Result<f64> {
    Ok(f64::from(tensor.to_scalar::<f32>()?))
}

/// Objects 0, 2 and 4 have a target and features; that of object 2 has no logarithm.
fn numbers() -> ArrayRef {
    Arc::new(Float64Array::from(vec![Some(10.0), None, Some(-1.0), Some(5.0), Some(1000.0)]))
}

#[test]
fn squares_and_huber_losses_equal_a_naive_loop_over_known_targets() -> Result<()> {
    let square = |x: f64| x * x / 2.0;
    let huber = |x: f64| if x.abs() <= 1.0 { x * x / 2.0 } else { x.abs() - 0.5 };
    let losses: [(&str, &dyn Fn(f64) -> f64); 2] = [("mse", &square), ("huber", &huber)];
    for (name, loss) in losses {
        let toml = format!("target = \"t\"\nshift = 1.0\nscale = 20.0\nloss = \"{name}\"");
        let (output, answers) = run("regression", &toml, numbers())?;
        let wrong: Vec<f64> =
            [(0, 10.0), (2, -1.0), (4, 1000.0)].iter().map(|(i, t)| answers[*i][0] - (t - 1.0) / 20.0).collect();
        assert!(wrong.iter().any(|w| w.abs() > 1.0) && wrong.iter().any(|w| w.abs() < 1.0), "both parts: {wrong:?}");
        let mean = |f: &dyn Fn(f64) -> f64| wrong.iter().map(|w| f(*w)).sum::<f64>() / 3.0;
        assert_close(&[scalar(output.loss.as_ref().expect("there are targets"))?], &[mean(loss)], 1e-3);
        assert_close(&[scalar(&output.metrics["mae"])?], &[20.0 * mean(&f64::abs)], 1e-3);
    }
    Ok(())
}

#[test]
fn logarithms_are_undone_in_predictions_and_impossible_ones_left_out() -> Result<()> {
    let (output, answers) =
        run("regression", "target = \"t\"\ntransform = \"log10\"\nshift = 2.0\nscale = 0.5", numbers())?;
    let value: Vec<f64> = output.predictions["value"].to_vec1::<f32>()?.into_iter().map(f64::from).collect();
    let expected: Vec<f64> = answers.iter().map(|a| 10f64.powf(a[0] * 0.5 + 2.0)).collect();
    assert!(value.iter().zip(&expected).all(|(v, e)| (v / e - 1.0).abs() < 1e-5), "{value:?} {expected:?}");
    // log10 of 10 and 1000, less 2, over 0.5: -2 and 2.
    let loss = ((answers[0][0] + 2.0).powi(2) + (answers[4][0] - 2.0).powi(2)) / 4.0;
    assert_close(&[scalar(output.loss.as_ref().expect("there are targets"))?], &[loss], 1e-4);
    Ok(())
}

#[test]
fn without_a_target_there_is_no_loss_but_a_prediction() -> Result<()> {
    let none: ArrayRef = Arc::new(Float64Array::from(vec![None; 5]));
    let (output, _) = run("regression", "target = \"t\"", none)?;
    assert!(output.loss.is_none() && output.predictions["value"].dims() == [5]);
    Ok(())
}

#[test]
fn cross_entropy_with_smoothing_equals_a_naive_loop_over_known_classes() -> Result<()> {
    // Object 1 has no class, object 3 no features, object 4 a class that is not asked for.
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("a"), Some("x")]));
    let toml = "target = \"t\"\nclasses = [\"a\", \"b\", \"c\"]\nlabel_smoothing = 0.3";
    let (output, answers) = run("classification", toml, column)?;
    let logs = |i: usize| -> Vec<f64> {
        let sum: f64 = answers[i].iter().map(|a| a.exp()).sum();
        answers[i].iter().map(|a| a - sum.ln()).collect()
    };
    // The target is 0.7 for the class and 0.1 more for each of the three.
    let loss = |i: usize, class: usize| -0.7 * logs(i)[class] - 0.1 * logs(i).iter().sum::<f64>();
    let expected = (loss(0, 1) + loss(2, 0)) / 2.0;
    assert_close(&[scalar(output.loss.as_ref().expect("there are targets"))?], &[expected], 1e-5);
    let best = |i: usize| (0..3).max_by(|a, b| answers[i][*a].total_cmp(&answers[i][*b]));
    let right = f64::from(u8::from(best(0) == Some(1))) + f64::from(u8::from(best(2) == Some(0)));
    assert_close(&[scalar(&output.metrics["accuracy"])?], &[right / 2.0], 1e-6);
    let found: Vec<f64> =
        output.predictions["probabilities"].get(4)?.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
    assert_close(&found, &logs(4).iter().map(|l| l.exp()).collect::<Vec<_>>(), 1e-5);
    Ok(())
}

#[test]
fn wrong_tables_are_refused() {
    for (kind, toml) in [
        ("regression", "target = \"t\"\nscale = 0.0"),
        ("regression", "shift = 1.0"),
        ("classification", "target = \"t\"\nclasses = [\"a\"]"),
        ("classification", "target = \"t\"\nclasses = [\"a\", \"a\"]"),
        ("classification", "target = \"t\"\nclasses = [\"a\", \"b\"]\nlabel_smoothing = 1.0"),
    ] {
        assert!(head(kind, &["a"], WIDTH, toml).is_err(), "{toml}");
    }
}
