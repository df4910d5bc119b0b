//! Global response normalisation on slices, pieces of sequences as tasks.

use super::EPSILON;
use crate::ops::simd::{add_rows, dispatched, fma};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a sequence per task.
fn piece(width: usize) -> usize {
    ((1 << 15) / width.max(1)).max(1)
}

/// For each sequence, what `f` adds up over pieces of its rows: `f(range of values, sum)` with `columns` sums; `[B, columns]`.
fn sums(
    (all, length, width): (usize, usize, usize),
    columns: usize,
    f: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let (rows, of) = (piece(width), length * width);
    let pieces = length.div_ceil(rows).max(1);
    let mut partial = vec![0.0; all / of.max(1) * pieces * columns];
    partial.par_chunks_mut(columns).enumerate().for_each(|(task, sum)| {
        let start = task / pieces * of + task % pieces * rows * width;
        let end = (start + rows * width).min((task / pieces + 1) * of);
        f(start..end, sum);
    });
    let mut sums = vec![0.0; all / of.max(1) * columns];
    for (sum, own) in sums.chunks_exact_mut(columns).zip(partial.chunks_exact(pieces * columns)) {
        add_rows(sum, own);
    }
    sums
}

/// Of one sequence: lengths over their mean, and that mean.
fn shares(squares: &[f32]) -> (Vec<f32>, f32) {
    let lengths: Vec<f32> = squares.iter().map(|square| square.sqrt()).collect();
    let mean = lengths.iter().sum::<f32>() / lengths.len().max(1) as f32 + EPSILON;
    (lengths.iter().map(|length| length / mean).collect(), mean)
}

pub(super) fn forward(x: &[f32], gamma: &[f32], beta: &[f32], length: usize, y: &mut [f32]) {
    let width = gamma.len();
    if y.is_empty() {
        return;
    }
    let squares = sums((x.len(), length, width), width, |own, sum| add_squares(&x[own], sum));
    let scales: Vec<f32> = squares
        .chunks_exact(width)
        .flat_map(|squares| shares(squares).0.into_iter().zip(gamma).map(|(share, gamma)| 1.0 + gamma * share))
        .collect();
    let rows = piece(width) * width;
    y.par_chunks_mut(length * width).zip(x.par_chunks(length * width)).zip(scales.par_chunks(width)).for_each(
        |((y, x), scale)| {
            y.par_chunks_mut(rows).zip(x.par_chunks(rows)).for_each(|(y, x)| scale_rows(x, scale, beta, y));
        },
    );
}

/// Fills `dx`; gives the gradients of γ and β, one after the other.
pub(super) fn backward(x: &[f32], gamma: &[f32], dy: &[f32], length: usize, dx: &mut [f32]) -> Vec<f32> {
    let width = gamma.len();
    let mut parameters = vec![0.0; 2 * width];
    if dx.is_empty() {
        return parameters;
    }
    let squares = sums((x.len(), length, width), width, |own, sum| add_squares(&x[own], sum));
    let products = sums((x.len(), length, width), 2 * width, |own, sum| add_products(&x[own.clone()], &dy[own], sum));
    // Of each sequence the factors of `dy` and of `x`.
    let mut factors = Vec::with_capacity(2 * squares.len());
    for (squares, products) in squares.chunks_exact(width).zip(products.chunks_exact(2 * width)) {
        let (shares, mean) = shares(squares);
        let (along, own) = products.split_at(width);
        let (dgamma, dbeta) = parameters.split_at_mut(width);
        for (((dgamma, dbeta), (share, along)), own) in
            dgamma.iter_mut().zip(dbeta).zip(shares.iter().zip(along)).zip(own)
        {
            *dgamma += share * along;
            *dbeta += own;
        }
        let of_shares: Vec<f32> = gamma.iter().zip(along).map(|(gamma, along)| gamma * along).collect();
        let common = of_shares.iter().zip(&shares).map(|(d, share)| d * share).sum::<f32>() / width as f32;
        factors.extend(shares.iter().zip(gamma).map(|(share, gamma)| 1.0 + gamma * share));
        factors.extend(of_shares.iter().zip(&shares).map(|(d, share)| {
            // The length is the share times the mean; a channel of zeros has no direction.
            let length = share * mean;
            if length > 0.0 { (d - common) / (mean * length) } else { 0.0 }
        }));
    }
    let rows = piece(width) * width;
    let of = length * width;
    dx.par_chunks_mut(of).zip(x.par_chunks(of).zip(dy.par_chunks(of))).zip(factors.par_chunks(2 * width)).for_each(
        |((dx, (x, dy)), factors)| {
            let (of_dy, of_x) = factors.split_at(width);
            dx.par_chunks_mut(rows)
                .zip(x.par_chunks(rows).zip(dy.par_chunks(rows)))
                .for_each(|(dx, (x, dy))| combine_rows(x, of_x, dy, of_dy, dx));
        },
    );
    parameters
}

#[inline(always)]
fn add_squares_body<const FMA: bool>(x: &[f32], sum: &mut [f32]) {
    for row in x.chunks_exact(sum.len()) {
        for (sum, &x) in sum.iter_mut().zip(row) {
            *sum = fma::<FMA>(x, x, *sum);
        }
    }
}

#[inline(always)]
fn add_products_body<const FMA: bool>(x: &[f32], dy: &[f32], sums: &mut [f32]) {
    let width = sums.len() / 2;
    let (along, own) = sums.split_at_mut(width);
    for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
        for (((along, own), &x), &dy) in along.iter_mut().zip(own.iter_mut()).zip(x).zip(dy) {
            *along = fma::<FMA>(x, dy, *along);
            *own += dy;
        }
    }
}

#[inline(always)]
fn scale_rows_body<const FMA: bool>(x: &[f32], scale: &[f32], beta: &[f32], y: &mut [f32]) {
    for (y, x) in y.chunks_exact_mut(scale.len()).zip(x.chunks_exact(scale.len())) {
        for (((y, &x), &scale), &beta) in y.iter_mut().zip(x).zip(scale).zip(beta) {
            *y = fma::<FMA>(x, scale, beta);
        }
    }
}

#[inline(always)]
fn combine_rows_body<const FMA: bool>(x: &[f32], of_x: &[f32], dy: &[f32], of_dy: &[f32], dx: &mut [f32]) {
    let rows = x.chunks_exact(of_x.len()).zip(dy.chunks_exact(of_x.len()));
    for (dx, (x, dy)) in dx.chunks_exact_mut(of_x.len()).zip(rows) {
        for ((((dx, &x), &dy), &of_x), &of_dy) in dx.iter_mut().zip(x).zip(dy).zip(of_x).zip(of_dy) {
            *dx = fma::<FMA>(x, of_x, dy * of_dy);
        }
    }
}

dispatched! {
    fn add_squares(x: &[f32], sum: &mut [f32]) = add_squares_body
}

dispatched! {
    fn add_products(x: &[f32], dy: &[f32], sums: &mut [f32]) = add_products_body
}

dispatched! {
    fn scale_rows(x: &[f32], scale: &[f32], beta: &[f32], y: &mut [f32]) = scale_rows_body
}

dispatched! {
    fn combine_rows(x: &[f32], of_x: &[f32], dy: &[f32], of_dy: &[f32], dx: &mut [f32]) = combine_rows_body
}
