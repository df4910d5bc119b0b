//! An instance of a component: made from a config, freed when nobody uses it any more.

use crate::arrays::Spec;
use crate::call::{Caller, Fault, Function};
use crate::library::{Component, Functions, Loaded};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use serde_json::Value;
use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

/// A component of a plugin that is loaded in this process.
#[derive(Clone)]
pub(crate) struct Chosen {
    loaded: Arc<Loaded>,
    number: usize,
}

impl Chosen {
    /// Component `number` of a plugin.
    pub(crate) fn new(loaded: &Arc<Loaded>, number: usize) -> Option<Self> {
        (number < loaded.components.len()).then(|| Self { loaded: Arc::clone(loaded), number })
    }

    pub(crate) fn component(&self) -> &Component {
        &self.loaded.components[self.number]
    }

    pub(crate) fn caller(&self) -> Caller {
        let Component { about, plugin, .. } = self.component();
        Caller { plugin: plugin.clone(), kind: about.kind.word(), component: about.name.clone() }
    }
}

/// What a component may know while it is made.
pub(crate) struct Request<'a> {
    pub(crate) config: &'a Value,
    pub(crate) name: &'a str,
    /// Of codecs and tokenizers.
    pub(crate) arrays: Option<&'a Spec>,
    /// Of heads.
    pub(crate) modalities: &'a [String],
    pub(crate) width: usize,
}

/// An instance.
pub(crate) struct Instance {
    chosen: Chosen,
    pointer: *mut c_void,
}

// SAFETY: the interface allows every call but `destroy` from any thread at once, and `destroy` is called by whoever is last.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Makes one.
    pub(crate) fn new(chosen: Chosen, request: &Request<'_>) -> Result<Self, Fault> {
        let text =
            |text: String| CString::new(text).map_err(|_| Function::Create.fault("a text with a zero byte in it"));
        let config = text(request.config.to_string())?;
        let name = text(request.name.to_owned())?;
        let modalities = request.modalities.iter().map(|m| text(m.clone())).collect::<Result<Vec<_>, _>>()?;
        let modalities: Vec<*const c_char> = modalities.iter().map(|m| m.as_ptr()).collect();
        let arrays = request.arrays.map(Spec::info);
        let mut own = abi::Request::new();
        own.modality_count = modalities.len() as u32;
        own.config = config.as_ptr();
        own.name = name.as_ptr();
        own.arrays = arrays.as_ref().map_or(std::ptr::null(), |info| &raw const info.table);
        own.modalities = modalities.as_ptr();
        own.width = request.width as u64;
        let mut pointer = std::ptr::null_mut();
        let Some(create) = chosen.component().table.create else { return Err(Function::Create.fault("there is none")) };
        // SAFETY: all that `own` leads to lives until the call is over.
        Function::Create.call(|error| unsafe { create(&raw const own, &raw mut pointer, error) })?;
        if pointer.is_null() {
            return Err(Function::Create.fault("it gave a null pointer and no error"));
        }
        Ok(Self { chosen, pointer })
    }

    pub(crate) fn pointer(&self) -> *const c_void {
        self.pointer
    }

    /// For calls that change it.
    pub(crate) fn pointer_mut(&mut self) -> *mut c_void {
        self.pointer
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.chosen.component().functions
    }

    pub(crate) fn flags(&self) -> u32 {
        self.chosen.component().about.flags
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.chosen.component().table.destroy {
            // SAFETY: `create` gave the pointer, and this is the last that is done with it.
            unsafe { destroy(self.pointer) };
        }
    }
}
