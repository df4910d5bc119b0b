//! Launches of the kernels that interpolate sampled curves onto a grid.

use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::Result;

/// Curves and the grid.
#[derive(Clone, Copy, Debug)]
pub struct Curves {
    /// Of flux, its gradient, and their results; all else is f32.
    pub number: Number,
    /// How many.
    pub rows: usize,
    /// Room for samples in a row.
    pub samples: usize,
    /// Of the grid.
    pub points: usize,
    /// `[rows, samples]`, rising in each row.
    pub positions: Pointer,
    /// `[rows, samples]`, 0 for samples that are not valid.
    pub inverse_variance: Pointer,
    /// `[rows]` i32, samples that there are; null: all.
    pub counts: Pointer,
    /// `[points]`, rising.
    pub grid: Pointer,
}

impl Curves {
    /// Fills `out` and its inverse variance, `[rows, points]`, from `flux` `[rows, samples]`.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, flux: Pointer, [out, out_inverse_variance]: [Pointer; 2]) -> Result<()> {
        if self.rows * self.points == 0 {
            return Ok(());
        }
        let arguments = Arguments::new()
            .pointers(&[self.positions, flux, self.inverse_variance, self.counts, self.grid, out, out_inverse_variance])
            .counts(&[self.rows, self.samples, self.points]);
        let geometry = Geometry::per_item(self.rows * self.points, 256);
        gpu.launch(&format!("resample_forward_{}", self.number.name()), geometry, arguments)
    }

    /// `dflux` `[rows, samples]` from the gradient `[rows, points]` of the result.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn backward(&self, gpu: &dyn Gpu, dout: Pointer, dflux: Pointer) -> Result<()> {
        if self.rows * self.samples == 0 {
            return Ok(());
        }
        let arguments = Arguments::new()
            .pointers(&[self.positions, self.inverse_variance, self.counts, self.grid, dout, dflux])
            .counts(&[self.rows, self.samples, self.points]);
        let geometry = Geometry::per_item(self.rows * self.samples, 256);
        gpu.launch(&format!("resample_backward_{}", self.number.name()), geometry, arguments)
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
