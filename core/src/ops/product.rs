//! Matrix products on slices, on the calling thread.
//!
//! Threads are our callers' business: a product that starts threads of its own inside of a task
//! waits for others at barriers, and lost two thirds of its speed to a single foreign process.

use std::marker::PhantomData;

/// A matrix that lies in a slice with strides.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix; the number of rows follows from the length.
    pub(super) fn row_major(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        assert_eq!(rows * columns, values.len(), "a matrix has whole rows");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// `rows` rows of `columns` values from `offset`, each `stride` after the one before.
    pub(super) fn strided(values: &'a [f32], offset: usize, (rows, columns): (usize, usize), stride: usize) -> Self {
        let values = values.get(offset..).unwrap_or_default();
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The transposed view.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// `count` rows from `first`.
    pub(super) fn rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "rows within the matrix");
        let start = (first * self.row_stride).min(self.values.len());
        Self { values: &self.values[start..], rows: count, ..self }
    }

    /// Whether every element lies in the slice.
    fn fits(&self) -> bool {
        let last = (self.rows.max(1) - 1) * self.row_stride + (self.columns.max(1) - 1) * self.column_stride;
        self.rows == 0 || self.columns == 0 || last < self.values.len()
    }
}

/// A matrix that a product is written to: rows of contiguous values, with a stride from row to row.
pub(super) struct MatrixMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    slice: PhantomData<&'a mut [f32]>,
}

impl<'a> MatrixMut<'a> {
    /// All of a slice; the number of rows follows from the length.
    pub(super) fn row_major(values: &'a mut [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        assert_eq!(rows * columns, values.len(), "a matrix has whole rows");
        Self { start: values.as_mut_ptr(), rows, columns, stride: columns, slice: PhantomData }
    }

    /// Rows from `start` on.
    ///
    /// # Safety
    /// All elements are valid for reads and writes during `'a`, and nothing else touches them.
    pub(super) unsafe fn from_raw(start: *mut f32, rows: usize, columns: usize, stride: usize) -> Self {
        Self { start, rows, columns, stride, slice: PhantomData }
    }

    /// The rows, one by one.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (start, stride, columns) = (self.start, self.stride, self.columns);
        // SAFETY: the rows lie in the matrix, don't overlap, and are borrowed from it mutably.
        (0..self.rows).map(move |row| unsafe { std::slice::from_raw_parts_mut(start.add(row * stride), columns) })
    }
}

/// What happens to the values that the output held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// They are lost.
    Nothing,
    /// The product is added to them.
    Values,
}

/// `out = scale a b` or `out += scale a b`, `out` row-major.
pub(super) fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, scale: f32, onto: Onto) {
    assert_eq!(out.len(), a.rows * b.columns, "the output has the shape of the product");
    if !out.is_empty() {
        product_into(&mut MatrixMut::row_major(out, b.columns), a, b, scale, onto);
    }
}

/// As [`product`], to rows with a stride.
pub(super) fn product_into(out: &mut MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, scale: f32, onto: Onto) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(b.rows, k, "inner dimensions agree");
    assert_eq!((out.rows, out.columns), (m, n), "the output has the shape of the product");
    assert!(a.fits() && b.fits(), "matrices lie in their slices");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if onto == Onto::Nothing {
            out.rows_mut().for_each(|row| row.fill(0.0));
        }
        return;
    }
    // SAFETY: the asserts above keep every element of `a` (m x k) and `b` (k x n) inside their slices; `out` is m x n by
    // its type's promise and borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.start,
            1,
            out.stride as isize,
            onto == Onto::Values,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_and_scale_give_the_product_by_hand() {
        // a = [[1, 2], [3, 4], [5, 6]], b = [[1, 0, 2], [0, 1, 1]]
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 0.0, 1.0, 1.0]);
        let (a, b) = (Matrix::row_major(&a, 2), Matrix::row_major(&b, 3));
        let mut out = [1.0; 6];
        product(&mut out, a.rows(1, 2), b, 2.0, Onto::Values);
        assert_eq!(out, [7.0, 9.0, 21.0, 11.0, 13.0, 33.0]);
        // bᵀ aᵀ = (a b)ᵀ
        let mut out = [0.0; 9];
        product(&mut out, b.transposed(), a.transposed(), 1.0, Onto::Nothing);
        assert_eq!(out, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 4.0, 10.0, 16.0]);
    }

    #[test]
    fn an_empty_sum_is_zero() {
        let mut out = [3.0; 4];
        let (a, b) = (Matrix { rows: 2, ..Matrix::row_major(&[], 0) }, Matrix { rows: 0, ..Matrix::row_major(&[], 2) });
        product(&mut out, a, b, 1.0, Onto::Nothing);
        assert_eq!(out, [0.0; 4]);
    }
}
