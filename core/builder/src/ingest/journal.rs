//! What an ingest has done, so that an interrupted one goes on: a line of JSON per group of files.

use super::mapping::Mapping;
use super::sources::Seen;
use crate::files::source;
use crate::hats::{Piece, hexadecimal};
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Its name in the folder.
const NAME: &str = "journal.jsonl";

/// A group of files that is done, and what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Done {
    /// Number of the group.
    pub(super) group: usize,
    pub(super) files: Vec<Seen>,
    /// Names of pieces with their bytes in memory.
    pub(super) pieces: Vec<(String, u64)>,
    pub(super) skipped: Vec<(PathBuf, String)>,
    /// Unit by dotted column, where a file or the mapping says it.
    pub(super) units: BTreeMap<String, String>,
    /// What the user should know.
    pub(super) notes: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    mapping: String,
}

/// An ingest's journal.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Groups of files that need not be read again, with their pieces.
    pub(super) done: Vec<(Done, Vec<Piece>)>,
}

impl Journal {
    /// Whether there is one in `folder`.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(NAME).exists()
    }

    /// Reads the journal in `folder`, or begins one. Of what it says, that counts which is about files that are as they were,
    /// in the same groups, and whose pieces can be read.
    pub(super) fn open(folder: &Path, mapping: &Mapping, groups: &[Vec<Seen>], id: &str) -> Result<Self> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let mapping = mapping.identity();
        let mapping = hexadecimal(&Sha256::digest(mapping));
        let mut lines = text.lines();
        let header = lines.next().map(serde_json::from_str::<Header>);
        // A line that is cut short was being written when the machine stopped: its files are read again.
        let said: Vec<Done> = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
        match header {
            Some(Ok(header)) if header.mapping == mapping => {}
            // A mapping that was corrected before anything was read is no other one.
            _ if said.is_empty() => {}
            _ => {
                let reason = "is of an unfinished ingest by another mapping".to_owned();
                return Err(source(folder, "", reason, "go on with that mapping, or remove the folder"));
            }
        }
        let holds = |done: &Done| groups.get(done.group).is_some_and(|files| *files == done.files);
        let pieces = |done: Done| {
            let pieces = done.pieces.iter().map(|(name, _)| Piece::open(&folder.join(name), id).ok());
            let pieces = pieces.collect::<Option<Vec<_>>>()?;
            Some((done, pieces))
        };
        // A group that was done again counts as it was last.
        let last: BTreeMap<usize, Done> = said.into_iter().filter(holds).map(|done| (done.group, done)).collect();
        let done: Vec<(Done, Vec<Piece>)> = last.into_values().filter_map(pieces).collect();
        // Written anew, without what does not hold.
        let partial = folder.join("journal.writing");
        let mut file = File::create(&partial).map_err(Error::io("create", &partial))?;
        let mut write = |value: String| writeln!(file, "{value}").map_err(Error::io("write", &partial));
        write(json(&Header { mapping }))?;
        done.iter().map(|(done, _)| json(done)).try_for_each(&mut write)?;
        file.sync_all().map_err(Error::io("write", &partial))?;
        fs::rename(&partial, &path).map_err(Error::io("write", &path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io("write", &path))?;
        Ok(Self { path, file, done })
    }

    /// Notes that files are done; their pieces are on disk.
    pub(super) fn add(&mut self, done: &Done) -> Result<()> {
        writeln!(self.file, "{}", json(done)).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
