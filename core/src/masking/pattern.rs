//! Which tokens of a modality are asked for, once it is known how many.

use super::budget::{Count, rounded};
use crate::random::Random;
use rand::Rng;
use rand::seq::index;

/// Where the targets of a modality lie.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Anywhere.
    Scattered,
    /// In spans of `mean` neighbouring tokens, along a coordinate (by its number) or in the order of the tokens.
    Spans { mean: f64, along: Option<usize> },
    /// In rectangles of `mean` cells with a height over width from `aspect` to its inverse.
    Blocks { mean: f64, aspect: f64, cells: Cells },
}

/// How the cell of a token is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cells {
    /// Lines and columns, which tokens fill line by line, and again.
    Grid([usize; 2]),
    /// Numbers of the coordinates that say line and column.
    Coordinates([usize; 2]),
}

impl Pattern {
    /// Whether it looks at coordinates.
    pub(super) fn needs_coordinates(&self) -> bool {
        match self {
            Self::Scattered => false,
            Self::Spans { along, .. } => along.is_some(),
            Self::Blocks { cells, .. } => matches!(cells, Cells::Coordinates(_)),
        }
    }

    /// Places `count` in `tokens`, the numbers of the valid tokens of one object: numbers of those that are given, and of those that
    /// are asked for. `coordinate(token, number)` is a coordinate.
    pub(super) fn place(
        &self,
        tokens: &[usize],
        count: Count,
        coordinate: &dyn Fn(usize, usize) -> f32,
        random: &mut Random,
    ) -> (Vec<usize>, Vec<usize>) {
        let asked = match self {
            _ if count.asked == 0 => Vec::new(),
            Self::Scattered => {
                index::sample(random, tokens.len(), count.asked).into_iter().map(|i| tokens[i]).collect()
            }
            Self::Spans { mean, along } => {
                let mut tokens = tokens.to_vec();
                if let Some(along) = along {
                    // NaN, which is unknown, is above all numbers.
                    tokens.sort_by(|a, b| coordinate(*a, *along).total_cmp(&coordinate(*b, *along)));
                }
                spans(tokens.len(), count.asked, *mean, random).into_iter().map(|i| tokens[i]).collect()
            }
            Self::Blocks { mean, aspect, cells } => {
                let found = match cells {
                    Cells::Grid([lines, columns]) => Grid {
                        cells: tokens.iter().map(|token| (token / columns % lines, token % columns)).collect(),
                        lines: *lines,
                        columns: *columns,
                    },
                    Cells::Coordinates(axes) => {
                        Grid::ranked(tokens, axes.map(|axis| move |t: usize| coordinate(t, axis)))
                    }
                };
                found.blocks(count.asked, *mean, *aspect, random).into_iter().map(|i| tokens[i]).collect()
            }
        };
        let mut rest: Vec<usize> = tokens.to_vec();
        if !asked.is_empty() {
            let mut sorted = asked.clone();
            sorted.sort_unstable();
            rest.retain(|token| sorted.binary_search(token).is_err());
        }
        let given = if count.given >= rest.len() {
            rest
        } else {
            index::sample(random, rest.len(), count.given).into_iter().map(|i| rest[i]).collect()
        };
        (given, asked)
    }
}

/// `asked` of `length` places in runs of `mean` places on average, every arrangement of as many runs as likely: the places that are
/// asked for are cut into runs at random, and the others into the gaps between them (Raffel et al. 2020, section 3.1.4, has the idea).
fn spans(length: usize, asked: usize, mean: f64, random: &mut Random) -> Vec<usize> {
    let others = length - asked;
    // Between two runs there is at least one other place.
    let runs = rounded(asked as f64 / mean, random).clamp(1, asked.min(others + 1));
    let cuts = |places: usize, parts: usize, random: &mut Random| -> Vec<usize> {
        let mut cuts: Vec<usize> = index::sample(random, places, parts - 1).into_iter().collect();
        cuts.sort_unstable();
        cuts
    };
    // Runs have at least one place: cuts lie between two of them.
    let within = cuts(asked - 1, runs, random);
    let lengths: Vec<usize> = ends(&within, 1, asked).collect();
    // Gaps at the two ends may be empty: as if there were one more place at each.
    let between = cuts(others + 1, runs + 1, random);
    let mut gaps = ends(&between, 1, others + 2);
    let mut found = Vec::with_capacity(asked);
    let mut place = gaps.next().unwrap_or(1) - 1;
    for (length, gap) in lengths.into_iter().zip(gaps) {
        found.extend(place..place + length);
        place += length + gap;
    }
    found
}

/// Lengths of the parts of `0..end` that are cut behind each of `cuts`.
fn ends(cuts: &[usize], behind: usize, end: usize) -> impl Iterator<Item = usize> {
    let mut before = 0;
    cuts.iter()
        .map(move |cut| cut + behind)
        .chain(std::iter::once(end))
        .map(move |cut| cut - std::mem::replace(&mut before, cut))
}

/// Cells of the tokens of an object.
struct Grid {
    /// Line and column of each token.
    cells: Vec<(usize, usize)>,
    lines: usize,
    columns: usize,
}

impl Grid {
    /// Lines and columns are the ranks of the coordinates among those that the object has.
    fn ranked(tokens: &[usize], axes: [impl Fn(usize) -> f32; 2]) -> Self {
        let [(lines, line), (columns, column)] = axes.map(|axis| {
            let values: Vec<f32> = tokens.iter().map(|token| axis(*token)).collect();
            let mut distinct = values.clone();
            distinct.sort_by(|a, b| a.total_cmp(b));
            distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
            let rank = |value: &f32| distinct.partition_point(|other| other.total_cmp(value).is_lt());
            (distinct.len(), values.iter().map(rank).collect::<Vec<usize>>())
        });
        Self { cells: line.into_iter().zip(column).collect(), lines, columns }
    }

    /// `asked` tokens in rectangles: each holds a random token that is not asked for so far, has a random number of cells that is
    /// `mean` on average, and takes all tokens in it until there are enough (Bao et al. 2022, algorithm 1, has the idea).
    fn blocks(&self, asked: usize, mean: f64, aspect: f64, random: &mut Random) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.cells.len()).collect();
        left.sort_by_key(|i| self.cells[*i]);
        let mut found = Vec::with_capacity(asked);
        while found.len() < asked && !left.is_empty() {
            let [lines, columns] = self.size(mean, aspect, random);
            let (line, column) = self.cells[left[random.random_range(0..left.len())]];
            let mut begin = |at: usize, length: usize, whole: usize| {
                let first = random.random_range((at + 1).saturating_sub(length)..=at);
                first.min(whole - length)
            };
            let (top, side) = (begin(line, lines, self.lines), begin(column, columns, self.columns));
            let inside = |i: &usize| {
                let (line, column) = self.cells[*i];
                (top..top + lines).contains(&line) && (side..side + columns).contains(&column)
            };
            let (new, others): (Vec<usize>, Vec<usize>) = left.into_iter().partition(inside);
            found.extend(new.into_iter().take(asked - found.len()));
            left = others;
        }
        found
    }

    /// Lines and columns of a rectangle.
    fn size(&self, mean: f64, aspect: f64, random: &mut Random) -> [usize; 2] {
        let cells = 1.0 + 2.0 * (mean - 1.0) * random.random::<f64>();
        let ratio = aspect.powf(1.0 - 2.0 * random.random::<f64>());
        // Both sides at least 1, rounded so that the product is `cells` on average.
        let lines = rounded((cells * ratio).sqrt().max(1.0).min(cells), random).clamp(1, self.lines);
        let columns = rounded((cells / lines as f64).max(1.0), random).clamp(1, self.columns);
        [lines, columns]
    }
}

#[cfg(test)]
mod tests;
