//! Convolutions on slices: the pixels that each place of the kernel sees are laid side by side, for some places at a time, and
//! multiplied with the kernel as a matrix.

use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::product::{Matrix, MatrixMut, Onto, product, product_into};
use crate::ops::tasks::{product_rows, weight_rows};
use rayon::prelude::*;
use std::ops::Range;

/// Sizes of a convolution from a `large` image with `inputs` channels to a `small` one with `outputs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) large: [usize; 2],
    pub(super) small: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

/// Columns of the laid-out pixels per product: with them, the rows of a task stay in the cache of the core.
const COLUMNS: usize = 1024;

/// The same for gradients of kernels, whose tasks are cut by columns.
const GRADIENT_COLUMNS: usize = 512;

/// Neighbouring pixels of one line that a place of the kernel sees, from this place of the grid times the step.
#[derive(Clone, Copy, Debug)]
struct Run {
    line: isize,
    column: isize,
    count: usize,
}

/// Which pixels of images belong to each row of a matrix.
struct Windows<'a> {
    images: &'a [f32],
    /// Lines, columns, channels of an image.
    image: [usize; 3],
    /// Lines and columns of the places per image.
    grid: [usize; 2],
    /// Pixels from place to place.
    step: usize,
}

impl<'a> Windows<'a> {
    /// The images themselves, if that is what `runs` would lay out.
    fn themselves(&self, runs: &[Run]) -> Option<&'a [f32]> {
        let [height, width, _] = self.image;
        let own = matches!(runs, [Run { line: 0, column: 0, count: 1 }]);
        (own && self.step == 1 && self.grid == [height, width]).then_some(self.images)
    }

    /// Writes for each of the places `rows` what `runs` say, pixel after pixel, 0 for those beside the image.
    fn lay_out(&self, runs: &[Run], rows: Range<usize>, out: &mut [f32]) {
        let [height, width, channels] = self.image;
        let [lines, columns] = self.grid;
        let mut rest = out;
        for row in rows {
            let (image, line, column) = (row / (lines * columns), row / columns % lines, row % columns);
            for run in runs {
                let (own, after) = rest.split_at_mut(run.count * channels);
                rest = after;
                let (y, x) = ((line * self.step) as isize + run.line, (column * self.step) as isize + run.column);
                let before = ((-x).max(0) as usize).min(run.count);
                let end = (width as isize - x).clamp(before as isize, run.count as isize) as usize;
                if y < 0 || y >= height as isize || end == before {
                    own.fill(0.0);
                    continue;
                }
                let first = (image * height + y as usize) * width + (x + before as isize) as usize;
                own[..before * channels].fill(0.0);
                own[before * channels..end * channels]
                    .copy_from_slice(&self.images[first * channels..(first + end - before) * channels]);
                own[end * channels..].fill(0.0);
            }
        }
    }

    /// `y = windows matrix` or `y += windows matrix` for the places `rows`, where `matrix` has a row for each channel of each pixel.
    fn product(&self, groups: &[Vec<Run>], rows: Range<usize>, matrix: Matrix<'_>, y: &mut [f32], onto: Onto) {
        let channels = self.image[2];
        let (mut first, mut onto) = (0, onto);
        for runs in groups {
            let columns = pixels(runs) * channels;
            let matrix = matrix.rows(first, columns);
            if let Some(images) = self.themselves(runs) {
                let own = &images[rows.start * channels..rows.end * channels];
                product(y, Matrix::row_major(own, channels), matrix, 1.0, onto);
            } else {
                let mut patches = Buffer::new(rows.len() * columns);
                self.lay_out(runs, rows.clone(), &mut patches);
                product(y, Matrix::row_major(&patches, columns), matrix, 1.0, onto);
            }
            (first, onto) = (first + columns, Onto::Values);
        }
    }
}

fn pixels(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.count).sum()
}

/// Runs in their order, in groups of at most `columns` columns where one pixel has no more.
fn grouped(runs: impl Iterator<Item = Run>, channels: usize, columns: usize) -> Vec<Vec<Run>> {
    let most = (columns / channels.max(1)).max(1);
    let mut groups: Vec<Vec<Run>> = Vec::new();
    for run in runs {
        for first in (0..run.count).step_by(most) {
            let part = Run { column: run.column + first as isize, count: most.min(run.count - first), ..run };
            match groups.last_mut() {
                Some(group) if pixels(group) + part.count <= most => group.push(part),
                _ => groups.push(vec![part]),
            }
        }
    }
    groups
}

impl Sizes {
    /// What each place of the kernel sees of the large image.
    fn seen<'a>(&self, large: &'a [f32]) -> Windows<'a> {
        let [height, width] = self.large;
        Windows { images: large, image: [height, width, self.inputs], grid: self.small, step: self.stride }
    }

    fn seen_runs(&self, columns: usize) -> Vec<Vec<Run>> {
        let [lines, width] = self.kernel;
        let padding = self.padding as isize;
        let run = |line: usize| Run { line: line as isize - padding, column: -padding, count: width };
        grouped((0..lines).map(run), self.inputs, columns)
    }

    /// Columns of the kernel as a matrix.
    fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.inputs
    }
}

/// The convolution; no bias if `b` is empty.
pub(super) fn to_small(sizes: &Sizes, large: &[f32], w: &[f32], b: &[f32], small: &mut [f32]) {
    if small.is_empty() {
        return;
    }
    let outputs = sizes.outputs;
    let (windows, groups) = (sizes.seen(large), sizes.seen_runs(COLUMNS));
    let matrix = Matrix::row_major(w, sizes.depth()).transposed();
    let rows = product_rows(small.len() / outputs);
    small.par_chunks_mut(rows * outputs).enumerate().for_each(|(i, small)| {
        let onto = begin(small, b);
        windows.product(&groups, i * rows..i * rows + small.len() / outputs, matrix, small, onto);
    });
}

/// Writes the bias to every row, if there is one.
fn begin(y: &mut [f32], b: &[f32]) -> Onto {
    if b.is_empty() {
        return Onto::Nothing;
    }
    y.chunks_exact_mut(b.len()).for_each(|row| row.copy_from_slice(b));
    Onto::Values
}

/// Along one axis: those pixels of the large image, `stride` apart, that the same places of the kernel reach.
struct Phase {
    first: usize,
    count: usize,
    /// Places of the kernel, and where each finds the small image's pixel relative to the number of the large one's.
    taps: Vec<(usize, isize)>,
}

impl Phase {
    fn all(sizes: &Sizes, axis: usize) -> Vec<Self> {
        let (stride, padding) = (sizes.stride, sizes.padding);
        let phase = |first: usize| {
            let place = (first + padding) % stride;
            let ahead = ((first + padding) / stride) as isize;
            let taps = (place..sizes.kernel[axis]).step_by(stride).zip(0..).map(|(k, n)| (k, ahead - n));
            let count = sizes.large[axis].saturating_sub(first).div_ceil(stride);
            Self { first, count, taps: taps.collect::<Vec<_>>().into_iter().rev().collect() }
        };
        (0..stride).map(phase).filter(|phase| phase.count > 0).collect()
    }
}

/// The transposed convolution, and the gradient of the input of a convolution; no bias if `b` is empty.
pub(super) fn to_large(sizes: &Sizes, small: &[f32], w: &[f32], b: &[f32], large: &mut [f32]) {
    if large.is_empty() {
        return;
    }
    let columns = Phase::all(sizes, 1);
    for lines in Phase::all(sizes, 0) {
        for columns in &columns {
            phase_to_large(sizes, (&lines, columns), (small, w, b), large);
        }
    }
}

fn phase_to_large(
    sizes: &Sizes,
    (lines, columns): (&Phase, &Phase),
    (small, w, b): (&[f32], &[f32], &[f32]),
    large: &mut [f32],
) {
    let Sizes { inputs, outputs, stride, .. } = *sizes;
    let matrix = reached_weights(sizes, lines, columns, w);
    let matrix = Matrix::row_major(&matrix, inputs);
    let column = columns.taps.first().map_or(0, |tap| tap.1);
    let run = |line: &(usize, isize)| Run { line: line.1, column, count: columns.taps.len() };
    let groups = grouped(lines.taps.iter().map(run), outputs, COLUMNS);
    let [height, width] = sizes.small;
    let grid = [lines.count, columns.count];
    let windows = Windows { images: small, image: [height, width, outputs], grid, step: 1 };
    let count = sizes.batch * grid[0] * grid[1];
    let rows = product_rows(count);
    if stride == 1 {
        large.par_chunks_mut(rows * inputs).enumerate().for_each(|(i, large)| {
            compute(&windows, &groups, i * rows..i * rows + large.len() / inputs, matrix, b, large);
        });
        return;
    }
    let [_, large_width] = sizes.large;
    let parts = Parts::new(large);
    (0..count.div_ceil(rows)).into_par_iter().for_each(|i| {
        let places = i * rows..count.min((i + 1) * rows);
        let mut own = Buffer::new(places.len() * inputs);
        compute(&windows, &groups, places.clone(), matrix, b, &mut own);
        for (place, own) in places.zip(own.chunks_exact(inputs)) {
            let (image, line, column) = (place / (grid[0] * grid[1]), place / grid[1] % grid[0], place % grid[1]);
            let line = image * sizes.large[0] + lines.first + line * stride;
            let at = (line * large_width + columns.first + column * stride) * inputs;
            // SAFETY: a place has a pixel of its own, and each place is in one task.
            unsafe { parts.slice(at..at + inputs) }.copy_from_slice(own);
        }
    });
}

/// One task of [`phase_to_large`]; if the kernel reaches none of these pixels, they have the bias alone.
fn compute(
    windows: &Windows<'_>,
    groups: &[Vec<Run>],
    places: Range<usize>,
    matrix: Matrix<'_>,
    b: &[f32],
    y: &mut [f32],
) {
    let onto = begin(y, b);
    if pixels(groups.first().map_or(&[], Vec::as_slice)) == 0 && onto == Onto::Nothing {
        y.fill(0.0);
    } else {
        windows.product(groups, places, matrix, y, onto);
    }
}

/// The kernel at the places that reach a phase, a row for each channel of the small image.
fn reached_weights(sizes: &Sizes, lines: &Phase, columns: &Phase, w: &[f32]) -> Buffer {
    let Sizes { inputs, outputs, kernel: [_, width], .. } = *sizes;
    let mut matrix = Buffer::new(lines.taps.len() * columns.taps.len() * outputs * inputs);
    let mut rows = matrix.chunks_exact_mut(inputs);
    for (line, _) in &lines.taps {
        for (column, _) in &columns.taps {
            for (output, row) in (0..outputs).zip(&mut rows) {
                let at = output * sizes.depth() + (line * width + column) * inputs;
                row.copy_from_slice(&w[at..at + inputs]);
            }
        }
    }
    matrix
}

/// The gradient of the kernel, or added to it, from the large image and the gradient of the small one, or the other way round.
///
/// A task per slab of outputs and group of columns, each over all places in their order.
pub(super) fn weight_gradient(sizes: &Sizes, large: &[f32], small: &[f32], dw: &mut [f32], onto: Onto) {
    if small.is_empty() || dw.is_empty() {
        if onto == Onto::Nothing {
            dw.fill(0.0);
        }
        return;
    }
    let (outputs, depth, channels) = (sizes.outputs, sizes.depth(), sizes.inputs);
    let (windows, groups) = (sizes.seen(large), sizes.seen_runs(GRADIENT_COLUMNS));
    let firsts = groups.iter().scan(0, |first, runs| Some(std::mem::replace(first, *first + pixels(runs) * channels)));
    let slab = weight_rows(outputs);
    let tasks: Vec<(usize, &Vec<Run>, usize)> = firsts
        .zip(&groups)
        .flat_map(|(first, runs)| (0..outputs).step_by(slab).map(move |output| (first, runs, output)))
        .collect();
    let places = small.len() / outputs;
    let block = product_rows(places);
    let parts = Parts::new(dw);
    tasks.into_par_iter().for_each(|(first, runs, output)| {
        let (columns, count) = (pixels(runs) * channels, slab.min(outputs - output));
        // SAFETY: no other task has both these columns and these outputs.
        let mut dw = unsafe { parts.matrix(output * depth + first, count, columns, depth) };
        let mut onto = onto;
        let mut patches = Buffer::new(block.min(places) * columns);
        for start in (0..places).step_by(block) {
            let rows = start..places.min(start + block);
            let patches = match windows.themselves(runs) {
                Some(images) => &images[rows.start * channels..rows.end * channels],
                None => {
                    let patches = &mut patches[..rows.len() * columns];
                    windows.lay_out(runs, rows.clone(), patches);
                    patches
                }
            };
            let small = Matrix::row_major(&small[rows.start * outputs..rows.end * outputs], outputs).transposed();
            add_block(&mut dw, small.rows(output, count), Matrix::row_major(patches, columns), onto);
            onto = Onto::Values;
        }
    });
}

fn add_block(dw: &mut MatrixMut<'_>, small: Matrix<'_>, patches: Matrix<'_>, onto: Onto) {
    product_into(dw, small, patches, 1.0, onto);
}
