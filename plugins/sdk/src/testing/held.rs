//! An instance of a component, used as the host uses it.

use crate::border::arrays::Description;
use crate::border::instance::Component;
use crate::border::memory::{c_string, text};
use crate::{Column, Error, Result, Type};
use panchroma_abi::{self as abi, Status, Struct as _};
use std::ffi::{CString, c_char, c_void};

/// An instance, freed when it goes.
pub(crate) struct Held {
    component: Component,
    instance: *mut c_void,
}

/// What the request says besides the config.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    pub(crate) arrays: Option<&'a Description>,
    pub(crate) modalities: &'a [&'a str],
    pub(crate) width: usize,
}

impl Held {
    pub(crate) fn new(component: Component, config: &str, asked: &Asked) -> Result<Self> {
        let create = component.raw.create.ok_or_else(|| Error::failed("no `create`"))?;
        let (config, name) = (c_string(config, "the config")?, CString::default());
        let names = asked.modalities.iter().map(|m| c_string(m, "the modality")).collect::<Result<Vec<_>>>()?;
        let names: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
        let axes: Vec<*const abi::Axis> =
            asked.arrays.iter().flat_map(|a| a.axes.iter().map(std::ptr::from_ref)).collect();
        let fields: Vec<*const abi::Field> =
            asked.arrays.iter().flat_map(|a| a.fields.iter().map(std::ptr::from_ref)).collect();
        let mut info = abi::ArraysInfo::new();
        (info.axis_count, info.axes) = (axes.len() as u32, axes.as_ptr());
        (info.field_count, info.fields) = (fields.len() as u32, fields.as_ptr());
        if let Some(arrays) = asked.arrays {
            (info.valid_axis_count, info.valid_axes) = (arrays.spec.valid.len() as u32, arrays.valid_axes);
        }
        let mut request = abi::Request::new();
        (request.config, request.name) = (config.as_ptr(), name.as_ptr());
        request.arrays = if asked.arrays.is_some() { &raw const info } else { std::ptr::null() };
        (request.modality_count, request.modalities) = (names.len() as u32, names.as_ptr());
        request.width = asked.width as u64;
        let mut instance = std::ptr::null_mut();
        // SAFETY: the request and what it points at live until the call is over.
        call(|error| unsafe { create(&raw const request, &raw mut instance, error) })?;
        Ok(Self { component, instance })
    }

    pub(crate) fn instance(&self) -> *const c_void {
        self.instance
    }

    pub(crate) fn flag(&self, flag: u32) -> bool {
        self.component.raw.flags & flag != 0
    }

    /// The table of the kind's functions.
    ///
    /// # Safety
    /// `T` is the table of the component's kind.
    pub(crate) unsafe fn functions<T>(&self) -> &'static T {
        // SAFETY: tables of functions are constants of this crate, never null.
        unsafe { &*self.component.raw.functions.cast::<T>() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(destroy) = self.component.raw.destroy {
            // SAFETY: `create` made it, and nobody uses it any more.
            unsafe { destroy(self.instance) };
        }
    }
}

/// Calls a function of a table, with a place for its error.
pub(crate) fn call(function: impl FnOnce(*mut abi::Error) -> Status) -> Result<Status> {
    let mut message = vec![0_u8; 4096];
    let mut error = abi::Error::new();
    error.message = message.as_mut_ptr().cast();
    error.capacity = message.len() as u32;
    error.row = -1;
    let status = function(&raw mut error);
    if status == abi::OK || status == abi::NOTHING {
        return Ok(status);
    }
    // SAFETY: the buffer ends with a zero byte, unless the callee wrote over its last.
    let message = unsafe { text(error.message, "the error") }?.to_owned();
    Err(Error { status, row: usize::try_from(error.row).ok(), message })
}

/// What a getter gives.
pub(crate) fn get<T: abi::Struct>(getter: impl FnOnce(*mut T) -> Status) -> Result<T> {
    let mut value = T::new();
    match getter(&raw mut value) {
        abi::OK => Ok(value),
        status => Err(Error { status, row: None, message: "a getter failed".to_owned() }),
    }
}

/// The function of a table that must be there.
pub(crate) fn there<F>(function: Option<F>, name: &str) -> Result<F> {
    function.ok_or_else(|| Error::failed(format!("no `{name}`")))
}

/// A column as the component describes it.
pub(crate) fn column(raw: &abi::Column) -> Result<Column> {
    let kind = Type::of(raw.r#type).ok_or_else(|| Error::failed(format!("no type {}", raw.r#type)))?;
    // SAFETY: texts of a component live as long as its instance.
    let path = unsafe { text(raw.path, "the column") }?.to_owned();
    Ok(Column { path, kind, depth: raw.depth, optional: raw.optional != 0 })
}
