//! AdamW over all tensors of a model on a CUDA device, in three launches a step.

use super::OP;
use crate::ops::gpu::Pointer;
use crate::ops::gpu::adamw::{AdamW, Report, Slot, Step};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::{Number, tensors};
use candle_core::{DType, Device, Result, Tensor, bail};

/// A tensor that learns, with its moments on the same device.
pub(crate) struct Learning {
    /// Contiguous f32, changed in place.
    pub(crate) parameter: Tensor,
    /// First and second.
    pub(crate) moments: [Tensor; 2],
    /// Multiple of a step's learning rate.
    pub(crate) rate: f64,
    /// Decoupled weight decay.
    pub(crate) decay: f64,
}

/// The optimizer of one device.
pub(crate) struct OnDevice {
    gpu: Cuda,
    tensors: Vec<Learning>,
    list: AdamW,
    /// Stands for gradients that there are not; as long as the longest parameter.
    zeros: Tensor,
}

impl std::fmt::Debug for OnDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDevice").field("tensors", &self.tensors.len()).finish_non_exhaustive()
    }
}

impl OnDevice {
    /// For these tensors, after `steps` steps.
    pub(crate) fn new(device: &Device, tensors: Vec<Learning>, steps: u64) -> Result<Self> {
        let Device::Cuda(cuda) = device else { bail!("{OP}: expected a CUDA device") };
        let gpu = Cuda::new(cuda)?;
        let mut slots = Vec::with_capacity(tensors.len());
        for Learning { parameter, moments: [first, second], rate, decay } in &tensors {
            slots.push(Slot {
                parameter: pointer(parameter)?,
                first: pointer(first)?,
                second: pointer(second)?,
                copy: Pointer::NULL,
                count: parameter.elem_count(),
                rate: *rate as f32,
                decay: *decay as f32,
            });
        }
        let longest = tensors.iter().map(|own| own.parameter.elem_count()).max().unwrap_or(0);
        let steps = u32::try_from(steps).map_err(candle_core::Error::wrap)?;
        let list = AdamW::new(&gpu, Number::F32, &slots, steps)?;
        Ok(Self { gpu, tensors, list, zeros: Tensor::zeros(longest.max(1), DType::F32, device)? })
    }

    /// One step with the gradients of the tensors, in their order. The host waits once, at the end, for the norm.
    pub(crate) fn step(&mut self, gradients: &[Option<&Tensor>], step: Step) -> Result<Report> {
        if gradients.len() != self.tensors.len() {
            bail!("{OP}: expected {} gradients, got {}", self.tensors.len(), gradients.len());
        }
        let mut pointers = Vec::with_capacity(gradients.len());
        for (gradient, own) in gradients.iter().zip(&self.tensors) {
            match gradient {
                Some(gradient) if gradient.elem_count() != own.parameter.elem_count() => {
                    bail!("{OP}: expected a gradient of shape {:?}, got {:?}", own.parameter.dims(), gradient.dims())
                }
                Some(gradient) => pointers.push(pointer(gradient)?),
                None => pointers.push(pointer(&self.zeros)?),
            }
        }
        self.list.step(&self.gpu, &pointers, step)?;
        self.list.report()
    }

    /// First and second moments of a tensor.
    pub(crate) fn moments(&self, number: usize) -> Option<&[Tensor; 2]> {
        self.tensors.get(number).map(|own| &own.moments)
    }
}

fn pointer(tensor: &Tensor) -> Result<Pointer> {
    tensors::with_tensors(OP, [tensor], |_, _, [pointer], number| match number {
        Number::F32 => Ok(pointer),
        Number::Bf16 => bail!("{OP}: expected f32"),
    })
}
