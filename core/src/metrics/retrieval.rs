//! How far down the list of answers the right one is.

use rayon::prelude::*;

/// Numbers that are summed side by side; their order is fixed, so that equal vectors have equal
/// products wherever they stand.
const LANES: usize = 16;

/// Queries that pass over the answers together, so that those are read once from memory for all.
const QUERIES: usize = 32;

/// Rank, from 1, of row `i` of `b` among all rows of `b` by dot product with row `i` of `a`.
///
/// A tie counts against the query: vectors that have all become the same find nothing. So does a
/// product that is not a number.
///
/// Shapes: `a`, `b` `[N, width]` row-major -> `[N]`. Rows of unit length make it a cosine.
#[must_use]
pub fn retrieval_ranks(a: &[f32], b: &[f32], width: usize) -> Vec<usize> {
    let width = width.max(1);
    let score = |query: &[f32], answer: &[f32]| dot(query, answer);
    a.par_chunks(QUERIES * width)
        .zip(b.par_chunks(QUERIES * width))
        .flat_map_iter(|(queries, partners)| {
            let own: Vec<f32> =
                queries.chunks_exact(width).zip(partners.chunks_exact(width)).map(|(q, p)| score(q, p)).collect();
            // The partner itself is not below its own score, so that it counts as the 1 of the rank.
            let mut ranks = vec![0usize; own.len()];
            for answer in b.chunks_exact(width) {
                for ((query, own), rank) in queries.chunks_exact(width).zip(&own).zip(&mut ranks) {
                    let below = score(query, answer) < *own;
                    *rank += usize::from(!below);
                }
            }
            ranks
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_parts.remainder().iter().zip(b_parts.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_parts.zip(b_parts) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Share of ranks that are at most `k`. Chance is `k` / number of answers.
///
/// NaN if there is no rank.
#[must_use]
pub fn top_k(ranks: &[usize], k: usize) -> f64 {
    ranks.iter().filter(|rank| **rank <= k).count() as f64 / ranks.len() as f64
}

/// Median of the ranks; of an even number the mean of the two in the middle. NaN if there is none.
#[must_use]
pub fn median_rank(ranks: &[usize]) -> f64 {
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match (sorted.get(middle), middle.checked_sub(1).and_then(|below| sorted.get(below))) {
        (Some(above), Some(below)) if sorted.len().is_multiple_of(2) => (*above + *below) as f64 / 2.0,
        (Some(rank), _) => *rank as f64,
        (None, _) => f64::NAN,
    }
}
