//! Launches of the AdamW kernels: a list of tensors that stays the same from step to step.

use super::{Arguments, Geometry, Gpu, Memory, Number, Pointer};
use candle_core::{Result, bail};

const OP: &str = "adamw";

/// Values per block.
const CHUNK: usize = 4096;

/// One tensor that learns.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// `[count]` f32.
    pub parameter: Pointer,
    /// `[count]` f32, first moments.
    pub first: Pointer,
    /// `[count]` f32, second moments.
    pub second: Pointer,
    /// `[count]` bf16, a copy of the parameter; may be null.
    pub copy: Pointer,
    /// Values.
    pub count: usize,
    /// Multiple of the step's learning rate. Frozen tensors don't belong in the list: the norm is of all.
    pub rate: f32,
    /// Decoupled weight decay.
    pub decay: f32,
}

/// Numbers of one step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Before the slots' own multiples.
    pub learning_rate: f64,
    /// Largest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// Of the moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moments.
    pub epsilon: f64,
}

/// What the last step did, as it lies in device memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Of all gradients, before clipping.
    pub norm: f64,
    /// Steps that changed something.
    pub steps: u32,
    /// Whether the last one did: not if the norm was NaN or infinite.
    pub applied: bool,
}

/// The list on the device, with the number of steps taken.
pub struct AdamW {
    slots: Box<dyn Memory>,
    chunks: Box<dyn Memory>,
    gradients: Box<dyn Memory>,
    squares: Box<dyn Memory>,
    state: Box<dyn Memory>,
    blocks: usize,
    number: Number,
    tensors: usize,
}

impl AdamW {
    /// Puts the list on the device. `number` is the gradients'; `steps` have been taken before.
    ///
    /// # Errors
    /// If a tensor is too large or there is not enough memory.
    pub fn new(gpu: &dyn Gpu, number: Number, list: &[Slot], steps: u32) -> Result<Self> {
        let (mut slots, mut chunks): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
        for (index, slot) in list.iter().enumerate() {
            let Ok(count) = i32::try_from(slot.count) else {
                bail!("{OP}: a tensor of {} values is too large", slot.count);
            };
            let pointers = [slot.parameter, slot.first, slot.second, slot.copy];
            let whole = pointers.iter().all(|pointer| pointer.is_aligned());
            pointers.iter().for_each(|pointer| slots.extend(pointer.0.to_ne_bytes()));
            slots.extend(count.to_ne_bytes());
            slots.extend(i32::from(whole).to_ne_bytes());
            slots.extend(slot.rate.to_ne_bytes());
            slots.extend(slot.decay.to_ne_bytes());
            for first in (0..count).step_by(CHUNK) {
                chunks.extend((index as i32).to_ne_bytes());
                chunks.extend(first.to_ne_bytes());
            }
        }
        let blocks = chunks.len() / 8;
        let on_device = |what: &str, bytes: &[u8]| -> Result<Box<dyn Memory>> {
            let mut memory = gpu.allocate(what, bytes.len())?;
            memory.write(bytes)?;
            Ok(memory)
        };
        let mut state = [0; 40];
        state[8..12].copy_from_slice(&steps.to_ne_bytes());
        Ok(Self {
            slots: on_device("slots", &slots)?,
            chunks: on_device("chunks", &chunks)?,
            gradients: gpu.allocate("addresses of gradients", list.len() * 8)?,
            squares: gpu.allocate("squares", blocks * 8)?,
            state: on_device("state", &state)?,
            blocks,
            number,
            tensors: list.len(),
        })
    }

    /// Queues one step with the gradients of the list's tensors, in its order. The host waits for
    /// nothing; [`AdamW::report`] does.
    ///
    /// # Errors
    /// If there is not one gradient per tensor, or a launch fails.
    pub fn step(&mut self, gpu: &dyn Gpu, gradients: &[Pointer], step: Step) -> Result<()> {
        if gradients.len() != self.tensors {
            bail!("{OP}: expected {} gradients, got {}", self.tensors, gradients.len());
        }
        self.gradients.write(&gradients.iter().flat_map(|pointer| pointer.0.to_ne_bytes()).collect::<Vec<_>>())?;
        let tables =
            || Arguments::new().pointers(&[self.slots.pointer(), self.chunks.pointer(), self.gradients.pointer()]);
        let each_chunk = Geometry::new(self.blocks, 256);
        let number = self.number.name();
        let [beta1, beta2] = step.betas;
        if self.blocks > 0 {
            let arguments = tables().pointer(self.squares.pointer());
            gpu.launch(&format!("adamw_squares_{number}"), each_chunk, arguments)?;
        }
        let arguments = Arguments::new()
            .pointers(&[self.squares.pointer(), self.state.pointer()])
            .count(self.blocks)
            .float(step.clip_norm.map_or(f32::INFINITY, |most| most as f32))
            .double(beta1)
            .double(beta2);
        gpu.launch("adamw_norm", Geometry::new(1, 256), arguments)?;
        if self.blocks > 0 {
            let factors = [step.learning_rate, beta1, 1.0 - beta1, beta2, 1.0 - beta2, step.epsilon];
            let arguments = factors.iter().fold(tables().pointer(self.state.pointer()), |a, &f| a.float(f as f32));
            gpu.launch(&format!("adamw_update_{number}"), each_chunk, arguments)?;
        }
        Ok(())
    }

    /// What the last step did. Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn report(&self) -> Result<Report> {
        let bytes = self.state.read()?;
        let (words, _) = bytes.as_chunks::<4>();
        let &[low, high, steps, applied, ..] = words else { bail!("{OP}: the state of a step is too short") };
        let norm = u64::from(u32::from_ne_bytes(low)) | u64::from(u32::from_ne_bytes(high)) << 32;
        Ok(Report {
            norm: f64::from_bits(norm),
            steps: u32::from_ne_bytes(steps),
            applied: u32::from_ne_bytes(applied) != 0,
        })
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
