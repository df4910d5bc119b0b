//! What a forward pass leaves for the backward pass beside its result, which is all that an operation of candle's gives.

#[cfg(feature = "cuda")]
use candle_core::{Result, bail};
use std::sync::{Mutex, PoisonError};

/// A value that is set once and read or taken later.
pub(super) struct Kept<T>(Mutex<Option<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    /// Keeps it, in place of what was kept before.
    pub(super) fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// Takes it out.
    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Calls `f` with it.
    #[cfg(feature = "cuda")]
    pub(super) fn with<R>(&self, op: &str, f: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kept) => f(kept),
            None => bail!("{op}: the backward pass needs a forward pass on the same device"),
        }
    }
}
