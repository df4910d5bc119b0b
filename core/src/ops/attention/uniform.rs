//! Attention with equal weights: the result of every query is the mean of the values.

use super::cpu::{Attend, Given, Job, Keys, Rows, STATISTICS};
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::product::{Matrix, Onto, product};

/// Fills results and statistics of a job.
///
/// # Safety
/// Nothing else touches the rows that the job names in `out`, and its statistics.
pub(super) unsafe fn forward(attend: Attend<'_>, job: &Job<'_>, out: Parts<'_>, statistics: Parts<'_>) {
    let (keys, width) = (job.keys.count(), attend.width);
    let mut mean = Buffer::zeros(width);
    if keys > 0 {
        let values = Rows::new(attend.v, job.v, width, job.keys);
        let mut ones = Buffer::new(keys);
        ones.fill(1.0);
        product(&mut mean, Matrix::row_major(&ones, keys), values.matrix(), 1.0 / keys as f32, Onto::Nothing);
    }
    // SAFETY: by the contract of this function.
    let (mut out, statistics) = unsafe {
        (
            out.matrix(job.out.offset, job.queries, width, job.out.stride),
            statistics.slice(job.statistics * STATISTICS..(job.statistics + job.queries) * STATISTICS),
        )
    };
    out.rows_mut().for_each(|row| row.copy_from_slice(&mean));
    statistics.fill(0.0);
}

/// Gradients of jobs that share their keys: that of each value is the sum of the results' gradients over the number of keys, those of
/// queries and keys are 0.
///
/// # Safety
/// Nothing else touches the rows that the jobs name in `dq`, `dk` and `dv`.
pub(super) unsafe fn backward(attend: Attend<'_>, jobs: &[Job<'_>], given: Given<'_>, [dq, dk, dv]: [Parts<'_>; 3]) {
    let Some(first) = jobs.first() else { return };
    let (keys, width) = (first.keys.count(), attend.width);
    let mut sum = Buffer::zeros(width);
    for job in jobs {
        // SAFETY: by the contract of this function.
        unsafe { dq.matrix(job.q.offset, job.queries, width, job.q.stride) }.rows_mut().for_each(|row| row.fill(0.0));
        if job.queries > 0 && keys > 0 {
            let mut ones = Buffer::new(job.queries);
            ones.fill(1.0);
            let dout = Matrix::strided(given.dout, job.out.offset, (job.queries, width), job.out.stride);
            product(&mut sum, Matrix::row_major(&ones, job.queries), dout, 1.0 / keys as f32, Onto::Values);
        }
    }
    for key in first.keys.with_gradients(first.tokens) {
        let takes_part = matches!(first.keys, Keys::Listed(_)) || key < keys;
        let place = |offset: usize, stride: usize| offset + key * stride..offset + key * stride + width;
        // SAFETY: as above.
        let (dk, dv) = unsafe {
            (dk.slice(place(first.k.offset, first.k.stride)), dv.slice(place(first.v.offset, first.v.stride)))
        };
        dk.fill(0.0);
        if takes_part { dv.copy_from_slice(&sum) } else { dv.fill(0.0) }
    }
}
