//! Errors of plugins on their way through candle, which knows texts alone.

use crate::Error;
use candle_core::Error as TensorError;
use std::cell::RefCell;

thread_local! {
    /// The last one of this thread that nobody has taken yet: candle computes on the thread that asks for it.
    static RAISED: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// What an operation gives to candle; [`raised`] makes it `error` again.
#[must_use]
pub fn raise(error: Error) -> TensorError {
    let text = error.to_string();
    RAISED.replace(Some(error));
    TensorError::Msg(text)
}

/// The error that an operation raised, if `error` is of one.
#[must_use]
pub fn raised(error: TensorError) -> Error {
    match RAISED.take() {
        Some(own) if error.to_string().contains(&own.to_string()) => own,
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_comes_back_once_and_nothing_else_does() {
        let error = || Error::Plugin { kind: "head", name: "x".into(), reason: "no".into() };
        assert!(matches!(raised(raise(error()).context("in backward")), Error::Plugin { .. }));
        assert!(matches!(raised(TensorError::Msg("other".into())), Error::Tensor(_)));
        let _ = raise(error());
        assert!(matches!(raised(TensorError::Msg("other".into())), Error::Tensor(_)));
    }
}
