//! A slice that tasks write to in parts of their own, which need not be contiguous.

use super::product::MatrixMut;
use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice that may be shared by threads, each of which touches other elements of it.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    start: *mut f32,
    length: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `Parts` gives access by its unsafe methods alone, whose callers promise that no element is touched by two
// threads at once.
unsafe impl Send for Parts<'_> {}
// SAFETY: as above.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), length: values.len(), slice: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// While the result lives, nothing else may touch these elements.
    pub(super) unsafe fn slice(self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.length, "a part within the slice");
        // SAFETY: the range lies in the slice, and the caller promises that these elements are its alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// `rows` rows of `columns` elements from `offset`, each `stride` after the one before.
    ///
    /// # Safety
    /// While the result lives, nothing else may touch these elements; those between the rows are others'.
    pub(super) unsafe fn matrix(self, offset: usize, rows: usize, columns: usize, stride: usize) -> MatrixMut<'a> {
        let end = if rows * columns == 0 { offset } else { offset + (rows - 1) * stride + columns };
        assert!(end <= self.length && (columns <= stride || rows <= 1), "a part within the slice");
        // SAFETY: every element of the matrix lies in the slice, and the caller promises that they are its alone.
        unsafe { MatrixMut::from_raw(self.start.wrapping_add(offset), rows, columns, stride) }
    }
}
