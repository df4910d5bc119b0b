//! Attention within sequences of any length on a CUDA device, packed one behind the other: queries, keys and values of a
//! token side by side in its row, or queries in rows of their own.

use super::{Mask, OP, scale_for};
use crate::ops::gpu::attention::{Inputs, Masked, Problem, Rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Gpu, Memory, Number, Pointer, tensors};
use crate::ops::kept::Kept;
use crate::ops::stack::Sequences;
use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Where sequences begin, on the device: once for all layers.
pub(in crate::ops) struct Starts {
    table: Box<dyn Memory>,
    /// Whether each row is a key, unless all are.
    valid: Option<Box<dyn Memory>>,
    sequences: usize,
    rows: usize,
    longest: usize,
}

impl Starts {
    /// Puts the tables on the device.
    pub(in crate::ops) fn new(device: &CudaDevice, sequences: &Sequences) -> Result<Self> {
        let gpu = Cuda::new(device)?;
        let ends = sequences.each().map(|(first, length)| first + length);
        let starts = std::iter::once(0).chain(ends).map(u32::try_from);
        let starts = starts.collect::<std::result::Result<Vec<u32>, _>>().map_err(candle_core::Error::wrap)?;
        let keys = sequences.fewer_keys().map(|keys| {
            let rows = sequences.each().zip(keys);
            rows.flat_map(|((_, length), keys)| (0..length).map(move |row| [u8::from(row < *keys)])).collect::<Vec<_>>()
        });
        Ok(Self {
            table: tensors::upload(&gpu, "starts of sequences", starts.iter().map(|s| s.to_ne_bytes()))?,
            valid: keys.map(|keys| tensors::upload(&gpu, "rows that are keys", keys)).transpose()?,
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
    qkv.contiguous()?.apply_op1(Varlen::new(qkv, (heads, columns / 3), mask, [starts, starts])?)
}

/// Attention of each sequence of queries to the sequence of keys and values with the same number, differentiable.
///
/// Shapes: `q` `[M, D]`, `kv` `[M_c, 2 D]`, f32 or bf16 on a CUDA device → `[M, D]`.
pub(in crate::ops) fn packed_cross_attention(
    q: &Tensor,
    kv: &Tensor,
    heads: usize,
    mask: &Mask,
    [queries, keys]: &[Arc<Starts>; 2],
) -> Result<Tensor> {
    let (rows, width) = q.dims2()?;
    if rows != queries.rows || heads == 0 || width % heads != 0 {
        bail!("{OP}: expected `q` of shape [{}, width] with {heads} heads, got {:?}", queries.rows, q.dims());
    }
    if kv.dims() != [keys.rows, 2 * width] || queries.sequences != keys.sequences {
        bail!("{OP}: expected `kv` of shape [{}, {}], got {:?}", keys.rows, 2 * width, kv.dims());
    }
    q.contiguous()?.apply_op2(&kv.contiguous()?, Varlen::new(q, (heads, width), mask, [queries, keys])?)
}

struct Varlen {
    heads: usize,
    /// D.
    width: usize,
    scale: f32,
    mask: Masked,
    queries: Arc<Starts>,
    keys: Arc<Starts>,
    statistics: Kept<Box<dyn Memory>>,
}

impl Varlen {
    fn new(
        q: &Tensor,
        (heads, width): (usize, usize),
        mask: &Mask,
        [queries, keys]: [&Arc<Starts>; 2],
    ) -> Result<Self> {
        Ok(Self {
            heads,
            width,
            scale: scale_for(mask, width / heads),
            mask: Masked::new(&Cuda::new(q.device().as_cuda_device()?)?, mask, queries.longest, keys.longest)?,
            queries: queries.clone(),
            keys: keys.clone(),
            statistics: Kept::default(),
        })
    }

    fn problem(&self, number: Number) -> Problem {
        Problem {
            number,
            heads: self.heads,
            width: self.width / self.heads,
            sequences: self.queries.sequences,
            queries: self.queries.rows,
            longest_queries: self.queries.longest,
            longest_keys: self.keys.longest,
            query_starts: self.queries.table.pointer(),
            key_starts: self.keys.table.pointer(),
            key_valid: self.keys.valid.as_ref().map_or(Pointer::NULL, |valid| valid.pointer()),
            visits: self.mask.visits,
            causal: self.mask.causal,
            scale: self.scale,
        }
    }

    /// Part of rows that hold `parts` of them side by side.
    fn part(&self, pointer: Pointer, number: Number, part: usize, parts: usize) -> Rows {
        Rows { pointer: pointer.at(part * self.width, number), stride: parts * self.width }
    }

    /// Queries, keys and values of rows that begin here.
    fn of_self(&self, qkv: Pointer, number: Number) -> [Rows; 3] {
        [0, 1, 2].map(|part| self.part(qkv, number, part, 3))
    }

    fn of_cross(&self, [q, kv]: [Pointer; 2], number: Number) -> [Rows; 3] {
        [self.results(q), self.part(kv, number, 0, 2), self.part(kv, number, 1, 2)]
    }

    fn results(&self, pointer: Pointer) -> Rows {
        Rows { pointer, stride: self.width }
    }

    fn forward(&self, device: &CudaDevice, number: Number, [q, k, v]: [Rows; 3]) -> Result<(CudaStorage, Shape)> {
        let gpu = Cuda::new(device)?;
        let problem = self.problem(number);
        let shape = Shape::from((self.queries.rows, self.width));
        let (storage, out) = tensors::storage(device, number, shape.elem_count())?;
        let statistics = gpu.allocate("statistics", problem.statistics_bytes())?;
        problem.forward(&gpu, Inputs { q, k, v }, self.results(out), statistics.pointer())?;
        self.statistics.set(statistics);
        Ok((storage, shape))
    }

    fn backward(
        &self,
        gpu: &Cuda,
        number: Number,
        [q, k, v]: [Rows; 3],
        both: [Pointer; 2],
        gradients: [Rows; 3],
    ) -> Result<()> {
        let both = both.map(|pointer| self.results(pointer));
        self.statistics.with(OP, |statistics| {
            self.problem(number).backward(gpu, Inputs { q, k, v }, both, statistics.pointer(), gradients)
        })
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
        self.forward(&qkv.device, number, self.of_self(pointer, number))
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        tensors::with_tensors(OP, [qkv, out, &grad.contiguous()?], |device, gpu, [pointer, out, dout], number| {
            let (storage, dqkv) = tensors::storage(device, number, qkv.elem_count())?;
            let [inputs, gradients] = [pointer, dqkv].map(|pointer| self.of_self(pointer, number));
            self.backward(gpu, number, inputs, [out, dout], gradients)?;
            Ok(Some(tensors::tensor(storage, qkv.shape())))
        })
    }
}

impl CustomOp2 for Varlen {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(&self, q: &CudaStorage, ql: &Layout, kv: &CudaStorage, kvl: &Layout) -> Result<(CudaStorage, Shape)> {
        let (pointers, number) = tensors::inputs(OP, [(q, ql), (kv, kvl)])?;
        self.forward(&q.device, number, self.of_cross(pointers, number))
    }

    fn bwd(&self, q: &Tensor, kv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let tensors = [q, kv, out, &grad.contiguous()?];
        tensors::with_tensors(OP, tensors, |device, gpu, [q_pointer, kv_pointer, out, dout], number| {
            let (dq, dq_pointer) = tensors::storage(device, number, q.elem_count())?;
            let (dkv, dkv_pointer) = tensors::storage(device, number, kv.elem_count())?;
            let inputs = self.of_cross([q_pointer, kv_pointer], number);
            let gradients = self.of_cross([dq_pointer, dkv_pointer], number);
            self.backward(gpu, number, inputs, [out, dout], gradients)?;
            Ok((Some(tensors::tensor(dq, q.shape())), Some(tensors::tensor(dkv, kv.shape()))))
        })
    }
}
