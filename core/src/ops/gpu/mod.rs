//! Kernels on a GPU: how they are launched, whatever runs them.
//!
//! The launch code of an op (`NAME/launch.rs`) works on addresses and sizes and knows grids, blocks
//! and shared memory; it launches by name through [`Gpu`]. Behind that is a CUDA device (feature
//! `cuda`), or in tests the emulation on the CPU, so that tests without a GPU run the same launch
//! code. Launches only queue work: nothing here waits for a device.

mod arguments;
pub mod column_sums;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(all(test, feature = "cuda"))]
mod device_tests;
#[cfg(feature = "cuda")]
mod driver;
mod pointer;
#[cfg(feature = "cuda")]
pub(super) mod tensors;
#[cfg(test)]
pub(super) mod testing;

pub use arguments::Arguments;
pub use pointer::{Number, Pointer};

use candle_core::Result;

/// Blocks, threads and shared memory of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks along x, y and z.
    pub grid: [usize; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory of a block, bytes.
    pub shared: usize,
}

impl Geometry {
    /// Blocks in a row, without dynamic shared memory.
    #[must_use]
    pub fn new(blocks: usize, threads: u32) -> Self {
        Self { grid: [blocks, 1, 1], threads, shared: 0 }
    }

    /// Enough blocks of `threads` that each of `items` has a thread.
    #[must_use]
    pub fn per_item(items: usize, threads: u32) -> Self {
        Self::new(items.div_ceil(threads as usize), threads)
    }
}

/// What kernels are launched on. Work is done in the order in which it was asked for.
pub trait Gpu {
    /// Queues the kernel `name`.
    ///
    /// # Errors
    /// If there is no such kernel, the device refuses the launch, or (emulation) the kernel breaks a rule.
    fn launch(&self, name: &str, geometry: Geometry, arguments: Arguments) -> Result<()>;

    /// Memory of the device with arbitrary content; it may be dropped as soon as the launches that
    /// use it are queued. `what` names it in messages.
    ///
    /// # Errors
    /// If there is not enough.
    fn allocate(&self, what: &str, bytes: usize) -> Result<Box<dyn Memory>>;
}

/// Memory of a device.
pub trait Memory: Send + Sync {
    /// Where it begins, at a multiple of 16 bytes.
    fn pointer(&self) -> Pointer;

    /// Fills the beginning from `bytes`.
    ///
    /// # Errors
    /// If there are more bytes than memory, or the device fails.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// All of it. Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self) -> Result<Vec<u8>>;
}

// Launch code and tests of the kernels, beside the kernels.
#[path = "../activation/launch.rs"]
pub mod activation;
#[path = "../adamw/launch.rs"]
pub mod adamw;
#[path = "../attention/launch.rs"]
pub mod attention;
#[path = "../contrastive/launch.rs"]
pub mod contrastive;
#[path = "../cross_entropy/launch.rs"]
pub mod cross_entropy;
#[path = "../fourier/launch.rs"]
pub mod fourier;
#[path = "../gather/launch.rs"]
pub mod gather;
#[path = "../layer_norm/launch.rs"]
pub mod layer_norm;
#[path = "../quantize/launch.rs"]
pub mod quantize;
#[path = "../resample/launch.rs"]
pub mod resample;
