//! From a trunk's vectors to vectors of unit length in the shared space.

use super::ProjectionKind;
use candle_core::Tensor;
use panchroma_core::{Decay, Init, Parameters, Result, ops};

/// Added to the squared length before the root, so that a zero vector has a finite gradient.
const TINY: f64 = 1e-12;

/// One modality's map into the shared space.
pub(super) struct Projection {
    /// Weight and bias of the hidden layer.
    hidden: Option<(Tensor, Tensor)>,
    /// `[E, D]`; without bias, which would be the same for all objects.
    out: Tensor,
    width: usize,
    dimensions: usize,
}

impl Projection {
    pub(super) fn new(kind: ProjectionKind, width: usize, dimensions: usize, parameters: &Parameters) -> Result<Self> {
        let hidden = match kind {
            ProjectionKind::Linear => None,
            ProjectionKind::Mlp => Some((
                parameters.get("hidden.weight", &[width, width], Init::fan_in(width), Decay::Yes)?,
                parameters.get("hidden.bias", &[width], Init::Zeros, Decay::No)?,
            )),
        };
        let out = parameters.get("out.weight", &[dimensions, width], Init::fan_in(width), Decay::Yes)?;
        Ok(Self { hidden, out, width, dimensions })
    }

    /// `[N, D]` -> `[N, E]`, rows of unit length.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = match &self.hidden {
            None => x.clone(),
            Some((weight, bias)) => ops::gelu(&ops::linear(x, weight, Some(bias))?)?,
        };
        let x = ops::linear(&x, &self.out, None)?;
        let length = (x.sqr()?.sum_keepdim(1)? + TINY)?.sqrt()?;
        Ok(x.broadcast_div(&length)?)
    }

    pub(super) fn flops(&self, batch: usize) -> f64 {
        let hidden = if self.hidden.is_some() { self.width } else { 0 };
        2.0 * batch as f64 * self.width as f64 * (hidden + self.dimensions) as f64
    }
}
