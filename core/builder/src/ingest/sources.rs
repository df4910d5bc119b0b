//! Which files are read, and in which groups.

use crate::files::source;
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A group has at most so many files, and about so many bytes: one thread reads it before it writes its last piece.
const FILES: usize = 128;
const BYTES: u64 = 64 << 20;

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
}

/// The files that patterns name, sorted, each once, in groups that depend on nothing but the files.
pub(super) fn groups(patterns: &[String]) -> Result<Vec<Vec<Seen>>> {
    let mut groups: Vec<Vec<Seen>> = Vec::new();
    let mut bytes = 0;
    for path in find(patterns)? {
        let about = fs::metadata(&path).map_err(Error::io("read", &path))?;
        let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let seen = Seen { path, size: about.len(), modified };
        match groups.last_mut() {
            Some(last) if last.len() < FILES && bytes + seen.size <= BYTES => last.push(seen),
            _ => {
                groups.push(vec![seen]);
                bytes = 0;
            }
        }
        bytes += about.len();
    }
    Ok(groups)
}

fn find(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pattern in patterns {
        let wrong = |reason: String, hint: &str| source(Path::new(pattern), "", reason, hint);
        let hint = "patterns are such as `spectra/**/*.fits`";
        let before = files.len();
        for path in glob::glob(pattern).map_err(|e| wrong(e.to_string(), hint))? {
            let path = path.map_err(|e| wrong(e.to_string(), hint))?;
            if path.is_file() {
                files.push(path);
            }
        }
        if files.len() == before {
            return Err(match Path::new(pattern).is_dir() {
                true => {
                    wrong("is a folder".into(), &format!("name its files: `{}/**/*`", pattern.trim_end_matches('/')))
                }
                false => wrong("matches no file".into(), hint),
            });
        }
    }
    files.sort();
    // A file that is found by two ways is one; links to folders may go round.
    let mut known = BTreeSet::new();
    files.retain(|path| known.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(files)
}
