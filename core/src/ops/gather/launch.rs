//! Launches of the kernels that move rows by index.

use super::{Arguments, Geometry, Gpu, Memory, Number, Pointer};
use candle_core::{Result, bail};

const OP: &str = "gather";

/// The index of a row of zeros.
pub const NO_ROW: u32 = u32::MAX;

/// An index and its inverse, on a device.
pub struct Index {
    index: Box<dyn Memory>,
    starts: Box<dyn Memory>,
    order: Box<dyn Memory>,
    gathered: usize,
    rows: usize,
}

impl Index {
    /// Puts `index` on the device: which of `rows` rows, or [`NO_ROW`].
    ///
    /// # Errors
    /// If an index has no row, or there is not enough memory.
    pub fn new(gpu: &dyn Gpu, index: &[u32], rows: usize) -> Result<Self> {
        // Sorted by counting, which keeps the order of equal ones.
        let mut starts = vec![0_u32; rows + 1];
        for &row in index.iter().filter(|&&row| row != NO_ROW) {
            match starts.get_mut(row as usize + 1) {
                Some(count) => *count += 1,
                None => bail!("{OP}: index {row} of {rows} rows"),
            }
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; starts[rows] as usize];
        for (place, &row) in (0_u32..).zip(index) {
            if row != NO_ROW {
                order[next[row as usize] as usize] = place;
                next[row as usize] += 1;
            }
        }
        let on_device = |what: &str, values: &[u32]| -> Result<Box<dyn Memory>> {
            let mut memory = gpu.allocate(what, values.len() * 4)?;
            memory.write(&values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>())?;
            Ok(memory)
        };
        Ok(Self {
            index: on_device("index", index)?,
            starts: on_device("starts of the inverse index", &starts)?,
            order: on_device("inverse index", &order)?,
            gathered: index.len(),
            rows,
        })
    }

    /// `out[i] = table[index[i]]`: `table` `[rows, width]`, `out` `[indices, width]`.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn gather(&self, gpu: &dyn Gpu, number: Number, width: usize, table: Pointer, out: Pointer) -> Result<()> {
        let whole = number.are_whole(width, &[table, out]);
        let arguments =
            Arguments::new().pointers(&[table, self.index.pointer(), out]).counts(&[self.gathered, width]).flag(whole);
        launch(gpu, "gather", number, [self.gathered, width], arguments)
    }

    /// The gradient of [`Index::gather`], which is also a scatter that adds: `out[index[i]] += from[i]`
    /// on zeros; `from` `[indices, width]`, `out` `[rows, width]`. The order of a sum is that of the index.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn scatter(&self, gpu: &dyn Gpu, number: Number, width: usize, from: Pointer, out: Pointer) -> Result<()> {
        let whole = number.are_whole(width, &[from, out]);
        let arguments = Arguments::new()
            .pointers(&[from, self.starts.pointer(), self.order.pointer(), out])
            .counts(&[self.rows, width])
            .flag(whole);
        launch(gpu, "gather_sum", number, [self.rows, width], arguments)
    }
}

fn launch(gpu: &dyn Gpu, name: &str, number: Number, [rows, width]: [usize; 2], arguments: Arguments) -> Result<()> {
    let items = rows * width.div_ceil(number.per_vector());
    if items == 0 {
        return Ok(());
    }
    gpu.launch(&format!("{name}_{}", number.name()), Geometry::per_item(items, 256), arguments)
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
