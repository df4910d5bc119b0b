//! Instances of components: how the host makes, uses and frees them, and what it reads before it makes one.

use super::guard::guard;
use super::memory::{c_string, count, read, slice, text};
use crate::{Error, Request, Result};
use panchroma_abi::{self as abi, Status, Struct as _};
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use std::ffi::{CString, c_void};

/// What the host holds by a pointer.
pub(crate) trait Instance: Sized + Send + Sync + 'static {
    /// Makes it of a config in JSON, and describes it once and for all.
    fn make(config: &str, request: &Request) -> Result<Self>;
}

/// # Safety
/// As the interface says of `create`.
pub(crate) unsafe extern "C" fn create<I: Instance>(
    request: *const abi::Request,
    instance: *mut *mut c_void,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        if instance.is_null() {
            return Err(Error::failed("the host gave no place for the instance"));
        }
        // SAFETY: the host keeps to the interface.
        let (config, request) = unsafe { open(request) }?;
        let made = Box::new(I::make(&config, &request)?);
        // SAFETY: not null, and the host's place for a pointer.
        unsafe { instance.write(Box::into_raw(made).cast()) };
        Ok(abi::OK)
    };
    // SAFETY: the host keeps to the interface.
    unsafe { guard(error, body) }
}

/// # Safety
/// As the interface says of `destroy`.
pub(crate) unsafe extern "C" fn destroy<I: Instance>(instance: *mut c_void) {
    let body = || {
        if !instance.is_null() {
            // SAFETY: `create` made it by `Box::into_raw`, and the host gives it back once.
            drop(unsafe { Box::from_raw(instance.cast::<I>()) });
        }
        Ok(abi::OK)
    };
    // SAFETY: there is nobody to tell.
    unsafe { guard(std::ptr::null_mut(), body) };
}

/// The instance behind the host's pointer.
///
/// # Safety
/// `instance` is null or what `create::<I>` gave, and isn't freed during `'a`.
pub(crate) unsafe fn open_instance<'a, I: Instance>(instance: *const c_void) -> Result<&'a I> {
    // SAFETY: as the caller says.
    unsafe { instance.cast::<I>().as_ref() }.ok_or_else(|| Error::failed("the host gave no instance"))
}

/// The same, to be changed.
///
/// # Safety
/// As for [`open_instance`], and nobody else uses the instance during `'a`.
pub(crate) unsafe fn open_instance_mut<'a, I: Instance>(instance: *mut c_void) -> Result<&'a mut I> {
    // SAFETY: as the caller says.
    unsafe { instance.cast::<I>().as_mut() }.ok_or_else(|| Error::failed("the host gave no instance"))
}

/// A getter: what `get` gives of the instance goes to where the host wants it.
///
/// # Safety
/// `instance` is null or what `create::<I>` gave; `target` is null or a struct of the interface with its true size.
pub(crate) unsafe fn tell<I: Instance, T: abi::Struct>(
    instance: *const c_void,
    target: *mut T,
    get: impl FnOnce(&I) -> Result<T>,
) -> Status {
    let body = || {
        // SAFETY: as the caller says.
        let value = get(unsafe { open_instance(instance) }?)?;
        // SAFETY: as the caller says.
        unsafe { super::memory::write(target, &value, "struct") }?;
        Ok(abi::OK)
    };
    // SAFETY: null is fine.
    unsafe { guard(std::ptr::null_mut(), body) }
}

/// # Safety
/// `request` is null or as the interface describes it.
unsafe fn open(request: *const abi::Request) -> Result<(String, Request)> {
    // SAFETY: as the caller says, here and below.
    let raw = unsafe { read(request, "request") }?;
    // SAFETY: as above.
    let (config, name) = unsafe { (text(raw.config, "the config")?, text(raw.name, "the name")?) };
    let (config, name) = (config.to_owned(), name.to_owned());
    // SAFETY: as above.
    let arrays = if raw.arrays.is_null() { None } else { Some(unsafe { super::arrays::spec(raw.arrays) }?) };
    let number = if raw.modalities.is_null() { 0 } else { count(raw.modality_count, "modalities")? };
    // SAFETY: as above.
    let modalities = unsafe { slice(raw.modalities, number, "modalities") }?.iter();
    // SAFETY: as above.
    let name_of = |m: &*const std::ffi::c_char| unsafe { text(*m, "the name of a modality") }.map(str::to_owned);
    let modalities = modalities.map(name_of).collect::<Result<_>>()?;
    Ok((config, Request { name, arrays, modalities, width: count(raw.width, "numbers of a vector")? }))
}

/// A config from JSON; nothing is an empty table.
pub(crate) fn config<C: DeserializeOwned>(json: &str) -> Result<C> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    serde_json::from_str(json).map_err(|e| Error::invalid(format!("config: {e}")))
}

/// A component's entry in the plugin's table, with what it points at.
pub(crate) struct Component {
    pub(crate) raw: abi::Component,
    _texts: [CString; 4],
}

// SAFETY: its pointers point at its own texts and at tables of functions, none of which ever changes.
unsafe impl Send for Component {}
// SAFETY: as above.
unsafe impl Sync for Component {}

/// What all kinds of components say of themselves.
pub(crate) struct About {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) example: &'static str,
    pub(crate) functions: *const c_void,
}

impl Component {
    pub(crate) fn new<I: Instance, C: JsonSchema>(about: &About) -> Result<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if about.name.is_empty() || !about.name.chars().all(word) {
            return Err(Error::failed(format!("component {:?}: letters, digits and underscores only", about.name)));
        }
        let schema = SchemaGenerator::default().into_root_schema_for::<C>();
        if schema.get("type").and_then(|t| t.as_str()) != Some("object") {
            return Err(Error::failed(format!(
                "component `{}`: its config isn't a struct with named fields",
                about.name
            )));
        }
        let texts = [
            c_string(about.name, "the name")?,
            c_string(about.summary, "the summary")?,
            c_string(about.example, "the example")?,
            c_string(&serde_json::to_string(&schema)?, "the schema")?,
        ];
        let mut raw = abi::Component::new();
        raw.kind = about.kind;
        raw.flags = about.flags;
        [raw.name, raw.summary, raw.example, raw.schema] = texts.each_ref().map(|t| t.as_ptr());
        raw.create = Some(create::<I>);
        raw.destroy = Some(destroy::<I>);
        raw.functions = about.functions;
        Ok(Self { raw, _texts: texts })
    }
}

/// Promises as the host reads them.
pub(crate) fn flags(deterministic: bool, random: bool) -> u32 {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    flag(deterministic, abi::DETERMINISTIC) | flag(random, abi::RANDOM)
}
