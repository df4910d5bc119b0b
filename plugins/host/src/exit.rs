//! A plugin that ends the process from inside a call: without this, a run would end as if it were done.

use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// The function that this thread is in.
    static CALL: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Exit code of a command that a plugin ended: that of a plugin's fault.
const CODE: i32 = 6;

/// Whether somebody watches this process from outside, who will say what ended it.
static WATCHED_FROM_OUTSIDE: AtomicBool = AtomicBool::new(false);

/// Leaves it to the parent to say what ended this process.
pub(crate) fn leave_to_parent() {
    WATCHED_FROM_OUTSIDE.store(true, Ordering::Relaxed);
}

/// Runs `call`; if that ends the process by `exit`, it ends with an error.
pub(crate) fn watched<T>(function: &'static str, call: impl FnOnce() -> T) -> T {
    static ONCE: Once = Once::new();
    // SAFETY: the handler lives as long as the program.
    ONCE.call_once(|| unsafe {
        libc::atexit(ended);
    });
    let outer = CALL.with(|own| own.replace(Some(function)));
    let result = call();
    CALL.with(|own| own.set(outer));
    result
}

/// Runs on the thread that called `exit`.
extern "C" fn ended() {
    // Where the thread's own values are gone already, it is in no call.
    let Ok(Some(function)) = CALL.try_with(Cell::get) else { return };
    if WATCHED_FROM_OUTSIDE.load(Ordering::Relaxed) {
        return;
    }
    let text = format!(
        "error: a plugin ended this process by `exit` in its function `{function}`\nhint: `plugins.isolate = true` makes that an error that names it\n"
    );
    // SAFETY: plain calls; nothing of this process may run after a plugin ended it.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(CODE);
    }
}
