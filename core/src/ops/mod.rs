//! Tensor operations with a backward pass of their own, one folder each.
//!
//! candle's elementwise operations run on one thread and its fused layer norm and softmax have no
//! gradient, so the operations that take the time of a training step are here: [`linear()`],
//! [`layer_norm()`], [`activation()`], [`attention()`] and others; and a [`stack()`] of them that is
//! one operation. Each is a differentiable function of tensors; make anything else out of candle's
//! own operations.
//!
//! A folder holds `mod.rs` (formula, shapes, checks, dispatch), `cpu.rs` (slices in, slices out,
//! threads over rows or heads), `tests.rs` and `README.md` (derivation of the gradient). Inputs may
//! be strided views. Results are the same to the last bit whatever the number of threads: work is
//! cut by shape alone, and partial sums are added in order.
//!
//! Only f32 on the CPU: anything else is an error that names the operation. With the feature `cuda`,
//! f32 and bf16 on CUDA devices, by the kernels beside the CPU code (`gpu`).
//!
//! `unsafe` code is allowed in this module and nowhere else in the crate.

pub mod activation;
pub(crate) mod adamw;
pub mod attention;
#[cfg(test)]
mod check;
pub mod contrastive;
pub mod convolution;
pub mod cross_entropy;
pub mod depthwise;
#[cfg(test)]
mod emulation;
pub mod fourier;
pub mod gate;
pub mod gather;
#[cfg(any(test, feature = "cuda"))]
pub mod gpu;
mod gradients;
mod kept;
pub mod layer_norm;
pub mod linear;
pub mod memory;
mod parts;
pub mod peak;
mod pool;
mod product;
pub mod quantize;
pub mod resample;
pub mod response_norm;
mod simd;
mod slices;
pub mod stack;
mod tasks;

pub use activation::{Activation, activation, gelu};
pub use attention::{BlockMask, Mask, attention, cross_attention, self_attention};
pub use convolution::{convolution, transposed_convolution};
pub use cross_entropy::cross_entropy;
pub use depthwise::depthwise;
pub use fourier::fourier;
pub use gate::gate;
pub use gather::{gather, scatter};
pub use gradients::Gradients;
pub use layer_norm::{NormKind, layer_norm, norm};
pub use linear::linear;
pub use memory::{keep_large_buffers, limit_spinning, peak_memory_bytes};
pub use peak::product_peak;
pub use resample::resample;
pub use response_norm::response_norm;
pub use stack::{Context, Keep, Sequences, stack, stack_with_context};
