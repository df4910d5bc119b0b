//! The folder in which a catalogue grows, `OUT.partial`: one command at a time works in it, and what somebody else put
//! there is not touched.

use super::partial;
use panchroma_core::data::{DataError, writable};
use panchroma_core::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Says that the folder is ours, and is locked while a command works in it.
const LOCK: &str = "panchroma.lock";

/// Such a folder, locked until this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Unlocks when it is closed.
    _lock: File,
}

impl Scratch {
    /// Makes the folder for a catalogue at `out`, or takes over what an interrupted command left.
    ///
    /// # Errors
    /// If `out` exists or is an address, if another command works in the folder, or if the folder is not ours.
    pub fn open(out: &Path) -> Result<Self> {
        writable(out)?;
        if fs::exists(out).map_err(Error::io("read", out))? {
            return Err(DataError::Exists { path: out.into() }.into());
        }
        let path = partial(out);
        let mark = path.join(LOCK);
        match fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(&path).map_err(Error::io("read", &path))?;
                if !mark.exists() && entries.next().is_some() {
                    return Err(DataError::Exists { path }.into());
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
            }
            done => done.map_err(Error::io("create", &path))?,
        }
        let lock = OpenOptions::new().create(true).append(true).open(&mark).map_err(Error::io("create", &mark))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataError::Busy { path }.into()),
            // A file system without locks: then nobody is kept out, as before there were any.
            Err(TryLockError::Error(_)) => {}
        }
        // The other command may have ended, and moved its catalogue to `out`, in between.
        if fs::exists(out).map_err(Error::io("read", out))? || !mark.exists() {
            return Err(DataError::Exists { path: out.into() }.into());
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what is in it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Error::io("read", &self.path))? {
            let path = entry.map_err(Error::io("read", &self.path))?.path();
            if path.file_name().is_some_and(|name| name == LOCK) {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).map_err(Error::io("remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_at_a_time_and_only_in_folders_of_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("below/out");
        let first = Scratch::open(&out).expect("made");
        assert!(matches!(Scratch::open(&out), Err(Error::Data(e)) if matches!(*e, DataError::Busy { .. })));
        fs::write(first.path().join("piece"), b"x").expect("written");
        drop(first);
        // Left by a command that was killed.
        let again = Scratch::open(&out).expect("taken over");
        assert!(again.path().join("piece").exists());
        again.clear().expect("cleared");
        assert!(!again.path().join("piece").exists());
        again.remove().expect("removed");
        assert!(!partial(&out).exists());
        // Of somebody else.
        fs::create_dir_all(partial(&out).join("precious")).expect("a folder");
        let error = Scratch::open(&out).expect_err("refused");
        assert!(error.to_string().contains("out.partial` exists"), "{error}");
        assert!(partial(&out).join("precious").exists());
    }
}
