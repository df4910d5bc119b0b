//! Launches of the cross-entropy kernels.

use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::{Result, bail};

/// Target of a row that is left out.
pub const IGNORED: u32 = u32::MAX;

/// Logits and what they should be.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Of logits and their gradient.
    pub number: Number,
    /// How many.
    pub rows: usize,
    /// Logits of a row.
    pub classes: usize,
    /// `[rows, classes]`.
    pub logits: Pointer,
    /// `[rows]` u32, [`IGNORED`] for rows to leave out.
    pub targets: Pointer,
    /// `[rows]` f32; null: all 1.
    pub weights: Pointer,
    /// Share of the target that is spread over all classes.
    pub smoothing: f32,
}

impl Rows {
    /// Bytes of what the forward pass leaves for the backward pass.
    #[must_use]
    pub fn statistics_bytes(&self) -> usize {
        self.rows * 8
    }

    /// Warps of a row.
    fn warps(&self) -> usize {
        if self.classes > 1024 { 8 } else { 1 }
    }

    fn geometry(&self) -> Geometry {
        Geometry::new(self.rows.div_ceil(8 / self.warps()), 256)
    }

    /// Fills `loss` `[2]` f32 (the loss, and what the backward pass multiplies by) and `statistics`.
    ///
    /// # Errors
    /// Without classes, if there is not enough memory, or a launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, loss: Pointer, statistics: Pointer) -> Result<()> {
        if self.classes == 0 && self.rows > 0 {
            bail!("cross_entropy: expected at least one class");
        }
        let losses = gpu.allocate("losses of rows", self.rows * 8)?;
        if self.rows > 0 {
            let whole = self.number.are_whole(self.classes, &[self.logits]);
            let arguments = Arguments::new()
                .pointers(&[self.logits, self.targets, self.weights, losses.pointer(), statistics])
                .counts(&[self.rows, self.classes])
                .flag(whole)
                .float(self.smoothing);
            let name = format!("cross_entropy_forward_{}_{}", self.warps(), self.number.name());
            gpu.launch(&name, self.geometry(), arguments)?;
        }
        let arguments = Arguments::new().pointers(&[losses.pointer(), loss]).count(self.rows);
        gpu.launch("cross_entropy_mean", Geometry::new(1, 256), arguments)
    }

    /// `dlogits` `[rows, classes]` from the gradient `upstream` `[1]` f32 of the loss.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn backward(&self, gpu: &dyn Gpu, [loss, statistics, upstream]: [Pointer; 3], dlogits: Pointer) -> Result<()> {
        if self.rows * self.classes == 0 {
            return Ok(());
        }
        let whole = self.number.are_whole(self.classes, &[self.logits, dlogits]);
        let arguments = Arguments::new()
            .pointers(&[self.logits, self.targets, self.weights, statistics, loss, upstream, dlogits])
            .counts(&[self.rows, self.classes])
            .flag(whole)
            .count(self.warps())
            .float(self.smoothing);
        gpu.launch(&format!("cross_entropy_backward_{}", self.number.name()), self.geometry(), arguments)
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
