//! Launches of the attention kernels.

use super::{Arguments, Geometry, Gpu, Memory, Number, Pointer};
use crate::ops::Mask;
use candle_core::{Result, bail};

const OP: &str = "attention";

/// Rows of a block's result.
const BLOCK_ROWS: usize = 64;

/// Widths of a head that kernels are compiled for; others are padded to the next.
const WIDTHS: [usize; 5] = [16, 32, 64, 96, 128];

/// Rows in which all heads lie side by side.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Head 0 of the first row.
    pub pointer: Pointer,
    /// From a row to the next, in numbers.
    pub stride: usize,
}

/// Which tiles of 64 queries by 64 keys are visited at all, by a table of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Visits {
    /// `[sequences or 1, rows, columns]`, 0 for tiles that are left out.
    pub table: Pointer,
    /// Tiles along the queries of the longest sequence, or more.
    pub rows: usize,
    /// Tiles along the keys of the longest sequence, or more.
    pub columns: usize,
    /// Whether each sequence has a table of its own.
    pub per_sequence: bool,
}

/// A mask as kernels take it.
pub struct Masked {
    /// For [`Problem::causal`].
    pub causal: bool,
    /// For [`Problem::visits`].
    pub visits: Option<Visits>,
    _table: Option<Box<dyn Memory>>,
}

impl Masked {
    /// For sequences of at most so many queries and keys; puts the table on the device if there is one.
    ///
    /// # Errors
    /// If blocks of a mask aren't whole tiles, or there is not enough memory.
    pub fn new(gpu: &dyn Gpu, mask: &Mask, queries: usize, keys: usize) -> Result<Self> {
        let Mask::Blocks(blocks) = mask else {
            return Ok(Self { causal: matches!(mask, Mask::Causal), visits: None, _table: None });
        };
        let tiles: Vec<u8> = blocks.tiles(BLOCK_ROWS, queries, keys)?.into_iter().map(u8::from).collect();
        let mut table = gpu.allocate("block mask", tiles.len())?;
        table.write(&tiles)?;
        let visits = Visits {
            table: table.pointer(),
            rows: queries.div_ceil(BLOCK_ROWS),
            columns: keys.div_ceil(BLOCK_ROWS),
            per_sequence: false,
        };
        Ok(Self { causal: false, visits: Some(visits), _table: Some(table) })
    }
}

/// What attends to what: sequences of any length, packed one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Problem {
    /// Of all rows.
    pub number: Number,
    /// How many.
    pub heads: usize,
    /// Of one head: a multiple of 8 (bf16) or 4 (f32), at most 128.
    pub width: usize,
    /// How many.
    pub sequences: usize,
    /// Of all sequences.
    pub queries: usize,
    /// Of the longest sequence.
    pub longest_queries: usize,
    /// Of the longest sequence.
    pub longest_keys: usize,
    /// `[sequences + 1]` i32: sequence `s` has the queries from entry `s` to before entry `s + 1`.
    pub query_starts: Pointer,
    /// The same for keys.
    pub key_starts: Pointer,
    /// `[keys]` u8, 0 for keys that get no weight, whatever they hold; null: all are valid.
    pub key_valid: Pointer,
    /// None: all tiles.
    pub visits: Option<Visits>,
    /// The last query sees all keys of its sequence, the one before it all but the last, and so on.
    pub causal: bool,
    /// Of the scores: `1 / sqrt(width)`.
    pub scale: f32,
}

/// Queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// Queries.
    pub q: Rows,
    /// Keys.
    pub k: Rows,
    /// Values.
    pub v: Rows,
}

impl Problem {
    /// Bytes of what the forward pass leaves for the backward pass.
    #[must_use]
    pub fn statistics_bytes(&self) -> usize {
        self.queries * self.heads * 8
    }

    /// `out = softmax(q kᵀ scale) v`; fills `statistics`.
    ///
    /// # Errors
    /// If rows are not aligned as wide accesses need, or the launch fails.
    pub fn forward(&self, gpu: &dyn Gpu, inputs: Inputs, out: Rows, statistics: Pointer) -> Result<()> {
        let Inputs { q, k, v } = inputs;
        let width = self.check(&[q, k, v, out])?;
        let keys = if width * self.number.bytes() > 256 { 32 } else { 64 };
        let shared = (BLOCK_ROWS + 4 * keys) * width * self.number.bytes() + 2 * keys;
        let arguments = self
            .arguments()
            .pointers(&[q.pointer, k.pointer, v.pointer, out.pointer, statistics])
            .counts(&[q.stride, k.stride, v.stride, out.stride]);
        self.launch(gpu, "forward", width, (self.longest_queries, shared), arguments)
    }

    /// Gradients of `q`, `k` and `v` from that of `out`.
    ///
    /// # Errors
    /// If rows are not aligned as wide accesses need, there is not enough memory, or a launch fails.
    pub fn backward(
        &self,
        gpu: &dyn Gpu,
        inputs: Inputs,
        [out, dout]: [Rows; 2],
        statistics: Pointer,
        [dq, dk, dv]: [Rows; 3],
    ) -> Result<()> {
        let Inputs { q, k, v } = inputs;
        let width = self.check(&[q, k, v, out, dout, dq, dk, dv])?;
        let delta = gpu.allocate("attention delta", self.queries * self.heads * 4)?;
        let pairs = self.queries * self.heads;
        if pairs > 0 {
            let arguments = Arguments::new().pointers(&[out.pointer, dout.pointer, delta.pointer()]).counts(&[
                self.queries,
                self.heads,
                self.width,
                out.stride,
                dout.stride,
            ]);
            gpu.launch(
                &format!("attention_delta_{}", self.number.name()),
                Geometry::new(pairs.div_ceil(4), 128),
                arguments,
            )?;
        }
        let bytes = self.number.bytes();
        // As `other_rows` of the kernels.
        let others = match width {
            ..=64 => 64,
            97.. if self.number == Number::F32 => 16,
            _ => 32,
        };
        let tiles = (2 * BLOCK_ROWS + 4 * others) * width * bytes;
        let read =
            || self.arguments().pointers(&[q.pointer, k.pointer, v.pointer, dout.pointer, statistics, delta.pointer()]);
        let strides = [q.stride, k.stride, v.stride, dout.stride];
        let arguments = read().pointers(&[dk.pointer, dv.pointer]).counts(&strides).counts(&[dk.stride, dv.stride]);
        self.launch(gpu, "backward_key", width, (self.longest_keys, tiles + 6 * others * 4), arguments)?;
        let arguments = read().pointer(dq.pointer).counts(&strides).count(dq.stride);
        self.launch(gpu, "backward_query", width, (self.longest_queries, tiles + 2 * others), arguments)
    }

    /// The struct `Problem` of the kernels.
    fn arguments(&self) -> Arguments {
        let (table, columns, stride) = match self.visits {
            None => (Pointer::NULL, 0, 0),
            Some(visits) => {
                (visits.table, visits.columns, if visits.per_sequence { visits.rows * visits.columns } else { 0 })
            }
        };
        Arguments::new()
            .pointers(&[self.query_starts, self.key_starts, self.key_valid, table])
            .counts(&[columns, stride, self.queries, self.width])
            .flag(self.causal)
            .float(self.scale)
    }

    fn launch(
        &self,
        gpu: &dyn Gpu,
        pass: &str,
        width: usize,
        (longest, shared): (usize, usize),
        arguments: Arguments,
    ) -> Result<()> {
        let grid = [longest.div_ceil(BLOCK_ROWS), self.heads, self.sequences];
        if grid.contains(&0) {
            return Ok(());
        }
        let geometry = Geometry { grid, threads: 128, shared };
        gpu.launch(&format!("attention_{pass}_{width}_{}", self.number.name()), geometry, arguments)
    }

    /// The width of the kernels to use.
    fn check(&self, rows: &[Rows]) -> Result<usize> {
        let vector = self.number.per_vector();
        let Some(width) = WIDTHS.into_iter().find(|&width| width >= self.width && self.width > 0) else {
            bail!("{OP}: expected heads of width 1 to 128 on a GPU, got {}", self.width);
        };
        if !self.width.is_multiple_of(vector) {
            bail!("{OP}: expected heads of a width that is a multiple of {vector} on a GPU, got {}", self.width);
        }
        for rows in rows {
            if !rows.pointer.is_aligned() || !rows.stride.is_multiple_of(vector) {
                bail!("{OP}: expected rows that begin at multiples of 16 bytes, got stride {}", rows.stride);
            }
        }
        let most = 65_535; // of a grid along y and z
        if self.heads > most || self.sequences > most {
            bail!("{OP}: expected at most {most} heads and sequences, got {} and {}", self.heads, self.sequences);
        }
        if let Some(visits) = self.visits
            && (visits.rows < self.longest_queries.div_ceil(BLOCK_ROWS)
                || visits.columns < self.longest_keys.div_ceil(BLOCK_ROWS))
        {
            bail!("{OP}: a table of {} x {} tiles is too small", visits.rows, visits.columns);
        }
        Ok(width)
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
