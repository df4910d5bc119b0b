//! Measures of predicted classes. Classes are numbers in `0..classes`; a prediction outside (a
//! probe that could not answer) is wrong and belongs to no class.

/// Share of objects whose class is right.
///
/// Shapes: `[N]`, `[N]`. NaN if there is no object.
#[must_use]
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> f64 {
    let right = truth.iter().zip(predicted).filter(|(t, p)| t == p).count();
    right as f64 / truth.len() as f64
}

/// `counts[truth][predicted]`, `[classes, classes]`. Objects outside the classes are not counted.
#[must_use]
pub fn confusion(truth: &[usize], predicted: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (t, p) in truth.iter().zip(predicted) {
        if let Some(count) = counts.get_mut(*t).and_then(|row| row.get_mut(*p)) {
            *count += 1;
        }
    }
    counts
}

/// How often each class is true, predicted, and both: `[classes]` each.
fn counts(truth: &[usize], predicted: &[usize], classes: usize) -> [Vec<usize>; 3] {
    let mut counts = [vec![0; classes], vec![0; classes], vec![0; classes]];
    let [is, said, both] = &mut counts;
    let add = |counts: &mut Vec<usize>, class: usize| {
        if let Some(count) = counts.get_mut(class) {
            *count += 1;
        }
    };
    for (t, p) in truth.iter().zip(predicted) {
        add(is, *t);
        add(said, *p);
        if t == p {
            add(both, *t);
        }
    }
    counts
}

/// Mean over the classes that occur in `truth` of the share of their objects that is found. Chance
/// is 1 / number of those classes, however unequal they are.
///
/// Shapes: `[N]`, `[N]`. NaN if there is no object.
#[must_use]
pub fn balanced_accuracy(truth: &[usize], predicted: &[usize], classes: usize) -> f64 {
    let [is, _, both] = counts(truth, predicted, classes);
    let recalls: Vec<f64> =
        is.iter().zip(&both).filter(|(is, _)| **is > 0).map(|(is, both)| *both as f64 / *is as f64).collect();
    recalls.iter().sum::<f64>() / recalls.len() as f64
}

/// Mean over the classes that occur in `truth` or `predicted` of the harmonic mean of precision and
/// recall.
///
/// Shapes: `[N]`, `[N]`. NaN if there is no object.
#[must_use]
pub fn macro_f1(truth: &[usize], predicted: &[usize], classes: usize) -> f64 {
    let [is, said, both] = counts(truth, predicted, classes);
    let scores: Vec<f64> = is
        .iter()
        .zip(&said)
        .zip(&both)
        .filter(|((is, said), _)| **is + **said > 0)
        .map(|((is, said), both)| 2.0 * *both as f64 / (is + said) as f64)
        .collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// Area under the receiver operating characteristic: the chance that a random positive object has a
/// higher score than a random negative one; a tie counts one half.
///
/// Shapes: `[N]`, `[N]`. NaN if one of the two kinds is absent or a score is NaN.
#[must_use]
pub fn roc_auc(positive: &[bool], scores: &[f64]) -> f64 {
    let mut ordered: Vec<(f64, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    let positives = ordered.iter().filter(|(_, positive)| *positive).count() as f64;
    let negatives = ordered.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 || ordered.iter().any(|(score, _)| score.is_nan()) {
        return f64::NAN;
    }
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut below = 0.0;
    let mut won = 0.0;
    // Objects of equal score are compared as a group, so that their order does not matter. `==` and
    // not `total_cmp`: 0 and -0 are equal scores.
    for group in ordered.chunk_by(|a, b| a.0 == b.0) {
        let ups = group.iter().filter(|(_, positive)| *positive).count() as f64;
        let downs = group.len() as f64 - ups;
        won += ups * (below + downs / 2.0);
        below += downs;
    }
    won / (positives * negatives)
}
