//! `gather`: `y_k = x_{rows_k}`; `scatter`: `y_m = Σ_{k: rows_k = m} x_k`. Each is the other's backward.
//!
//! Axes: `M` rows of the long side, `K` rows that are taken or put, `D` width (all other axes together).
//!
//! Numbers of rows are looked at on the host: give them on the CPU whatever the device of `x`, or it waits for them.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{indices, require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

const GATHER: &str = "gather";
const SCATTER: &str = "scatter";

/// The rows of `x` with these numbers, differentiable in `x`; a row may be taken more than once.
///
/// Shapes: `x` `[M, ..]` f32 on the CPU, any strides; `rows` `[K]` u32 → `[K, ..]`.
///
/// # Errors
/// If a number is out of range (named with its place), if shapes are wrong, or for another type of
/// number or another device.
pub fn gather(x: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let (count, _) = row_shape(GATHER, x)?;
    let rows = checked(GATHER, rows, None, count)?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::gather(x, &rows);
    }
    x.contiguous()?.apply_op1(Gather(Rows { rows, count }))
}

/// Puts row `k` of `x` at row `rows[k]` of `count` rows, differentiable in `x`. Rows that are put at
/// the same place are added, in their order; where none is put there are zeros.
///
/// Shapes: `x` `[K, ..]` f32 on the CPU, any strides; `rows` `[K]` u32 → `[count, ..]`.
///
/// # Errors
/// If a number is out of range (named with its place), if shapes are wrong, or for another type of
/// number or another device.
pub fn scatter(x: &Tensor, rows: &Tensor, count: usize) -> Result<Tensor> {
    let (length, _) = row_shape(SCATTER, x)?;
    let rows = checked(SCATTER, rows, Some(length), count)?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::scatter(x, &rows, count);
    }
    x.contiguous()?.apply_op1(Scatter(Rows { rows, count }))
}

/// Number and width of the rows.
fn row_shape(op: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    require_f32(op, "x", x)?;
    match x.dims() {
        [] => bail!("{op}: expected `x` of shape [rows, ..], got a scalar"),
        [rows, rest @ ..] => Ok((*rows, rest.iter().product())),
    }
}

fn checked(op: &'static str, rows: &Tensor, length: Option<usize>, count: usize) -> Result<Vec<u32>> {
    let rows = indices(op, "rows", rows, length)?;
    match rows.iter().position(|&row| row as usize >= count) {
        Some(at) => bail!("{op}: row {} at place {at} of `rows` is out of range for {count} rows", rows[at]),
        None => Ok(rows),
    }
}

struct Rows {
    /// Each below `count`.
    rows: Vec<u32>,
    /// M.
    count: usize,
}

impl Rows {
    fn gather(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut y = zeros(self.rows.len() * width);
        cpu::gather(x, &self.rows, width, &mut y);
        y
    }

    fn scatter(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut y = zeros(self.count * width);
        cpu::scatter(x, &self.rows, width, &mut y);
        y
    }
}

fn with_rows(shape: &Shape, rows: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    if let Some(first) = dims.first_mut() {
        *first = rows;
    }
    Shape::from(dims)
}

struct Gather(Rows);

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        GATHER
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.dims().iter().skip(1).product();
        let y = self.0.gather(values(GATHER, x, layout)?, width);
        Ok((CpuStorage::F32(y), with_rows(layout.shape(), self.0.rows.len())))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = row_shape(GATHER, x)?;
        let dx = with_values(GATHER, [&grad.contiguous()?], |[dy]| self.0.scatter(dy, width))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

struct Scatter(Rows);

impl CustomOp1 for Scatter {
    fn name(&self) -> &'static str {
        SCATTER
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.dims().iter().skip(1).product();
        let y = self.0.scatter(values(SCATTER, x, layout)?, width);
        Ok((CpuStorage::F32(y), with_rows(layout.shape(), self.0.count)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = row_shape(SCATTER, x)?;
        let dx = with_values(SCATTER, [&grad.contiguous()?], |[dy]| self.0.gather(dy, width))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
