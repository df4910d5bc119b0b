//! Which of the pairs within the radius are kept, and why the others are not.

use super::zones::Pair;

/// Which pairs are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Each is the other's nearest: every object is in one pair at most.
    #[default]
    Mutual,
    /// The nearest of the right catalogue for each object of the left, which may share it.
    Nearest,
    /// All.
    All,
}

/// Why a pair was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The left object has a nearer one.
    NotNearest,
    /// The left object's nearest has a nearer one itself.
    NotMutual,
}

impl Reason {
    /// As in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotNearest => "not_nearest",
            Self::NotMutual => "not_mutual",
        }
    }
}

/// A pair that was not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropped {
    /// The pair.
    pub pair: Pair,
    /// Why.
    pub reason: Reason,
}

/// Pairs that are kept and pairs that are not.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// By row of the left catalogue, nearest first.
    pub kept: Vec<Pair>,
    /// In the same order.
    pub dropped: Vec<Dropped>,
}

/// Applies a rule to all pairs, which are sorted by the left row, nearest first.
#[must_use]
pub fn choose(pairs: Vec<Pair>, rule: Rule, right_rows: usize) -> Chosen {
    if rule == Rule::All {
        return Chosen { kept: pairs, dropped: Vec::new() };
    }
    let mut best: Vec<Option<Pair>> = vec![None; right_rows];
    for pair in &pairs {
        if let Some(place) = best.get_mut(pair.right as usize)
            && place.is_none_or(|b| pair.order(&b).is_lt())
        {
            *place = Some(*pair);
        }
    }
    let mut chosen = Chosen::default();
    let mut last = None;
    for pair in pairs {
        let nearest = last != Some(pair.left);
        last = Some(pair.left);
        let mutual = best.get(pair.right as usize).copied().flatten().is_some_and(|b| b.left == pair.left);
        match (nearest, mutual || rule == Rule::Nearest) {
            (true, true) => chosen.kept.push(pair),
            (true, false) => chosen.dropped.push(Dropped { pair, reason: Reason::NotMutual }),
            (false, _) => chosen.dropped.push(Dropped { pair, reason: Reason::NotNearest }),
        }
    }
    chosen
}
