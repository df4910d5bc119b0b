//! Against brute force, where matchers lose pairs.

use super::*;
use proptest::prelude::*;

fn positions(points: &[(f64, f64)]) -> Positions {
    let (ra, dec) = points.iter().copied().unzip();
    Positions::new(ra, dec, |row| row.to_string()).expect("positions")
}

/// Every pair, one by one.
fn brute(left: &[(f64, f64)], right: &[(f64, f64)], radius: f64) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate() {
            if separation(*a, *b).to_radians() <= radius.to_radians() {
                found.push((i as u32, j as u32));
            }
        }
    }
    found
}

/// Anywhere, and where matchers lose pairs: the poles, RA 0, borders of HEALPix pixels, equal positions.
fn point() -> impl Strategy<Value = (f64, f64)> {
    let near = -2e-3..2e-3f64;
    prop_oneof![
        (0.0..360.0f64, -90.0..90.0f64),
        (0.0..360.0f64, near.clone()).prop_map(|(ra, d)| (ra, 90.0 - d.abs())),
        (0.0..360.0f64, near.clone()).prop_map(|(ra, d)| (ra, d.abs() - 90.0)),
        (near.clone(), -2e-3..2e-3f64).prop_map(|(ra, dec)| (ra.rem_euclid(360.0), dec)),
        (near.clone(), near.clone()).prop_map(|(ra, d)| (45.0 + ra, 41.810_314_895_778_6 + d)),
        (near.clone(), near).prop_map(|(ra, d)| ((359.999 + ra).rem_euclid(360.0), 89.9 + d)),
        Just((0.0, 90.0)),
        Just((360.0, 0.0)),
        Just((0.0, -90.0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_pair_is_lost_anywhere(
        left in proptest::collection::vec(point(), 1..40),
        right in proptest::collection::vec(point(), 1..40),
        radius in prop_oneof![Just(1.0 / 3600.0), Just(1e-3), Just(0.1), Just(5.0), Just(100.0), Just(180.0)],
    ) {
        let (a, b) = (positions(&left), positions(&right));
        let found = pairs(&a, &b, radius);
        let mut rows: Vec<(u32, u32)> = found.iter().map(|p| (p.left, p.right)).collect();
        rows.sort_unstable();
        prop_assert_eq!(&rows, &brute(&left, &right, radius));
        // The nearest is the first of each object's pairs.
        let nearest = nearest(&a, &b, radius);
        for (row, best) in nearest.iter().enumerate() {
            let first = found.iter().find(|p| p.left as usize == row);
            prop_assert_eq!(best.as_ref(), first);
        }
        // Mutual pairs are the same from either side.
        let kept: Vec<(u32, u32)> = choose(found, Rule::Mutual, right.len()).kept.iter().map(|p| (p.left, p.right)).collect();
        let mut back: Vec<(u32, u32)> =
            choose(pairs(&b, &a, radius), Rule::Nearest, left.len()).kept.iter().map(|p| (p.right, p.left)).collect();
        back.sort_unstable();
        for pair in &kept {
            let ties = found_ties(&left, &right, *pair);
            prop_assert!(ties || back.binary_search(pair).is_ok(), "{:?} of {:?}", pair, back);
        }
    }
}

/// Whether another object is as near, so that row numbers decide, which differ by side.
fn found_ties(left: &[(f64, f64)], right: &[(f64, f64)], (i, j): (u32, u32)) -> bool {
    let own = separation(left[i as usize], right[j as usize]);
    left.iter().enumerate().any(|(k, a)| k != i as usize && separation(*a, right[j as usize]) <= own)
}

#[test]
fn every_pair_that_is_not_kept_has_a_reason() {
    // Two left objects beside one right, which has a second neighbour.
    let left = positions(&[(10.0, 0.0), (10.0002, 0.0)]);
    let right = positions(&[(10.00005, 0.0), (10.0003, 0.0)]);
    let found = pairs(&left, &right, 0.001);
    assert_eq!(found.len(), 4);
    let mutual = choose(found.clone(), Rule::Mutual, 2);
    assert_eq!(mutual.kept.iter().map(|p| (p.left, p.right)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    assert!(mutual.dropped.iter().all(|d| d.reason == Reason::NotNearest) && mutual.dropped.len() == 2);
    let right = positions(&[(10.00005, 0.0)]);
    let mutual = choose(pairs(&left, &right, 0.001), Rule::Mutual, 1);
    assert_eq!(mutual.dropped[0].reason, Reason::NotMutual);
    assert_eq!(choose(pairs(&left, &right, 0.001), Rule::Nearest, 1).kept.len(), 2);
    assert_eq!(choose(found, Rule::All, 2).kept.len(), 4);
}

#[test]
fn positions_are_checked_and_means_cross_ra_0() {
    let new = |ra: f64, dec: f64| Positions::new(vec![ra], vec![dec], |_| "a".into()).map_err(|e| e.to_string());
    assert!(new(f64::NAN, 0.0).expect_err("NaN").contains("object `a`, column `ra`"));
    assert!(
        new(-1.0, 0.0).is_err()
            && new(360.1, 0.0).is_err()
            && new(0.0, 90.1).is_err()
            && new(0.0, f64::INFINITY).is_err()
    );
    let (ra, dec) = mean_position(&[(359.0, 10.0), (1.0, 10.0)]).expect("a mean");
    assert!((ra + 1.0).rem_euclid(360.0) - 1.0 < 1e-9 && (dec - 10.0).abs() < 0.01, "{ra} {dec}");
    let (_, dec) = mean_position(&[(0.0, 89.0), (180.0, 89.0)]).expect("a mean");
    assert!((dec - 90.0).abs() < 1e-9);
    assert!(mean_position(&[(0.0, 0.0), (180.0, 0.0)]).is_none());
    assert!((separation((0.0, 0.0), (0.0, 1.0)) - 1.0).abs() < 1e-12);
}
