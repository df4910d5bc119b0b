//! The columns of a catalogue that a component reads.

use crate::Type;

/// A column of the catalogue: `Column::number("flux").list().optional()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) path: String,
    pub(crate) kind: Type,
    pub(crate) depth: u32,
    pub(crate) optional: bool,
}

impl Column {
    fn new(path: impl Into<String>, kind: Type) -> Self {
        Self { path: path.into(), kind, depth: 0, optional: false }
    }

    /// Numbers in single precision. `path` is the column's name, dotted into structs: `lightcurve.flux`.
    pub fn number(path: impl Into<String>) -> Self {
        Self::new(path, Type::F32)
    }

    /// Yes or no.
    pub fn flag(path: impl Into<String>) -> Self {
        Self::new(path, Type::U8)
    }

    /// Texts.
    pub fn text(path: impl Into<String>) -> Self {
        Self::new(path, Type::Text)
    }

    /// In single precision, as numbers are unless one says otherwise.
    #[must_use]
    pub fn f32(mut self) -> Self {
        self.kind = Type::F32;
        self
    }

    /// In double precision: times in days since long ago, positions on the sky.
    #[must_use]
    pub fn f64(mut self) -> Self {
        self.kind = Type::F64;
        self
    }

    /// A list per row. Twice: a list of lists, and so on.
    #[must_use]
    pub fn list(mut self) -> Self {
        self.depth += 1;
        self
    }

    /// The catalogue may lack it; then it reads as missing everywhere.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Name of the column, dotted into structs.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}
