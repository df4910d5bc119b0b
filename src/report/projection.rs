//! A flat map of vectors: their two principal components.
//!
//! A linear projection, unlike t-SNE or UMAP, has no settings and invents no clusters; the page names it.

/// Steps of the power iteration; two nearly equal variances need many, and then either axis is as good.
const STEPS: usize = 500;

/// The first two principal components of the rows of `vectors` `[N, width]`, one point per row.
///
/// Each component's sign is such that its largest coefficient is positive, so that equal input gives an equal map. A
/// row with a value that is not finite gives NaN.
pub(crate) fn project(vectors: &[f32], width: usize) -> Vec<[f32; 2]> {
    if width == 0 {
        return Vec::new();
    }
    let rows: Vec<&[f32]> = vectors.chunks_exact(width).collect();
    let good: Vec<&[f32]> = rows.iter().copied().filter(|row| row.iter().all(|v| v.is_finite())).collect();
    let mut mean = vec![0.0; width];
    for row in &good {
        for (mean, value) in mean.iter_mut().zip(*row) {
            *mean += f64::from(*value) / good.len() as f64;
        }
    }
    let mut covariance = vec![0.0; width * width];
    for row in &good {
        let row = centred(row, &mean);
        for (line, a) in covariance.chunks_exact_mut(width).zip(&row) {
            for (sum, b) in line.iter_mut().zip(&row) {
                *sum += a * b;
            }
        }
    }
    let first = leading(&covariance, width, &[]);
    let second = leading(&covariance, width, std::slice::from_ref(&first));
    rows.iter()
        .map(|row| {
            let row = centred(row, &mean);
            [dot(&row, &first) as f32, dot(&row, &second) as f32]
        })
        .collect()
}

fn centred(row: &[f32], mean: &[f64]) -> Vec<f64> {
    row.iter().zip(mean).map(|(v, m)| f64::from(*v) - m).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The unit eigenvector of the largest eigenvalue among those orthogonal to `before`; zeros if there is no variance.
fn leading(covariance: &[f64], width: usize, before: &[Vec<f64>]) -> Vec<f64> {
    // The column with the largest norm is not orthogonal to the answer, and depends on nothing but the data.
    let columns = covariance.chunks_exact(width).map(|line| without(line.to_vec(), before));
    let mut vector = columns.max_by(|a, b| dot(a, a).total_cmp(&dot(b, b))).unwrap_or_default();
    let scale: f64 = covariance.iter().step_by(width + 1).sum();
    for _ in 0..STEPS {
        let norm = dot(&vector, &vector).sqrt();
        // What rounding leaves of no variance must not be blown up to a direction.
        if norm <= 1e-12 * scale {
            return vec![0.0; width];
        }
        let unit: Vec<f64> = vector.iter().map(|v| v / norm).collect();
        vector = without(covariance.chunks_exact(width).map(|line| dot(line, &unit)).collect(), before);
    }
    let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
    let norm = dot(&vector, &vector).sqrt().copysign(largest);
    vector.iter().map(|v| if norm == 0.0 { 0.0 } else { v / norm }).collect()
}

/// `vector` less its share of the unit vectors `before`.
fn without(mut vector: Vec<f64>, before: &[Vec<f64>]) -> Vec<f64> {
    for unit in before {
        let share = dot(&vector, unit);
        for (value, unit) in vector.iter_mut().zip(unit) {
            *value -= share * unit;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_follow_the_two_largest_variances() {
        // Variances 18, 8, 2 along (0, 1, 0), (0.6, 0, 0.8) and (-0.8, 0, 0.6), mean (1, 1, 1).
        let axes = [([0.0, 1.0, 0.0], 3.0), ([0.6, 0.0, 0.8], 2.0), ([-0.8, 0.0, 0.6], 1.0)];
        let mut vectors = Vec::new();
        for (axis, length) in axes {
            for sign in [1.0, -1.0] {
                vectors.extend(axis.map(|a: f32| 1.0 + sign * length * a));
            }
        }
        let expected = [[3.0, 0.0], [-3.0, 0.0], [0.0, 2.0], [0.0, -2.0], [0.0, 0.0], [0.0, 0.0]];
        for (found, expected) in project(&vectors, 3).iter().zip(expected) {
            assert!((found[0] - expected[0]).abs() < 1e-5 && (found[1] - expected[1]).abs() < 1e-5, "{found:?}");
        }
    }

    #[test]
    fn a_line_has_no_second_component() {
        let points = project(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0], 2);
        assert!((points[2][0] - 2.0_f32.sqrt()).abs() < 1e-6);
        assert!(points.iter().all(|p| p[1] == 0.0));
    }

    #[test]
    fn equal_empty_and_broken_vectors_give_points_without_panic() {
        assert_eq!(project(&[2.0; 6], 2), [[0.0; 2]; 3]);
        assert!(project(&[], 4).is_empty());
        assert!(project(&[], 0).is_empty());
        let points = project(&[0.0, 0.0, f32::NAN, 0.0, 2.0, 0.0], 2);
        assert!(points[1][0].is_nan());
        assert_eq!([points[0][0], points[2][0]], [-1.0, 1.0]);
    }
}
