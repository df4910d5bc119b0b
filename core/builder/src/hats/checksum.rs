//! SHA-256, of a file while it is written or read.

use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// A checksum in digits.
pub(crate) fn hexadecimal(checksum: &[u8]) -> String {
    checksum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes on what is written, and remembers its checksum.
pub(crate) struct Checksum<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Checksum<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The checksum of all that was written, as hexadecimal digits; nothing is left in buffers.
    pub(crate) fn finish(&mut self) -> io::Result<String> {
        self.inner.flush()?;
        Ok(hexadecimal(&self.hash.finalize_reset()))
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
