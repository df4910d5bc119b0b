//! Depthwise convolution on slices, pieces of sequences as tasks.

use crate::ops::simd::{dispatched, fma};
use rayon::prelude::*;
use std::ops::Range;

/// About so many numbers of a sequence are worked on at once: they stay in the nearest cache.
const PIECE: usize = 1 << 10;

/// Which way the kernel runs along the sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    No,
    Around,
}

/// Weights in the order of places, each written out for `rows` rows of the sequence.
pub(super) struct Kernel {
    places: usize,
    channels: usize,
    rows: usize,
    written: Vec<f32>,
}

impl Kernel {
    /// From `[C, K]`.
    pub(super) fn new(weight: &[f32], channels: usize, turned: Turned) -> Self {
        let places = weight.len().checked_div(channels).unwrap_or(0);
        let rows = rows_of(channels);
        let mut written = Vec::with_capacity(places * rows * channels);
        for place in 0..places {
            let place = if turned == Turned::Around { places - 1 - place } else { place };
            let row: Vec<f32> = (0..channels).map(|channel| weight[channel * places + place]).collect();
            written.extend(std::iter::repeat_n(&row, rows).flatten());
        }
        Self { places, channels, rows, written }
    }

    fn of(&self, place: usize) -> &[f32] {
        &self.written[place * self.rows * self.channels..(place + 1) * self.rows * self.channels]
    }
}

fn rows_of(channels: usize) -> usize {
    PIECE.div_ceil(channels.max(1))
}

/// The rows of `piece` for which row `t + place - before` of the sequence exists.
fn known(piece: &Range<usize>, place: usize, before: usize, length: usize) -> Range<usize> {
    let from = piece.start.max(before.saturating_sub(place));
    let to = piece.end.min((length + before).saturating_sub(place));
    from..to.max(from)
}

/// `y`, for sequences of `length` rows.
pub(super) fn forward(x: &[f32], kernel: &Kernel, bias: &[f32], length: usize, y: &mut [f32]) {
    let (width, rows) = (kernel.channels, kernel.rows);
    if y.is_empty() {
        return;
    }
    // Several pieces per task: one is too little work.
    let tasks = y.par_chunks_mut(length * width).zip(x.par_chunks(length * width)).flat_map(|(y, x)| {
        let several = (8 * rows).min(length);
        y.par_chunks_mut(several * width).enumerate().map(move |(task, y)| (task * several, x, y))
    });
    tasks.for_each(|(first, x, y)| {
        for (number, y) in y.chunks_mut(rows * width).enumerate() {
            let start = first + number * rows;
            let piece = start..start + y.len() / width;
            y.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(bias));
            for place in 0..kernel.places {
                let own = known(&piece, place, kernel.places / 2, length);
                if own.is_empty() {
                    continue;
                }
                let from = (own.start + place - kernel.places / 2) * width;
                let y = &mut y[(own.start - piece.start) * width..(own.end - piece.start) * width];
                let x = &x[from..from + y.len()];
                add_product(x, &kernel.of(place)[..y.len()], y);
            }
        }
    });
}

/// Gradients of the parameters.
pub(super) struct Sums {
    /// `[C, K]`.
    pub(super) weight: Vec<f32>,
    /// `[C]`.
    pub(super) bias: Vec<f32>,
}

/// From the input and the gradient `dy` of the output.
pub(super) fn parameter_gradients(x: &[f32], dy: &[f32], length: usize, width: usize, places: usize) -> Sums {
    let mut sums = Sums { weight: vec![0.0; width * places], bias: vec![0.0; width] };
    if dy.is_empty() {
        return sums;
    }
    let rows = rows_of(width);
    let several = (64 * rows).min(length);
    let tasks: Vec<(&[f32], &[f32], Range<usize>)> = x
        .chunks(length * width)
        .zip(dy.chunks(length * width))
        .flat_map(|(x, dy)| {
            (0..length).step_by(several).map(move |first| (x, dy, first..(first + several).min(length)))
        })
        .collect();
    // For each place and then for the bias, a sum per number of a piece; rows are added at the end.
    let stride = rows * width;
    let partial: Vec<Vec<f32>> = tasks
        .into_par_iter()
        .map(|(x, dy, range)| {
            let mut sums = vec![0.0; (places + 1) * stride];
            for start in range.clone().step_by(rows) {
                let piece = start..(start + rows).min(range.end);
                for (place, sums) in sums.chunks_exact_mut(stride).enumerate() {
                    let own = if place < places { known(&piece, place, places / 2, length) } else { piece.clone() };
                    if own.is_empty() {
                        continue;
                    }
                    let sums = &mut sums[(own.start - piece.start) * width..(own.end - piece.start) * width];
                    let dy = &dy[own.start * width..own.end * width];
                    if place == places {
                        sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
                    } else {
                        let from = (own.start + place - places / 2) * width;
                        add_product(&x[from..from + dy.len()], dy, sums);
                    }
                }
            }
            let mut rows = vec![0.0; (places + 1) * width];
            for (sum, own) in rows.chunks_exact_mut(width).zip(sums.chunks_exact(stride)) {
                own.chunks_exact(width).for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, row)| *sum += row));
            }
            rows
        })
        .collect();
    for own in partial {
        for (place, row) in own.chunks_exact(width).enumerate() {
            if place == places {
                sums.bias.iter_mut().zip(row).for_each(|(sum, own)| *sum += own);
            } else {
                let column = sums.weight.iter_mut().skip(place).step_by(places);
                column.zip(row).for_each(|(sum, own)| *sum += own);
            }
        }
    }
    sums
}

#[inline(always)]
fn add_product_body<const FMA: bool>(a: &[f32], b: &[f32], sum: &mut [f32]) {
    for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
        *sum = fma::<FMA>(a, b, *sum);
    }
}

dispatched! {
    /// `sum += a b`, number by number.
    fn add_product(a: &[f32], b: &[f32], sum: &mut [f32]) = add_product_body
}
