//! Matrix products on slices, on the calling thread.
//!
//! Threads are our callers' business: a product that starts threads of its own inside of a task
//! waits for others at barriers, and lost two thirds of its speed to a single foreign process.

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
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(b.rows, k, "inner dimensions agree");
    assert_eq!(out.len(), m * n, "the output has the shape of the product");
    assert!(a.fits() && b.fits(), "matrices lie in their slices");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if onto == Onto::Nothing {
            out.fill(0.0);
        }
        return;
    }
    // SAFETY: the asserts above keep every element of `a` (m x k), `b` (k x n) and `out` (m x n,
    // row stride n) inside their slices, and `out` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
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
