//! Sums over the rows of a matrix, in two steps: the first belongs to the op (see `column_sums.cuh`).

use super::{Arguments, Geometry, Gpu, Memory, Number, Pointer};
use candle_core::Result;

/// Partial sums of chunks of rows.
pub struct Partial {
    /// `[chunks, sums, width]` f32.
    pub memory: Box<dyn Memory>,
    /// Of the first step: one block per 32 columns and chunk.
    pub geometry: Geometry,
    /// Rows of a chunk.
    pub rows_per_chunk: usize,
    chunks: usize,
    width: usize,
    sums: usize,
}

impl Partial {
    /// Room for `sums` sums per column. How rows are cut depends on the shape alone.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(gpu: &dyn Gpu, rows: usize, width: usize, sums: usize) -> Result<Self> {
        // Enough chunks to fill a device where columns are few, and few enough that adding them costs nothing.
        let rows_per_chunk = rows.div_ceil(64).max(64);
        let chunks = rows.div_ceil(rows_per_chunk);
        let memory = gpu.allocate("partial sums", chunks * sums * width * 4)?;
        let geometry = Geometry { grid: [width.div_ceil(32), chunks, 1], threads: 256, shared: 0 };
        Ok(Self { memory, geometry, rows_per_chunk, chunks, width, sums })
    }

    /// Whether there is anything to sum: a launch without blocks is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks * self.width == 0
    }

    /// Adds the chunks: sum `sum` of each column goes to `out` `[width]`, which without rows is 0.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn finish(&self, gpu: &dyn Gpu, sum: usize, out: Pointer, number: Number) -> Result<()> {
        if self.width == 0 {
            return Ok(());
        }
        let arguments = Arguments::new()
            .pointer(self.memory.pointer().at(sum * self.width, Number::F32))
            .pointer(out)
            .counts(&[self.chunks, self.width, self.sums * self.width]);
        gpu.launch(&format!("column_sums_{}", number.name()), Geometry::per_item(self.width, 256), arguments)
    }
}
