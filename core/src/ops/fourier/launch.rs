//! Launches of the sinusoidal encodings.

use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::Result;

/// Coordinates and frequencies.
#[derive(Clone, Copy, Debug)]
pub struct Angles {
    /// Of the encodings; coordinates and frequencies are f32.
    pub number: Number,
    /// Coordinates.
    pub count: usize,
    /// Frequencies.
    pub frequencies_count: usize,
    /// `[count]`.
    pub x: Pointer,
    /// `[frequencies_count]`, radians per unit of a coordinate.
    pub frequencies: Pointer,
}

impl Angles {
    /// `out` `[count, 2 frequencies]`: all sines of a coordinate, then its cosines.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, out: Pointer) -> Result<()> {
        let angles = self.count * self.frequencies_count;
        if angles == 0 {
            return Ok(());
        }
        let arguments =
            Arguments::new().pointers(&[self.x, self.frequencies, out]).counts(&[self.count, self.frequencies_count]);
        let name = format!("fourier_forward_{}", self.number.name());
        gpu.launch(&name, Geometry::per_item(angles, 256), arguments)
    }

    /// `dx` `[count]` f32 from the gradient of the encodings.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn backward(&self, gpu: &dyn Gpu, dout: Pointer, dx: Pointer) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let arguments = Arguments::new()
            .pointers(&[self.x, self.frequencies, dout, dx])
            .counts(&[self.count, self.frequencies_count]);
        let name = format!("fourier_backward_{}", self.number.name());
        gpu.launch(&name, Geometry::new(self.count.div_ceil(8), 256), arguments)
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
