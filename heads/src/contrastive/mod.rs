//! Kind `contrastive`: two modalities of one object come close in a shared space, those of
//! different objects go apart.
//!
//! Comes in: one pooled vector per object and modality, encoded as if each modality were alone.
//! Goes out: a loss, and per modality vectors of unit length in the shared space. A pair of
//! modalities counts only for the objects that have both.
//!
//! Axes: `B` objects of the batch, `N` objects that have both modalities, `E` dimensions of the
//! shared space.
//!
//! Sources: Radford et al. 2021 (CLIP, InfoNCE in both directions), Zhai et al. 2023 (SigLIP, one
//! logistic loss per pair of objects).

mod at_most;
mod config;
#[cfg(test)]
mod plain;
mod projection;
#[cfg(test)]
mod tests;

pub use config::{ContrastiveConfig, Loss, ProjectionKind};

use at_most::at_most;
use candle_core::{DType, Device, Tensor};
use panchroma_core::head::EMBEDDING;
use panchroma_core::ops::contrastive::{Contrast, infonce, sigmoid};
use panchroma_core::tokens::scatter_rows;
use panchroma_core::{
    Batch, Decay, Descriptor, Features, Forward, Head, HeadContext, HeadOutput, Init, Result, Section, View, ops,
};
use projection::Projection;
use std::collections::BTreeMap;

/// Largest factor on similarities, as in CLIP: above, the softmax is so steep that training breaks.
const MAX_LOGIT_SCALE: f64 = 100.0;

inventory::submit! {
    Descriptor::<dyn Head> {
        name: "contrastive",
        summary: "brings modalities of one object together in a shared space (InfoNCE or sigmoid loss)",
        origin: env!("CARGO_PKG_NAME"),
        example: "loss = \"infonce\"\ndimensions = 128\ntemperature = 0.07\nprojection = \"mlp\"\n",
        schema: || schemars::schema_for!(ContrastiveConfig),
        build: |section, context| Ok(Box::new(Contrastive::new(section, context)?)),
    }
}

/// The head of kind `contrastive`.
pub struct Contrastive {
    /// By modality, in the config's order.
    projections: Vec<(String, Projection)>,
    pairs: Vec<(String, String)>,
    dimensions: usize,
    /// Logarithm of the factor on similarities, a scalar.
    log_scale: Tensor,
    /// Added to the logits of the sigmoid loss, a scalar; `None` for InfoNCE.
    bias: Option<Tensor>,
}

/// Vectors of unit length of those objects that have the modality.
struct Embedded {
    /// `[N, E]`.
    vectors: Tensor,
    /// `[B]`: which row of `vectors` is the object's.
    place: Vec<Option<u32>>,
}

impl Contrastive {
    /// Reads the table and makes the parameters.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &HeadContext<'_>) -> Result<Self> {
        let config: ContrastiveConfig = section.read()?;
        let modalities = config.modalities(section, context.modalities)?;
        let pairs = config.pairs(section, &modalities)?;
        config.check(section)?;
        let parameters = context.parameters;
        let projections = modalities
            .into_iter()
            .map(|name| {
                let parameters = parameters.pp("projection").pp(&name);
                let projection = Projection::new(config.projection, context.width, config.dimensions, &parameters)?;
                Ok((name, projection))
            })
            .collect::<Result<_>>()?;
        let scalar = |name: &str, value: f64| -> Result<Tensor> {
            if config.learn_temperature {
                parameters.get(name, &[], Init::Constant(value as f32), Decay::No)
            } else {
                Ok(Tensor::new(value as f32, parameters.device())?)
            }
        };
        let log_scale = scalar("log_scale", -config.initial_temperature().ln())?;
        let bias = match config.loss {
            Loss::Infonce => None,
            Loss::Sigmoid => Some(scalar("bias", config.bias)?),
        };
        Ok(Self { projections, pairs, dimensions: config.dimensions, log_scale, bias })
    }

    fn embed(&self, features: &Features) -> Result<BTreeMap<&str, Embedded>> {
        let mut embedded = BTreeMap::new();
        for (name, projection) in &self.projections {
            let Some(pooled) = features.modality.get(name) else { continue };
            let rows = pooled.rows();
            if rows.is_empty() {
                continue;
            }
            let mut place = vec![None; pooled.present.len()];
            for (at, row) in (0..).zip(&rows) {
                if let Some(place) = place.get_mut(*row as usize) {
                    *place = Some(at);
                }
            }
            let vectors = select(&pooled.vectors, rows)?;
            embedded.insert(name.as_str(), Embedded { vectors: projection.forward(&vectors)?, place });
        }
        Ok(embedded)
    }

    /// Loss and share of objects whose partner is the most similar one.
    fn pair(&self, a: &Tensor, b: &Tensor, scale: &Tensor) -> Result<Contrast> {
        Ok(match &self.bias {
            None => infonce(a, b, scale)?,
            Some(bias) => sigmoid(a, b, scale, bias)?,
        })
    }

    /// What is used of the parameter: its exponential, at most [`MAX_LOGIT_SCALE`].
    fn scale(&self) -> Result<Tensor> {
        Ok(at_most(&self.log_scale, MAX_LOGIT_SCALE.ln())?.exp()?)
    }
}

impl Head for Contrastive {
    fn view(&self) -> View {
        View::Isolated
    }

    fn flops(&self, batch: usize) -> f64 {
        let projections: f64 = self.projections.iter().map(|(_, p)| p.flops(batch)).sum();
        let (batch, dimensions) = (batch as f64, self.dimensions as f64);
        projections + self.pairs.len() as f64 * 2.0 * batch * batch * dimensions
    }

    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let embedded = self.embed(features)?;
        let scale = self.scale()?;
        let mut output = HeadOutput::default();
        let mut losses = Vec::new();
        for (a, b) in &self.pairs {
            let (Some(left), Some(right)) = (embedded.get(a.as_str()), embedded.get(b.as_str())) else { continue };
            let both = left.place.iter().zip(&right.place).filter_map(|(l, r)| l.zip(*r));
            let (left_rows, right_rows): (Vec<u32>, Vec<u32>) = both.unzip();
            // With fewer than two objects there is nothing to tell apart.
            if left_rows.len() < 2 {
                continue;
            }
            let (left, right) = (select(&left.vectors, left_rows)?, select(&right.vectors, right_rows)?);
            let Contrast { loss, top1 } = self.pair(&left, &right, &scale)?;
            output.metrics.insert(format!("loss.{a}-{b}"), loss.detach());
            output.metrics.insert(format!("accuracy.{a}-{b}"), top1);
            losses.push(loss);
        }
        if !losses.is_empty() {
            output.loss = Some(Tensor::stack(&losses, 0)?.mean_all()?);
        }
        output.metrics.insert("logit_scale".into(), scale.detach());
        if let Some(bias) = &self.bias {
            output.metrics.insert("logit_bias".into(), bias.detach());
        }
        for (name, _) in &self.projections {
            let vectors = match embedded.get(name.as_str()) {
                Some(Embedded { vectors, place }) => {
                    let rows: Vec<u32> = (0u32..).zip(place).filter(|(_, p)| p.is_some()).map(|(i, _)| i).collect();
                    scatter_rows(vectors, &rows, place.len())?
                }
                None => Tensor::zeros((batch.len(), self.dimensions), DType::F32, self.log_scale.device())?,
            };
            output.predictions.insert(format!("{EMBEDDING}{name}"), vectors);
        }
        Ok(output)
    }
}

/// The rows of `x`; `x` itself if that is all of them.
fn select(x: &Tensor, rows: Vec<u32>) -> Result<Tensor> {
    if rows.len() == x.dim(0)? {
        // Callers give rows in increasing order, each once.
        return Ok(x.clone());
    }
    Ok(ops::gather(x, &Tensor::new(rows, &Device::Cpu)?)?)
}
