//! Numbers are of scikit-learn 1.9.1 (`LogisticRegression` after `StandardScaler`, tolerance 1e-12)
//! on the same data.

use super::folds;
use crate::testing::{WIDTH, assert_close, example, probe};
use panchroma_core::{Fitted, Predictions, ProbeTarget, Result};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|c| format!("class{c}")).collect()
}

fn fit(toml: &str, labels: Vec<usize>, count: usize) -> Result<Box<dyn Fitted>> {
    probe("logistic", toml)?.fit(&example().train, WIDTH, &ProbeTarget::Classes { labels, names: names(count) })
}

fn probabilities(fitted: &dyn Fitted, rows: usize) -> Result<Vec<f64>> {
    assert_eq!(fitted.chosen()["converged"], true);
    match fitted.predict(&example().held[..rows * WIDTH])? {
        Predictions::Classes { probabilities, .. } => Ok(probabilities),
        Predictions::Numbers(_) => unreachable!("logistic predicts classes"),
    }
}

#[test]
fn three_classes_equal_scikit_learn() -> Result<()> {
    let plain = [
        0.03178196351959239,
        0.5133741688726309,
        0.45484386760777684,
        0.47168633399627896,
        0.4604639843313163,
        0.06784968167240477,
        0.07940275708789238,
        0.6149722438792714,
        0.3056249990328362,
        0.3663248255569188,
        0.5217905527637694,
        0.11188462167931168,
    ];
    let balanced = [
        0.039926197891370516,
        0.4023467014656725,
        0.557727100642957,
        0.559432356607411,
        0.359810026437437,
        0.08075761695515205,
        0.0890283455209362,
        0.5144543314922165,
        0.3965173229868472,
        0.45851333893525054,
        0.4064584726907178,
        0.1350281883740318,
    ];
    for (flag, expected) in [(false, plain), (true, balanced)] {
        let fitted = fit(&format!("strengths = [2.0]\nbalanced = {flag}"), example().classes, 3)?;
        assert_close(&probabilities(fitted.as_ref(), 4)?, &expected, 1e-6);
    }
    Ok(())
}

#[test]
fn two_classes_equal_scikit_learn() -> Result<()> {
    let labels = example().classes.iter().map(|c| usize::from(*c > 0)).collect();
    let fitted = fit("strengths = [2.0]", labels, 2)?;
    let second: Vec<f64> = probabilities(fitted.as_ref(), 6)?.chunks(2).map(|row| row[1]).collect();
    let expected = [
        0.9227036522532054,
        0.368285853323046,
        0.8741665863572741,
        0.4524421919428015,
        0.9387964321139299,
        0.8800155252446861,
    ];
    assert_close(&second, &expected, 1e-6);
    Ok(())
}

#[test]
fn the_strength_is_the_one_whose_left_out_folds_scikit_learn_predicts_best() -> Result<()> {
    // Summed log loss over four folds by scikit-learn: 39.16, 37.71, 45.69, 59.78.
    let fitted = fit("strengths = [0.1, 1.0, 10.0, 100.0]\nfolds = 4", example().classes, 3)?;
    assert_eq!(fitted.chosen()["strength"], 1.0);
    Ok(())
}

#[test]
fn every_fold_has_its_share_of_every_class() {
    // Class 0 has the places 0..4, class 1 the places 4..6.
    assert_eq!(folds(&[0, 1, 0, 0, 1, 0], 3), [0, 1, 1, 2, 2, 0]);
}

#[test]
fn a_class_without_objects_has_no_probability() -> Result<()> {
    let labels = example().classes.iter().map(|c| if *c == 1 { 0 } else { *c }).collect();
    let all = probabilities(fit("strengths = [1.0, 10.0]", labels, 4)?.as_ref(), 6)?;
    for row in all.chunks(4) {
        assert!(row[1] == 0.0 && row[3] == 0.0 && (row.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{row:?}");
    }
    Ok(())
}

#[test]
fn what_can_not_be_learned_is_refused() -> Result<()> {
    assert!(fit("", vec![1; 60], 3).is_err());
    assert!(probe("logistic", "")?.fit(&[0.0, 1.0, 2.0], 1, &ProbeTarget::Numbers(vec![0.0; 3])).is_err());
    assert!(probe("logistic", "folds = 1").is_err() && probe("logistic", "strengths = [-1.0]").is_err());
    Ok(())
}

#[test]
fn a_class_of_one_object_does_not_spoil_the_choice() -> Result<()> {
    let labels = (0..60).map(|i| if i == 7 { 2 } else { usize::from(example().classes[i] > 0) }).collect();
    let all = probabilities(fit("strengths = [1.0, 10.0]", labels, 3)?.as_ref(), 6)?;
    assert!(all.iter().all(|p| p.is_finite()));
    Ok(())
}
