//! Tokens of a batch, and the physical coordinates that they carry.

use crate::arrays::taken;
use crate::{Array, ArrayMut, Error, Result};

/// How a coordinate of tokens goes into the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Encoding {
    Fourier { smallest: f64, largest: f64, periods: u32 },
    Log { smallest: f64, largest: f64, periods: u32 },
    Category { count: u32 },
}

/// A physical coordinate of tokens: a time, a wavelength, a place, a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) encoding: Encoding,
    pub(crate) metadata: bool,
}

impl Coordinate {
    fn new(name: impl Into<String>, unit: impl Into<String>, encoding: Encoding) -> Self {
        Self { name: name.into(), unit: unit.into(), encoding, metadata: false }
    }

    /// As `count` waves with periods from `smallest` to `largest`, evenly in logarithm.
    pub fn waves(name: impl Into<String>, unit: impl Into<String>, smallest: f64, largest: f64, count: u32) -> Self {
        Self::new(name, unit, Encoding::Fourier { smallest, largest, periods: count })
    }

    /// As `count` waves of the decimal logarithm of values from `smallest` to `largest`.
    pub fn log(name: impl Into<String>, unit: impl Into<String>, smallest: f64, largest: f64, count: u32) -> Self {
        Self::new(name, unit, Encoding::Log { smallest, largest, periods: count })
    }

    /// As a learned vector for each integer below `count`.
    pub fn category(name: impl Into<String>, count: u32) -> Self {
        Self::new(name, "", Encoding::Category { count })
    }

    /// Says how the measurement was made, not where the token stands.
    #[must_use]
    pub fn metadata(mut self) -> Self {
        self.metadata = true;
        self
    }
}

/// Tokens of a batch, to read.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    pub(crate) present: &'a [u8],
    pub(crate) valid: Array<'a, u8>,
    pub(crate) codes: Array<'a, u32>,
    pub(crate) coordinates: Option<Array<'a, f32>>,
}

impl<'a> Tokens<'a> {
    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether an object has the measurement.
    #[must_use]
    pub fn present(&self, row: usize) -> bool {
        self.present.get(row).is_some_and(|p| *p != 0)
    }

    /// Which tokens say something: 1 in `[B, T]`.
    #[must_use]
    pub fn valid(&self) -> &Array<'a, u8> {
        &self.valid
    }

    /// The codes `[B, T]`.
    #[must_use]
    pub fn codes(&self) -> &Array<'a, u32> {
        &self.codes
    }

    /// Coordinates `[B, T, C]`, NaN where unknown; none if tokens are numbered.
    #[must_use]
    pub fn coordinates(&self) -> Option<&Array<'a, f32>> {
        self.coordinates.as_ref()
    }
}

/// Tokens of a batch, to fill. They begin with none valid. Each array is handed out once.
#[derive(Debug)]
pub struct TokensMut<'a> {
    pub(crate) present: &'a [u8],
    pub(crate) valid: Option<ArrayMut<'a, u8>>,
    pub(crate) codes: Option<ArrayMut<'a, u32>>,
    pub(crate) patches: Option<ArrayMut<'a, f32>>,
    pub(crate) coordinates: Option<ArrayMut<'a, f32>>,
    pub(crate) length: usize,
}

impl<'a> TokensMut<'a> {
    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// How many tokens there is room for in each object: T.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether an object has the measurement.
    #[must_use]
    pub fn present(&self, row: usize) -> bool {
        self.present.get(row).is_some_and(|p| *p != 0)
    }

    /// Takes the mask `[B, T]`: set 1 where a token says something.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn valid(&mut self) -> Result<ArrayMut<'a, u8>> {
        self.valid.take().ok_or_else(|| taken("valid"))
    }

    /// Takes the codes `[B, T]`, of a codec.
    ///
    /// # Errors
    /// If they were taken before, or if this is a tokenizer, which gives patches.
    pub fn codes(&mut self) -> Result<ArrayMut<'a, u32>> {
        self.codes.take().ok_or_else(|| taken("codes"))
    }

    /// Takes the patches `[B, T, P]`, of a tokenizer.
    ///
    /// # Errors
    /// If they were taken before, or if this is a codec, which gives codes.
    pub fn patches(&mut self) -> Result<ArrayMut<'a, f32>> {
        self.patches.take().ok_or_else(|| taken("patches"))
    }

    /// Takes the coordinates `[B, T, C]`: NaN where unknown, as they begin.
    ///
    /// # Errors
    /// If they were taken before, or if the component has no coordinates.
    pub fn coordinates(&mut self) -> Result<ArrayMut<'a, f32>> {
        self.coordinates.take().ok_or_else(|| Error::failed("no coordinates, or they were taken before"))
    }
}
