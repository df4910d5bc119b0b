//! Kind `regression`: a number per object.

use super::{Layer, known};
use candle_core::{Device, Tensor};
use panchroma_core::{
    Batch, Column, Descriptor, Features, Forward, Head, HeadContext, HeadOutput, Result, Section, View, ops,
};

/// What is done to a target before it is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// Its decimal logarithm; objects with values of 0 and below are left out.
    Log10,
}

/// How a wrong prediction counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegressionLoss {
    /// Half of its square.
    #[default]
    Mse,
    /// Half of its square up to 1, linear beyond.
    Huber,
}

/// `[head.NAME]` with `kind = "regression"`.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegressionConfig {
    /// Column of numbers to predict. Objects without a value do not count.
    pub target: String,
    /// What is done to the number first: `none` (default) or `log10`.
    #[serde(default)]
    pub transform: Transform,
    /// Subtracted from the (transformed) number, about its mean. Default 0, in its unit.
    #[serde(default)]
    pub shift: f64,
    /// The shifted number is divided by it, about its standard deviation. Default 1, in its unit; above 0.
    #[serde(default = "default_scale")]
    pub scale: f64,
    /// `mse` (default), or `huber` if some targets are wild.
    #[serde(default)]
    pub loss: RegressionLoss,
}

fn default_scale() -> f64 {
    1.0
}

inventory::submit! {
    Descriptor::<dyn Head> {
        name: "regression",
        summary: "predicts a number from the vector over all modalities, trained with the trunk",
        origin: env!("CARGO_PKG_NAME"),
        example: "target = \"redshift\"\ntransform = \"log10\"\nshift = -1.0\nscale = 0.5\nloss = \"huber\"\n",
        schema: || schemars::schema_for!(RegressionConfig),
        build: |section, context| Ok(Box::new(Regression::new(section, context)?)),
    }
}

/// The head of kind `regression`.
pub struct Regression {
    config: RegressionConfig,
    layer: Layer,
}

impl Regression {
    /// Reads the table and makes the parameters.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &HeadContext<'_>) -> Result<Self> {
        let config: RegressionConfig = section.read()?;
        if !config.shift.is_finite() {
            return Err(section.reject("shift", "must be finite"));
        }
        if !(config.scale.is_finite() && config.scale > 0.0) {
            return Err(section.reject("scale", "must be above 0"));
        }
        Ok(Self { config, layer: Layer::new(context, 1)? })
    }

    /// What the layer should answer.
    fn scaled(&self, target: f64) -> Option<f32> {
        let target = match self.config.transform {
            Transform::None => target,
            Transform::Log10 if target > 0.0 => target.log10(),
            Transform::Log10 => return None,
        };
        Some(((target - self.config.shift) / self.config.scale) as f32)
    }
}

impl Head for Regression {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number(&self.config.target)]
    }

    fn view(&self) -> View {
        View::Joint
    }

    fn flops(&self, batch: usize) -> f64 {
        self.layer.flops(batch)
    }

    /// Predictions: `value` `[B]`, in the unit of the column. Metrics: `mae`, in the unit of the
    /// transformed target.
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let RegressionConfig { shift, scale, transform, .. } = self.config;
        let answers = self.layer.forward(features)?.squeeze(1)?;
        let mut output = HeadOutput::default();
        let value = ((answers.detach() * scale)? + shift)?;
        let value = match transform {
            Transform::None => value,
            Transform::Log10 => (value * std::f64::consts::LN_10)?.exp()?,
        };
        output.predictions.insert("value".into(), value);
        let targets = batch.rows.numbers(&self.config.target)?;
        let targets = targets.into_iter().map(|t| t.and_then(|t| self.scaled(t))).collect();
        let (rows, targets) = known(targets, &features.joint.present);
        if rows.is_empty() {
            return Ok(output);
        }
        let device = answers.device();
        let wrong = (ops::gather(&answers, &Tensor::new(rows, &Device::Cpu)?)? - Tensor::new(targets, device)?)?;
        let loss = match self.config.loss {
            RegressionLoss::Mse => (wrong.sqr()? * 0.5)?,
            RegressionLoss::Huber => huber(&wrong)?,
        };
        output.loss = Some(loss.mean_all()?);
        output.metrics.insert("mae".into(), (wrong.detach().abs()?.mean_all()? * scale)?);
        Ok(output)
    }
}

/// `x²/2` where `|x| <= 1`, `|x| - 1/2` beyond: with `c` the value cut to ±1, `c x - c²/2`.
///
/// The gradient is `c` on both sides of the cut, which is what a detached `c` gives.
fn huber(x: &Tensor) -> candle_core::Result<Tensor> {
    let c = x.detach().clamp(-1f32, 1f32)?;
    (x * &c)? - (c.sqr()? * 0.5)?
}
