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
        grow(named.as_file(), FIRST)?;
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
            grow(&self.file, bytes.max(self.map.len() * 2).next_multiple_of(FIRST))?;
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

/// Makes the file as large, with room that is there: a file system in memory gives a length at once, and the lack of room only by a signal to
/// whoever writes there.
fn grow(file: &File, bytes: usize) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open for as long as `file` lives.
        let status = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) };
        match status {
            0 => Ok(()),
            // A file system that can't reserve: its own errors are all that there is.
            libc::EOPNOTSUPP | libc::EINVAL => file.set_len(bytes as u64),
            error => Err(std::io::Error::from_raw_os_error(error)),
        }
    }
    #[cfg(not(target_os = "linux"))]
    file.set_len(bytes as u64)
}

fn map(file: &File) -> Result<MmapMut> {
    // SAFETY: only the two processes know the file; they write at different times, each while the other waits for a message.
    unsafe { MmapMut::map_mut(file) }
}
