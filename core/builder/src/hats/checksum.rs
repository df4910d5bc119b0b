//! The SHA-256 of a file, computed while it is written.

use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Passes on what is written, and remembers its checksum.
pub(super) struct Checksum<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Checksum<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The checksum of all that was written, as hexadecimal digits; nothing is left in buffers.
    pub(super) fn finish(&mut self) -> io::Result<String> {
        self.inner.flush()?;
        Ok(self.hash.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl<W: Write> Write for Checksum<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
