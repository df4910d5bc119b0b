//! Launches of the contrastive losses.

use super::{Arguments, Geometry, Gpu, Number, Pointer};
use candle_core::{Result, bail};

const OP: &str = "pair loss";

const BLOCK_ROWS: usize = 64;
/// Columns of a gradient per block.
const OUT: usize = 128;
/// Of `width`, at a time.
const CHUNK: usize = 64;

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Softmax over all partners, from both sides.
    InfoNce,
    /// Each pair on its own: a match or not.
    Sigmoid,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::InfoNce => "softmax",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// Pairs of embeddings: row `i` of `x` belongs to row `i` of `y`.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    /// Which loss.
    pub form: Form,
    /// Of embeddings and their gradients.
    pub number: Number,
    /// Pairs.
    pub count: usize,
    /// Of an embedding: a multiple of 8 (bf16) or 4 (f32).
    pub width: usize,
    /// `[count, width]`.
    pub x: Pointer,
    /// `[count, width]`.
    pub y: Pointer,
    /// `[1]` f32: what products are multiplied by.
    pub scale: Pointer,
    /// `[1]` f32: what is added then; for [`Form::Sigmoid`].
    pub bias: Pointer,
}

/// Where gradients go.
#[derive(Clone, Copy, Debug)]
pub struct Gradients {
    /// `[count, width]`.
    pub x: Pointer,
    /// `[count, width]`.
    pub y: Pointer,
    /// `[1]` f32.
    pub scale: Pointer,
    /// `[1]` f32; null for [`Form::InfoNce`].
    pub bias: Pointer,
}

impl Pairs {
    /// Bytes of what the forward pass leaves for the backward pass.
    #[must_use]
    pub fn statistics_bytes(&self) -> usize {
        2 * self.side_bytes()
    }

    /// Of one of the two sides.
    fn side_bytes(&self) -> usize {
        self.count * 8
    }

    fn check(&self, arrays: &[Pointer]) -> Result<()> {
        let vector = self.number.per_vector();
        if self.width == 0 || !self.width.is_multiple_of(vector) || !arrays.iter().all(|array| array.is_aligned()) {
            bail!("{OP}: expected embeddings of a width that is a multiple of {vector} on a GPU, got {}", self.width);
        }
        Ok(())
    }

    fn arguments(&self, rows: Pointer, columns: Pointer) -> Arguments {
        let pointers = [rows, columns, self.scale, self.bias];
        Arguments::new().pointers(&pointers).counts(&[self.count, self.width])
    }

    /// Shared memory for two chunks of rows and of columns.
    fn pieces(&self) -> usize {
        4 * BLOCK_ROWS * CHUNK * self.number.bytes()
    }

    fn sides(&self, statistics: Pointer) -> [(Pointer, Pointer, Pointer, Pointer); 2] {
        let other = Pointer(statistics.0 + self.side_bytes() as u64);
        [(self.x, self.y, statistics, other), (self.y, self.x, other, statistics)]
    }

    /// `loss` `[1]` f32; fills `statistics`. Without pairs the loss is 0.
    ///
    /// # Errors
    /// For a width that kernels don't take, if there is not enough memory, or a launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, loss: Pointer, statistics: Pointer) -> Result<()> {
        self.check(&[self.x, self.y])?;
        let sides = if self.form == Form::InfoNce { 2 } else { 1 };
        let losses = gpu.allocate("losses of rows", sides * self.count * 4)?;
        if self.count > 0 {
            let geometry =
                Geometry { grid: [self.count.div_ceil(BLOCK_ROWS), 1, 1], threads: 128, shared: self.pieces() };
            for (side, (rows, columns, own, _)) in self.sides(statistics).into_iter().enumerate().take(sides) {
                let losses = losses.pointer().at(side * self.count, Number::F32);
                let arguments = self.arguments(rows, columns).pointers(&[losses, own]);
                gpu.launch(&format!("pair_{}_forward_{}", self.form.name(), self.number.name()), geometry, arguments)?;
            }
        }
        let count = sides * self.count;
        sum(gpu, losses.pointer(), loss, count, 1.0 / count.max(1) as f32)
    }

    /// Gradients from that of the loss, `upstream` `[1]` f32.
    ///
    /// # Errors
    /// As [`Pairs::forward`].
    pub fn backward(&self, gpu: &dyn Gpu, statistics: Pointer, upstream: Pointer, gradients: Gradients) -> Result<()> {
        self.check(&[self.x, self.y, gradients.x, gradients.y])?;
        let blocks = self.count.div_ceil(BLOCK_ROWS);
        let partial = gpu.allocate("partial sums", 2 * blocks * 4)?;
        if self.count > 0 {
            let shared = self.pieces() + BLOCK_ROWS * OUT * self.number.bytes() + 32;
            let geometry = Geometry { grid: [blocks, self.width.div_ceil(OUT), 1], threads: 128, shared };
            let outs = [(gradients.x, partial.pointer()), (gradients.y, Pointer::NULL)];
            for ((rows, columns, own, other), (out, partial)) in self.sides(statistics).into_iter().zip(outs) {
                let arguments = self.arguments(rows, columns).pointers(&[own, other, upstream, out, partial]);
                gpu.launch(&format!("pair_{}_backward_{}", self.form.name(), self.number.name()), geometry, arguments)?;
            }
        }
        sum(gpu, partial.pointer(), gradients.scale, blocks, 1.0)?;
        if gradients.bias != Pointer::NULL {
            sum(gpu, partial.pointer().at(blocks, Number::F32), gradients.bias, blocks, 1.0)?;
        }
        Ok(())
    }
}

fn sum(gpu: &dyn Gpu, values: Pointer, out: Pointer, count: usize, factor: f32) -> Result<()> {
    let arguments = Arguments::new().pointers(&[values, out]).count(count).float(factor);
    gpu.launch("pair_sum", Geometry::new(1, 256), arguments)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
