//! The head: the decimal logarithm of a flux from the object's vector, by a linear map and Huber's loss.
//!
//! Fluxes of X-ray sources span many orders of magnitude and have outliers (flares, confused sources): hence the
//! logarithm, and a loss that grows only linearly far from the target.

use panchroma_sdk::prelude::*;

/// Keys of the head's table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "panchroma_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_sdk::schemars")]
pub struct Config {
    /// Column with the decimal logarithm of the flux, of erg/s/cm² or whatever the predictions shall be in.
    column: String,
    /// A typical value of the column: predictions begin there.
    centre: f32,
    /// Typical spread of the column around it, dex. Above 0.
    spread_dex: f32,
    /// Where the loss turns from quadratic to linear, in units of the spread. Above 0.
    turn: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self { column: "log_flux".to_owned(), centre: -13.0, spread_dex: 1.0, turn: 1.0 }
    }
}

/// Predicts `centre + spread · (w · x + b)`.
#[derive(Debug)]
pub struct LogFlux {
    config: Config,
    width: usize,
}

impl Head for LogFlux {
    const NAME: &'static str = "log_flux";
    const SUMMARY: &'static str = "predicts the logarithm of a flux, with a robust loss";
    const EXAMPLE: &'static str = "column = \"log_flux\"\ncentre = -13.0\n";
    type Config = Config;

    fn new(config: Config, request: &Request) -> Result<Self> {
        if !(config.spread_dex > 0.0 && config.turn > 0.0 && config.centre.is_finite()) {
            return Err(Error::invalid("`spread_dex` and `turn` are above 0"));
        }
        Ok(Self { config, width: request.width() })
    }

    fn columns(&self) -> Vec<Column> {
        // Optional: predictions are wanted for catalogues without fluxes, too.
        vec![Column::number(&self.config.column).optional()]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::matrix("weight", 1, self.width), Parameter::bias("bias", 1)]
    }

    fn outputs(&self) -> usize {
        1
    }

    fn forward(
        &self,
        _compute: &Compute,
        input: &HeadInput,
        parameters: &Parameters,
        predictions: &mut ArrayMut<f32>,
    ) -> Result<Option<f32>> {
        for row in 0..input.len() {
            let predicted = self.predict(input, parameters, row)?;
            predictions.row_mut(row)[0] = self.config.centre + self.config.spread_dex * predicted;
        }
        let residuals = self.residuals(input, parameters)?;
        // Small numbers in single precision add up badly; there are few of them.
        let sum: f64 = residuals.iter().map(|(_, r)| f64::from(self.loss(*r))).sum();
        Ok((!residuals.is_empty()).then(|| (sum / residuals.len() as f64) as f32))
    }

    fn backward(
        &self,
        _compute: &Compute,
        input: &HeadInput,
        parameters: &Parameters,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let (vectors, weight) = (input.vectors(0)?, parameters.get("weight")?.values());
        let mut to_vectors = gradients.input(0)?;
        let (mut to_weight, mut to_bias) = (gradients.parameter("weight")?, gradients.parameter("bias")?);
        let residuals = self.residuals(input, parameters)?;
        for (row, residual) in &residuals {
            // The derivative of Huber's loss is the residual, cut at the turn.
            let slope = residual.clamp(-self.config.turn, self.config.turn) / residuals.len() as f32;
            to_bias.values_mut()[0] += slope;
            for (to, x) in to_weight.values_mut().iter_mut().zip(vectors.row(*row)) {
                *to += slope * x;
            }
            for (to, w) in to_vectors.row_mut(*row).iter_mut().zip(weight) {
                *to += slope * w;
            }
        }
        Ok(())
    }
}

impl LogFlux {
    /// What is predicted for a row, in units of the spread from the centre.
    fn predict(&self, input: &HeadInput, parameters: &Parameters, row: usize) -> Result<f32> {
        let (weight, bias) = (parameters.get("weight")?.values(), parameters.get("bias")?.values());
        let products = input.vectors(0)?.row(row).iter().zip(weight).map(|(x, w)| x * w);
        Ok(bias[0] + products.sum::<f32>())
    }

    /// Rows that count, those with a vector and a flux, and how far off their predictions are in units of the spread.
    fn residuals(&self, input: &HeadInput, parameters: &Parameters) -> Result<Vec<(usize, f32)>> {
        let targets = input.rows().f32(&self.config.column)?;
        let mut residuals = Vec::new();
        for row in (0..input.len()).filter(|row| input.present(0, *row)) {
            // A flux of zero has the logarithm -inf, and says nothing that this loss could use.
            if let Some(target) = targets.row(row).filter(|t| t.is_finite()) {
                let target = (target - self.config.centre) / self.config.spread_dex;
                residuals.push((row, self.predict(input, parameters, row)? - target));
            }
        }
        Ok(residuals)
    }

    /// Huber's loss.
    fn loss(&self, residual: f32) -> f32 {
        let (r, turn) = (residual.abs(), self.config.turn);
        if r <= turn { 0.5 * r * r } else { turn * (r - 0.5 * turn) }
    }
}
