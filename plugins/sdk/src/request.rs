//! What a component may know while it is made.

use crate::{ArraysSpec, Error, Result};

/// What the host tells a component besides its config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub(crate) name: String,
    pub(crate) arrays: Option<ArraysSpec>,
    pub(crate) modalities: Vec<String>,
    pub(crate) width: usize,
}

impl Request {
    /// The user's name of the modality or head.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of codecs and tokenizers: what the arrays look like that they will read.
    ///
    /// # Errors
    /// For other kinds, which read none.
    pub fn arrays(&self) -> Result<&ArraysSpec> {
        self.arrays.as_ref().ok_or_else(|| Error::failed("the host didn't say what the modality's arrays look like"))
    }

    /// Of heads: the user's names of all modalities.
    #[must_use]
    pub fn modalities(&self) -> &[String] {
        &self.modalities
    }

    /// Of heads: how many numbers the vectors have.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }
}
