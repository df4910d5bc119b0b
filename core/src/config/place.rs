//! Where a value was written, so that every message can point at it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that a config was read from: a file, or one `--set` argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: the path as the user gave it, or `--set`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A span of bytes of a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// Bytes from the start of the text.
    pub span: Range<usize>,
}

impl Place {
    /// The span within `source`, moved onto character boundaries and into the text.
    #[must_use]
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let start = source.text.floor_char_boundary(span.start);
        let end = source.text.floor_char_boundary(span.end).max(start);
        Self { source: Arc::clone(source), span: start..end }
    }

    /// Line of the first character, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// Column of the first character, from 1, in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        let before = self.before();
        before.rsplit('\n').next().unwrap_or(before).chars().count() + 1
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.span.start).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    /// `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    // The whole text of the file in a debug print would hide everything else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
