//! Launches of what follows a matrix product: bias, activation, residual.

use super::column_sums::Partial;
use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::Result;

/// A function of each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)`.
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// `x sigmoid(x)`.
    Silu,
    /// `x` above 0, `exp(x) - 1` below.
    Elu,
    /// `x` above 0, 0 below.
    Relu,
    /// `silu(left half) * right half` of rows twice as wide.
    SwiGlu,
    /// The same with GELU.
    GeGlu,
}

impl Activation {
    fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Silu => "silu",
            Self::Elu => "elu",
            Self::Relu => "relu",
            Self::SwiGlu => "swiglu",
            Self::GeGlu => "geglu",
        }
    }

    /// Sums per column of the result.
    fn halves(self) -> usize {
        if matches!(self, Self::SwiGlu | Self::GeGlu) { 2 } else { 1 }
    }
}

/// Results of a matrix product, with a bias to be added.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Of all arrays.
    pub number: Number,
    /// How many.
    pub rows: usize,
    /// Of a row of the result.
    pub width: usize,
    /// `[rows, width]`; for a gated function `[rows, 2 width]`.
    pub x: Pointer,
    /// `[width]`, for a gated function `[2 width]`; may be null.
    pub bias: Pointer,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.rows * self.width == 0
    }

    /// One thread per 16 bytes of the result.
    fn geometry(&self) -> Geometry {
        Geometry::per_item(self.rows * self.width.div_ceil(self.number.per_vector()), 256)
    }

    /// `y = f(x + bias)`, `[rows, width]`.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, activation: Activation, y: Pointer) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let whole = self.number.are_whole(self.width, &[self.x, self.bias, y]);
        let arguments = Arguments::new().pointers(&[self.x, self.bias, y]).counts(&[self.rows, self.width]).flag(whole);
        gpu.launch(&format!("{}_forward_{}", activation.name(), self.number.name()), self.geometry(), arguments)
    }

    /// Gradients from that of `y`: `dx` like `x`, `dbias` like `bias` or null.
    ///
    /// # Errors
    /// If there is not enough memory or a launch fails.
    pub fn backward(
        &self,
        gpu: &dyn Gpu,
        activation: Activation,
        dy: Pointer,
        [dx, dbias]: [Pointer; 2],
    ) -> Result<()> {
        let partial = Partial::new(gpu, self.rows, self.width, activation.halves())?;
        if !partial.is_empty() {
            let arguments = Arguments::new()
                .pointers(&[self.x, self.bias, dy, dx, partial.memory.pointer()])
                .counts(&[self.rows, self.width, partial.rows_per_chunk]);
            let name = format!("{}_backward_{}", activation.name(), self.number.name());
            gpu.launch(&name, partial.geometry, arguments)?;
        }
        if dbias != Pointer::NULL {
            for half in 0..activation.halves() {
                partial.finish(gpu, half, dbias.at(half * self.width, self.number), self.number)?;
            }
        }
        Ok(())
    }

    /// `y = residual + x + bias`, without `residual` if that is null; `y` may be `x`. The gradient of `residual` and of `x` is
    /// that of `y`.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn add_residual(&self, gpu: &dyn Gpu, residual: Pointer, y: Pointer) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let whole = self.number.are_whole(self.width, &[self.x, self.bias, residual, y]);
        let arguments =
            Arguments::new().pointers(&[self.x, self.bias, residual, y]).counts(&[self.rows, self.width]).flag(whole);
        gpu.launch(&format!("residual_forward_{}", self.number.name()), self.geometry(), arguments)
    }
}

/// The gradient of a bias `[width]` that was added to rows: their gradients `dy` `[rows, width]`, summed.
///
/// # Errors
/// If there is not enough memory or a launch fails.
pub fn bias_gradient(
    gpu: &dyn Gpu,
    number: Number,
    [rows, width]: [usize; 2],
    dy: Pointer,
    dbias: Pointer,
) -> Result<()> {
    let partial = Partial::new(gpu, rows, width, 1)?;
    if !partial.is_empty() {
        let arguments =
            Arguments::new().pointers(&[dy, partial.memory.pointer()]).counts(&[rows, width, partial.rows_per_chunk]);
        gpu.launch(&format!("bias_backward_{}", number.name()), partial.geometry, arguments)?;
    }
    partial.finish(gpu, 0, dbias, number)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
