//! Where targets lie: spans and rectangles have the size that was asked for.

use super::*;
use crate::random;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn stream(key: u64) -> Random {
    random::stream(key, "test", &[])
}

fn nowhere(_: usize, _: usize) -> f32 {
    f32::NAN
}

/// Number of runs of neighbours in ascending places.
fn runs(places: &[usize]) -> usize {
    places.iter().zip(places.iter().skip(1)).filter(|(a, b)| **b != **a + 1).count() + usize::from(!places.is_empty())
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    let cells = prop_oneof![
        (1..9usize, 1..9usize).prop_map(|(lines, columns)| Cells::Grid([lines, columns])),
        Just(Cells::Coordinates([0, 1])),
    ];
    prop_oneof![
        Just(Pattern::Scattered),
        (1.0..9.0f64, prop_oneof![Just(None), Just(Some(1))]).prop_map(|(mean, along)| Pattern::Spans { mean, along }),
        (1.0..20.0f64, 0.1..=1.0f64, cells).prop_map(|(mean, aspect, cells)| Pattern::Blocks { mean, aspect, cells }),
    ]
}

proptest! {
    #[test]
    fn as_many_as_asked_for_and_none_twice(
        pattern in any_pattern(),
        flags in prop::collection::vec(any::<bool>(), 1..60),
        split in (0.0..=1.0f64, 0.0..=1.0f64),
        seed in any::<u64>(),
    ) {
        let tokens: Vec<usize> = (0..flags.len()).filter(|i| flags[*i]).collect();
        let asked = (split.0 * tokens.len() as f64) as usize;
        let count = Count { given: (split.1 * (tokens.len() - asked) as f64) as usize, asked };
        // Irregular places, some of them unknown.
        let coordinate = |token: usize, axis: usize| match (token * 7 + axis * 3) % 11 {
            0 => f32::NAN,
            x => (x * (axis + 1)) as f32,
        };
        let (given, asked) = pattern.place(&tokens, count, &coordinate, &mut stream(seed));
        prop_assert_eq!((given.len(), asked.len()), (count.given, count.asked));
        let all: BTreeSet<usize> = given.iter().chain(&asked).copied().collect();
        prop_assert_eq!(all.len(), given.len() + asked.len());
        prop_assert!(all.iter().all(|token| tokens.contains(token)));
    }

    #[test]
    fn spans_are_as_many_as_fit(length in 1..80usize, share in 0.0..=1.0f64, mean in 1.0..12.0f64, seed in any::<u64>()) {
        let asked = ((share * length as f64) as usize).max(1);
        let found = spans(length, asked, mean, &mut stream(seed));
        prop_assert_eq!(found.len(), asked);
        prop_assert!(found.is_sorted() && found.iter().all(|place| *place < length));
        let expected = asked as f64 / mean;
        let (least, most) = (expected.floor() as usize, expected.ceil() as usize);
        let room = asked.min(length - asked + 1);
        let number = runs(&found);
        prop_assert!((least.clamp(1, room)..=most.clamp(1, room)).contains(&number), "{} for {}", number, expected);
    }
}

#[test]
fn spans_have_the_mean_length() {
    let mut random = stream(1);
    let (mut tokens, mut number) = (0, 0);
    for _ in 0..4000 {
        let found = spans(200, 50, 6.0, &mut random);
        tokens += found.len();
        number += runs(&found);
    }
    let mean = tokens as f64 / number as f64;
    assert!((mean - 6.0).abs() < 0.05, "{mean}");
}

#[test]
fn every_arrangement_of_spans_is_as_likely() {
    let mut random = stream(2);
    let mut seen = std::collections::BTreeMap::<Vec<usize>, usize>::new();
    for _ in 0..12_000 {
        *seen.entry(spans(6, 3, 1.5, &mut random)).or_default() += 1;
    }
    // Three of six places in two runs: (1 + 2 or 2 + 1) in C(4, 2) arrangements of gaps.
    assert_eq!(seen.len(), 12);
    assert!(seen.values().all(|count| count.abs_diff(1000) < 130), "{seen:?}");
}

#[test]
fn spans_follow_the_coordinate() {
    // Two interleaved sequences: neighbours in the coordinate are two tokens apart.
    let along = |token: usize, _: usize| (token / 2 + 50 * (token % 2)) as f32;
    let tokens: Vec<usize> = (0..40).collect();
    let pattern = Pattern::Spans { mean: 10.0, along: Some(0) };
    let (_, asked) = pattern.place(&tokens, Count { given: 3, asked: 10 }, &along, &mut stream(3));
    let mut ranks: Vec<usize> = asked.iter().map(|token| token / 2 + 20 * (token % 2)).collect();
    ranks.sort_unstable();
    assert_eq!(runs(&ranks), 1, "{asked:?}");
}

#[test]
fn blocks_have_the_mean_size_and_are_rectangles() {
    let grid = Grid { cells: Vec::new(), lines: 64, columns: 64 };
    for (mean, aspect) in [(1.0, 0.3), (16.0, 0.3), (30.0, 1.0)] {
        let mut random = stream(4);
        let sizes: Vec<[usize; 2]> = (0..20_000).map(|_| grid.size(mean, aspect, &mut random)).collect();
        let found = sizes.iter().map(|[lines, columns]| lines * columns).sum::<usize>() as f64 / sizes.len() as f64;
        assert!((found / mean - 1.0).abs() < 0.03, "{found} cells, not {mean}");
        // Neither side is longer on average.
        let lying = sizes.iter().filter(|[lines, columns]| lines < columns).count();
        let standing = sizes.iter().filter(|[lines, columns]| lines > columns).count();
        assert!(lying.abs_diff(standing) < 1500, "{lying} {standing} for {mean}");
    }
    let pattern = Pattern::Blocks { mean: 12.0, aspect: 0.5, cells: Cells::Grid([10, 10]) };
    let tokens: Vec<usize> = (0..100).collect();
    for seed in 0..50 {
        // One rectangle has at most 23 cells but for rounding: what comes first is one, unless it is cut.
        let grid = Grid { cells: tokens.iter().map(|t| (t / 10, t % 10)).collect(), lines: 10, columns: 10 };
        let [lines, columns] = grid.size(12.0, 0.5, &mut stream(seed));
        let count = Count { given: 0, asked: lines * columns };
        let (_, asked) = pattern.place(&tokens, count, &nowhere, &mut stream(seed));
        let extent = |of: fn(usize) -> usize| {
            let ends = (asked.iter().map(|t| of(*t)).min(), asked.iter().map(|t| of(*t)).max());
            ends.1.expect("some") - ends.0.expect("some") + 1
        };
        assert_eq!([extent(|t| t / 10), extent(|t| t % 10)], [lines, columns], "{asked:?}");
    }
}

#[test]
fn tokens_of_one_place_go_together() {
    // Three channels of 8 x 8 places, the channels one behind the other.
    let tokens: Vec<usize> = (0..192).collect();
    let coordinate = |token: usize, axis: usize| match axis {
        0 => (token % 64 / 8) as f32 * 1.5,
        1 => (token / 64) as f32,
        _ => (token % 8) as f32 - 4.0,
    };
    for cells in [Cells::Grid([8, 8]), Cells::Coordinates([0, 2])] {
        let pattern = Pattern::Blocks { mean: 9.0, aspect: 0.5, cells };
        let (_, asked) = pattern.place(&tokens, Count { given: 0, asked: 90 }, &coordinate, &mut stream(5));
        let places: BTreeSet<usize> = asked.iter().map(|token| token % 64).collect();
        // All three channels of a place, but for the one where the last rectangle was cut.
        assert!(places.len() <= 31, "{} places", places.len());
    }
    // Both ways to say the grid are the same.
    let at = |cells| {
        Pattern::Blocks { mean: 9.0, aspect: 0.5, cells }.place(
            &tokens,
            Count { given: 20, asked: 50 },
            &coordinate,
            &mut stream(6),
        )
    };
    assert_eq!(at(Cells::Grid([8, 8])), at(Cells::Coordinates([0, 2])));
}
