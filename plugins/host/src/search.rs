//! Where plugins are looked for: the config's paths, then those of an environment variable, and nowhere else.

use crate::manifest::{self, Manifest};
use crate::unloadable;
use panchroma_core::{Error, PluginsConfig, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Whole paths of libraries, manifests or folders, with colons between.
pub const VARIABLE: &str = "PANCHROMA_PLUGIN_PATH";

/// A plugin that was found and not yet loaded.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The library.
    pub library: PathBuf,
    /// What lies beside it, if anything does.
    pub manifest: Option<Manifest>,
}

/// A path that somebody named.
#[derive(Clone, Debug)]
pub struct Named {
    /// The path.
    pub path: PathBuf,
    /// Who named it.
    pub source: &'static str,
}

/// The paths that `config` and the environment name, in that order.
#[must_use]
pub fn named(config: &PluginsConfig) -> Vec<Named> {
    let variable = std::env::var_os(VARIABLE).unwrap_or_default();
    let from_variable = std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
    let of_config = config.paths.iter().map(|path| Named { path: path.clone(), source: "[plugins] paths" });
    of_config.chain(from_variable.map(|path| Named { path, source: VARIABLE })).collect()
}

impl Named {
    /// The plugins there.
    ///
    /// # Errors
    /// If it is no whole path, or there is none.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        let Self { path, source } = self;
        if !path.is_absolute() {
            let reason =
                format!("{source} has a relative path, which would depend on the folder where the command runs");
            return Err(unloadable(path, reason, Some("write the whole path, from `/`".into())));
        }
        let here = at(path).map_err(|error| match error {
            Error::Foreign(plugin) => plugin.named_by(source).into(),
            other => other,
        })?;
        if here.is_empty() {
            let reason = format!("{source} names a folder that holds neither a shared library nor a manifest");
            return Err(unloadable(path, reason, Some(format!("a library is called `{}`", file_name("NAME")))));
        }
        Ok(here)
    }
}

/// The plugins that `config` and the environment name, in the order in which they are named.
///
/// # Errors
/// If a path is not a whole one, is named twice, or holds no plugin.
pub fn candidates(config: &PluginsConfig) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for named in named(config) {
        for candidate in named.candidates()? {
            // One file may be reached by several names.
            let file = candidate.library.canonicalize().unwrap_or_else(|_| candidate.library.clone());
            if seen.insert(file) {
                found.push(candidate);
            } else if candidate.library == named.path {
                let reason = format!("{} leads to it a second time", named.source);
                return Err(unloadable(&named.path, reason, Some("name each plugin once".into())));
            }
        }
    }
    Ok(found)
}

/// What a library called `name` is called as a file here.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// The plugins at one path: a library, a manifest, or a folder of them; none in a folder without any.
///
/// # Errors
/// If there is nothing, or a manifest is wrong.
pub fn at(path: &Path) -> Result<Vec<Candidate>> {
    if path.is_dir() {
        return folder(path);
    }
    if is(path, "toml") {
        let manifest = Manifest::read(path)?;
        let library = manifest.library(path)?;
        return Ok(vec![Candidate { library, manifest: Some(manifest) }]);
    }
    let unreadable = |reason: String| unloadable(path, reason, Some("is it built, and is the path right?".into()));
    match std::fs::metadata(path) {
        Err(error) => return Err(unreadable(format!("the file can't be read: {error}"))),
        Ok(found) if !found.is_file() => return Err(unreadable("it is neither a file nor a folder".into())),
        Ok(_) => {}
    }
    Ok(vec![Candidate { library: path.to_path_buf(), manifest: manifest::beside(path)? }])
}

/// The plugins in a folder: manifests, and libraries that no manifest names, in the order of their names.
fn folder(path: &Path) -> Result<Vec<Candidate>> {
    let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|p| p.is_file()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| is(file, "toml") && Manifest::is_one(file)) {
        let manifest = Manifest::read(file)?;
        found.push(Candidate { library: manifest.library(file)?, manifest: Some(manifest) });
    }
    let ending = std::env::consts::DLL_EXTENSION;
    for file in files.iter().filter(|file| is(file, ending)) {
        if !found.iter().any(|candidate| candidate.library == *file) {
            found.push(Candidate { library: file.clone(), manifest: None });
        }
    }
    Ok(found)
}

fn is(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e == ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&Path]) -> PluginsConfig {
        PluginsConfig { paths: paths.iter().map(|p| p.to_path_buf()).collect(), ..PluginsConfig::default() }
    }

    #[test]
    fn relative_paths_empty_folders_and_repeats_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = candidates(&of(&[Path::new("plugins")])).unwrap_err();
        assert!(error.to_string().contains("relative path"), "{error}");
        let error = candidates(&of(&[folder.path()])).unwrap_err();
        assert!(error.to_string().contains("holds neither"), "{error}");
        let missing = folder.path().join("none.so");
        assert!(candidates(&of(&[&missing])).unwrap_err().to_string().contains("can't be read"));
        let library = folder.path().join(file_name("a"));
        std::fs::write(&library, "x").unwrap();
        let again = folder.path().join("link.so");
        std::os::unix::fs::symlink(&library, &again).unwrap();
        let error = candidates(&of(&[&library, &again])).unwrap_err();
        assert!(error.to_string().contains("second time"), "{error}");
        // A folder and one of its files: found once.
        std::fs::remove_file(&again).unwrap();
        assert_eq!(candidates(&of(&[&library, folder.path()])).unwrap().len(), 1);
    }

    #[test]
    fn a_manifest_stands_for_its_library() {
        let folder = tempfile::tempdir().unwrap();
        let platform = manifest::platform();
        let text = format!(
            "manifest_version = 1\nname = \"a\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\nabi = \"1.0\"\n[platforms]\n{platform} = \"{}\"\n",
            file_name("a")
        );
        std::fs::write(folder.path().join("a.toml"), &text).unwrap();
        std::fs::write(folder.path().join("unrelated.toml"), "x = 1").unwrap();
        let error = candidates(&of(&[folder.path()])).unwrap_err();
        assert!(error.to_string().contains("isn't there"), "{error}");
        std::fs::write(folder.path().join(file_name("a")), "x").unwrap();
        let found = candidates(&of(&[folder.path()])).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].manifest.as_ref().unwrap().version, "1.0.0");
    }
}
