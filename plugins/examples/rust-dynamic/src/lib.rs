//! X-ray photon events for Panchroma.
//!
//! An X-ray telescope counts photons one by one: the raw measurement of a source is a list of arrival times and
//! energies, neither an image nor a spectrum nor a light curve, though all three can be made of it. This plugin teaches
//! Panchroma such lists:
//!
//! * [`Events`], a modality: photons in the telescope's band, by time.
//! * [`EventCodes`], a codec: bins of time as codes, and back.
//! * [`EventWindows`], a tokenizer: windows of photons through a small network that is trained with the model.
//! * [`LogFlux`], a head: predicts the logarithm of a flux.

#![forbid(unsafe_code)]

mod codes;
mod events;
mod log_flux;
mod windows;

pub use codes::EventCodes;
pub use events::Events;
pub use log_flux::LogFlux;
pub use windows::EventWindows;

panchroma_sdk::plugin! {
    name: "panchroma-events",
    version: env!("CARGO_PKG_VERSION"),
    license: "MIT",
    publisher: "The Panchroma authors",
    modalities: [Events],
    codecs: [EventCodes],
    tokenizers: [EventWindows],
    heads: [LogFlux],
}
