//! What a plugin gives instead of a result, and how the host gets to see it.

use panchroma_abi as abi;
use std::fmt;

/// Results of a plugin's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something didn't work: a text for the user, and the row that is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub(crate) status: abi::Status,
    pub(crate) row: Option<usize>,
    pub(crate) message: String,
}

impl Error {
    /// The config or the data make no sense; the text says which and why.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { status: abi::INVALID, row: None, message: message.into() }
    }

    /// Anything else: a file that can't be read, a library that fails.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { status: abi::FAILED, row: None, message: message.into() }
    }

    /// Row `row` of this batch makes no sense; the host adds the name of the object.
    pub fn row(row: usize, message: impl Into<String>) -> Self {
        Self { status: abi::INVALID, row: Some(row), message: message.into() }
    }

    /// The same error with words in front: `context: message`.
    #[must_use]
    pub fn within(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The row that is to blame, if one is.
    #[must_use]
    pub fn blamed_row(&self) -> Option<usize> {
        self.row
    }

    /// Whether the config or the data are to blame.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.status == abi::INVALID
    }

    /// Whether a panic was caught at the border.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.status == abi::PANIC
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "row {row}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(error.to_string())
    }
}
