//! Raw memory of the other side: structs that may be older or newer than ours, slices, texts.

use crate::{Error, Result};
use panchroma_abi as abi;
use std::ffi::{CStr, CString, c_char};

/// Copies a struct of the other side; members behind the size that it declares are 0 or null.
///
/// # Safety
/// `pointer` is null or points to a struct of the interface that begins with its true size.
pub(crate) unsafe fn read<T: abi::Struct>(pointer: *const T, what: &str) -> Result<T> {
    if pointer.is_null() {
        return Err(Error::failed(format!("the host gave no {what}")));
    }
    // SAFETY: not null, and every struct of the interface begins with its size.
    let declared = unsafe { pointer.cast::<u32>().read_unaligned() };
    let mut copy = T::new();
    let bytes = shared::<T>(declared);
    // SAFETY: both sides have as many bytes, and any bytes that the other side wrote are a value of these structs.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut copy).cast::<u8>(), bytes) };
    // SAFETY: every struct of the interface begins with its size.
    unsafe { (&raw mut copy).cast::<u32>().write(declared) };
    Ok(copy)
}

/// Writes a struct of the other side, but nothing behind the size that it declares, nor that size.
///
/// # Safety
/// `pointer` is null or points to a struct of the interface that begins with its true size.
pub(crate) unsafe fn write<T: abi::Struct>(pointer: *mut T, value: &T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::failed(format!("the host gave no {what} to fill")));
    }
    // SAFETY: not null, and every struct of the interface begins with its size.
    let declared = unsafe { pointer.cast::<u32>().read_unaligned() };
    let bytes = shared::<T>(declared).saturating_sub(size_of::<u32>());
    let source = std::ptr::from_ref(value).cast::<u8>();
    // SAFETY: both sides have as many bytes behind the size, and `value` is ours, so they don't overlap.
    unsafe {
        let (from, to) = (source.add(size_of::<u32>()), pointer.cast::<u8>().add(size_of::<u32>()));
        std::ptr::copy_nonoverlapping(from, to, bytes);
    }
    Ok(())
}

/// Bytes that both sides know: whole members, as true sizes are multiples of the alignment.
fn shared<T>(declared: u32) -> usize {
    let bytes = usize::try_from(declared).unwrap_or(usize::MAX).min(size_of::<T>());
    bytes - bytes % align_of::<T>()
}

/// A slice of the host's memory; null is fine if it's empty.
///
/// # Safety
/// `pointer` is null or points to `count` values that stay as they are during `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, count: usize, what: &str) -> Result<&'a [T]> {
    if fits(pointer, count, what)? {
        // SAFETY: not null, aligned, not too large; the caller vouches for the values.
        return Ok(unsafe { std::slice::from_raw_parts(pointer, count) });
    }
    Ok(&[])
}

/// A slice of the host's memory to fill; null is fine if it's empty.
///
/// # Safety
/// `pointer` is null or points to `count` values that nobody else looks at during `'a`.
pub(crate) unsafe fn slice_mut<'a, T>(pointer: *mut T, count: usize, what: &str) -> Result<&'a mut [T]> {
    if fits(pointer, count, what)? {
        // SAFETY: not null, aligned, not too large; the caller vouches for the values.
        return Ok(unsafe { std::slice::from_raw_parts_mut(pointer, count) });
    }
    Ok(&mut [])
}

/// Whether there is something at all; an error if there can't be.
fn fits<T>(pointer: *const T, count: usize, what: &str) -> Result<bool> {
    if count == 0 {
        return Ok(false);
    }
    let bytes = count.checked_mul(size_of::<T>()).filter(|b| isize::try_from(*b).is_ok());
    if pointer.is_null() || !pointer.is_aligned() || bytes.is_none() {
        return Err(Error::failed(format!("the host gave {what} as {pointer:p} with {count} values")));
    }
    Ok(true)
}

/// A count of the host.
pub(crate) fn count(number: impl TryInto<usize>, what: &str) -> Result<usize> {
    number.try_into().map_err(|_| Error::failed(format!("the host gave more {what} than this machine can count")))
}

/// A text that ends with a zero byte; null is empty.
///
/// # Safety
/// `pointer` is null or points to such a text, which stays as it is during `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Ok("");
    }
    // SAFETY: not null; the caller vouches for the zero byte.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Error::failed(format!("{what} isn't UTF-8")))
}

/// Texts of known lengths.
///
/// # Safety
/// `pointer` is null or points to `count` texts that stay as they are during `'a`.
pub(crate) unsafe fn texts<'a>(
    pointer: *const abi::Text,
    texts: usize,
    bad: impl Fn(usize) -> Error,
) -> Result<Vec<&'a str>> {
    // SAFETY: as the caller says.
    let list = unsafe { slice(pointer, texts, "texts") }?;
    let mut read = Vec::with_capacity(list.len());
    for (number, text) in list.iter().enumerate() {
        let length = count(text.length, "bytes of a text")?;
        // SAFETY: as the caller says.
        let bytes = unsafe { slice(text.data.cast::<u8>(), length, "a text") }?;
        read.push(std::str::from_utf8(bytes).map_err(|_| bad(number))?);
    }
    Ok(read)
}

/// A text for the host.
pub(crate) fn c_string(text: &str, what: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::failed(format!("{what} {text:?} has a zero byte in it")))
}
