//! Quantizers on a CUDA device: values and codes in one pass.

use super::{FSQ, LFQ, QUANTILE, Quantized};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::quantize::Latents;
use crate::ops::gpu::{Memory, Number, Pointer, tensors};
use crate::ops::kept::Kept;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Which quantizer, with its numbers.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// With levels.
    Fsq(&'a [u32]),
    /// Signs.
    Lfq,
    /// With edges and centres.
    Quantile(&'a [f32], &'a [f32]),
}

/// Values and codes `[codes]` of `z`, which is checked.
pub(super) fn quantize(z: &Tensor, codes: Shape, kind: Kind<'_>) -> Result<Quantized> {
    let Device::Cuda(device) = z.device() else { bail!("{}: expected tensors on a CUDA device", kind.op()) };
    let gpu = Cuda::new(device)?;
    let floats =
        |what: &str, values: &mut dyn Iterator<Item = f32>| tensors::upload(&gpu, what, values.map(f32::to_ne_bytes));
    let tables = match kind {
        Kind::Fsq(levels) => vec![floats("levels", &mut levels.iter().map(|levels| *levels as f32))?],
        Kind::Lfq => Vec::new(),
        Kind::Quantile(edges, centres) => {
            vec![floats("edges", &mut edges.iter().copied())?, floats("centres", &mut centres.iter().copied())?]
        }
    };
    let bins = if let Kind::Quantile(_, centres) = kind { centres.len() } else { 0 };
    let kept = Arc::new(Kept::default());
    let op = Quantizer { op: kind.op(), tables, bins, codes: kept.clone(), codes_of: codes.clone() };
    let values = z.contiguous()?.apply_op1(op)?;
    match kept.take() {
        Some(storage) => Ok(Quantized { values, codes: tensors::tensor(storage, &codes) }),
        None => bail!("{}: a forward pass without codes", kind.op()),
    }
}

impl Kind<'_> {
    fn op(self) -> &'static str {
        match self {
            Self::Fsq(_) => FSQ,
            Self::Lfq => LFQ,
            Self::Quantile(..) => QUANTILE,
        }
    }
}

struct Quantizer {
    op: &'static str,
    /// Levels, or edges and centres.
    tables: Vec<Box<dyn Memory>>,
    bins: usize,
    codes: Arc<Kept<CudaStorage>>,
    codes_of: Shape,
}

impl Quantizer {
    fn table(&self, number: usize) -> Pointer {
        self.tables.get(number).map_or(Pointer::NULL, |table| table.pointer())
    }

    /// Bins have no rows: each value is one.
    fn latents(&self, number: Number, shape: &Shape, z: Pointer) -> Latents {
        let width = if self.op == QUANTILE { 1 } else { shape.dims().last().copied().unwrap_or(1) };
        Latents { number, rows: shape.elem_count().checked_div(width).unwrap_or(0), width, z }
    }
}

impl CustomOp1 for Quantizer {
    fn name(&self) -> &'static str {
        self.op
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{}: expected tensors on a CUDA device", self.op)
    }

    fn cuda_fwd(&self, z: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (pointer, number) = tensors::values(self.op, z, layout)?;
        let (storage, values) = tensors::storage(&z.device, number, layout.shape().elem_count())?;
        let (codes_storage, codes) = tensors::integers(&z.device, self.codes_of.elem_count())?;
        let (gpu, latents) = (Cuda::new(&z.device)?, self.latents(number, layout.shape(), pointer));
        match self.op {
            FSQ => latents.fsq(&gpu, self.table(0), values, codes)?,
            LFQ => latents.lfq(&gpu, values, codes)?,
            _ => latents.quantile(&gpu, [self.table(0), self.table(1)], self.bins, [values, codes])?,
        }
        self.codes.set(codes_storage);
        Ok((storage, layout.shape().clone()))
    }

    fn bwd(&self, z: &Tensor, _values: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        if self.op != FSQ {
            return Ok(Some(grad.clone()));
        }
        tensors::with_tensors(FSQ, [z, &grad.contiguous()?], |device, gpu, [pointer, dcodes], number| {
            let (storage, dz) = tensors::storage(device, number, z.elem_count())?;
            self.latents(number, z.shape(), pointer).fsq_backward(gpu, self.table(0), dcodes, dz)?;
            Ok(Some(tensors::tensor(storage, z.shape())))
        })
    }
}
