//! The TOML file beside a library that says what it is, so that nothing has to be loaded to know.

use crate::unloadable;
use panchroma_abi::{ABI_MAJOR, ABI_MINOR};
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of this layout.
const VERSION: u32 = 1;

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of the manifest's own layout: 1.
    pub manifest_version: u32,
    /// Name of the plugin, as in its table.
    pub name: String,
    /// Version of the plugin, as in its table.
    pub version: String,
    /// Who answers for it.
    #[serde(default)]
    pub publisher: String,
    /// SPDX expression.
    pub license: String,
    /// Version of the interface that it was compiled with: `1.0`.
    pub abi: String,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Files by platform, relative to the manifest: `linux-x86_64 = "libNAME.so"`.
    pub platforms: BTreeMap<String, PathBuf>,
    /// What it offers, for lists.
    #[serde(default, rename = "component", skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Offer>,
}

/// One component in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// `modality`, `codec`, `tokenizer` or `head`.
    pub kind: String,
    /// What users write after `kind =`.
    pub name: String,
    /// One line.
    #[serde(default)]
    pub summary: String,
}

/// What this platform is called in manifests.
#[must_use]
pub(crate) fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The manifest that lies beside a library, if one names it: any `*.toml` in its folder.
///
/// # Errors
/// If there is one that can't be understood.
pub(crate) fn beside(library: &Path) -> Result<Option<Manifest>> {
    let folder = library.parent().unwrap_or(Path::new("/"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml") && Manifest::is_one(file));
    files.sort();
    for file in files {
        // One of another plugin is none of our business, however wrong.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let table = text.parse::<toml::Table>().unwrap_or_default();
        let platforms = table.get("platforms").and_then(toml::Value::as_table);
        let names = |path: &toml::Value| path.as_str().is_some_and(|path| folder.join(path) == *library);
        if platforms.is_some_and(|platforms| platforms.values().any(names)) {
            return Manifest::read(&file).map(Some);
        }
    }
    Ok(None)
}

impl Manifest {
    /// Whether a TOML file means to be a manifest: it says `manifest_version`.
    pub(crate) fn is_one(path: &Path) -> bool {
        std::fs::read_to_string(path)
            .is_ok_and(|text| text.lines().any(|l| l.trim_start().starts_with("manifest_version")))
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// If it can't be read, has another layout, or is for another interface.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let wrong = |reason: String| unloadable(path, reason, Some("docs/shared-plugins.md shows a manifest".into()));
        let version = |table: &toml::Table| table.get("manifest_version").and_then(toml::Value::as_integer);
        let table =
            text.parse::<toml::Table>().map_err(|e| wrong(format!("the manifest is not TOML: {}", e.message())))?;
        if version(&table) != Some(i64::from(VERSION)) {
            let found = version(&table).map_or_else(|| "none".into(), |v| v.to_string());
            return Err(wrong(format!("`manifest_version` must be {VERSION}, is {found}")));
        }
        let manifest: Self =
            toml::from_str(&text).map_err(|e| wrong(format!("the manifest is wrong: {}", e.message())))?;
        manifest.check_interface().map_err(|reason| {
            let hint = "use a Panchroma that is as new, or a build of the plugin for this one";
            unloadable(path, reason, Some(hint.into()))
        })?;
        Ok(manifest)
    }

    fn check_interface(&self) -> Result<(), String> {
        let parts = self.abi.split_once('.').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
        match parts {
            None => Err(format!("`abi` must be a version such as \"1.0\", is `{}`", self.abi)),
            Some((major, minor)) if major != ABI_MAJOR || minor > ABI_MINOR => {
                Err(format!("it needs interface {}, this Panchroma has {ABI_MAJOR}.{ABI_MINOR}", self.abi))
            }
            Some(_) => Ok(()),
        }
    }

    /// The library for this platform; `path` is the manifest's own.
    ///
    /// # Errors
    /// If there is none, or it isn't there.
    pub(crate) fn library(&self, path: &Path) -> Result<PathBuf> {
        let platform = platform();
        let Some(file) = self.platforms.get(&platform) else {
            let known: Vec<&str> = self.platforms.keys().map(String::as_str).collect();
            let reason = format!("`{}` has no file for {platform}, only for {}", self.name, known.join(", "));
            return Err(unloadable(path, reason, Some("build it for this platform, or ask its publisher".into())));
        };
        let library = path.parent().unwrap_or(Path::new("/")).join(file);
        if library.is_file() {
            return Ok(library);
        }
        let reason = format!("the manifest names `{}`, which isn't there", library.display());
        Err(unloadable(path, reason, Some("build it, or correct [platforms]".into())))
    }
}
