//! Attention within sequences of any length on a CUDA device, packed one behind the other: queries, keys and values of a
//! token side by side in its row.

use super::{Mask, OP, scale};
use crate::ops::gpu::attention::{Inputs, Masked, Problem, Rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Gpu, Memory, Number, Pointer, tensors};
use crate::ops::kept::Kept;
use crate::ops::stack::Sequences;
use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Where sequences begin, on the device: once for all layers.
pub(in crate::ops) struct Starts {
    table: Box<dyn Memory>,
    sequences: usize,
    rows: usize,
    longest: usize,
}

impl Starts {
    /// Puts the table on the device.
    pub(in crate::ops) fn new(device: &CudaDevice, sequences: &Sequences) -> Result<Self> {
        let ends = sequences.each().map(|(first, length)| first + length);
        let starts = std::iter::once(0).chain(ends).map(u32::try_from);
        let starts = starts.collect::<std::result::Result<Vec<u32>, _>>().map_err(candle_core::Error::wrap)?;
        Ok(Self {
            table: tensors::upload(&Cuda::new(device)?, "starts of sequences", starts.iter().map(|s| s.to_ne_bytes()))?,
            sequences: sequences.len(),
            rows: sequences.rows(),
            longest: sequences.each().map(|(_, length)| length).max().unwrap_or(0),
        })
    }
}

/// Attention of the tokens of each sequence to each other, differentiable.
///
/// Shapes: `qkv` `[M, 3 D]`, f32 or bf16 on a CUDA device → `[M, D]`.
pub(in crate::ops) fn packed_attention(
    qkv: &Tensor,
    heads: usize,
    mask: &Mask,
    starts: &Arc<Starts>,
) -> Result<Tensor> {
    let (rows, columns) = qkv.dims2()?;
    if rows != starts.rows || columns % 3 != 0 || heads == 0 || (columns / 3) % heads != 0 {
        bail!("{OP}: expected `qkv` of shape [{}, 3 x width] with {heads} heads, got {:?}", starts.rows, qkv.dims());
    }
    let mask = Masked::new(&Cuda::new(qkv.device().as_cuda_device()?)?, mask, starts.longest, starts.longest)?;
    let attention = Varlen { heads, width: columns / 3, mask, starts: starts.clone(), statistics: Kept::default() };
    qkv.contiguous()?.apply_op1(attention)
}

struct Varlen {
    heads: usize,
    /// D.
    width: usize,
    mask: Masked,
    starts: Arc<Starts>,
    statistics: Kept<Box<dyn Memory>>,
}

impl Varlen {
    fn problem(&self, number: Number) -> Problem {
        let Starts { table, sequences, rows, longest } = &*self.starts;
        let head_width = self.width / self.heads;
        Problem {
            number,
            heads: self.heads,
            width: head_width,
            sequences: *sequences,
            queries: *rows,
            longest_queries: *longest,
            longest_keys: *longest,
            query_starts: table.pointer(),
            key_starts: table.pointer(),
            key_valid: Pointer::NULL,
            visits: self.mask.visits,
            causal: self.mask.causal,
            scale: scale(head_width),
        }
    }

    /// Queries, keys and values of rows that begin here.
    fn parts(&self, qkv: Pointer, number: Number) -> [Rows; 3] {
        [0, 1, 2].map(|part| Rows { pointer: qkv.at(part * self.width, number), stride: 3 * self.width })
    }

    fn results(&self, pointer: Pointer) -> Rows {
        Rows { pointer, stride: self.width }
    }
}

impl CustomOp1 for Varlen {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (pointer, number) = tensors::values(OP, qkv, layout)?;
        let gpu = Cuda::new(&qkv.device)?;
        let problem = self.problem(number);
        let shape = Shape::from((self.starts.rows, self.width));
        let (storage, out) = tensors::storage(&qkv.device, number, shape.elem_count())?;
        let statistics = gpu.allocate("statistics", problem.statistics_bytes())?;
        let [q, k, v] = self.parts(pointer, number);
        problem.forward(&gpu, Inputs { q, k, v }, self.results(out), statistics.pointer())?;
        self.statistics.set(statistics);
        Ok((storage, shape))
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        tensors::with_tensors(OP, [qkv, out, &grad.contiguous()?], |device, gpu, [pointer, out, dout], number| {
            let (storage, dqkv) = tensors::storage(device, number, qkv.elem_count())?;
            let [q, k, v] = self.parts(pointer, number);
            let (both, gradients) = ([self.results(out), self.results(dout)], self.parts(dqkv, number));
            self.statistics.with(OP, |statistics| {
                self.problem(number).backward(gpu, Inputs { q, k, v }, both, statistics.pointer(), gradients)
            })?;
            Ok(Some(tensors::tensor(storage, qkv.shape())))
        })
    }
}
