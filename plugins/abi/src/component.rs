//! The tables that a plugin consists of.

#![expect(missing_docs, reason = "the header says what members mean")]

use crate::{ArraysInfo, Error, Status};
use core::ffi::{c_char, c_void};

/// What a component may know while it is made.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub size: u32,
    pub modality_count: u32,
    pub config: *const c_char,
    pub name: *const c_char,
    pub arrays: *const ArraysInfo,
    pub modalities: *const *const c_char,
    pub width: u64,
}

/// Something that users name by `kind = "NAME"`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Component {
    pub size: u32,
    pub kind: u32,
    pub flags: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub summary: *const c_char,
    pub example: *const c_char,
    pub schema: *const c_char,
    pub create:
        Option<unsafe extern "C" fn(request: *const Request, instance: *mut *mut c_void, error: *mut Error) -> Status>,
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    pub functions: *const c_void,
}

/// Components of a kind that isn't in the first version: what an extension returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Components {
    pub size: u32,
    pub count: u32,
    pub items: *const *const Component,
}

/// The table that the entry returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    pub abi: u32,
    pub size: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub license: *const c_char,
    pub publisher: *const c_char,
    pub component_count: u32,
    pub reserved: u32,
    pub components: *const *const Component,
    pub extension: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}
