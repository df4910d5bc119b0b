//! What a number goes through before it is binned, and back.

use panchroma_core::{Codebook, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A function of one number, by the name that PyTorch has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Inverse hyperbolic sine: linear around 0, logarithmic far from it, for both signs.
    #[serde(alias = "asinh")]
    Arcsinh,
    /// Hyperbolic sine.
    Sinh,
    /// Natural logarithm.
    Log,
    /// Exponential.
    Exp,
    /// Logarithm to base 2.
    Log2,
    /// Power of 2.
    Exp2,
    /// `log(1 + x)`.
    Log1p,
    /// `exp(x) - 1`.
    Expm1,
    /// Hyperbolic tangent.
    Tanh,
    /// Inverse hyperbolic tangent.
    #[serde(alias = "atanh")]
    Arctanh,
    /// Inverse hyperbolic cosine, for numbers from 1.
    #[serde(alias = "acosh")]
    Arccosh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse tangent.
    #[serde(alias = "atan")]
    Arctan,
    /// Tangent.
    Tan,
    /// Sine.
    Sin,
    /// Inverse sine.
    #[serde(alias = "asin")]
    Arcsin,
    /// Cosine.
    Cos,
    /// Inverse cosine.
    #[serde(alias = "acos")]
    Arccos,
    /// Square root.
    Sqrt,
    /// Square.
    Square,
    /// `1 / (1 + exp(-x))`.
    #[serde(alias = "expit")]
    Sigmoid,
    /// `log(x / (1 - x))`.
    Logit,
    /// `1 / x`.
    Reciprocal,
    /// `-x`.
    #[serde(alias = "negative")]
    Neg,
    /// Error function.
    Erf,
    /// Its inverse.
    Erfinv,
    /// Degrees to radians.
    #[serde(rename = "deg2rad")]
    DegToRad,
    /// Radians to degrees.
    #[serde(rename = "rad2deg")]
    RadToDeg,
    /// `x`.
    #[serde(alias = "positive", alias = "clone")]
    Identity,
}

impl Function {
    /// In f64, rounded once: what a good f32 implementation gives, up to its last bit.
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        let x = f64::from(x);
        let y = match self {
            Self::Arcsinh => x.asinh(),
            Self::Sinh => x.sinh(),
            Self::Log => x.ln(),
            Self::Exp => x.exp(),
            Self::Log2 => x.log2(),
            Self::Exp2 => x.exp2(),
            Self::Log1p => x.ln_1p(),
            Self::Expm1 => x.exp_m1(),
            Self::Tanh => x.tanh(),
            Self::Arctanh => x.atanh(),
            Self::Arccosh => x.acosh(),
            Self::Cosh => x.cosh(),
            Self::Arctan => x.atan(),
            Self::Tan => x.tan(),
            Self::Sin => x.sin(),
            Self::Arcsin => x.asin(),
            Self::Cos => x.cos(),
            Self::Arccos => x.acos(),
            Self::Sqrt => x.sqrt(),
            Self::Square => x * x,
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Logit => (x / (1.0 - x)).ln(),
            Self::Reciprocal => 1.0 / x,
            Self::Neg => -x,
            Self::Erf => candle_core::cpu::erf::erf_f64(x),
            Self::Erfinv => candle_core::cpu::erf::erf_inv(x),
            Self::DegToRad => x.to_radians(),
            Self::RadToDeg => x.to_degrees(),
            Self::Identity => x,
        };
        y as f32
    }
}

/// What comes before the bins of a scalar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Nothing.
    None,
    /// Natural logarithm of what is not below `least`; everything below counts as `least`.
    Log {
        /// Above 0, in the unit of the values.
        least: f32,
        /// The logarithm of `least` in the last bit in which the codebook has it.
        floor: f32,
    },
    /// One function after the other.
    Functions {
        /// From the value on.
        compress: Vec<Function>,
        /// From the value on too: it is the last that is applied first.
        decompress: Vec<Function>,
    },
}

impl Compression {
    /// The logarithm, cut at that of `exp(least_log)`.
    #[must_use]
    pub fn log(least_log: f64) -> Self {
        let least = least_log.exp() as f32;
        Self::Log { least, floor: Function::Log.apply(least) }
    }

    /// Compresses one value.
    #[must_use]
    pub fn compress(&self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Log { least, floor } => {
                if x <= *least {
                    *floor
                } else {
                    Function::Log.apply(x)
                }
            }
            Self::Functions { compress, .. } => compress.iter().fold(x, |x, function| function.apply(x)),
        }
    }

    /// Back to a value.
    #[must_use]
    pub fn decompress(&self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Log { .. } => Function::Exp.apply(x),
            Self::Functions { decompress, .. } => decompress.iter().rev().fold(x, |x, function| function.apply(x)),
        }
    }

    /// Whether the functions undo each other at 1, as the published codecs demand.
    pub(crate) fn check(&self) -> Result<()> {
        let Self::Functions { compress, decompress } = self else { return Ok(()) };
        let back = self.decompress(self.compress(1.0));
        if compress.len() == decompress.len() && (back - 1.0).abs() <= 1e-5 + 1e-8 {
            return Ok(());
        }
        Err(Error::Shape {
            part: "functions of a scalar codec".into(),
            expected: format!("as many that undo {compress:?}, the first last"),
            found: format!("{decompress:?}, which make {back} of 1"),
        })
    }

    /// With the floor of the logarithm as `codebook` has it. Other implementations round the logarithm of the least value to a neighbour of
    /// ours, and all values below the least, often many, would get a code that is off by as many steps as have that value.
    pub(crate) fn aligned(self, codebook: &Codebook) -> Self {
        let Self::Log { least, floor } = self else { return self };
        let near = |step: &&f32| (**step - floor).abs() <= 2.0 * f32::EPSILON * floor.abs();
        Self::Log { least, floor: codebook.steps().iter().find(near).copied().unwrap_or(floor) }
    }
}
