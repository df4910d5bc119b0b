//! The plugin's table and its entry: what [`plugin!`](crate::plugin) expands to.

use super::instance::Component;
use super::memory::c_string;
use crate::{Codec, Error, Head, Modality, Result, Tokenizer};
use panchroma_abi::{self as abi, Struct as _};
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// What a plugin consists of, before it is a table.
#[derive(Default)]
pub struct Parts {
    texts: Vec<CString>,
    components: Vec<Component>,
    tokenizers: Vec<Component>,
    heads: Vec<Component>,
    failed: Option<Error>,
}

impl Parts {
    /// A plugin without components.
    #[must_use]
    pub fn new(name: &str, version: &str, license: &str, publisher: &str) -> Self {
        let mut parts = Self::default();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(word) {
            parts.failed =
                Some(Error::failed(format!("plugin {name:?}: letters, digits, hyphens and underscores only")));
        }
        for text in [name, version, license, publisher] {
            let text = c_string(text, "the plugin's");
            let text = parts.keep(text).unwrap_or_default();
            parts.texts.push(text);
        }
        parts
    }

    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|e| self.failed.get_or_insert(e)).ok()
    }

    /// With a modality.
    #[must_use]
    pub fn modality<M: Modality>(mut self) -> Self {
        let made = self.keep(super::modality::component::<M>());
        self.components.extend(made);
        self
    }

    /// With a codec.
    #[must_use]
    pub fn codec<C: Codec>(mut self) -> Self {
        let made = self.keep(super::codec::component::<C>());
        self.components.extend(made);
        self
    }

    /// With a tokenizer.
    #[must_use]
    pub fn tokenizer<T: Tokenizer>(mut self) -> Self {
        let made = self.keep(super::tokenizer::component::<T>());
        self.tokenizers.extend(made);
        self
    }

    /// With a head.
    #[must_use]
    pub fn head<H: Head>(mut self) -> Self {
        let made = self.keep(super::head::component::<H>());
        self.heads.extend(made);
        self
    }
}

/// The plugin's table, with everything that it points at.
pub struct Table {
    plugin: Box<abi::Plugin>,
    components: List,
    tokenizers: List,
    heads: List,
    _texts: Vec<CString>,
}

// SAFETY: its pointers point at its own parts, which never change.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// The table of the parts. It has to stay while the host has it: for good.
    ///
    /// # Errors
    /// If a name or a config can't be what the interface asks for.
    pub fn new(parts: Parts, extension: unsafe extern "C" fn(*const c_char) -> *const c_void) -> Result<Self> {
        if let Some(failed) = parts.failed {
            return Err(failed);
        }
        let components = List::new(parts.components);
        let mut plugin = Box::new(abi::Plugin::new());
        plugin.abi = abi::ABI;
        plugin.size = size_of::<abi::Plugin>() as u32;
        if let [name, version, license, publisher] = parts.texts.as_slice() {
            plugin.name = name.as_ptr();
            plugin.version = version.as_ptr();
            plugin.license = license.as_ptr();
            plugin.publisher = publisher.as_ptr();
        }
        (plugin.component_count, plugin.components) = (components.raw.count, components.raw.items);
        plugin.extension = Some(extension);
        let (tokenizers, heads) = (List::new(parts.tokenizers), List::new(parts.heads));
        Ok(Self { plugin, components, tokenizers, heads, _texts: parts.texts })
    }

    /// All components, those of the extensions last.
    pub(crate) fn components(&self) -> impl Iterator<Item = &abi::Component> {
        [&self.components, &self.tokenizers, &self.heads].into_iter().flat_map(|l| l.items.iter().map(|c| &c.raw))
    }

    /// The extension called `id`, if the plugin has components of its kind.
    ///
    /// # Safety
    /// `id` is null or points to a text that ends with a zero byte.
    #[must_use]
    pub unsafe fn extension(&self, id: *const c_char) -> *const c_void {
        if id.is_null() {
            return std::ptr::null();
        }
        // SAFETY: not null; the caller vouches for the zero byte.
        let id = unsafe { CStr::from_ptr(id) };
        let lists = [(abi::TOKENIZERS, &self.tokenizers), (abi::HEADS, &self.heads)];
        let found = lists.into_iter().find(|(name, list)| *name == id && list.raw.count > 0);
        found.map_or(std::ptr::null(), |(_, list)| std::ptr::from_ref(&*list.raw).cast())
    }
}

/// Components of one kind as the interface lists them.
struct List {
    raw: Box<abi::Components>,
    items: Vec<Component>,
    _pointers: Vec<*const abi::Component>,
}

impl List {
    fn new(items: Vec<Component>) -> Self {
        let pointers: Vec<*const abi::Component> = items.iter().map(|c| &raw const c.raw).collect();
        let mut raw = Box::new(abi::Components::new());
        (raw.count, raw.items) = (pointers.len() as u32, pointers.as_ptr());
        Self { raw, items, _pointers: pointers }
    }
}

/// Whether a host of this version understands our table.
#[must_use]
pub fn understood(host_abi: u32) -> bool {
    host_abi >> 16 == abi::ABI_MAJOR && host_abi >= abi::ABI
}

/// The entry: the table for a host that understands it, otherwise null. It is made once.
pub fn enter(
    place: &'static OnceLock<Option<Table>>,
    host_abi: u32,
    make: impl FnOnce() -> Result<Table>,
) -> *const abi::Plugin {
    if !understood(host_abi) {
        return std::ptr::null();
    }
    let made = catch_unwind(AssertUnwindSafe(|| place.get_or_init(|| make().ok())));
    let table = made.ok().and_then(Option::as_ref);
    table.map_or(std::ptr::null(), |t| std::ptr::from_ref(&*t.plugin))
}

/// Makes a shared library a plugin: names what is in it, and exports `panchroma_plugin`.
///
/// ```text
/// panchroma_sdk::plugin! {
///     name: "radio",
///     version: env!("CARGO_PKG_VERSION"),
///     license: "MIT",
///     publisher: "Observatory of Somewhere",
///     modalities: [Visibilities],
///     codecs: [VisibilityCodes],
///     tokenizers: [Baselines],
///     heads: [SpectralIndex],
/// }
/// ```
///
/// Each list may be left out; their order is as above. The plugin's own test [`check`](crate::testing::check) says what
/// is wrong if the host finds no plugin in the library.
#[macro_export]
macro_rules! plugin {
    (
        name: $name:expr, version: $version:expr, license: $license:expr, publisher: $publisher:expr
        $(, modalities: [$($modality:ty),* $(,)?])?
        $(, codecs: [$($codec:ty),* $(,)?])?
        $(, tokenizers: [$($tokenizer:ty),* $(,)?])?
        $(, heads: [$($head:ty),* $(,)?])?
        $(,)?
    ) => {
        /// The components of this plugin.
        #[must_use]
        pub fn panchroma_parts() -> $crate::border::plugin::Parts {
            $crate::border::plugin::Parts::new($name, $version, $license, $publisher)
                $($(.modality::<$modality>())*)?
                $($(.codec::<$codec>())*)?
                $($(.tokenizer::<$tokenizer>())*)?
                $($(.head::<$head>())*)?
        }

        /// The entry of the plugin, for the host.
        #[unsafe(no_mangle)]
        pub extern "C" fn panchroma_plugin(host_abi: u32) -> *const $crate::abi::Plugin {
            use ::std::ffi::{c_char, c_void};
            use ::std::sync::OnceLock;
            use $crate::border::plugin::{Table, enter};

            static TABLE: OnceLock<Option<Table>> = OnceLock::new();

            unsafe extern "C" fn extension(id: *const c_char) -> *const c_void {
                match TABLE.get() {
                    // SAFETY: the host gives null or a text that ends with a zero byte.
                    Some(Some(table)) => unsafe { table.extension(id) },
                    _ => ::std::ptr::null(),
                }
            }

            enter(&TABLE, host_abi, || Table::new(panchroma_parts(), extension))
        }
    };
}
