//! The head `flux_ratio`: the ratio of two fluxes, from the vector over all modalities of an object.
//!
//! Comes in: the joint vectors `[B, D]` of the trunk and a column with the ratios. Goes out: half the mean square of what the decimal
//! logarithm of the ratio is wrong by, over the objects of which both are known, and a ratio for every object.

use panchroma_core::reexport::candle_core::{Device, Tensor};
use panchroma_core::reexport::{inventory, schemars, serde};
use panchroma_core::{
    Batch, Column, Decay, Descriptor, Features, Forward, Head, HeadContext, HeadOutput, Init, Result, Section, View,
    ops,
};

/// `[head.NAME]` with `kind = "flux_ratio"`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "panchroma_core::reexport::serde", deny_unknown_fields)]
#[schemars(crate = "panchroma_core::reexport::schemars")]
pub struct FluxRatioConfig {
    /// Column with the ratios. Objects of which it is missing, or not above 0, do not count.
    pub target: String,
}

/// The head `flux_ratio`: one linear layer.
pub struct FluxRatio {
    target: String,
    /// `[1, D]`
    weight: Tensor,
    /// `[1]`
    bias: Tensor,
}

impl FluxRatio {
    /// From its table, with parameters of its own in the model's store, under the head's name.
    ///
    /// # Errors
    /// If a key is unknown or missing.
    pub fn new(section: &Section, context: &HeadContext<'_>) -> Result<Self> {
        let FluxRatioConfig { target } = section.read()?;
        if target.is_empty() {
            return Err(section.reject("target", "expected the name of a column"));
        }
        let (width, parameters) = (context.width, context.parameters);
        Ok(Self {
            target,
            weight: parameters.get("weight", &[1, width], Init::fan_in(width), Decay::Yes)?,
            bias: parameters.get("bias", &[1], Init::Zeros, Decay::No)?,
        })
    }
}

impl Head for FluxRatio {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number(&self.target)]
    }

    /// All modalities together.
    fn view(&self) -> View {
        View::Joint
    }

    fn flops(&self, batch: usize) -> f64 {
        2.0 * batch as f64 * self.weight.elem_count() as f64
    }

    /// Predictions: `flux_ratio` `[B]`. Metrics: `dex`, by how much its logarithm is wrong in the mean.
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let logs = ops::linear(&features.joint.vectors, &self.weight, Some(&self.bias))?.squeeze(1)?;
        let mut output = HeadOutput::default();
        let ratio = (logs.detach() * std::f64::consts::LN_10)?.exp()?;
        output.predictions.insert("flux_ratio".into(), ratio);
        let targets = batch.rows.numbers(&self.target)?;
        let known = (0u32..).zip(targets.into_iter().zip(&features.joint.present));
        let (rows, targets): (Vec<u32>, Vec<f32>) = known
            .filter_map(|(i, (target, present))| target.filter(|t| *t > 0.0 && *present).map(|t| (i, t.log10() as f32)))
            .unzip();
        // A batch of which nothing is known has no loss; it must not be 0 / 0.
        if rows.is_empty() {
            return Ok(output);
        }
        let targets = Tensor::new(targets, logs.device())?;
        let wrong = (ops::gather(&logs, &Tensor::new(rows, &Device::Cpu)?)? - targets)?;
        output.metrics.insert("dex".into(), wrong.detach().abs()?.mean_all()?);
        output.loss = Some((wrong.sqr()? * 0.5)?.mean_all()?);
        Ok(output)
    }
}

inventory::submit! { Descriptor::<dyn Head> {
    name: "flux_ratio",
    summary: "predicts the ratio of two fluxes from the vector over all modalities, trained with the trunk",
    origin: env!("CARGO_PKG_NAME"),
    example: "target = \"flux_ratio\"\n",
    schema: || schemars::schema_for!(FluxRatioConfig),
    build: |section, context| Ok(Box::new(FluxRatio::new(section, context)?)),
} }
