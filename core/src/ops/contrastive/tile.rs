//! Arithmetic on one block of logits, in loops that vectorise over its columns.

use crate::ops::simd::{dispatched, exp, fma, largest, sum};

/// What is known so far of the rows and columns that a tile has part in.
pub(super) struct Running<'a> {
    /// Largest logit of each row.
    pub(super) row_most: &'a mut [f32],
    /// `Σ exp(logit - row_most)`, or the loss of each row for the sigmoid loss.
    pub(super) row_sum: &'a mut [f32],
    /// Largest logit of each column.
    pub(super) column_most: &'a mut [f32],
    /// `Σ exp(logit - column_most)`; not used for the sigmoid loss.
    pub(super) column_sum: &'a mut [f32],
    /// Room for one number per column.
    pub(super) before: &'a mut [f32],
}

/// What `most` is where nothing has been seen: no number may be subtracted from minus infinity.
#[inline(always)]
fn shift(most: f32) -> f32 {
    if most == f32::NEG_INFINITY { 0.0 } else { most }
}

/// NaN are passed over.
#[inline(always)]
fn raise(most: &mut [f32], row: &[f32]) {
    for (most, &x) in most.iter_mut().zip(row) {
        *most = if x > *most { x } else { *most };
    }
}

#[inline(always)]
fn infonce_body<const FMA: bool>(tile: &[f32], running: Running<'_>) {
    let columns = running.column_most.len();
    running.before.copy_from_slice(running.column_most);
    for ((row, most), total) in tile.chunks_exact(columns).zip(running.row_most).zip(running.row_sum) {
        let (old, here) = (*most, largest(row));
        *most = if here > old { here } else { old };
        let shift = shift(*most);
        *total = fma::<FMA>(*total, exp::<FMA>(old - shift), sum(row, |x| exp::<FMA>(x - shift)));
        raise(running.column_most, row);
    }
    for ((total, &most), &old) in running.column_sum.iter_mut().zip(&*running.column_most).zip(&*running.before) {
        *total *= exp::<FMA>(old - shift(most));
    }
    for row in tile.chunks_exact(columns) {
        for ((total, &most), &x) in running.column_sum.iter_mut().zip(&*running.column_most).zip(row) {
            *total += exp::<FMA>(x - shift(most));
        }
    }
}

/// `log(1 + exp(x))`, relative error below 1e-6.
///
/// `log(1 + z) = 2 artanh(z / (2 + z))` for `z = exp(-|x|)`: the series to the 15th power is exact to
/// rounding, as the argument is at most 1/3.
#[inline(always)]
fn softplus<const FMA: bool>(x: f32) -> f32 {
    let z = exp::<FMA>(-x.abs());
    let r = z / (2.0 + z);
    let square = r * r;
    let mut p = 1.0 / 15.0_f32;
    for c in [1.0 / 13.0_f32, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        p = fma::<FMA>(p, square, c);
    }
    let positive = if x < 0.0 { 0.0 } else { x };
    fma::<FMA>(2.0 * r, p, positive)
}

#[inline(always)]
fn sigmoid_body<const FMA: bool>(tile: &[f32], running: Running<'_>) {
    let columns = running.column_most.len();
    for ((row, most), total) in tile.chunks_exact(columns).zip(running.row_most).zip(running.row_sum) {
        let here = largest(row);
        *most = if here > *most { here } else { *most };
        *total += sum(row, softplus::<FMA>);
        raise(running.column_most, row);
    }
}

#[inline(always)]
fn differentiate_infonce_body<const FMA: bool>(tile: &mut [f32], rows: (&[f32], &[f32]), columns: (&[f32], &[f32])) {
    for (row, (&row_shift, &row_weight)) in tile.chunks_exact_mut(columns.0.len()).zip(rows.0.iter().zip(rows.1)) {
        for ((x, &column_shift), &column_weight) in row.iter_mut().zip(columns.0).zip(columns.1) {
            let of_row = row_weight * exp::<FMA>(*x - row_shift);
            *x = fma::<FMA>(column_weight, exp::<FMA>(*x - column_shift), of_row);
        }
    }
}

#[inline(always)]
fn differentiate_sigmoid_body<const FMA: bool>(tile: &mut [f32], weight: f32) {
    for x in tile {
        *x = weight / (1.0 + exp::<FMA>(-*x));
    }
}

dispatched! {
    /// Takes in the logits of a tile; those of partners are minus infinity.
    fn infonce_tile(tile: &[f32], running: Running<'_>) = infonce_body
}

dispatched! {
    /// Takes in the logits of a tile; those of partners are minus infinity.
    fn sigmoid_tile(tile: &[f32], running: Running<'_>) = sigmoid_body
}

dispatched! {
    /// Logits to their gradient, right but for partners. Shifts and weights of `rows` and `columns`.
    fn differentiate_infonce(tile: &mut [f32], rows: (&[f32], &[f32]), columns: (&[f32], &[f32])) =
        differentiate_infonce_body
}

dispatched! {
    /// Logits to their gradient, right but for partners.
    fn differentiate_sigmoid(tile: &mut [f32], weight: f32) = differentiate_sigmoid_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_keeps_its_digits_in_both_tails() {
        for i in -800..=800 {
            let x = i as f32 * 0.1;
            let exact = f64::from(x).max(0.0) + (-f64::from(x).abs()).exp().ln_1p();
            for got in [softplus::<true>(x), softplus::<false>(x)] {
                assert!((f64::from(got) / exact - 1.0).abs() < 1e-6, "{x}: {got}, not {exact}");
            }
        }
        assert_eq!((softplus::<false>(f32::NEG_INFINITY), softplus::<false>(1e4)), (0.0, 1e4));
        assert!(softplus::<false>(f32::NAN).is_nan());
    }
}
