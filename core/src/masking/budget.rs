//! How many tokens of each modality of an object are given and asked for.

use super::config::First;
use crate::random::Random;
use rand::Rng;
use rand_distr::{Beta, Distribution, Gamma};

/// One modality of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Number of the modality in the config.
    pub(super) modality: usize,
    /// Valid tokens, at least 1.
    pub(super) tokens: usize,
    /// Whether they may be given.
    pub(super) give: bool,
    /// Whether they may be asked for.
    pub(super) ask: bool,
}

/// Numbers of tokens of one modality of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) given: usize,
    pub(super) asked: usize,
}

/// How budgets are divided, with all that was read.
#[derive(Clone, Debug)]
pub(super) enum Division {
    Dirichlet {
        mixtures: Vec<Mixture>,
        first: First,
    },
    Uniform,
    /// `mean` of `beta`.
    Aion {
        beta: Beta<f64>,
        mean: f64,
    },
    Share {
        range: [f64; 2],
    },
}

/// One Dirichlet distribution for inputs and one for targets.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    pub(super) weight: f64,
    /// By modality; none where alpha is 0.
    pub(super) inputs: Vec<Option<LogGamma>>,
    pub(super) targets: Vec<Option<LogGamma>>,
}

/// Logarithm of a number from Gamma(alpha, 1): that number itself is 0 in floating point for a small alpha.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogGamma {
    alpha: f64,
    /// Of alpha + 1.
    above: Gamma<f64>,
}

impl LogGamma {
    /// For an alpha above 0 and finite; `None` for others.
    pub(super) fn new(alpha: f64) -> Option<Self> {
        let above = Gamma::new(alpha + 1.0, 1.0).ok()?;
        (alpha > 0.0 && alpha.is_finite()).then_some(Self { alpha, above })
    }

    /// G(alpha) has the distribution of G(alpha + 1) U^(1 / alpha).
    fn sample(&self, random: &mut Random) -> f64 {
        let uniform = 1.0 - random.random::<f64>();
        self.above.sample(random).ln() + uniform.ln() / self.alpha
    }
}

/// What a masking says about numbers of tokens.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    pub(super) inputs: [usize; 2],
    pub(super) targets: [usize; 2],
    pub(super) division: Division,
}

impl Budget {
    /// Numbers for each of `rooms`, in their order. Something is asked for if it may be, and something is given if that leaves
    /// something to ask for and `inputs` does not begin at 0.
    pub(super) fn draw(&self, rooms: &[Room], random: &mut Random) -> Vec<Count> {
        let mut rooms = rooms.to_vec();
        if !rooms.iter().any(|room| room.ask) {
            return vec![Count::default(); rooms.len()];
        }
        let mut counts = match &self.division {
            Division::Dirichlet { mixtures, first } => {
                let mixture = choose(mixtures, &rooms, random);
                for room in &mut rooms {
                    room.give &= mixture.inputs[room.modality].is_some();
                    room.ask &= mixture.targets[room.modality].is_some();
                }
                self.dirichlet(mixture, *first, &rooms, random)
            }
            Division::Uniform => {
                let given =
                    spread(&free(&rooms, None, |r| r.give), between(self.inputs, givable(&rooms), random), random);
                let left = free(&rooms, Some(&given), |r| r.ask);
                let asked = between(self.targets, left.iter().sum(), random);
                joined(given, spread(&left, asked, random))
            }
            Division::Aion { beta, .. } => {
                let given = self.aion_inputs(&rooms, random);
                let left = free(&rooms, Some(&given), |r| r.ask);
                let [least, most] = within(self.targets, left.iter().sum());
                let share = beta.sample(random);
                let asked = (least + (share * (most - least + 1) as f64) as usize).min(most);
                joined(given, spread(&left, asked, random))
            }
            Division::Share { range: [least, most] } => {
                let count = |room: &Room| {
                    let share = least + (most - least) * random.random::<f64>();
                    let asked = match (room.give, room.ask) {
                        (_, false) => 0,
                        (false, true) => room.tokens,
                        (true, true) => rounded(share * room.tokens as f64, random).min(room.tokens),
                    };
                    Count { given: if room.give { room.tokens - asked } else { 0 }, asked }
                };
                rooms.iter().map(count).collect()
            }
        };
        repair(&rooms, &mut counts, self.gives_nothing(), random);
        counts
    }

    /// Whether an object may be given nothing.
    pub(super) fn gives_nothing(&self) -> bool {
        self.inputs[0] == 0 && !matches!(self.division, Division::Share { .. })
    }

    fn dirichlet(&self, mixture: &Mixture, first: First, rooms: &[Room], random: &mut Random) -> Vec<Count> {
        let inputs_first = match first {
            First::Either => random.random(),
            First::Inputs => true,
            First::Targets => false,
        };
        if inputs_first {
            let given = between(self.inputs, givable(rooms), random);
            let given = divide(&mixture.inputs, rooms, &free(rooms, None, |r| r.give), given, random);
            let left = free(rooms, Some(&given), |r| r.ask);
            let asked = between(self.targets, left.iter().sum(), random);
            joined(given, divide(&mixture.targets, rooms, &left, asked, random))
        } else {
            let mut most: usize = free(rooms, None, |r| r.ask).iter().sum();
            // One is left to give, if it must come from these.
            if !rooms.iter().any(|r| r.give && !r.ask) {
                most = most.saturating_sub(1).max(1);
            }
            let asked = between(self.targets, most, random);
            let asked = divide(&mixture.targets, rooms, &free(rooms, None, |r| r.ask), asked, random);
            let left = free(rooms, Some(&asked), |r| r.give);
            let given = between(self.inputs, left.iter().sum(), random);
            joined(divide(&mixture.inputs, rooms, &left, given, random), asked)
        }
    }

    /// As many tokens of one modality as the budget holds, the rest of the budget from the others.
    fn aion_inputs(&self, rooms: &[Room], random: &mut Random) -> Vec<usize> {
        let mut budget = between(self.inputs, givable(rooms), random);
        let mut given = vec![0; rooms.len()];
        let mut others = free(rooms, None, |r| r.give);
        let may: Vec<usize> = (0..rooms.len()).filter(|i| rooms[*i].give).collect();
        if let Some(one) = pick(&may, random) {
            given[one] = budget.min(others[one]);
            budget -= given[one];
            others[one] = 0;
        }
        for (given, more) in given.iter_mut().zip(spread(&others, budget, random)) {
            *given += more;
        }
        given
    }
}

/// A mixture by its weight, of those that can serve the object best: with something to ask for and to give, else to ask for.
fn choose<'a>(mixtures: &'a [Mixture], rooms: &[Room], random: &mut Random) -> &'a Mixture {
    let serves = |mixture: &Mixture| {
        let asks = rooms.iter().any(|r| r.ask && mixture.targets[r.modality].is_some());
        let gives = rooms.iter().any(|r| r.give && mixture.inputs[r.modality].is_some());
        (asks, asks && gives)
    };
    let best = mixtures.iter().map(serves).max().unwrap_or_default();
    let able: Vec<&Mixture> = mixtures.iter().filter(|mixture| serves(mixture) == best).collect();
    let total: f64 = able.iter().map(|mixture| mixture.weight).sum();
    let mut place = random.random::<f64>() * total;
    let found = able.iter().position(|mixture| {
        place -= mixture.weight;
        place < 0.0
    });
    able[found.unwrap_or(able.len() - 1)]
}

/// Tokens of each room that `which` takes, without those that `taken` has.
fn free(rooms: &[Room], taken: Option<&[usize]>, which: impl Fn(&Room) -> bool) -> Vec<usize> {
    let left = |(i, room): (usize, &Room)| room.tokens - taken.map_or(0, |taken| taken[i]);
    rooms.iter().enumerate().map(|(i, room)| if which(room) { left((i, room)) } else { 0 }).collect()
}

/// The most tokens that can be given so that one is left to ask for.
pub(super) fn givable(rooms: &[Room]) -> usize {
    let most: usize = rooms.iter().filter(|r| r.give).map(|r| r.tokens).sum();
    // One of these must be left, unless the target can come from elsewhere.
    if rooms.iter().any(|r| r.ask && !r.give) { most } else { most.saturating_sub(1) }
}

/// The range without what is above `most`.
fn within([least, greatest]: [usize; 2], most: usize) -> [usize; 2] {
    [least.min(most), greatest.min(most)]
}

fn between(range: [usize; 2], most: usize, random: &mut Random) -> usize {
    let [least, most] = within(range, most);
    random.random_range(least..=most)
}

/// One of `from`, each as likely.
fn pick(from: &[usize], random: &mut Random) -> Option<usize> {
    if from.is_empty() { None } else { Some(from[random.random_range(0..from.len())]) }
}

/// A number that is `x` on average, one of the two integers around it.
pub(super) fn rounded(x: f64, random: &mut Random) -> usize {
    x.floor() as usize + usize::from(random.random::<f64>() < x.fract())
}

/// How many of `count` tokens fall to each room, if every one of the `free` tokens is as likely as any other.
fn spread(free: &[usize], count: usize, random: &mut Random) -> Vec<usize> {
    let total: usize = free.iter().sum();
    let mut found = vec![0; free.len()];
    for token in rand::seq::index::sample(random, total, count.min(total)) {
        let mut token = token;
        for (found, free) in found.iter_mut().zip(free) {
            if token < *free {
                *found += 1;
                break;
            }
            token -= free;
        }
    }
    found
}

/// Divides `count` by shares from a Dirichlet distribution over the rooms that are `free`. A room's part is its share times
/// `count` on average, and at most 1 away from that, before it is cut to what is free.
fn divide(
    gammas: &[Option<LogGamma>],
    rooms: &[Room],
    free: &[usize],
    count: usize,
    random: &mut Random,
) -> Vec<usize> {
    let shares = shares(rooms.iter().zip(free).map(|(room, free)| gammas[room.modality].filter(|_| *free > 0)), random);
    let parts = systematic(&shares, count, random);
    parts.into_iter().zip(free).map(|(part, free)| part.min(*free)).collect()
}

/// Shares that add up to 1; 0 where there is no gamma.
fn shares(gammas: impl Iterator<Item = Option<LogGamma>>, random: &mut Random) -> Vec<f64> {
    let logs: Vec<f64> = gammas.map(|gamma| gamma.map_or(f64::NEG_INFINITY, |gamma| gamma.sample(random))).collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return vec![0.0; logs.len()];
    }
    let relative: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
    let total: f64 = relative.iter().sum();
    relative.into_iter().map(|share| share / total).collect()
}

/// Integers that add up to `count`, each within 1 of its share of it and equal to that on average: where a ruler of step 1 and
/// random beginning falls on the shares laid end to end.
fn systematic(shares: &[f64], count: usize, random: &mut Random) -> Vec<usize> {
    let begin: f64 = random.random();
    let Some(last) = shares.iter().rposition(|share| *share > 0.0) else { return vec![0; shares.len()] };
    let (mut sum, mut before) = (0.0, 0);
    let part = |(i, share): (usize, &f64)| {
        sum += share * count as f64;
        // The sum of all shares is 1 but for rounding.
        let marks = if i >= last { count } else { ((sum + begin) as usize).clamp(before, count) };
        let part = marks - before;
        before = marks;
        part
    };
    shares.iter().enumerate().map(part).collect()
}

fn joined(given: Vec<usize>, asked: Vec<usize>) -> Vec<Count> {
    given.into_iter().zip(asked).map(|(given, asked)| Count { given, asked }).collect()
}

/// Sees to it that something is asked for, and something given where that is possible.
fn repair(rooms: &[Room], counts: &mut [Count], may_give_nothing: bool, random: &mut Random) {
    let those = |counts: &[Count], which: &dyn Fn(&Room, &Count) -> bool| -> Vec<usize> {
        (0..rooms.len()).filter(|i| which(&rooms[*i], &counts[*i])).collect()
    };
    if counts.iter().all(|count| count.asked == 0) {
        let free = those(counts, &|room, count| room.ask && count.given < room.tokens);
        if let Some(one) = pick(&free, random) {
            counts[one].asked = 1;
        } else if let Some(one) = pick(&those(counts, &|room, _| room.ask), random) {
            counts[one] = Count { given: counts[one].given.saturating_sub(1), asked: 1 };
        }
    }
    if !may_give_nothing && counts.iter().all(|count| count.given == 0) {
        let free = those(counts, &|room, count| room.give && count.asked < room.tokens);
        let asked: usize = counts.iter().map(|count| count.asked).sum();
        if let Some(one) = pick(&free, random) {
            counts[one].given = 1;
        } else if asked > 1
            && let Some(one) = pick(&those(counts, &|room, count| room.give && count.asked > 0), random)
        {
            counts[one] = Count { given: 1, asked: counts[one].asked - 1 };
        }
    }
}

#[cfg(test)]
mod tests;
