//! Attention on a CUDA device: for rows in which all heads lie side by side, and for heads one behind the other.

use super::{Attention, OP, scale_for};
use crate::ops::gpu::attention::{Inputs, Masked, Problem, Rows};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Gpu, Memory, Number, Pointer, tensors};
use crate::ops::kept::Kept;
use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

/// Which keys are valid, and what the forward pass leaves for the backward pass beside its result: an operation of candle's
/// gives only that.
#[derive(Default)]
pub(super) struct OnDevice {
    valid: Option<Tensor>,
    statistics: Kept<Box<dyn Memory>>,
}

impl OnDevice {
    /// With contiguous `valid` u8, of all keys.
    pub(super) fn new(valid: Tensor) -> Self {
        Self { valid: Some(valid.detach()), ..Self::default() }
    }
}

/// Objects of equal numbers of queries and of keys.
#[derive(Clone, Copy)]
struct Batch {
    objects: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    /// Of all heads together.
    width: usize,
}

/// A problem with the tables on the device that it points to.
struct Prepared {
    problem: Problem,
    _mask: Masked,
    _starts: [Box<dyn Memory>; 2],
}

impl Batch {
    fn prepare(self, gpu: &Cuda, number: Number, attention: &Attention) -> Result<Prepared> {
        let mask = Masked::new(gpu, &attention.mask, self.queries, self.keys)?;
        let starts = |what: &str, each: usize| -> Result<Box<dyn Memory>> {
            let starts =
                (0..=self.objects).map(|object| u32::try_from(object * each).map_err(candle_core::Error::wrap));
            let starts = starts.collect::<Result<Vec<_>>>()?;
            tensors::upload(gpu, what, starts.into_iter().map(u32::to_ne_bytes))
        };
        let starts = [starts("starts of queries", self.queries)?, starts("starts of keys", self.keys)?];
        let width = self.width / self.heads;
        let problem = Problem {
            number,
            heads: self.heads,
            width,
            sequences: self.objects,
            queries: self.objects * self.queries,
            longest_queries: self.queries,
            longest_keys: self.keys,
            query_starts: starts[0].pointer(),
            key_starts: starts[1].pointer(),
            key_valid: attention
                .on_device
                .valid
                .as_ref()
                .map_or(Ok(Pointer::NULL), |valid| tensors::bytes(OP, valid))?,
            visits: mask.visits,
            causal: mask.causal,
            scale: scale_for(&attention.mask, width),
        };
        Ok(Prepared { problem, _mask: mask, _starts: starts })
    }

    /// Results; keeps what the backward pass needs of the forward pass.
    fn forward(self, gpu: &Cuda, problem: &Problem, inputs: Inputs, (out, kept): (Pointer, &OnDevice)) -> Result<()> {
        let statistics = gpu.allocate("statistics", problem.statistics_bytes())?;
        problem.forward(gpu, inputs, self.row(out), statistics.pointer())?;
        kept.statistics.set(statistics);
        Ok(())
    }

    /// Rows of queries or results alone.
    fn row(self, pointer: Pointer) -> Rows {
        Rows { pointer, stride: self.width }
    }

    /// Parts of rows that hold `parts` of them side by side.
    fn part(self, pointer: Pointer, number: Number, part: usize, parts: usize) -> Rows {
        Rows { pointer: pointer.at(part * self.width, number), stride: parts * self.width }
    }

    fn of_self(self, qkv: Pointer, number: Number) -> [Rows; 3] {
        [0, 1, 2].map(|part| self.part(qkv, number, part, 3))
    }

    fn of_cross(self, q: Pointer, kv: Pointer, number: Number) -> [Rows; 3] {
        [self.row(q), self.part(kv, number, 0, 2), self.part(kv, number, 1, 2)]
    }

    fn of_qkv(dims: (usize, usize, usize), heads: usize) -> Self {
        Self { objects: dims.0, queries: dims.1, keys: dims.1, heads, width: dims.2 / 3 }
    }

    /// Each head of each object is an object of its own.
    fn of_heads(q: (usize, usize, usize, usize), k: (usize, usize, usize, usize)) -> Self {
        Self { objects: q.0 * q.1, queries: q.2, keys: k.2, heads: 1, width: q.3 }
    }

    fn of_q_and_kv(q: (usize, usize, usize), kv: (usize, usize, usize), heads: usize) -> Self {
        Self { objects: q.0, queries: q.1, keys: kv.1, heads, width: q.2 }
    }
}

/// `out` `[B, T, D]` of `qkv` `[B, T, 3 D]`.
pub(super) fn self_forward(
    heads: usize,
    mask: &Attention,
    (qkv, layout): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let batch = Batch::of_qkv(layout.shape().dims3()?, heads);
    let (pointer, number) = tensors::values(OP, qkv, layout)?;
    let gpu = Cuda::new(&qkv.device)?;
    let prepared = batch.prepare(&gpu, number, mask)?;
    let shape = Shape::from((batch.objects, batch.queries, batch.width));
    let (storage, out) = tensors::storage(&qkv.device, number, shape.elem_count())?;
    let [q, k, v] = batch.of_self(pointer, number);
    batch.forward(&gpu, &prepared.problem, Inputs { q, k, v }, (out, &mask.on_device))?;
    Ok((storage, shape))
}

/// The gradient of `qkv`.
pub(super) fn self_backward(heads: usize, mask: &Attention, [qkv, out, grad]: [&Tensor; 3]) -> Result<Tensor> {
    let batch = Batch::of_qkv(qkv.dims3()?, heads);
    tensors::with_tensors(OP, [qkv, out, grad], |device, gpu, [pointer, out, dout], number| {
        let prepared = batch.prepare(gpu, number, mask)?;
        let [q, k, v] = batch.of_self(pointer, number);
        let (storage, dqkv) = tensors::storage(device, number, qkv.elem_count())?;
        let both = [batch.row(out), batch.row(dout)];
        let gradients = batch.of_self(dqkv, number);
        mask.on_device.statistics.with(OP, |statistics| {
            prepared.problem.backward(gpu, Inputs { q, k, v }, both, statistics.pointer(), gradients)
        })?;
        Ok(tensors::tensor(storage, qkv.shape()))
    })
}

/// `out` `[B, Q, D]` of `q` `[B, Q, D]` and `kv` `[B, T, 2 D]`.
pub(super) fn cross_forward(
    heads: usize,
    mask: &Attention,
    inputs: [(&CudaStorage, &Layout); 2],
) -> Result<(CudaStorage, Shape)> {
    let [(storage, q_layout), (_, kv_layout)] = inputs;
    let batch = Batch::of_q_and_kv(q_layout.shape().dims3()?, kv_layout.shape().dims3()?, heads);
    let ([q, kv], number) = tensors::inputs(OP, inputs)?;
    let device = &storage.device;
    let gpu = Cuda::new(device)?;
    let prepared = batch.prepare(&gpu, number, mask)?;
    let (storage, out) = tensors::storage(device, number, q_layout.shape().elem_count())?;
    let [q, k, v] = batch.of_cross(q, kv, number);
    batch.forward(&gpu, &prepared.problem, Inputs { q, k, v }, (out, &mask.on_device))?;
    Ok((storage, q_layout.shape().clone()))
}

/// The gradients of `q` and `kv`.
pub(super) fn cross_backward(heads: usize, mask: &Attention, [q, kv, out, grad]: [&Tensor; 4]) -> Result<[Tensor; 2]> {
    let batch = Batch::of_q_and_kv(q.dims3()?, kv.dims3()?, heads);
    tensors::with_tensors(OP, [q, kv, out, grad], |device, gpu, [q_pointer, kv_pointer, out, dout], number| {
        let prepared = batch.prepare(gpu, number, mask)?;
        let [q_rows, k, v] = batch.of_cross(q_pointer, kv_pointer, number);
        let (dq, dq_pointer) = tensors::storage(device, number, q.elem_count())?;
        let (dkv, dkv_pointer) = tensors::storage(device, number, kv.elem_count())?;
        let gradients = batch.of_cross(dq_pointer, dkv_pointer, number);
        let both = [batch.row(out), batch.row(dout)];
        mask.on_device.statistics.with(OP, |statistics| {
            prepared.problem.backward(gpu, Inputs { q: q_rows, k, v }, both, statistics.pointer(), gradients)
        })?;
        Ok([tensors::tensor(dq, q.shape()), tensors::tensor(dkv, kv.shape())])
    })
}

/// `out` `[B, H, Q, K]` of `q` `[B, H, Q, K]`, and `k` and `v` `[B, H, T, K]`.
pub(super) fn heads_forward(mask: &Attention, inputs: [(&CudaStorage, &Layout); 3]) -> Result<(CudaStorage, Shape)> {
    let [(storage, q_layout), (_, k_layout), _] = inputs;
    let batch = Batch::of_heads(q_layout.shape().dims4()?, k_layout.shape().dims4()?);
    let (pointers, number) = tensors::inputs(OP, inputs)?;
    let device = &storage.device;
    let gpu = Cuda::new(device)?;
    let prepared = batch.prepare(&gpu, number, mask)?;
    let (storage, out) = tensors::storage(device, number, q_layout.shape().elem_count())?;
    let [q, k, v] = pointers.map(|pointer| batch.row(pointer));
    batch.forward(&gpu, &prepared.problem, Inputs { q, k, v }, (out, &mask.on_device))?;
    Ok((storage, q_layout.shape().clone()))
}

/// The gradients of `q`, `k` and `v`.
pub(super) fn heads_backward(mask: &Attention, [q, k, v, out, grad]: [&Tensor; 5]) -> Result<[Tensor; 3]> {
    let batch = Batch::of_heads(q.dims4()?, k.dims4()?);
    tensors::with_tensors(OP, [q, k, v, out, grad], |device, gpu, pointers, number| {
        let prepared = batch.prepare(gpu, number, mask)?;
        let [q_rows, k_rows, v_rows, out, dout] = pointers.map(|pointer| batch.row(pointer));
        let (dq, dq_pointer) = tensors::storage(device, number, q.elem_count())?;
        let (dk, dk_pointer) = tensors::storage(device, number, k.elem_count())?;
        let (dv, dv_pointer) = tensors::storage(device, number, v.elem_count())?;
        let gradients = [dq_pointer, dk_pointer, dv_pointer].map(|pointer| batch.row(pointer));
        let inputs = Inputs { q: q_rows, k: k_rows, v: v_rows };
        mask.on_device.statistics.with(OP, |statistics| {
            prepared.problem.backward(gpu, inputs, [out, dout], statistics.pointer(), gradients)
        })?;
        Ok([(dq, q), (dk, k), (dv, v)].map(|(storage, like)| tensors::tensor(storage, like.shape())))
    })
}
