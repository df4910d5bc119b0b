//! Numbers marked scikit-learn were computed once with scikit-learn 1.9.1 on the same formulas.

use super::*;

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

#[test]
fn measures_of_numbers_equal_scikit_learn() {
    let i = || (0..40).map(f64::from);
    let truth: Vec<f64> = i().map(|i| (i * 0.7).sin() + 0.1 * i).collect();
    let predicted: Vec<f64> = i().map(|i| (i * 0.7 + 0.3).sin() + 0.09 * i).collect();
    close(r2(&truth, &predicted), 0.9493433519288408);
    close(mae(&truth, &predicted), 0.24867622341289009);
    close(rmse(&truth, &predicted), 0.3038011058872848);
}

#[test]
fn a_truth_without_variance_has_no_r2() {
    assert!(r2(&[2.0, 2.0], &[2.0, 2.0]).is_nan());
    assert!(r2(&[], &[]).is_nan());
    assert!(mae(&[], &[]).is_nan());
}

/// Forty objects of four classes, of which class 2 occurs among the predictions only.
fn classes() -> (Vec<usize>, Vec<usize>) {
    (0..40usize)
        .map(|i| {
            let class = (i * i / 3) % 4;
            let predicted = if i % 3 == 0 { (i * 7 / 2) % 4 } else { class };
            (if class == 3 && i % 5 != 0 { 0 } else { class }, predicted)
        })
        .unzip()
}

#[test]
fn measures_of_classes_equal_scikit_learn() {
    let (truth, predicted) = classes();
    close(accuracy(&truth, &predicted), 0.725);
    close(balanced_accuracy(&truth, &predicted, 4), 0.5384615384615384);
    close(macro_f1(&truth, &predicted, 4), 0.41018444266238974);
    let expected = [[16, 3, 4, 3], [0, 13, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]];
    assert_eq!(confusion(&truth, &predicted, 4), expected);
}

#[test]
fn a_prediction_outside_the_classes_is_wrong() {
    close(accuracy(&[0, 1], &[0, usize::MAX]), 0.5);
    close(balanced_accuracy(&[0, 1], &[0, usize::MAX], 2), 0.5);
    assert_eq!(confusion(&[0, 1], &[0, usize::MAX], 2), [[1, 0], [0, 0]]);
}

#[test]
fn the_area_under_the_curve_equals_scikit_learn() {
    let positive: Vec<bool> = (0..40).map(|i| i % 3 == 1).collect();
    // Rounded to one decimal, 40 scores have 23 different values.
    let score = |i: usize| ((((i as f64) * 1.3).sin() + if i % 3 == 1 { 0.5 } else { 0.0 }) * 10.0).round() / 10.0;
    let scores: Vec<f64> = (0..40).map(score).collect();
    close(roc_auc(&positive, &scores), 0.6866096866096867);
    assert!(roc_auc(&[true, true], &[0.0, 1.0]).is_nan());
    assert!(roc_auc(&[true, false], &[f64::NAN, 1.0]).is_nan());
}

#[test]
fn ranks_equal_a_naive_loop() {
    // Wider than the lanes of a product, more rows than one block of queries, neither a multiple.
    let (rows, width) = (70, 19);
    let value = |i: usize, phase: f64| ((i as f64) * 0.77 + phase).sin() as f32;
    let a: Vec<f32> = (0..rows * width).map(|i| value(i, 0.0)).collect();
    let b: Vec<f32> = (0..rows * width).map(|i| value(i * i % 101, 0.4)).collect();
    let ranks = retrieval_ranks(&a, &b, width);
    let score = |i: usize, j: usize| -> f64 {
        (0..width).map(|k| f64::from(a[i * width + k]) * f64::from(b[j * width + k])).sum()
    };
    let naive: Vec<usize> =
        (0..rows).map(|i| 1 + (0..rows).filter(|j| *j != i && score(i, *j) > score(i, i)).count()).collect();
    assert!(naive.iter().max() > Some(&10), "the test has good and bad queries");
    assert_eq!(ranks, naive);
}

#[test]
fn perfect_partners_have_rank_one_and_equal_vectors_the_last() {
    let basis = [1.0, 0.0, 0.0, 1.0];
    assert_eq!(retrieval_ranks(&basis, &basis, 2), [1, 1]);
    let same = vec![0.3; 5 * 3];
    assert_eq!(retrieval_ranks(&same, &same, 3), [5; 5]);
    assert_eq!(retrieval_ranks(&[f32::NAN, 1.0], &[1.0, 1.0], 1), [2, 2]);
}

#[test]
fn ranks_are_summed_up() {
    close(top_k(&[1, 2, 3, 10], 2), 0.5);
    close(median_rank(&[10, 1, 3, 2]), 2.5);
    close(median_rank(&[10, 1, 3]), 3.0);
    close(median_rank(&[4]), 4.0);
    assert!(median_rank(&[]).is_nan() && top_k(&[], 1).is_nan());
}

#[test]
fn the_interval_of_a_mean_has_the_width_that_theory_gives() {
    // 400 values of standard deviation 1: their mean has 0.05, so 95 % lie within 1.96 * 0.05.
    let values: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let mean = |sample: &[usize]| sample.iter().map(|i| values[*i]).sum::<f64>() / sample.len() as f64;
    let interval = bootstrap(400, 2000, 7, mean);
    assert_eq!(interval.value, 0.0);
    assert!((interval.high - 0.098).abs() < 0.012 && (interval.low + 0.098).abs() < 0.012, "{interval:?}");
    assert_eq!(interval, bootstrap(400, 2000, 7, mean));
    assert_ne!(interval, bootstrap(400, 2000, 8, mean));
}

#[test]
fn drawings_without_a_value_do_not_count() {
    // Object 0 is drawn by about two of three resamples; the others have no value.
    let interval = bootstrap(10, 200, 1, |s| if s.contains(&0) { 1.0 } else { f64::NAN });
    assert_eq!((interval.low, interval.high), (1.0, 1.0));
    assert!(bootstrap(0, 10, 1, |_| 1.0).value.is_nan());
}

#[test]
fn an_interval_without_numbers_survives_json() -> serde_json::Result<()> {
    let nothing = Interval { value: f64::NAN, low: f64::NAN, high: 1.0 };
    let back: Interval = serde_json::from_str(&serde_json::to_string(&nothing)?)?;
    assert!(back.value.is_nan() && back.low.is_nan() && back.high == 1.0);
    Ok(())
}
