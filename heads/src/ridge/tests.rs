//! Numbers are of scikit-learn 1.9.1 (`RidgeCV`, `Ridge` after `StandardScaler`) on the same data.

use crate::testing::{WIDTH, assert_close, example, probe};
use panchroma_core::{Predictions, ProbeTarget, Result};

fn predicted(toml: &str) -> Result<(Vec<f64>, f64, f64)> {
    let data = example();
    let fitted = probe("ridge", toml)?.fit(&data.train, WIDTH, &ProbeTarget::Numbers(data.numbers))?;
    let Predictions::Numbers(numbers) = fitted.predict(&data.held)? else { unreachable!("ridge predicts numbers") };
    let chosen = fitted.chosen();
    Ok((numbers, chosen["strength"].as_f64().unwrap(), chosen["leave_one_out_rmse"].as_f64().unwrap()))
}

#[test]
fn the_strength_and_the_predictions_equal_scikit_learn() -> Result<()> {
    let (numbers, strength, error) = predicted("strengths = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]")?;
    assert_eq!(strength, 1.0);
    assert_close(&[error * error], &[0.6121530910104999], 1e-9);
    let expected = [
        3.094655201836425,
        3.9369677755225254,
        2.617075372768946,
        3.234369783692454,
        3.4525075896572335,
        4.6204620596330415,
    ];
    assert_close(&numbers, &expected, 1e-9);
    Ok(())
}

#[test]
fn a_strong_penalty_gives_what_scikit_learn_gives() -> Result<()> {
    let (numbers, strength, error) = predicted("strengths = [1000.0]")?;
    assert_eq!(strength, 1000.0);
    assert_close(&[error * error], &[1.912992782593228], 1e-9);
    let expected = [
        3.288466827845185,
        3.3384480979669964,
        3.2653646326146926,
        3.2935628498428846,
        3.31366861652196,
        3.3809240137823084,
    ];
    assert_close(&numbers, &expected, 1e-9);
    Ok(())
}

#[test]
fn more_features_than_objects_and_constant_ones_are_fine() -> Result<()> {
    // Four objects of six features, of which the last is constant; the first feature is the target.
    let features: Vec<f32> = (0..4)
        .flat_map(|i| {
            let x = i as f32;
            [x, (2.0 * x).sin(), (3.0 * x).sin(), (5.0 * x).cos(), (7.0 * x).cos(), 0.3]
        })
        .collect();
    let target = ProbeTarget::Numbers(vec![0.0, 1.0, 2.0, 3.0]);
    let fitted = probe("ridge", "strengths = [1e-6]")?.fit(&features, 6, &target)?;
    let Predictions::Numbers(numbers) = fitted.predict(&features)? else { unreachable!("ridge predicts numbers") };
    assert_close(&numbers, &[0.0, 1.0, 2.0, 3.0], 1e-4);
    Ok(())
}

#[test]
fn many_parts_give_what_one_part_gives() -> Result<()> {
    // The same objects forty times: more than one part, and the strength counts a fortieth.
    let data = example();
    let target = |times: usize| ProbeTarget::Numbers(data.numbers.repeat(times));
    let fit = |times: usize, toml: &str| probe("ridge", toml)?.fit(&data.train.repeat(times), WIDTH, &target(times));
    let (once, often) = (fit(1, "strengths = [2.0]")?, fit(40, "strengths = [80.0]")?);
    let (Predictions::Numbers(a), Predictions::Numbers(b)) = (once.predict(&data.held)?, often.predict(&data.held)?)
    else {
        unreachable!("ridge predicts numbers")
    };
    assert_close(&a, &b, 1e-9);
    Ok(())
}

#[test]
fn classes_are_refused() -> Result<()> {
    let target = ProbeTarget::Classes { labels: vec![0, 1, 0], names: vec!["a".into(), "b".into()] };
    assert!(probe("ridge", "")?.fit(&[0.0, 1.0, 2.0], 1, &target).is_err());
    assert!(probe("ridge", "strengths = []").is_err() && probe("ridge", "strengths = [0.0]").is_err());
    Ok(())
}
