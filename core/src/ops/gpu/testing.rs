//! What the tests of all kernels share: devices to run on, arrays on them, numbers that look random.

use super::{Gpu, Memory, Number, Pointer};
use crate::ops::emulation::{Emulation, SCHEDULES};
use candle_core::Result;
use std::cell::RefCell;

/// Runs `test` on every schedule of the emulation, and on a GPU where there is one.
pub(in crate::ops) fn on_every_device(test: impl Fn(&Bench) -> Result<()>) -> Result<()> {
    for schedule in SCHEDULES {
        let bench =
            Bench { gpu: Box::new(Emulation { schedule }), label: format!("{schedule:?}"), kept: RefCell::default() };
        test(&bench)?;
    }
    #[cfg(feature = "cuda")]
    if let Ok((device, _)) = super::cuda::open(0) {
        // With a device, kernels that can't be loaded are an error.
        let gpu = super::cuda::Cuda::new(device.as_cuda_device()?)?;
        test(&Bench { gpu: Box::new(gpu), label: "CUDA".into(), kept: RefCell::default() })?;
    }
    Ok(())
}

/// A device with the inputs of one test.
pub(in crate::ops) struct Bench {
    gpu: Box<dyn Gpu>,
    label: String,
    kept: RefCell<Vec<Box<dyn Memory>>>,
}

/// An array of results.
pub(in crate::ops) struct Out {
    memory: Box<dyn Memory>,
    number: Number,
}

impl Bench {
    /// The device.
    pub(in crate::ops) fn gpu(&self) -> &dyn Gpu {
        &*self.gpu
    }

    /// Which device or schedule, for messages.
    pub(in crate::ops) fn label(&self) -> &str {
        &self.label
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<Pointer> {
        let mut memory = self.gpu.allocate(name, bytes.len())?;
        memory.write(bytes)?;
        let pointer = memory.pointer();
        self.kept.borrow_mut().push(memory);
        Ok(pointer)
    }

    /// An input, rounded to `number`.
    pub(in crate::ops) fn numbers(&self, name: &str, values: &[f32], number: Number) -> Result<Pointer> {
        self.keep(name, &bytes_of(values, number))
    }

    /// An input of bytes.
    pub(in crate::ops) fn bytes(&self, name: &str, values: &[u8]) -> Result<Pointer> {
        self.keep(name, values)
    }

    /// An input of 32-bit integers.
    pub(in crate::ops) fn integers(&self, name: &str, values: &[u32]) -> Result<Pointer> {
        self.keep(name, &values.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>())
    }

    /// An array that kernels change.
    pub(in crate::ops) fn filled(&self, name: &str, values: &[f32], number: Number) -> Result<Out> {
        let mut out = self.out(name, values.len(), number)?;
        out.memory.write(&bytes_of(values, number))?;
        Ok(out)
    }

    /// An array for results. Nothing that a kernel leaves out passes a comparison: it is NaN.
    pub(in crate::ops) fn out(&self, name: &str, count: usize, number: Number) -> Result<Out> {
        let mut memory = self.gpu.allocate(name, count * number.bytes())?;
        memory.write(&vec![0xff; count * number.bytes()])?;
        Ok(Out { memory, number })
    }
}

impl Out {
    /// Where it is.
    pub(in crate::ops) fn pointer(&self) -> Pointer {
        self.memory.pointer()
    }

    /// What kernels wrote.
    pub(in crate::ops) fn numbers(&self) -> Result<Vec<f64>> {
        let bytes = self.memory.read()?;
        Ok(match self.number {
            Number::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_ne_bytes(b))).collect(),
            Number::Bf16 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&b| f64::from(f32::from_bits(u32::from(u16::from_ne_bytes(b)) << 16)))
                .collect(),
        })
    }

    /// What kernels wrote, as 32-bit integers.
    pub(in crate::ops) fn integers(&self) -> Result<Vec<u32>> {
        Ok(self.memory.read()?.as_chunks::<4>().0.iter().map(|&b| u32::from_ne_bytes(b)).collect())
    }
}

fn bytes_of(values: &[f32], number: Number) -> Vec<u8> {
    match number {
        Number::F32 => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        Number::Bf16 => values.iter().flat_map(|&v| bf16_bits(v).to_ne_bytes()).collect(),
    }
}

/// Nearest bf16, ties to even; for finite values.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() { 0x7fff } else { ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16 }
}

/// The values as kernels see them.
pub(in crate::ops) fn rounded(values: &[f32], number: Number) -> Vec<f32> {
    match number {
        Number::F32 => values.to_vec(),
        Number::Bf16 => values.iter().map(|&v| f32::from_bits(u32::from(bf16_bits(v)) << 16)).collect(),
    }
}

/// Values in `[-1, 1]` that look random, rounded to `number`.
pub(in crate::ops) fn random(count: usize, seed: u32, number: Number) -> Vec<f32> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32) / (1 << 23) as f32 - 1.0
        })
        .collect();
    rounded(&values, number)
}

/// As f64.
pub(in crate::ops) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// What results may differ by, relative to `1 + |value|`: their own rounding, and that of sums in f32.
pub(in crate::ops) fn tolerance(number: Number) -> f64 {
    match number {
        Number::F32 => 2e-5,
        Number::Bf16 => 8e-3, // half of the last bit is 2^-9 = 2e-3, and few results round twice
    }
}

/// Fails unless `|got - expected| <= tolerance (1 + |expected|)` throughout, with the place in the message.
pub(in crate::ops) fn assert_near(
    bench: &Bench,
    what: &str,
    got: &Out,
    expected: &[f64],
    tolerance: f64,
) -> Result<()> {
    let got = got.numbers()?;
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let near = (got - expected).abs() <= tolerance * (1.0 + expected.abs());
        assert!(near, "{} {what}[{i}]: {got}, not {expected}", bench.label());
    }
    Ok(())
}
