//! Moving average of the weights.

use crate::{Parameter, Result};
use candle_core::Tensor;

/// `average = decay * average + (1 - decay) * weights` after each step.
pub(super) struct Ema {
    decay: f64,
    averages: Vec<(String, Tensor)>,
}

impl Ema {
    pub(super) fn new(decay: f64, parameters: &[(String, Parameter)]) -> Result<Self> {
        let averages = parameters
            .iter()
            .map(|(name, p)| Ok((name.clone(), p.var.as_tensor().copy()?.detach())))
            .collect::<Result<_>>()?;
        Ok(Self { decay, averages })
    }

    pub(super) fn update(&mut self, parameters: &[(String, Parameter)]) -> Result<()> {
        for ((_, average), (_, p)) in self.averages.iter_mut().zip(parameters) {
            *average = ((&*average * self.decay)? + (p.var.as_tensor().detach() * (1.0 - self.decay))?)?;
        }
        Ok(())
    }

    pub(super) fn averages(&self) -> &[(String, Tensor)] {
        &self.averages
    }

    /// Takes back what [`Self::averages`] gave; in the same order.
    pub(super) fn restore(&mut self, averages: Vec<(String, Tensor)>) {
        self.averages = averages;
    }

    /// Exchanges averages and weights: once before an evaluation, once after.
    pub(super) fn swap(&mut self, parameters: &[(String, Parameter)]) -> Result<()> {
        for ((_, average), (_, p)) in self.averages.iter_mut().zip(parameters) {
            let weights = p.var.as_tensor().copy()?.detach();
            p.var.set(average)?;
            *average = weights;
        }
        Ok(())
    }
}
