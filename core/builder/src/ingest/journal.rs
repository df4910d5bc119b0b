//! What an ingest has done, so that an interrupted one goes on: a line of JSON per group of files.

use super::mapping::Mapping;
use crate::files::source;
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files that are done, and what came of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) files: Vec<PathBuf>,
    /// Names of pieces with their bytes in memory.
    pub(super) pieces: Vec<(String, u64)>,
    pub(super) skipped: Vec<(PathBuf, String)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    mapping: String,
}

pub(super) struct Journal {
    path: PathBuf,
    file: File,
    pub(super) done: Vec<Done>,
}

impl Journal {
    /// Reads the journal in `folder`, or begins one.
    pub(super) fn open(folder: &Path, mapping: &Mapping) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let said = serde_json::to_vec(mapping).unwrap_or_default();
        let mapping: String = Sha256::digest(said).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut lines = text.lines();
        let header = lines.next().map(serde_json::from_str::<Header>);
        // A line that is cut short was being written when the machine stopped: its files are read again.
        let whole = |d: &Done| d.pieces.iter().all(|(name, _)| folder.join(name).is_file());
        let done: Vec<Done> = lines.map_while(|line| serde_json::from_str(line).ok()).filter(whole).collect();
        match header {
            Some(Ok(header)) if header.mapping == mapping => {}
            // A mapping that was corrected before anything was read is no other one.
            _ if done.is_empty() => {}
            _ => {
                let reason = "is of an unfinished ingest by another mapping".to_owned();
                return Err(source(folder, "", reason, "go on with that mapping, or remove the folder"));
            }
        }
        // Written anew, without what was cut short.
        let partial = folder.join("journal.writing");
        let mut file = File::create(&partial).map_err(Error::io("create", &partial))?;
        let mut write = |value: String| writeln!(file, "{value}").map_err(Error::io("write", &partial));
        write(json(&Header { mapping }))?;
        done.iter().map(json).try_for_each(&mut write)?;
        file.sync_all().map_err(Error::io("write", &partial))?;
        fs::rename(&partial, &path).map_err(Error::io("write", &path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io("write", &path))?;
        Ok(Self { path, file, done })
    }

    /// Notes that files are done; their pieces are on disk.
    pub(super) fn add(&mut self, done: &Done) -> Result<()> {
        writeln!(self.file, "{}", json(done)).map_err(Error::io("write", &self.path))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
