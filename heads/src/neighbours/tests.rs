//! Numbers are of scikit-learn 1.9.1 (`KNeighborsRegressor`, `KNeighborsClassifier`) on the same data.

use crate::testing::{WIDTH, assert_close, example, probe};
use panchroma_core::{Predictions, ProbeTarget, Result};

fn numbers(toml: &str, train: &[f32], width: usize, target: Vec<f64>, held: &[f32]) -> Result<Vec<f64>> {
    let fitted = probe("neighbours", toml)?.fit(train, width, &ProbeTarget::Numbers(target))?;
    let Predictions::Numbers(numbers) = fitted.predict(held)? else { unreachable!("the target is numbers") };
    Ok(numbers)
}

#[test]
fn numbers_equal_scikit_learn() -> Result<()> {
    let cases = [
        (
            "uniform",
            "euclidean",
            [
                3.841250969980965,
                3.654944689263514,
                3.344731797142282,
                3.431967565974552,
                3.4077399056678694,
                4.279122382806818,
            ],
        ),
        (
            "uniform",
            "cosine",
            [
                3.6843809446912217,
                3.756947348951544,
                2.165020622160908,
                3.406496072052994,
                3.0352438852565014,
                4.279122382806819,
            ],
        ),
        (
            "distance",
            "euclidean",
            [
                3.917019784837873,
                3.6408985686614486,
                3.282842757414367,
                3.420183483009284,
                3.402777364674242,
                4.445762954780779,
            ],
        ),
        (
            "distance",
            "cosine",
            [
                3.8701738354934903,
                3.7773638686262556,
                2.5081946563354833,
                3.2804534638982483,
                3.2142938951995954,
                4.603032524487517,
            ],
        ),
    ];
    for (weights, metric, expected) in cases {
        let data = example();
        let toml = format!("k = 7\nweights = \"{weights}\"\nmetric = \"{metric}\"");
        let found = numbers(&toml, &data.train, WIDTH, data.numbers, &data.held)?;
        assert_close(&found, &expected, 1e-9);
    }
    Ok(())
}

#[test]
fn classes_equal_scikit_learn() -> Result<()> {
    let data = example();
    let target = ProbeTarget::Classes { labels: data.classes, names: vec!["a".into(), "b".into(), "c".into()] };
    let fitted = probe("neighbours", "k = 7\nweights = \"distance\"")?.fit(&data.train, WIDTH, &target)?;
    let Predictions::Classes { probabilities, classes: 3 } = fitted.predict(&data.held[..3 * WIDTH])? else {
        unreachable!("the target is three classes")
    };
    let expected = [
        0.2653115048119612,
        0.6230784305002149,
        0.11161006468782397,
        0.4895566638244584,
        0.4027714751732493,
        0.10767186100229217,
        0.0,
        0.8919353886913721,
        0.10806461130862792,
    ];
    assert_close(&probabilities, &expected, 1e-9);
    Ok(())
}

#[test]
fn an_object_that_is_there_has_its_own_value() -> Result<()> {
    // At distance 0 only the same object counts, though all three are neighbours.
    let found = numbers("k = 3\nweights = \"distance\"", &[0.1, 0.2, 0.7], 1, vec![5.0, 6.0, 7.0], &[0.2, 0.7])?;
    assert_close(&found, &[6.0, 7.0], 0.0);
    Ok(())
}

#[test]
fn with_fewer_objects_than_k_all_count() -> Result<()> {
    assert_close(&numbers("k = 9", &[0.0, 1.0], 1, vec![2.0, 4.0], &[0.3])?, &[3.0], 1e-12);
    assert!(probe("neighbours", "k = 0").is_err());
    Ok(())
}

#[test]
fn far_from_zero_neighbours_are_still_told_apart() -> Result<()> {
    // Squares of 1e6 leave no digits for 0.25 in f32.
    let train = [1e6, 1e6 + 0.25, 1e6 + 0.5];
    assert_close(&numbers("k = 1", &train, 1, vec![0.0, 1.0, 2.0], &[1e6 + 0.25])?, &[1.0], 0.0);
    Ok(())
}
