//! What stands around every function of the C table: panics are caught, errors are written where the host looks.

use crate::{Error, Result};
use panchroma_abi as abi;
use std::any::Any;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; whatever happens becomes a status and a text.
///
/// # Safety
/// `error` is null or points to an error that begins with its true size, with `capacity` bytes behind its message.
pub(crate) unsafe fn guard(error: *mut abi::Error, body: impl FnOnce() -> Result<abi::Status>) -> abi::Status {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failed)) => failed,
        Err(payload) => {
            let message = words(payload.as_ref());
            // What was thrown may itself panic as it goes.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            Error { status: abi::PANIC, row: None, message }
        }
    };
    // SAFETY: as the caller says.
    unsafe { report(error, &failed) };
    failed.status
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

/// Writes an error where the host looks: cut at a character's boundary, with a zero byte at the end.
///
/// # Safety
/// As of [`guard`].
unsafe fn report(error: *mut abi::Error, failed: &Error) {
    // SAFETY: as the caller says.
    let Ok(theirs) = (unsafe { super::memory::read(error, "error") }) else {
        return;
    };
    let capacity = usize::try_from(theirs.capacity).unwrap_or(0);
    if !theirs.message.is_null() && capacity > 0 {
        // A zero byte would end the text early.
        let message = failed.message.replace('\0', "\u{fffd}");
        let end = message.floor_char_boundary(capacity - 1);
        let target = theirs.message.cast::<u8>();
        // SAFETY: `end` is below the capacity, and the host keeps that many bytes behind the message for us.
        unsafe {
            std::ptr::copy_nonoverlapping(message.as_ptr(), target, end);
            target.add(end).write(0);
        }
    }
    let known = usize::try_from(theirs.size).unwrap_or(0) >= offset_of!(abi::Error, row) + size_of::<i64>();
    if let Some(row) = failed.row.and_then(|r| i64::try_from(r).ok())
        && known
    {
        // SAFETY: the host's struct has this member.
        unsafe { (&raw mut (*error).row).write(row) };
    }
}
