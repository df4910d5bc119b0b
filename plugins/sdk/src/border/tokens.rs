//! Tokens: coordinates in C, and the host's memory for tokens.

use super::memory::{c_string, count, read, slice};
use super::tensor::{shape, view, view_mut};
use crate::tokens::Encoding;
use crate::{Coordinate, Error, Result, Tokens, TokensMut};
use panchroma_abi::{self as abi, Struct as _};
use std::ffi::CString;

/// Coordinates with the texts that the host may point at.
pub(crate) struct Coordinates {
    list: Vec<(Coordinate, CString, CString)>,
}

impl Coordinates {
    pub(crate) fn new(list: Vec<Coordinate>) -> Result<Self> {
        let keep = |c: Coordinate| -> Result<_> {
            let texts = (c_string(&c.name, "the coordinate")?, c_string(&c.unit, "the unit")?);
            Ok((c, texts.0, texts.1))
        };
        Ok(Self { list: list.into_iter().map(keep).collect::<Result<_>>()? })
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, index: u32) -> Result<abi::Coordinate> {
        let found = self.list.get(count(index, "coordinates")?);
        let (coordinate, name, unit) = found.ok_or_else(|| Error::failed(format!("no coordinate {index}")))?;
        let mut raw = abi::Coordinate::new();
        raw.name = name.as_ptr();
        raw.unit = unit.as_ptr();
        raw.metadata = u32::from(coordinate.metadata);
        (raw.encoding, raw.smallest, raw.largest, raw.count) = match coordinate.encoding {
            Encoding::Fourier { smallest, largest, periods } => (abi::FOURIER, smallest, largest, periods),
            Encoding::Log { smallest, largest, periods } => (abi::LOG, smallest, largest, periods),
            Encoding::Category { count } => (abi::CATEGORY, 0.0, 0.0, count),
        };
        Ok(raw)
    }
}

/// What a component gives per token.
#[derive(Clone, Copy)]
pub(crate) enum Values {
    Codes,
    Patches(usize),
}

/// The host's tokens, to fill: none is valid, coordinates are unknown.
///
/// # Safety
/// `tokens` is null or points to tokens as the interface describes them, which nobody else looks at during `'a`.
pub(crate) unsafe fn open_mut<'a>(
    tokens: *const abi::Tokens,
    values: Values,
    coordinates: usize,
) -> Result<TokensMut<'a>> {
    // SAFETY: as the caller says, here and below.
    let raw = unsafe { read(tokens, "tokens") }?;
    // SAFETY: as above.
    let (rows, length) = unsafe { size(&raw) }?;
    // SAFETY: as above.
    let valid = unsafe { view_mut::<u8>(raw.valid, &[rows, length], "valid") }?;
    valid.values.fill(0);
    let (codes, patches) = match values {
        // SAFETY: as above.
        Values::Codes => (Some(unsafe { view_mut(raw.values, &[rows, length], "codes") }?), None),
        Values::Patches(width) => {
            // SAFETY: as above.
            (None, Some(unsafe { view_mut(raw.values, &[rows, length, width], "patches") }?))
        }
    };
    let places = if coordinates == 0 {
        None
    } else {
        // SAFETY: as above.
        let places = unsafe { view_mut::<f32>(raw.coordinates, &[rows, length, coordinates], "coordinates") }?;
        places.values.fill(f32::NAN);
        Some(places)
    };
    // SAFETY: as above.
    let present = unsafe { slice(raw.present, rows, "present") }?;
    Ok(TokensMut { present, valid: Some(valid), codes, patches, coordinates: places, length })
}

/// The host's tokens, to read.
///
/// # Safety
/// `tokens` is null or points to tokens as the interface describes them, which stay as they are during `'a`.
pub(crate) unsafe fn open<'a>(tokens: *const abi::Tokens, coordinates: usize) -> Result<Tokens<'a>> {
    // SAFETY: as the caller says, here and below.
    unsafe {
        let raw = read(tokens, "tokens")?;
        let (rows, length) = size(&raw)?;
        let places = if coordinates == 0 || raw.coordinates.is_null() {
            None
        } else {
            Some(view(raw.coordinates, &[rows, length, coordinates], "coordinates")?)
        };
        Ok(Tokens {
            present: slice(raw.present, rows, "present")?,
            valid: view(raw.valid, &[rows, length], "valid")?,
            codes: view(raw.values, &[rows, length], "codes")?,
            coordinates: places,
        })
    }
}

/// How many objects, and how many tokens each.
///
/// # Safety
/// The pointers are as the interface describes them.
unsafe fn size(raw: &abi::Tokens) -> Result<(usize, usize)> {
    let rows = count(raw.count, "rows")?;
    // SAFETY: as the caller says.
    let valid = unsafe { shape(raw.valid, "valid") }?;
    let length = valid.get(1).copied();
    Ok((rows, length.ok_or_else(|| Error::failed(format!("the host gave a mask of tokens as {valid:?}")))?))
}

/// Whether tokens are for as many objects as there are arrays for.
pub(crate) fn match_counts(arrays: usize, tokens: usize) -> Result<()> {
    if arrays == tokens {
        return Ok(());
    }
    Err(Error::failed(format!("the host gave arrays of {arrays} objects and tokens of {tokens}")))
}

/// What `plan` gives, if it makes sense.
pub(crate) fn planned(tokens: usize, most: usize) -> Result<u64> {
    if tokens == 0 || tokens > most {
        return Err(Error::failed(format!("`plan` gave {tokens} tokens; it may give 1 to {most}")));
    }
    Ok(tokens as u64)
}
