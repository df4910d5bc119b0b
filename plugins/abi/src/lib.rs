//! The types of `panchroma.h` in Rust: same names without the prefix, same layout, same values.
//!
//! The header is the reference: what each member means, who owns it and from which threads a function may be called stands
//! there. A test compiles the header and compares every size, offset and constant with these types.

#![no_std]

mod component;
mod functions;
mod values;

pub use component::*;
pub use functions::*;
pub use values::*;

/// Major version of the interface: others are not understood.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of the interface: lower ones are understood.
pub const ABI_MINOR: u32 = 1;
/// Both in one number, as a plugin's table begins with it.
pub const ABI: u32 = ABI_MAJOR << 16 | ABI_MINOR;

/// Done.
pub const OK: i32 = 0;
/// The config or a row makes no sense.
pub const INVALID: i32 = 1;
/// Anything else went wrong.
pub const FAILED: i32 = 2;
/// A panic or an exception was caught at the border.
pub const PANIC: i32 = 3;
/// Of a head: no row of the batch has what it learns from.
pub const NOTHING: i32 = 4;
/// Single precision.
pub const F32: u32 = 1;
/// Double precision.
pub const F64: u32 = 2;
/// Bytes: masks and flags.
pub const U8: u32 = 3;
/// Categories and codes.
pub const U32: u32 = 4;
/// Texts; of columns only.
pub const TEXT: u32 = 5;
/// Memory of the host, as DLPack numbers it.
pub const CPU: i32 = 1;
/// Memory of a CUDA device.
pub const CUDA: i32 = 2;
/// Augmentation allowed.
pub const TRAIN: u32 = 0;
/// The same answer every time.
pub const EVALUATE: u32 = 1;
/// Most axes of an array behind the batch.
pub const MAX_AXES: usize = 4;
/// Rows to arrays.
pub const MODALITY: u32 = 1;
/// Arrays to codes and back.
pub const CODEC: u32 = 2;
/// Arrays to vectors, with parameters.
pub const TOKENIZER: u32 = 3;
/// Vectors to a loss.
pub const HEAD: u32 = 4;
/// The same arguments give the same bits.
pub const DETERMINISTIC: u32 = 1;
/// Wants a random number for each object in training.
pub const RANDOM: u32 = 2;
/// Of tokenizers and heads: may be given tensors on a CUDA device.
pub const ON_CUDA: u32 = 4;
/// Waves.
pub const FOURIER: u32 = 1;
/// Waves of the logarithm.
pub const LOG: u32 = 2;
/// A learned vector for each integer.
pub const CATEGORY: u32 = 3;
/// All 0.
pub const ZEROS: u32 = 1;
/// All the same.
pub const CONSTANT: u32 = 2;
/// Normal, cut at three standard deviations.
pub const NORMAL: u32 = 3;
/// Uniform around 0.
pub const UNIFORM: u32 = 4;
/// One vector per object.
pub const JOINT: u32 = 1;
/// One vector per object and modality.
pub const ISOLATED: u32 = 2;
/// Name of the one exported function.
pub const ENTRY: &core::ffi::CStr = c"panchroma_plugin";
/// Extension: tokenizers with parameters.
pub const TOKENIZERS: &core::ffi::CStr = c"panchroma.tokenizers.1";
/// Extension: heads.
pub const HEADS: &core::ffi::CStr = c"panchroma.heads.1";

/// Result of a call: [`OK`] or what went wrong.
pub type Status = i32;

/// The entry: the host's version to the plugin's table, or null.
pub type Entry = unsafe extern "C" fn(host_abi: u32) -> *const Plugin;

/// A struct of the interface that begins with its size.
pub trait Struct: Copy {
    /// All 0 and null, but for the size.
    fn new() -> Self;
}

macro_rules! structs { ($($name:ident)*) => { $(
    impl Struct for $name {
        fn new() -> Self {
            // SAFETY: integers, floating-point numbers, raw pointers and functions that may be null: 0 is a value of each.
            let mut this: Self = unsafe { core::mem::zeroed() };
            this.size = size_of::<Self>() as u32;
            this
        }
    }
)* } }
structs! { Error Axis Field ArraysInfo Arrays Column Data Rows Request Component Components Plugin ModalityInfo Modality Coordinate Tokens CodecInfo Codec Parameter Compute TokenizerInfo Tokenizer HeadInfo HeadInput Head }
