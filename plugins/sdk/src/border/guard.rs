//! What stands around every function of the C table: panics are caught, errors are written where the host looks.

use crate::{Error, Result};
use panchroma_abi as abi;
use std::any::Any;
use std::cell::RefCell;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Where the last panic of this thread was, while it is in a guard.
    static PLACE: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Panics in a guard become errors, and are told as such: they don't write to standard error, too.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let guarded = PLACE.with(|place| match &mut *place.borrow_mut() {
                Some(place) => {
                    *place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
                    true
                }
                None => false,
            });
            if !guarded {
                before(info);
            }
        }));
    });
}

/// Runs `body`; whatever happens becomes a status and a text.
///
/// # Safety
/// `error` is null or points to an error that begins with its true size, with `capacity` bytes behind its message.
pub(crate) unsafe fn guard(error: *mut abi::Error, body: impl FnOnce() -> Result<abi::Status>) -> abi::Status {
    keep_quiet();
    let outer = PLACE.with(|place| place.replace(Some(None)));
    let result = catch_unwind(AssertUnwindSafe(body));
    let place = PLACE.with(|place| place.replace(outer)).flatten();
    let failed = match result {
        Ok(Ok(status)) => return status,
        Ok(Err(failed)) => failed,
        Err(payload) => {
            let place = place.map_or_else(String::new, |place| format!(" (at {place})"));
            let message = format!("{}{place}", words(payload.as_ref()));
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
