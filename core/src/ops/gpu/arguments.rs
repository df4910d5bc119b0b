//! The arguments of a kernel, laid out as the struct that the kernel takes.

use super::Pointer;
use candle_core::{Result, bail};

/// Arguments in the order of the kernel's struct, each at a multiple of its size, as in C.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    bytes: Vec<u8>,
    too_large: Option<usize>,
}

impl Arguments {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn push<const N: usize>(mut self, bytes: [u8; N]) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(N), 0);
        self.bytes.extend_from_slice(&bytes);
        self
    }

    /// An address.
    #[must_use]
    pub fn pointer(self, pointer: Pointer) -> Self {
        self.push(pointer.0.to_ne_bytes())
    }

    /// Several addresses.
    #[must_use]
    pub fn pointers(self, pointers: &[Pointer]) -> Self {
        pointers.iter().fold(self, |arguments, &pointer| arguments.pointer(pointer))
    }

    /// A number of things, `int` for the kernel. One that doesn't fit fails the launch.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        match i32::try_from(count) {
            Ok(count) => self.push(count.to_ne_bytes()),
            Err(_) => {
                self.too_large = Some(count);
                self
            }
        }
    }

    /// Several numbers of things.
    #[must_use]
    pub fn counts(self, counts: &[usize]) -> Self {
        counts.iter().fold(self, |arguments, &count| arguments.count(count))
    }

    /// Yes or no, `int` for the kernel.
    #[must_use]
    pub fn flag(self, flag: bool) -> Self {
        self.push(i32::from(flag).to_ne_bytes())
    }

    /// A number of things that may need 64 bits.
    #[must_use]
    pub fn long(self, value: u64) -> Self {
        self.push(value.to_ne_bytes())
    }

    /// An f32.
    #[must_use]
    pub fn float(self, value: f32) -> Self {
        self.push(value.to_ne_bytes())
    }

    /// An f64.
    #[must_use]
    pub fn double(self, value: f64) -> Self {
        self.push(value.to_ne_bytes())
    }

    /// The struct, in words so that it is aligned as C would align it, and its length in bytes.
    ///
    /// # Errors
    /// If a count was too large.
    pub fn packed(mut self) -> Result<(Vec<u64>, usize)> {
        if let Some(count) = self.too_large {
            bail!("kernels count in 32 bits: {count} is too many");
        }
        // A struct that holds an address is a multiple of 8 long, and every kernel takes one.
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let (words, _) = self.bytes.as_chunks::<8>();
        Ok((words.iter().map(|&word| u64::from_ne_bytes(word)).collect(), self.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_lie_as_in_c() -> Result<()> {
        // struct { int a; pointer b; float c; } has holes of 4 bytes after a and at its end.
        let (words, bytes) = Arguments::new().count(1).pointer(Pointer(2)).float(1.0).packed()?;
        assert_eq!((words, bytes), (vec![1, 2, 0x3f80_0000], 24));
        Ok(())
    }

    #[test]
    fn a_count_beyond_32_bits_is_an_error() {
        let error = Arguments::new().count(1 << 31).packed().unwrap_err().to_string();
        assert!(error.contains("2147483648 is too many"), "{error}");
    }
}
