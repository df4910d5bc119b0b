//! Numbers of tokens against their bounds, means and variances against formulas.

use super::*;
use crate::random;
use proptest::prelude::*;

const DRAWS: usize = 20_000;

fn stream(key: u64) -> Random {
    random::stream(key, "test", &[])
}

fn room(modality: usize, tokens: usize) -> Room {
    Room { modality, tokens, give: true, ask: true }
}

fn mixture(weight: f64, inputs: &[f64], targets: &[f64]) -> Mixture {
    let gammas = |alphas: &[f64]| alphas.iter().map(|alpha| LogGamma::new(*alpha)).collect();
    Mixture { weight, inputs: gammas(inputs), targets: gammas(targets) }
}

fn dirichlet(alpha: f64, modalities: usize, first: First) -> Division {
    let alphas = vec![alpha; modalities];
    Division::Dirichlet { mixtures: vec![mixture(1.0, &alphas, &alphas)], first }
}

/// Mean of `draw` and the standard deviation of that mean.
fn mean(mut draw: impl FnMut() -> f64) -> (f64, f64) {
    let all: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
    let mean = all.iter().sum::<f64>() / DRAWS as f64;
    let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DRAWS as f64;
    (mean, (variance / DRAWS as f64).sqrt())
}

fn near((mean, error): (f64, f64), expected: f64, what: &str) {
    assert!((mean - expected).abs() < 4.0 * error + 1e-9, "{what}: {mean} +- {error}, not {expected}");
}

fn any_division() -> impl Strategy<Value = Division> {
    let alpha = prop_oneof![Just(0.0), 0.01..10.0f64];
    let alphas = || prop::collection::vec(alpha.clone(), 4);
    let first = || prop_oneof![Just(First::Either), Just(First::Inputs), Just(First::Targets)];
    prop_oneof![
        (prop::collection::vec((0.1..2.0f64, alphas(), alphas()), 1..4), first()).prop_map(|(all, first)| {
            let mixtures = all.iter().map(|(weight, inputs, targets)| mixture(*weight, inputs, targets)).collect();
            Division::Dirichlet { mixtures, first }
        }),
        Just(Division::Uniform),
        (0.1..3.0f64, 0.1..3.0f64).prop_map(|(a, b)| Division::Aion {
            beta: Beta::new(a, b).expect("two numbers above 0"),
            mean: a / (a + b)
        }),
        (0.0..=1.0f64, 0.0..=1.0f64).prop_map(|(a, b)| Division::Share { range: [a.min(b), a.max(b)] }),
    ]
}

fn any_rooms() -> impl Strategy<Value = Vec<Room>> {
    let tokens = prop_oneof![Just(1usize), 1..40usize];
    let some = prop::collection::vec((tokens, any::<bool>(), any::<bool>(), any::<bool>()), 4);
    some.prop_map(|rooms| {
        let all = rooms.into_iter().enumerate().filter(|(_, (.., there))| *there);
        all.map(|(modality, (tokens, give, ask, _))| Room { modality, tokens, give, ask }).collect()
    })
}

proptest! {
    #[test]
    fn counts_keep_their_bounds(
        division in any_division(),
        rooms in any_rooms(),
        inputs in (0..30usize, 1..40usize),
        targets in (1..30usize, 0..40usize),
        seed in any::<u64>(),
    ) {
        let budget = Budget {
            inputs: [inputs.0, inputs.0 + inputs.1],
            targets: [targets.0, targets.0 + targets.1],
            division,
        };
        let counts = budget.draw(&rooms, &mut stream(seed));
        prop_assert_eq!(&counts, &budget.draw(&rooms, &mut stream(seed)));
        prop_assert_eq!(counts.len(), rooms.len());
        for (room, count) in rooms.iter().zip(&counts) {
            prop_assert!(count.given + count.asked <= room.tokens);
            prop_assert!(room.give || count.given == 0);
            prop_assert!(room.ask || count.asked == 0);
        }
        let given: usize = counts.iter().map(|c| c.given).sum();
        let asked: usize = counts.iter().map(|c| c.asked).sum();
        // What may be given and asked for; by the mixtures, if that is the division.
        let may = |side: fn(&Mixture) -> &Vec<Option<LogGamma>>, flag: fn(&Room) -> bool| {
            rooms.iter().any(|room| flag(room) && match &budget.division {
                Division::Dirichlet { mixtures, .. } => mixtures.iter().any(|m| side(m)[room.modality].is_some()),
                _ => true,
            })
        };
        prop_assert_eq!(asked > 0, may(|m| &m.targets, |r| r.ask));
        if !matches!(budget.division, Division::Share { .. }) {
            prop_assert!(given <= budget.inputs[1].max(1) && asked <= budget.targets[1]);
            let ask = rooms.iter().any(|r| r.ask);
            if matches!(budget.division, Division::Uniform | Division::Aion { .. }) && ask && budget.inputs[0] > 0 {
                let able = rooms.iter().filter(|r| r.give).map(|r| r.tokens).sum::<usize>();
                let only = rooms.iter().filter(|r| r.give || r.ask).map(|r| r.tokens).sum::<usize>() == 1;
                prop_assert_eq!(given > 0, able > 0 && !only);
            }
        }
    }
}

#[test]
fn shares_have_the_moments_of_a_dirichlet_distribution() {
    for alphas in [[1.0, 1.0, 1.0], [0.01, 0.01, 0.01], [0.2, 3.0, 0.5], [1e-6, 1e-6, 1e-6], [0.0, 2.0, 1.0]] {
        let gammas: Vec<Option<LogGamma>> = alphas.iter().map(|alpha| LogGamma::new(*alpha)).collect();
        let total: f64 = alphas.iter().sum();
        for i in 0..3 {
            let mut random = stream(i as u64);
            let expected = alphas[i] / total;
            let variance = expected * (1.0 - expected) / (total + 1.0);
            let mut draw = || shares(gammas.iter().copied(), &mut random)[i];
            near(mean(&mut draw), expected, "mean share");
            near(mean(|| (draw() - expected).powi(2)), variance, "variance of a share");
        }
    }
    // Only what is free takes part: the shares of the others are those of a Dirichlet distribution over them.
    let gammas: Vec<Option<LogGamma>> = [0.5, 2.0, 1.0].iter().map(|alpha| LogGamma::new(*alpha)).collect();
    let rooms = [room(0, 900), room(2, 900)];
    let mut random = stream(9);
    near(mean(|| divide(&gammas, &rooms, &[900, 900], 90, &mut random)[0] as f64), 30.0, "of those present");
}

#[test]
fn parts_add_up_and_are_right_on_average() {
    let mut random = stream(1);
    let shares = [0.031, 0.0, 0.5, 0.469];
    let mut sums = [0usize; 4];
    for _ in 0..DRAWS {
        let parts = systematic(&shares, 7, &mut random);
        assert_eq!(parts.iter().sum::<usize>(), 7);
        for i in 0..4 {
            assert!((parts[i] as f64 - 7.0 * shares[i]).abs() < 1.0, "{parts:?}");
            sums[i] += parts[i];
        }
    }
    for i in 0..4 {
        let (mean, expected) = (sums[i] as f64 / DRAWS as f64, 7.0 * shares[i]);
        // A part is one of two neighbours: its variance is at most 1/4.
        assert!((mean - expected).abs() < 4.0 * 0.5 / (DRAWS as f64).sqrt() + 1e-9, "{mean}, not {expected}");
    }
}

#[test]
fn any_token_is_as_likely_as_another() {
    let free = [1usize, 0, 30, 9];
    let mut random = stream(2);
    for i in 0..4 {
        near(mean(|| spread(&free, 13, &mut random)[i] as f64), 13.0 * free[i] as f64 / 40.0, "spread");
    }
}

#[test]
fn budgets_are_drawn_evenly_up_to_what_leaves_a_target() {
    let budget = Budget { inputs: [3, 256], targets: [2, 5], division: Division::Uniform };
    let rooms = [room(0, 20), room(1, 1)];
    let mut random = stream(3);
    let mut total =
        |which: fn(&Count) -> usize| mean(|| budget.draw(&rooms, &mut random).iter().map(which).sum::<usize>() as f64);
    // 3 to 20 of 21 tokens.
    near(total(|c| c.given), f64::midpoint(3.0, 20.0), "given");
    // 2 to 5, where as many are left: given 20, 19, 18, 17 leave 1 to 4.
    let expected: f64 = (3..=20)
        .map(|given| {
            let most = (21 - given).min(5);
            f64::midpoint(2f64.min(most as f64), most as f64)
        })
        .sum();
    near(total(|c| c.asked), expected / 18.0, "asked");
}

#[test]
fn a_large_modality_leaves_the_small_ones_their_part() {
    // An image and ten scalars, as default.
    let alphas = [0.01, 0.1, 1.0, 10.0];
    let mixtures = alphas.map(|alpha| mixture(1.0, &[alpha; 11], &[alpha; 11])).into();
    let division = Division::Dirichlet { mixtures, first: First::Either };
    let budget = Budget { inputs: [1, 256], targets: [1, 128], division };
    let rooms: Vec<Room> = (0..11).map(|i| room(i, if i == 0 { 576 } else { 1 })).collect();
    let mut random = stream(4);
    let (mut given, mut asked, mut image) = (0, 0, 0);
    for _ in 0..DRAWS {
        let counts = budget.draw(&rooms, &mut random);
        given += counts[1].given;
        asked += counts[1].asked;
        image += usize::from(counts[0].asked > 0);
    }
    let share = |count: usize| count as f64 / DRAWS as f64;
    // A scalar is often given and often asked for, and so is the image.
    assert!(
        (0.15..0.6).contains(&share(given)) && (0.15..0.6).contains(&share(asked)),
        "{} {}",
        share(given),
        share(asked)
    );
    assert!(
        share(given) / share(asked) < 1.5 && share(asked) / share(given) < 1.5,
        "{} {}",
        share(given),
        share(asked)
    );
    assert!(share(image) > 0.4, "{}", share(image));
    // With every token as likely, a scalar is hardly ever asked for.
    let budget = Budget { division: Division::Uniform, ..budget };
    let (asked, _) = mean(|| budget.draw(&rooms, &mut random)[1].asked as f64);
    assert!(asked < 0.12, "{asked}");
}

#[test]
fn alone_in_the_object_either_side_first_gives_halves() {
    // Two modalities of one token: one is given, the other asked for, each as often.
    for first in [First::Either, First::Inputs, First::Targets] {
        let budget = Budget { inputs: [1, 8], targets: [1, 8], division: dirichlet(1.0, 2, first) };
        let mut random = stream(5);
        let mut draw = || {
            let counts = budget.draw(&[room(0, 1), room(1, 1)], &mut random);
            assert_eq!((counts[0].given + counts[0].asked, counts[1].given + counts[1].asked), (1, 1));
            assert_eq!(counts[0].given, counts[1].asked);
            counts[0].given as f64
        };
        near(mean(&mut draw), 0.5, "given");
    }
}

#[test]
fn mixtures_are_drawn_by_weight_among_those_that_serve_the_object() {
    let mixtures = [
        mixture(3.0, &[1.0, 0.0], &[0.0, 1.0]),
        mixture(1.0, &[0.0, 1.0], &[1.0, 0.0]),
        mixture(9.0, &[0.0, 0.0], &[1.0, 1.0]),
    ];
    let division = Division::Dirichlet { mixtures: mixtures.into(), first: First::Either };
    let budget = Budget { inputs: [1, 4], targets: [1, 4], division };
    let both = [room(0, 10), room(1, 10)];
    let mut random = stream(6);
    // The third gives nothing, so that it is left out as long as another serves.
    near(mean(|| f64::from(u8::from(budget.draw(&both, &mut random)[0].given > 0))), 0.75, "first mixture");
    // Of the second modality alone, the first asks and can't give; the third does no better.
    let counts = budget.draw(&[room(1, 10)], &mut random);
    assert!(counts[0].asked > 0);
}

#[test]
fn the_scheme_of_aion_takes_one_modality_and_few_targets() {
    let (a, b) = (0.1, 1.0);
    let budget = Budget {
        inputs: [8, 8],
        targets: [2, 9],
        division: Division::Aion { beta: Beta::new(a, b).expect("numbers above 0"), mean: a / (a + b) },
    };
    let rooms = [room(0, 100), room(1, 2), room(2, 6)];
    let mut random = stream(7);
    // The image fills the budget if it comes first; else what the first leaves is spread over the others by their size.
    let expected = (8.0 + 6.0 * 100.0 / 106.0 + 2.0 * 100.0 / 102.0) / 3.0;
    near(mean(|| budget.draw(&rooms, &mut random)[0].given as f64), expected, "given of the image");
    // The distribution function of Beta(a, 1) is x^a.
    let more: f64 = (1..8).map(|k| 1.0 - (f64::from(k) / 8.0).powf(a)).sum();
    let mut asked = || budget.draw(&rooms, &mut random).iter().map(|c| c.asked).sum::<usize>() as f64;
    near(mean(&mut asked), 2.0 + more, "asked");
}

#[test]
fn a_share_of_each_modality_is_asked_for() {
    let budget = Budget { inputs: [1, 2], targets: [1, 2], division: Division::Share { range: [0.6, 0.9] } };
    let rooms = [room(0, 41), Room { give: false, ..room(1, 5) }, Room { ask: false, ..room(2, 4) }];
    let mut random = stream(8);
    near(
        mean(|| {
            let counts = budget.draw(&rooms, &mut random);
            assert_eq!(counts[0].given + counts[0].asked, 41);
            assert_eq!(counts[1..], [Count { given: 0, asked: 5 }, Count { given: 4, asked: 0 }]);
            counts[0].asked as f64
        }),
        0.75 * 41.0,
        "asked",
    );
}
