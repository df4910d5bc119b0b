//! What a file is, without loading it: its hash, its format, what it was compiled for, and whether it exports the entry.

use crate::unloadable;
use object::{Architecture, BinaryFormat, Object, ObjectKind};
use panchroma_core::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

/// What is known of a library that isn't loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Of the whole file, 64 hexadecimal digits.
    pub sha256: String,
}

/// Checks that `path` is a shared library for this machine with the entry.
///
/// # Errors
/// [`panchroma_core::PluginError::Load`] that says what it is instead.
pub fn facts(path: &Path) -> Result<FileFacts> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    check(&bytes).map_err(|(reason, hint)| unloadable(path, reason, Some(hint.into())))?;
    Ok(FileFacts { sha256 })
}

fn check(bytes: &[u8]) -> Result<(), (String, &'static str)> {
    let build = "a plugin is built by `cc -shared -fPIC`, or by cargo as a `cdylib`";
    let file = object::File::parse(bytes).map_err(|error| (format!("it is not a shared library: {error}"), build))?;
    if file.kind() != ObjectKind::Dynamic {
        return Err((format!("it is {}, not a shared library", describe(file.kind())), build));
    }
    let here = if cfg!(target_os = "macos") { BinaryFormat::MachO } else { BinaryFormat::Elf };
    let wanted = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "riscv64" => Architecture::Riscv64,
        "powerpc64" => Architecture::PowerPc64,
        // What this machine is can't be compared: loading will tell.
        _ => file.architecture(),
    };
    if file.format() != here || file.architecture() != wanted {
        let reason = format!(
            "it was built for {:?} {:?}, this machine is {} {}",
            file.format(),
            file.architecture(),
            std::env::consts::OS,
            std::env::consts::ARCH
        );
        return Err((reason, "build it for this machine, or ask its publisher for another file"));
    }
    let entry = panchroma_abi::ENTRY.to_bytes();
    let exports = file.exports().map_err(|error| (format!("its exported names can't be read: {error}"), build))?;
    // Mach-O puts an underscore before every name.
    let is_entry = |name: &[u8]| name == entry || name.strip_prefix(b"_") == Some(entry);
    if exports.iter().any(|export| is_entry(export.name())) {
        return Ok(());
    }
    let name = panchroma_abi::ENTRY.to_string_lossy();
    Err((
        format!("it does not export `{name}`, so it is no plugin of Panchroma"),
        "define the function, and export it by PANCHROMA_EXPORT: see docs/shared-plugins.md",
    ))
}

fn describe(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Executable => "a program",
        ObjectKind::Relocatable => "an object file that is not yet linked",
        ObjectKind::Core => "a core dump",
        _ => "a file of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plugin_is_named() {
        let said = |bytes: &[u8]| check(bytes).unwrap_err().0;
        assert!(said(b"not a library").contains("not a shared library"));
        assert!(said(b"").contains("not a shared library"));
        let mut own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        // A test's own executable is position independent, which ELF doesn't tell from a library: it lacks the entry.
        assert!(said(&own).contains("does not export"), "{}", said(&own));
        if own.starts_with(b"\x7fELF") {
            // The machine's number, at byte 18, of AArch64 or x86-64.
            let other: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
            own[18..20].copy_from_slice(&other.to_le_bytes());
            assert!(said(&own).contains("it was built for Elf"), "{}", said(&own));
            own[16..18].copy_from_slice(&1u16.to_le_bytes());
            assert!(said(&own).contains("not yet linked"), "{}", said(&own));
        }
    }
}
