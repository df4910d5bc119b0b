//! Launches of the quantizers. Gradients of LFQ and of quantiles pass unchanged, so they need no kernel.

use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::{Result, bail};

/// Rows of latent values.
#[derive(Clone, Copy, Debug)]
pub struct Latents {
    /// Of values and codes.
    pub number: Number,
    /// How many.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
    /// `[rows, width]`.
    pub z: Pointer,
}

impl Latents {
    fn launch(&self, gpu: &dyn Gpu, name: &str, items: usize, arguments: Arguments) -> Result<()> {
        if self.rows * self.width == 0 {
            return Ok(());
        }
        gpu.launch(&format!("{name}_{}", self.number.name()), Geometry::per_item(items, 256), arguments)
    }

    /// Finite scalar quantization: `levels` `[width]` f32 on the device, each a whole number of 2 or
    /// more whose product fits 32 bits; fills `codes` `[rows, width]` and `index` `[rows]` u32.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn fsq(&self, gpu: &dyn Gpu, levels: Pointer, codes: Pointer, index: Pointer) -> Result<()> {
        let arguments = Arguments::new().pointers(&[self.z, levels, codes, index]).counts(&[self.rows, self.width]);
        self.launch(gpu, "fsq_forward", self.rows, arguments)
    }

    /// `dz` from the gradient of the codes of [`Latents::fsq`].
    ///
    /// # Errors
    /// If the launch fails.
    pub fn fsq_backward(&self, gpu: &dyn Gpu, levels: Pointer, dcodes: Pointer, dz: Pointer) -> Result<()> {
        let count = self.rows * self.width;
        let arguments = Arguments::new().pointers(&[self.z, dcodes, levels, dz]).counts(&[count, self.width]);
        self.launch(gpu, "fsq_backward", count, arguments)
    }

    /// Signs: fills `codes` `[rows, width]` with +-1 and `index` `[rows]` u32 with their bits.
    ///
    /// # Errors
    /// For more than 32 values a row, or if the launch fails.
    pub fn lfq(&self, gpu: &dyn Gpu, codes: Pointer, index: Pointer) -> Result<()> {
        if self.width > 32 {
            bail!("lfq: expected at most 32 dimensions, got {}", self.width);
        }
        let arguments = Arguments::new().pointers(&[self.z, codes, index]).counts(&[self.rows, self.width]);
        self.launch(gpu, "lfq_forward", self.rows, arguments)
    }

    /// Bins: `edges` `[bins + 1]` and `centres` `[bins]`, f32 on the device; fills `codes` `[rows, width]`
    /// and `index` `[rows, width]` u32. Values beyond the outer edges belong to the outer bins, NaN to the first.
    ///
    /// # Errors
    /// Without bins, or if the launch fails.
    pub fn quantile(
        &self,
        gpu: &dyn Gpu,
        [edges, centres]: [Pointer; 2],
        bins: usize,
        [codes, index]: [Pointer; 2],
    ) -> Result<()> {
        if bins == 0 {
            bail!("quantile: expected at least one bin");
        }
        let count = self.rows * self.width;
        let arguments = Arguments::new().pointers(&[self.z, edges, centres, codes, index]).counts(&[count, bins]);
        self.launch(gpu, "quantile_forward", count, arguments)
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
