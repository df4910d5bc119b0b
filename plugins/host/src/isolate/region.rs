//! Memory that parent and child share: a file in memory that both map, and that grows.

use memmap2::MmapMut;
use std::fs::{File, OpenOptions};
use std::io::Result;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes that it begins with.
const FIRST: usize = 1 << 20;

/// The shared memory, as one of the two sees it.
pub(super) struct Region {
    file: File,
    map: MmapMut,
    /// In the parent: removes the file in the end.
    named: Option<NamedTempFile>,
}

impl Region {
    /// Makes it.
    pub(super) fn create() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let named = tempfile::Builder::new().prefix("panchroma-").tempfile_in(folder)?;
        named.as_file().set_len(FIRST as u64)?;
        let file = named.as_file().try_clone()?;
        Ok(Self { map: map(&file)?, file, named: Some(named) })
    }

    /// Opens what the parent made.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { map: map(&file)?, file, named: None })
    }

    /// Where the child finds it.
    pub(super) fn path(&self) -> PathBuf {
        self.named.as_ref().map(|named| named.path().to_path_buf()).unwrap_or_default()
    }

    /// Removes its name: both have it open, and nothing is left behind however they end.
    pub(super) fn forget_name(&mut self) {
        if let Some(named) = self.named.take() {
            // What can't be removed is a small file in a folder for such files.
            let _ = named.close();
        }
    }

    /// Makes room for `bytes`.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.map.len() {
            self.file.set_len(bytes.max(self.map.len() * 2) as u64)?;
        }
        self.follow()
    }

    /// Maps what the other side made room for.
    pub(super) fn follow(&mut self) -> Result<()> {
        if self.file.metadata()?.len() as usize > self.map.len() {
            self.map = map(&self.file)?;
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// All of it, to be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

fn map(file: &File) -> Result<MmapMut> {
    // SAFETY: only the two processes know the file; they write at different times, each while the other waits for a message.
    unsafe { MmapMut::map_mut(file) }
}
