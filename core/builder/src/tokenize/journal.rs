//! Which objects have their codes, so that an interrupted tokenizing goes on: a line of JSON per piece.

use crate::files::source;
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Its name in the folder: that of all journals, so that commands notice each other's.
const NAME: &str = "journal.jsonl";

/// A piece that is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Its name in the folder.
    pub(super) piece: String,
    /// Number of its first object in the catalogue.
    pub(super) first: u64,
    /// Number of its objects.
    pub(super) rows: u64,
    /// Its bytes in memory.
    pub(super) bytes: u64,
    /// Objects that have codes, by modality.
    pub(super) with: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    tokenize: String,
}

/// A tokenizing's journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Reads the journal in `folder`, or begins one; also gives what is done, by first object. `identity` changes with all that decides what the pieces
    /// hold.
    ///
    /// # Errors
    /// If it is of another catalogue or other codecs, or the disk refuses.
    pub(super) fn open(folder: &Path, identity: &str) -> Result<(Self, BTreeMap<u64, Done>)> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let mut lines = text.lines();
        match lines.next().map(serde_json::from_str::<Header>) {
            None => {}
            Some(Ok(header)) if header.tokenize == identity => {}
            _ => {
                let reason = "is of an unfinished command with other data, codecs or columns".to_owned();
                return Err(source(folder, "", reason, "go on with those, or remove the folder"));
            }
        }
        // A line that is cut short was being written when the machine stopped: its objects are done again.
        // A piece that was made again counts as it was last.
        let done = lines.map_while(|line| serde_json::from_str(line).ok()).map(|done: Done| (done.first, done));
        let done: BTreeMap<u64, Done> = done.collect();
        let partial = folder.join("journal.writing");
        let mut file = File::create(&partial).map_err(Error::io("create", &partial))?;
        let mut write = |value: String| writeln!(file, "{value}").map_err(Error::io("write", &partial));
        write(json(&Header { tokenize: identity.to_owned() }))?;
        done.values().map(json).try_for_each(&mut write)?;
        file.sync_all().map_err(Error::io("write", &partial))?;
        fs::rename(&partial, &path).map_err(Error::io("write", &path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io("write", &path))?;
        Ok((Self { path, file }, done))
    }

    /// Notes a piece, which is on disk.
    pub(super) fn add(&mut self, done: &Done) -> Result<()> {
        writeln!(self.file, "{}", json(done)).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
