//! What can be wrong with a wish for tokens that are not there.

/// Why nothing can be generated; each says what would be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No modality is given.
    #[error("no modality is given")]
    NothingGiven {
        /// The run's modalities.
        known: Vec<String>,
    },
    /// No modality is asked for.
    #[error("no modality is asked for")]
    NothingAsked {
        /// The run's modalities.
        known: Vec<String>,
    },
    /// A modality is named twice.
    #[error("modality `{modality}` is named twice: what is given or asked for can't be asked for again")]
    Twice {
        /// Which.
        modality: String,
    },
    /// The run was not trained to predict tokens.
    #[error("the run has no head that predicts hidden tokens: its heads are {heads:?}")]
    NoMaskedHead {
        /// Its heads.
        heads: Vec<String>,
    },
    /// No head predicts this modality.
    #[error("no head of the run predicts tokens of `{modality}`")]
    NotPredicted {
        /// Which.
        modality: String,
    },
    /// A modality of patches can't be sampled.
    #[error(
        "tokens of `{modality}` are values, of which only the mean is known: `{schedule}` needs codes to draw from"
    )]
    Continuous {
        /// Which.
        modality: String,
        /// What was asked for.
        schedule: &'static str,
    },
    /// Only scalars have posteriors.
    #[error("tokens of `{modality}` are no scalars, so that there are no bins for a posterior")]
    NotScalar {
        /// Which.
        modality: String,
        /// Those that are.
        scalars: Vec<String>,
    },
    /// A modality has no such column.
    #[error("modality `{modality}` has several columns or none called `{column}`")]
    Column {
        /// Which modality.
        modality: String,
        /// What was asked for; empty if nothing.
        column: String,
        /// Its columns.
        known: Vec<String>,
    },
    /// Tokens stand where something was measured, and nothing was.
    #[error("tokens of `{modality}` stand at places that were measured, and object `{object}` has none")]
    Unplaced {
        /// Which.
        modality: String,
        /// The first object without.
        object: String,
    },
    /// Nobody has what is given.
    #[error("none of {objects} objects has {given:?}")]
    NoObject {
        /// How many there are.
        objects: usize,
        /// What is given.
        given: Vec<String>,
    },
    /// The catalogue has no such object.
    #[error("the catalogue has no object `{id}`")]
    NoSuchObject {
        /// What was asked for.
        id: String,
    },
    /// A number is out of range.
    #[error("`{name}` must be {expected}, got {found}")]
    OutOfRange {
        /// Which setting.
        name: &'static str,
        /// What would be accepted.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

impl GenerateError {
    /// What would be accepted.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let one_of = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        match self {
            Self::NothingGiven { known } => Some(format!("name one or more of: {}", one_of(known))),
            Self::NothingAsked { known } => Some(format!("name one or more of: {}", one_of(known))),
            Self::NoMaskedHead { .. } => Some("train a config with a head of kind `masked`".into()),
            Self::NotPredicted { .. } => Some("its config says what may be asked for: `targets` of the head".into()),
            Self::Continuous { .. } => Some("take the schedule `one_step`, or a tokenizer that gives codes".into()),
            Self::NotScalar { scalars, .. } => Some(format!("modalities of scalars: {}", one_of(scalars))),
            Self::Column { known, .. } => Some(format!("name one of its columns: {}", one_of(known))),
            Self::Unplaced { .. } => {
                Some("ask for objects that have the modality, or for a modality whose tokens are numbered".into())
            }
            Self::NoObject { .. } => Some("ask for another split, or give another modality".into()),
            Self::Twice { .. } | Self::NoSuchObject { .. } | Self::OutOfRange { .. } => None,
        }
    }

    /// Whether the data rather than the command line is wrong.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        matches!(self, Self::Unplaced { .. } | Self::NoObject { .. })
    }

    /// Whether the run can't do it at all.
    #[must_use]
    pub fn is_about_run(&self) -> bool {
        matches!(self, Self::NoMaskedHead { .. })
    }
}
