//! Kind `classification`: a class per object.

use super::Layer;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::softmax;
use panchroma_core::ops::cross_entropy::{IGNORED, cross_entropy};
use panchroma_core::{
    Batch, Column, Descriptor, Features, Forward, Head, HeadContext, HeadOutput, Result, Section, View,
};

/// `[head.NAME]` with `kind = "classification"`.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassificationConfig {
    /// Column of text with the class. Objects without one do not count.
    pub target: String,
    /// The classes, at least two, in the order of the predicted probabilities. Objects of other classes do not count.
    pub classes: Vec<String>,
    /// Share of the probability that is spread over all classes in the target, against overconfidence. Default 0;
    /// 0 to 0.3.
    #[serde(default)]
    pub label_smoothing: f64,
}

inventory::submit! {
    Descriptor::<dyn Head> {
        name: "classification",
        summary: "predicts a class from the vector over all modalities, trained with the trunk",
        origin: env!("CARGO_PKG_NAME"),
        example: "target = \"class\"\nclasses = [\"SN Ia\", \"SN II\"]\nlabel_smoothing = 0.1\n",
        schema: || schemars::schema_for!(ClassificationConfig),
        build: |section, context| Ok(Box::new(Classification::new(section, context)?)),
    }
}

/// The head of kind `classification`.
pub struct Classification {
    config: ClassificationConfig,
    layer: Layer,
}

impl Classification {
    /// Reads the table and makes the parameters.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &HeadContext<'_>) -> Result<Self> {
        let config: ClassificationConfig = section.read()?;
        let classes = &config.classes;
        if classes.len() < 2 {
            return Err(section.reject("classes", format!("must be at least two, got {}", classes.len())));
        }
        for (i, class) in classes.iter().enumerate() {
            if classes.iter().take(i).any(|other| other == class) {
                return Err(section.reject("classes", format!("must name each class once, got `{class}` twice")));
            }
        }
        if !(0.0..1.0).contains(&config.label_smoothing) {
            return Err(section.reject("label_smoothing", "must be at least 0 and below 1"));
        }
        let layer = Layer::new(context, classes.len())?;
        Ok(Self { config, layer })
    }
}

impl Head for Classification {
    fn columns(&self) -> Vec<Column> {
        vec![Column::text(&self.config.target)]
    }

    fn view(&self) -> View {
        View::Joint
    }

    fn flops(&self, batch: usize) -> f64 {
        self.layer.flops(batch)
    }

    /// Predictions: `probabilities` `[B, classes]`. Metrics: `accuracy`.
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let logits = self.layer.forward(features)?;
        let mut output = HeadOutput::default();
        output.predictions.insert("probabilities".into(), softmax(&logits.detach(), D::Minus1)?);
        let number = |name: String| {
            let place = self.config.classes.iter().position(|class| *class == name)?;
            u32::try_from(place).ok()
        };
        let texts = batch.rows.texts(&self.config.target)?;
        let known = texts.into_iter().zip(&features.joint.present).map(|(t, p)| t.filter(|_| *p).and_then(number));
        let targets: Vec<u32> = known.map(|target| target.unwrap_or(IGNORED)).collect();
        let count = targets.iter().filter(|target| **target != IGNORED).count();
        if count == 0 {
            return Ok(output);
        }
        let targets = Tensor::new(targets, &Device::Cpu)?;
        output.loss = Some(cross_entropy(&logits, &targets, self.config.label_smoothing, None)?);
        let targets = targets.to_device(logits.device())?;
        // No class has the number of an ignored target.
        let right = logits.detach().argmax(D::Minus1)?.eq(&targets)?;
        output.metrics.insert("accuracy".into(), (right.to_dtype(DType::F32)?.sum_all()? / count as f64)?);
        Ok(output)
    }
}
