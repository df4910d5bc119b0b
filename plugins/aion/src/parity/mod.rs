//! Whether what is computed here is what the Python package computes: every tensor of a fixture against its tolerance.
//!
//! A fixture is a published folder with three files more: `inputs.safetensors`, `expected.safetensors`, and `fixture.json` with a
//! tolerance for each expected tensor. The names of the expected tensors say what to compute; `fixtures/README.md` lists them.

mod codecs;
mod fixture;
mod names;
mod network;
mod parts;

pub use fixture::{Comparison, Fixture};

use crate::config::unfit;
use candle_core::{Device, Tensor};
use codecs::Measured;
use fixture::Measure;
use names::{Stage, stage};
use network::Network;
use panchroma_core::Result;
use std::path::Path;

/// What a stage computed: the tensor, and how it differs from what we do elsewhere, if it does.
struct Computed {
    tensor: Tensor,
    note: String,
}

impl Computed {
    fn plain(tensor: Tensor) -> Self {
        Self { tensor, note: String::new() }
    }
}

/// Compares every tensor of the fixture in `folder`. A tensor that can't be computed is one that fails, with the reason as its
/// note.
///
/// # Errors
/// If the folder is no fixture.
pub fn compare(folder: &Path, device: &Device) -> Result<Vec<Comparison>> {
    let fixture = Fixture::open(folder)?;
    // Read when the first tensor asks for it, since a fixture may hold codecs alone.
    let mut network: Option<Result<Network<'_>, String>> = None;
    let mut rows = Vec::with_capacity(fixture.expected.len());
    for (name, expected) in &fixture.expected {
        let mut of_model = |run: &dyn Fn(&Network<'_>) -> Result<Computed>| -> Result<Computed> {
            let opened = network.get_or_insert_with(|| Network::open(&fixture, device).map_err(|e| e.to_string()));
            match opened {
                Ok(network) => run(network),
                Err(reason) => Err(unfit(folder, reason)),
            }
        };
        let computed = match stage(name) {
            Some(Stage::Encoded(given)) => of_model(&|network| network.encoded(given, expected)),
            Some(Stage::Logits { target, given }) => of_model(&|network| network.logits(target, given, expected)),
            Some(Stage::Loss { average, kind }) => of_model(&|network| network.loss(average, kind)),
            Some(Stage::Codec { name, part }) => {
                Measured::open(&fixture, name, device).and_then(|measured| measured.compute(part))
            }
            Some(Stage::Field { name, field }) => {
                Measured::open(&fixture, name, device).and_then(|measured| measured.field_of_sources(field))
            }
            None => Err(unfit(folder, "not computed: no stage has this name")),
        };
        rows.push(match computed {
            Ok(Computed { tensor, note }) => fixture.compare(name, expected, &tensor, note)?,
            Err(error) => fixture.failed(name, expected, error.to_string()),
        });
    }
    Ok(rows)
}

impl Comparison {
    /// Whether entries that are equal are counted, as those of codes.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.measure == Measure::Equal
    }

    /// What is compared with the limit, in words.
    #[must_use]
    pub fn measure(&self) -> &'static str {
        match self.measure {
            Measure::Equal => "equal",
            Measure::OverRms => "max / rms",
            Measure::Relative => "relative",
        }
    }
}
