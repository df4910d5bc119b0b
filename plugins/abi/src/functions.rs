//! The functions of each kind of component, and the structs that describe them.

#![expect(missing_docs, reason = "the header says what members mean")]

use crate::{Arrays, Axis, Column, Error, Field, MAX_AXES, Rows, Status, Tensor};
use core::ffi::{c_char, c_void};

/// Sizes of a modality, for its getters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ModalityInfo {
    pub size: u32,
    pub column_count: u32,
    pub axis_count: u32,
    pub field_count: u32,
    pub valid_axis_count: u32,
    pub valid_axes: [u32; MAX_AXES],
}

/// Functions of a modality: rows to arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Modality {
    pub size: u32,
    pub reserved: u32,
    pub describe: Option<unsafe extern "C" fn(instance: *const c_void, info: *mut ModalityInfo) -> Status>,
    pub column: Option<unsafe extern "C" fn(instance: *const c_void, index: u32, column: *mut Column) -> Status>,
    pub axis: Option<unsafe extern "C" fn(instance: *const c_void, index: u32, axis: *mut Axis) -> Status>,
    pub field: Option<unsafe extern "C" fn(instance: *const c_void, index: u32, field: *mut Field) -> Status>,
    pub plan: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            rows: *const Rows,
            lengths: *mut u64,
            error: *mut Error,
        ) -> Status,
    >,
    pub run: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            rows: *const Rows,
            arrays: *mut Arrays,
            error: *mut Error,
        ) -> Status,
    >,
    pub fit: Option<unsafe extern "C" fn(instance: *mut c_void, rows: *const Rows, error: *mut Error) -> Status>,
    pub fitted: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            text: *mut c_char,
            capacity: u64,
            length: *mut u64,
            error: *mut Error,
        ) -> Status,
    >,
    pub restore: Option<unsafe extern "C" fn(instance: *mut c_void, text: *const c_char, error: *mut Error) -> Status>,
}

/// A physical coordinate of tokens.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Coordinate {
    pub size: u32,
    pub encoding: u32,
    pub name: *const c_char,
    pub unit: *const c_char,
    pub smallest: f64,
    pub largest: f64,
    pub count: u32,
    pub metadata: u32,
}

/// Tokens of a batch. Who fills them starts with `valid` 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub size: u32,
    pub reserved: u32,
    pub count: u64,
    pub present: *const u8,
    pub valid: *mut Tensor,
    pub values: *mut Tensor,
    pub coordinates: *mut Tensor,
}

/// Sizes of a codec.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CodecInfo {
    pub size: u32,
    pub vocabulary: u32,
    pub max_tokens: u64,
    pub coordinate_count: u32,
    pub decodes: u32,
}

/// Functions of a codec.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    pub size: u32,
    pub reserved: u32,
    pub describe: Option<unsafe extern "C" fn(instance: *const c_void, info: *mut CodecInfo) -> Status>,
    pub coordinate:
        Option<unsafe extern "C" fn(instance: *const c_void, index: u32, coordinate: *mut Coordinate) -> Status>,
    pub plan: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            arrays: *const Arrays,
            tokens: *mut u64,
            error: *mut Error,
        ) -> Status,
    >,
    pub encode: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            arrays: *const Arrays,
            tokens: *mut Tokens,
            error: *mut Error,
        ) -> Status,
    >,
    pub decode: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            tokens: *const Tokens,
            like: *const Arrays,
            arrays: *mut Arrays,
            error: *mut Error,
        ) -> Status,
    >,
}

/// A parameter: the host makes, optimises and saves it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub size: u32,
    pub init: u32,
    pub name: *const c_char,
    pub value: f64,
    pub decay: u32,
    pub axis_count: u32,
    pub shape: [u64; MAX_AXES],
}

/// What a computation may depend on besides its inputs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Compute {
    pub size: u32,
    pub mode: u32,
    pub seed: u64,
    pub step: u64,
    pub stream: *mut c_void,
}

/// Sizes of a tokenizer with parameters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TokenizerInfo {
    pub size: u32,
    pub coordinate_count: u32,
    pub max_tokens: u64,
    pub width: u64,
    pub outputs: u64,
    pub parameter_count: u32,
    pub reserved: u32,
}

/// Functions of a tokenizer with parameters.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tokenizer {
    pub size: u32,
    pub reserved: u32,
    pub describe: Option<unsafe extern "C" fn(instance: *const c_void, info: *mut TokenizerInfo) -> Status>,
    pub coordinate:
        Option<unsafe extern "C" fn(instance: *const c_void, index: u32, coordinate: *mut Coordinate) -> Status>,
    pub parameter:
        Option<unsafe extern "C" fn(instance: *const c_void, index: u32, parameter: *mut Parameter) -> Status>,
    pub plan: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            arrays: *const Arrays,
            tokens: *mut u64,
            error: *mut Error,
        ) -> Status,
    >,
    pub run: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            arrays: *const Arrays,
            tokens: *mut Tokens,
            error: *mut Error,
        ) -> Status,
    >,
    pub forward: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            compute: *const Compute,
            patches: *const Tensor,
            parameters: *const *const Tensor,
            outputs: *mut Tensor,
            error: *mut Error,
        ) -> Status,
    >,
    pub backward: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            compute: *const Compute,
            patches: *const Tensor,
            parameters: *const *const Tensor,
            outputs_gradient: *const Tensor,
            patches_gradient: *mut Tensor,
            parameters_gradients: *const *mut Tensor,
            error: *mut Error,
        ) -> Status,
    >,
}

/// Sizes of a head.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HeadInfo {
    pub size: u32,
    pub view: u32,
    pub column_count: u32,
    pub parameter_count: u32,
    pub outputs: u64,
}

/// What a head sees of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HeadInput {
    pub size: u32,
    pub input_count: u32,
    pub inputs: *const *const Tensor,
    pub present: *const *const u8,
    pub rows: *const Rows,
}

/// Functions of a head: vectors to a loss and predictions.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub size: u32,
    pub reserved: u32,
    pub describe: Option<unsafe extern "C" fn(instance: *const c_void, info: *mut HeadInfo) -> Status>,
    pub column: Option<unsafe extern "C" fn(instance: *const c_void, index: u32, column: *mut Column) -> Status>,
    pub parameter:
        Option<unsafe extern "C" fn(instance: *const c_void, index: u32, parameter: *mut Parameter) -> Status>,
    pub forward: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            compute: *const Compute,
            input: *const HeadInput,
            parameters: *const *const Tensor,
            loss: *mut f32,
            predictions: *mut Tensor,
            error: *mut Error,
        ) -> Status,
    >,
    pub backward: Option<
        unsafe extern "C" fn(
            instance: *const c_void,
            compute: *const Compute,
            input: *const HeadInput,
            parameters: *const *const Tensor,
            inputs_gradients: *const *mut Tensor,
            parameters_gradients: *const *mut Tensor,
            error: *mut Error,
        ) -> Status,
    >,
}
