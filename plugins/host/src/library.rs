//! Loading a library once and for ever, agreeing on a version, and reading the tables that never change.

use crate::manifest::Manifest;
use crate::schema::ConfigSchema;
use crate::{table, unloadable};
use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW};
use panchroma_abi as abi;
use panchroma_core::{Library, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Most components that a list may have: more is a number that was never set.
const MOST_COMPONENTS: u32 = 1024;

/// A loaded plugin: nothing that it gave is ever freed, and it is never unloaded.
pub(crate) struct Loaded {
    pub(crate) library: Arc<Library>,
    /// Version of the interface that it was compiled for: `1.0`.
    pub(crate) interface: String,
    pub(crate) components: Vec<Component>,
}

/// What a component says of itself: all that is known of one that runs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) kind: Kind,
    pub(crate) flags: u32,
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) example: String,
    pub(crate) schema: String,
}

/// Kinds of components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Modality,
    Codec,
    Tokenizer,
    Head,
}

impl Kind {
    /// What the config calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Modality => "modality",
            Self::Codec | Self::Tokenizer => "tokenizer",
            Self::Head => "head",
        }
    }
}

/// A component with its functions.
pub(crate) struct Component {
    pub(crate) about: About,
    /// Name of its plugin.
    pub(crate) plugin: String,
    pub(crate) schema: ConfigSchema,
    pub(crate) table: abi::Component,
    pub(crate) functions: Functions,
}

/// Functions by kind, those that must be there checked.
#[derive(Clone, Copy)]
pub(crate) enum Functions {
    Modality(abi::Modality),
    Codec(abi::Codec),
    Tokenizer(abi::Tokenizer),
    Head(abi::Head),
}

// SAFETY: the tables hold pointers to what never changes and is never freed, and functions that may be called from any thread.
unsafe impl Send for Component {}
// SAFETY: as above.
unsafe impl Sync for Component {}

/// Libraries that are loaded, by file and hash: a second registry gets the same.
static LOADED: Mutex<BTreeMap<(PathBuf, String), Arc<Loaded>>> = Mutex::new(BTreeMap::new());

/// Loads the library at `path`, which was found to be one, with this hash; what `manifest` says must be what it says itself.
///
/// # Errors
/// [`panchroma_core::PluginError::Load`] that says why it can't be.
pub(crate) fn load(path: &Path, sha256: &str, manifest: Option<&Manifest>) -> Result<Arc<Loaded>> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (path.to_path_buf(), sha256.to_owned());
    let found = match loaded.get(&key) {
        Some(found) => Arc::clone(found),
        None if loaded.keys().any(|(other, _)| other == path) => {
            let hint = Some("start the command again".into());
            return Err(unloadable(path, "the file changed after it was loaded", hint));
        }
        None => {
            let found = Arc::new(open(path, &key.1).map_err(|reason| unloadable(path, reason, None))?);
            loaded.insert(key, Arc::clone(&found));
            found
        }
    };
    same_as(manifest, &found.library)?;
    Ok(found)
}

/// Refuses a library that isn't what its manifest says.
///
/// # Errors
/// If name or version differ.
pub(crate) fn same_as(manifest: Option<&Manifest>, library: &Library) -> Result<()> {
    let Library { name, version, path, .. } = library;
    match manifest {
        Some(manifest) if (&manifest.name, &manifest.version) != (name, version) => {
            let (other, its) = (&manifest.name, &manifest.version);
            let reason = format!("its manifest says `{other}` {its}, the library itself `{name}` {version}");
            Err(unloadable(path, reason, Some("build the library again, or correct the manifest".into())))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path, sha256: &str) -> Result<Loaded, String> {
    // SAFETY: initialisers of the library run here. That is what loading a plugin means, and why only paths that the user
    // named are loaded; the file is a library for this machine that exports the entry.
    // Everything that it needs is looked for now: what is missing must not end a run in the middle.
    let handle = unsafe { Handle::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        // What the system said stands behind it.
        let said = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        format!("the system can't load it: {said}")
    })?;
    // SAFETY: the type of the entry is that of the header.
    let entry: abi::Entry = *unsafe { handle.get::<abi::Entry>(abi::ENTRY.to_bytes_with_nul()) }
        .map_err(|error| format!("it has no entry: {error}"))?;
    // Nothing of it may ever be unloaded: functions, texts and threads of it may be in use for as long as this process lives.
    std::mem::forget(handle);
    // SAFETY: the entry takes any number.
    let pointer = unsafe { entry(abi::ABI) };
    let ours = format!("{}.{}", abi::ABI_MAJOR, abi::ABI_MINOR);
    if pointer.is_null() {
        return Err(format!("it does not work with interface {ours} of this Panchroma"));
    }
    if !pointer.is_aligned() {
        return Err("its table is not aligned".into());
    }
    // SAFETY: the first member is the version, whatever the version. Nothing else is read before it is known.
    let version = unsafe { pointer.cast::<u32>().read() };
    let (major, minor) = (version >> 16, version & 0xffff);
    if major != abi::ABI_MAJOR || minor > abi::ABI_MINOR {
        return Err(format!("it was compiled for interface {major}.{minor}, this Panchroma has {ours}"));
    }
    // SAFETY: by the interface of this major version.
    let plugin = unsafe { table::read_at(pointer, "its table", size_of::<abi::Plugin>(), 4) }?;
    // SAFETY: as above; texts of tables end with a zero byte.
    let (name, version, license) = unsafe {
        let name = table::name(plugin.name, "its name", &['_', '-'])?;
        (name, table::text(plugin.version, "its version")?, table::text(plugin.license, "its licence")?)
    };
    let publisher = match plugin.publisher.is_null() {
        true => String::new(),
        // SAFETY: as above.
        false => unsafe { table::text(plugin.publisher, "its publisher") }?,
    };
    let mut components = Vec::new();
    // SAFETY: the table says that there are so many.
    unsafe { read_components(&name, plugin.component_count, plugin.components, None, &mut components) }?;
    for (id, kind) in [(abi::TOKENIZERS, Kind::Tokenizer), (abi::HEADS, Kind::Head)] {
        let Some(list) = extension(&plugin, id)? else { continue };
        // SAFETY: as above, for what the extension gave.
        unsafe { read_components(&name, list.count, list.items, Some(kind), &mut components) }?;
    }
    for (number, component) in components.iter().enumerate() {
        let about = &component.about;
        let same = |other: &Component| (other.about.kind.word(), &other.about.name) == (about.kind.word(), &about.name);
        if components.iter().take(number).any(same) {
            return Err(format!("it has the {} `{}` twice", about.kind.word(), about.name));
        }
    }
    let library = Library { name, version, license, publisher, path: path.to_path_buf(), sha256: sha256.into() };
    Ok(Loaded { library: Arc::new(library), interface: format!("{major}.{minor}"), components })
}

/// The list of components that an extension gives, if the plugin has it.
fn extension(plugin: &abi::Plugin, id: &CStr) -> Result<Option<abi::Components>, String> {
    let Some(extension) = plugin.extension else { return Ok(None) };
    // SAFETY: the function takes any text that ends with a zero byte.
    let found = unsafe { extension(id.as_ptr()) }.cast::<abi::Components>();
    if found.is_null() {
        return Ok(None);
    }
    let what = format!("its extension `{}`", id.to_string_lossy());
    // SAFETY: what the extension of this name gives, by the interface.
    unsafe { table::read(found, &what, size_of::<abi::Components>()) }.map(Some)
}

/// Reads `count` components, of `kind` or, in the plugin's own table, of those of the first version.
///
/// # Safety
/// `items` leads to `count` pointers to components, as the tables say.
unsafe fn read_components(
    plugin: &str,
    count: u32,
    items: *const *const abi::Component,
    kind: Option<Kind>,
    into: &mut Vec<Component>,
) -> Result<(), String> {
    if count > MOST_COMPONENTS {
        return Err(format!("it says that it has {count} components"));
    }
    if count > 0 && (items.is_null() || !items.is_aligned()) {
        return Err("its list of components is no pointer".into());
    }
    for number in 0..count as usize {
        // SAFETY: below `count`.
        let pointer = unsafe { items.add(number).read() };
        // SAFETY: the list holds pointers to components.
        into.push(unsafe { component(plugin, pointer, number, kind) }?);
    }
    Ok(())
}

/// # Safety
/// `pointer` is null or leads to a component.
unsafe fn component(
    plugin: &str,
    pointer: *const abi::Component,
    number: usize,
    kind: Option<Kind>,
) -> Result<Component, String> {
    let what = format!("its component {number}");
    // SAFETY: by the caller's promise.
    let table = unsafe { table::read(pointer, &what, size_of::<abi::Component>()) }?;
    // SAFETY: texts of tables end with a zero byte.
    let name = unsafe { table::name(table.name, &format!("the name of {what}"), &['_']) }?;
    let found = match table.kind {
        abi::MODALITY => Kind::Modality,
        abi::CODEC => Kind::Codec,
        abi::TOKENIZER => Kind::Tokenizer,
        abi::HEAD => Kind::Head,
        other => return Err(format!("`{name}` is of kind {other}, which this Panchroma does not know")),
    };
    match kind {
        Some(kind) if kind != found => return Err(format!("`{name}` is a {found:?} in the list of another kind")),
        None if !matches!(found, Kind::Modality | Kind::Codec) => {
            return Err(format!("`{name}` is a {found:?}, which belongs into an extension"));
        }
        _ => {}
    }
    let of = |part: &str| format!("{part} of `{name}`");
    // SAFETY: as above.
    let (summary, schema) =
        unsafe { (table::text(table.summary, &of("the summary"))?, table::text(table.schema, &of("the schema"))?) };
    let example = match table.example.is_null() {
        true => String::new(),
        // SAFETY: as above.
        false => unsafe { table::text(table.example, &of("the example")) }?,
    };
    if table.create.is_none() || table.destroy.is_none() {
        return Err(format!("`{name}` has no `create` or no `destroy`"));
    }
    let parsed = ConfigSchema::parse(&schema).map_err(|reason| format!("`{name}`: {reason}"))?;
    // SAFETY: a component of this kind has functions of this kind.
    let functions = unsafe { functions(found, table.functions, &of("the functions")) }?;
    let flags = table.flags;
    let about = About { kind: found, flags, name, summary, example, schema };
    Ok(Component { about, plugin: plugin.into(), schema: parsed, table, functions })
}

/// # Safety
/// `pointer` is null or leads to the functions of `kind`.
unsafe fn functions(kind: Kind, pointer: *const c_void, what: &str) -> Result<Functions, String> {
    macro_rules! read {
        ($variant:ident, $least:expr, $($needed:ident)*) => {{
            // SAFETY: by the caller's promise.
            let table: abi::$variant = unsafe { table::read(pointer.cast(), what, $least) }?;
            $(if table.$needed.is_none() {
                return Err(format!("{what} have no `{}`", stringify!($needed)));
            })*
            Functions::$variant(table)
        }};
    }
    // The size that each had in version 1.0.
    let functions = match kind {
        Kind::Modality => read!(Modality, std::mem::offset_of!(abi::Modality, fit), describe column axis field run),
        Kind::Codec => read!(Codec, size_of::<abi::Codec>(), describe encode),
        Kind::Tokenizer => read!(Tokenizer, size_of::<abi::Tokenizer>(), describe run),
        Kind::Head => read!(Head, size_of::<abi::Head>(), describe forward backward),
    };
    if let Functions::Modality(own) = &functions {
        let learning = [own.fit.is_some(), own.fitted.is_some(), own.restore.is_some()];
        if learning.contains(&true) && learning.contains(&false) {
            return Err(format!("{what} have only some of `fit`, `fitted` and `restore`"));
        }
    }
    Ok(functions)
}
