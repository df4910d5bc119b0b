//! Launches of the kernels of layer norm and RMS norm.

use super::column_sums::Partial;
use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::Result;

/// One warp per row.
const ROWS_PER_BLOCK: usize = 4;

/// Which of the two norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Mean and variance.
    Layer,
    /// Mean square alone.
    Rms,
}

impl Norm {
    fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Rms => "rms",
        }
    }
}

/// Rows to normalise.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Which norm.
    pub norm: Norm,
    /// Of all arrays.
    pub number: Number,
    /// How many.
    pub rows: usize,
    /// Length of each.
    pub width: usize,
    /// Added to the variance.
    pub epsilon: f32,
    /// `[rows, width]`.
    pub x: Pointer,
    /// `[width]`.
    pub weight: Pointer,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.rows * self.width == 0
    }

    /// `y = norm(x) weight + bias`; `y` `[rows, width]`, `bias` `[width]` or null.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, bias: Pointer, y: Pointer) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let whole = self.number.are_whole(self.width, &[self.x, self.weight, bias, y]);
        let arguments = Arguments::new()
            .pointers(&[self.x, self.weight, bias, y])
            .counts(&[self.rows, self.width])
            .flag(whole)
            .float(self.epsilon);
        let name = format!("{}_norm_forward_{}", self.norm.name(), self.number.name());
        gpu.launch(&name, Geometry::new(self.rows.div_ceil(ROWS_PER_BLOCK), 128), arguments)
    }

    /// Gradients from that of `y`: `dx` `[rows, width]`, `dweight` and `dbias` `[width]`; `dbias` may be null.
    ///
    /// # Errors
    /// If there is not enough memory or a launch fails.
    pub fn backward(&self, gpu: &dyn Gpu, dy: Pointer, [dx, dweight, dbias]: [Pointer; 3]) -> Result<()> {
        let moments = gpu.allocate("moments of rows", self.rows * 8)?;
        let partial = Partial::new(gpu, self.rows, self.width, 2)?;
        if !self.is_empty() {
            let whole = self.number.are_whole(self.width, &[self.x, self.weight, dy, dx]);
            let arguments = Arguments::new()
                .pointers(&[self.x, self.weight, dy, dx, moments.pointer()])
                .counts(&[self.rows, self.width])
                .flag(whole)
                .float(self.epsilon);
            let name = format!("{}_norm_backward_{}", self.norm.name(), self.number.name());
            gpu.launch(&name, Geometry::new(self.rows.div_ceil(ROWS_PER_BLOCK), 128), arguments)?;
            let arguments = Arguments::new()
                .pointers(&[self.x, dy, moments.pointer(), partial.memory.pointer()])
                .counts(&[self.rows, self.width, partial.rows_per_chunk]);
            gpu.launch(&format!("norm_backward_weight_{}", self.number.name()), partial.geometry, arguments)?;
        }
        partial.finish(gpu, 0, dweight, self.number)?;
        if dbias != Pointer::NULL {
            partial.finish(gpu, 1, dbias, self.number)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
