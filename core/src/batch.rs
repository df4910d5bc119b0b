//! A batch of objects: the rows as read, and what modalities and tokenizers made of them.

use crate::{Arrays, Masks, Rows, Tokens};
use std::collections::BTreeMap;

/// What a step of training works on, made on a loader thread.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows, with every column that a modality, head or probe asked for.
    pub rows: Rows,
    /// Per modality, what `prepare` gave.
    pub arrays: BTreeMap<String, Arrays>,
    /// Per modality, what the tokenizer gave.
    pub tokens: BTreeMap<String, Tokens>,
    /// Per head with a masking, which tokens are given and asked for.
    pub masks: BTreeMap<String, Masks>,
}

impl Batch {
    /// The same without tokens of other modalities than those in `only`; all stay if that is empty.
    #[must_use]
    pub fn with_only(mut self, only: &[String]) -> Self {
        let stays = |name: &String| only.is_empty() || only.contains(name);
        self.tokens.retain(|name, _| stays(name));
        self.masks.values_mut().for_each(|masks| masks.modality.retain(|name, _| stays(name)));
        self
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
