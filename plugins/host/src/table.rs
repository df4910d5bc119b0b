//! Reading what a plugin's tables say, by the rules of growth: a struct may be shorter or longer than ours.

use panchroma_abi::Struct;
use std::ffi::{CStr, c_char};

/// Copies a struct that begins with its size: members that the plugin doesn't have are 0 and null, those that we don't know are left out.
///
/// `least` is the size that the struct had in the first version.
///
/// # Errors
/// If the pointer is null or not aligned, or the struct shorter than it ever was.
///
/// # Safety
/// `pointer` is null, or the struct's `size` bytes can be read.
pub(crate) unsafe fn read<T: Struct>(pointer: *const T, what: &str, least: usize) -> Result<T, String> {
    // SAFETY: passed on.
    unsafe { read_at(pointer, what, least, 0) }
}

/// The same where the size stands `offset` bytes behind the begin.
///
/// # Errors
/// As [`read`].
///
/// # Safety
/// As for [`read`].
pub(crate) unsafe fn read_at<T: Struct>(
    pointer: *const T,
    what: &str,
    least: usize,
    offset: usize,
) -> Result<T, String> {
    if pointer.is_null() {
        return Err(format!("{what} is a null pointer"));
    }
    if !pointer.is_aligned() {
        return Err(format!("{what} is not aligned to {} bytes", align_of::<T>()));
    }
    // SAFETY: not null, aligned to more than a number of 32 bits needs, and by the caller's promise readable.
    let size = unsafe { pointer.cast::<u32>().byte_add(offset).read() } as usize;
    if size < least {
        return Err(format!("{what} says that it has {size} bytes, it must have {least} at least"));
    }
    let mut own = T::new();
    let bytes = size.min(size_of::<T>());
    // SAFETY: both have at least `bytes` bytes, and `own` is ours alone. Every pattern of bits is a value of these structs.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut own).cast::<u8>(), bytes) };
    Ok(own)
}

/// Longest text that is read from a table.
const LONGEST: usize = 1 << 20;

/// A text of a table.
///
/// # Errors
/// If it is null, endless, or not UTF-8.
///
/// # Safety
/// `pointer` is null or leads to a text that ends with a zero byte.
pub(crate) unsafe fn text(pointer: *const c_char, what: &str) -> Result<String, String> {
    if pointer.is_null() {
        return Err(format!("{what} is a null pointer"));
    }
    // SAFETY: by the caller's promise.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    if bytes.len() > LONGEST {
        return Err(format!("{what} is longer than {LONGEST} bytes"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(format!("{what} is not UTF-8: `{}`", String::from_utf8_lossy(bytes))),
    }
}

/// A text that users write, such as a kind: letters, digits and what `more` has.
///
/// # Errors
/// If it is something else, or as [`text`].
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn name(pointer: *const c_char, what: &str, more: &[char]) -> Result<String, String> {
    // SAFETY: passed on.
    let name = unsafe { text(pointer, what) }?;
    let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(&c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let more: String = more.iter().collect();
        return Err(format!("{what} must be a name of letters, digits and `{more}`, is `{name}`"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchroma_abi::Axis;

    #[test]
    fn shorter_and_longer_structs_are_read_as_far_as_both_go() {
        #[repr(C)]
        struct Longer {
            axis: Axis,
            more: u64,
        }
        let name = c"time";
        let mut longer = Longer { axis: Axis::new(), more: 7 };
        longer.axis.size = size_of::<Longer>() as u32;
        longer.axis.name = name.as_ptr();
        longer.axis.longest = 5;
        // SAFETY: the struct has the bytes that it says.
        let axis = unsafe { read(&raw const longer.axis, "axis", size_of::<Axis>()) }.unwrap();
        assert_eq!((axis.longest, longer.more), (5, 7));
        longer.axis.size = 16;
        // SAFETY: as above.
        let axis = unsafe { read(&raw const longer.axis, "axis", 16) }.unwrap();
        assert_eq!(axis.longest, 0);
        // SAFETY: as above.
        let error = unsafe { read(&raw const longer.axis, "axis", 24) }.unwrap_err();
        assert_eq!(error, "axis says that it has 16 bytes, it must have 24 at least");
        // SAFETY: null is allowed.
        assert!(unsafe { read(std::ptr::null::<Axis>(), "axis", 24) }.unwrap_err().contains("null"));
    }

    #[test]
    fn names_are_names() {
        // SAFETY: literals end with a zero byte.
        let name = |text: &'static CStr| unsafe { name(text.as_ptr(), "its name", &['_']) };
        assert_eq!(name(c"x_1").unwrap(), "x_1");
        for wrong in [c"", c"a b", c"a.b", c"\xff"] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
