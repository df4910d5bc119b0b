//! Addresses in the memory of a device, and the types of numbers that lie there.

use candle_core::{DType, Result, bail};

/// An address in the memory of a device; null stands for what is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pointer(pub u64);

impl Pointer {
    /// Nothing.
    pub const NULL: Self = Self(0);

    /// The address of value `index` of the array that begins here.
    #[must_use]
    pub fn at(self, index: usize, number: Number) -> Self {
        Self(self.0 + (index * number.bytes()) as u64)
    }

    /// Whether wide accesses may begin here.
    #[must_use]
    pub fn is_aligned(self) -> bool {
        self.0.is_multiple_of(16)
    }
}

/// A type of number that kernels take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// 32 bits.
    F32,
    /// 16 bits with the exponent of `F32`.
    Bf16,
}

impl Number {
    /// As in the names of kernels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Of one number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Numbers in one wide access.
    #[must_use]
    pub fn per_vector(self) -> usize {
        16 / self.bytes()
    }

    /// Whether rows of `width` numbers that begin at these addresses can be read 16 bytes at a time.
    #[must_use]
    pub fn are_whole(self, width: usize, rows: &[Pointer]) -> bool {
        width.is_multiple_of(self.per_vector()) && rows.iter().all(|rows| rows.is_aligned())
    }

    /// The type that goes with candle's.
    ///
    /// # Errors
    /// If kernels don't take it.
    pub fn of(op: &str, dtype: DType) -> Result<Self> {
        match dtype {
            DType::F32 => Ok(Self::F32),
            DType::BF16 => Ok(Self::Bf16),
            other => bail!("{op}: expected f32 or bf16, got {}", other.as_str()),
        }
    }
}
