//! What arrays of one object look like when drawn: samples along an axis, or planes of pixels.

use serde::{Deserialize, Serialize};

/// One drawing of what an object measured, or of what a codec says that it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sketch {
    /// Samples along time, wavelength, or whatever the axis is.
    Samples {
        /// Along which they lie: name and unit.
        axis: [String; 2],
        /// What is drawn: name and unit.
        value: [String; 2],
        /// By band or channel; one without a name if there are none.
        groups: Vec<(String, Vec<Sample>)>,
    },
    /// Planes of an image.
    Planes {
        /// Of the pixels' values.
        unit: String,
        /// By band or channel.
        planes: Vec<Plane>,
    },
}

/// One sample; all numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Place on the axis.
    pub at: f64,
    /// Value.
    pub value: f64,
    /// Its standard deviation; 0 if unknown.
    pub error: f64,
}

/// One plane of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plane {
    /// Band, or whatever tells planes apart.
    pub label: String,
    /// Pixels in a line.
    pub width: usize,
    /// Line after line; none where nothing was measured.
    pub values: Vec<Option<f32>>,
}
