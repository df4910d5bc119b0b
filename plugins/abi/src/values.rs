//! Errors, texts, arrays and rows: what crosses in calls.

#![expect(missing_docs, reason = "the header says what members mean")]

use crate::MAX_AXES;
use core::ffi::{c_char, c_void};

/// Made by the host before each call: `message` empty, `row` -1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Error {
    pub size: u32,
    pub capacity: u32,
    pub message: *mut c_char,
    pub row: i64,
}

/// UTF-8 of a known length, without a zero byte. Never changes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pub data: *const c_char,
    pub length: u64,
}

/// A view of memory, laid out as a `DLTensor` of DLPack 1.x, so that a pointer to one may be cast to the other.
/// Never changes. The host's views are row-major without gaps: `strides` is null, `byte_offset` 0. A plugin changes
/// what `data` points at where it is told to fill a view, and never the view itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    pub data: *mut c_void,
    pub device_type: i32,
    pub device_id: i32,
    pub ndim: i32,
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

/// A named axis of a modality's arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub size: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub longest: u64,
}

/// One array of a modality: `[B, axes..]`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub size: u32,
    pub r#type: u32,
    pub name: *const c_char,
    pub unit: *const c_char,
    pub axis_count: u32,
    pub axes: [u32; MAX_AXES],
    pub reserved: u32,
}

/// What a modality's arrays look like, handed to what reads them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ArraysInfo {
    pub size: u32,
    pub axis_count: u32,
    pub axes: *const *const Axis,
    pub field_count: u32,
    pub valid_axis_count: u32,
    pub fields: *const *const Field,
    pub valid_axes: [u32; MAX_AXES],
}

/// Arrays of a batch of rows. Where a plugin fills them, the host has set both
/// `present` and `valid` to 0. An object without the measurement
/// keeps that. Every value at a place that is valid must be finite; what stands at other places means nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Arrays {
    pub size: u32,
    pub field_count: u32,
    pub count: u64,
    pub present: *mut u8,
    pub valid: *mut Tensor,
    pub fields: *const *mut Tensor,
}

/// A column that a component reads.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub size: u32,
    pub r#type: u32,
    pub depth: u32,
    pub optional: u32,
    pub path: *const c_char,
}

/// A column of a batch. A missing row has `present` 0 and no values in its lists. A missing number is NaN, a
/// missing flag 0, a missing text empty; numbers may also be infinite where the catalogue says so.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub size: u32,
    pub r#type: u32,
    pub depth: u32,
    pub reserved: u32,
    pub present: *const u8,
    pub offsets: *const *const u64,
    pub values: *const c_void,
    pub value_count: u64,
}

/// A batch of rows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub size: u32,
    pub column_count: u32,
    pub count: u64,
    pub ids: *const Text,
    pub columns: *const *const Data,
    pub mode: u32,
    pub reserved: u32,
    pub seed: u64,
    pub epoch: u64,
    pub random: *const u64,
}
