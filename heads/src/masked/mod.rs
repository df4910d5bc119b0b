//! Kind `masked`: predicts the tokens that were hidden, codes as classes and patches as values.
//!
//! Comes in: the trunk's vectors at the tokens that were asked for. Goes out: a loss over them, and per modality what is
//! predicted: `logits.NAME` `[K, vocabulary]` or `patches.NAME` `[K, width]`, rows as in [`Targets::places`].
//!
//! Sources: 4M (Mizrahi et al. 2023, section 2.3) for codes, MAE (He et al. 2022) for patches.

#[cfg(test)]
mod tests;

use candle_core::{Device, Tensor};
use panchroma_core::ops::cross_entropy;
use panchroma_core::{
    Batch, Decay, Descriptor, Error, Features, Forward, Head, HeadContext, HeadOutput, Init, Masking, MaskingConfig,
    Result, Section, Targets, TokenKind, TokenValues, Tokens, View, ops,
};
use std::collections::BTreeMap;

/// `[head.NAME]` with `kind = "masked"`; `[head.NAME.masking]` says which tokens are hidden.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskedConfig {
    /// Modalities that may be asked for. Default: all.
    #[serde(default)]
    pub targets: Option<Vec<String>>,
    /// What is averaged: `modality` (each modality's mean counts the same), `token` (each token), or `logit` (each token as
    /// often as its modality has codes, which is what the reference implementation of 4M calls its token loss).
    #[serde(default)]
    pub loss: Average,
    /// Share of the probability that is spread over all codes in the target. 0 to 0.3.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Which tokens are given and which are asked for. May be left out.
    #[serde(default)]
    pub masking: Option<MaskingConfig>,
}

/// How losses of modalities become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// The mean over modalities of the mean over their tokens.
    #[default]
    Modality,
    /// The mean over all tokens.
    Token,
    /// The mean over all tokens, weighted by the size of their vocabularies.
    Logit,
}

inventory::submit! {
    Descriptor::<dyn Head> {
        name: "masked",
        summary: "predicts hidden tokens: codes by cross entropy, patches by weighted squared error",
        origin: env!("CARGO_PKG_NAME"),
        example: "loss = \"modality\"\n",
        schema: || schemars::schema_for!(MaskedConfig),
        build: |section, context| Ok(Box::new(Masked::new(section, context)?)),
    }
}

/// From a vector to a prediction of one modality's tokens.
struct Output {
    kind: TokenKind,
    /// `[V, D]` or `[P, D]`.
    weight: Tensor,
    /// `[P]`, for patches.
    bias: Option<Tensor>,
}

/// The head of kind `masked`.
pub struct Masked {
    config: MaskedConfig,
    masking: Masking,
    outputs: BTreeMap<String, Output>,
}

impl Masked {
    /// Reads the table and makes the parameters.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &HeadContext<'_>) -> Result<Self> {
        let config: MaskedConfig = section.read()?;
        if !(0.0..1.0).contains(&config.label_smoothing) {
            return Err(section.reject("label_smoothing", "must be at least 0 and below 1"));
        }
        let targets = config.targets.clone().unwrap_or_else(|| context.modalities.to_vec());
        if targets.is_empty() {
            return Err(section.reject("targets", "must name at least one modality"));
        }
        if let Some(stranger) = targets.iter().find(|t| !context.modalities.contains(t)) {
            return Err(section.unknown_reference("targets", "modality", stranger, context.modalities));
        }
        let table = match section.section("masking")? {
            Some(table) => table,
            None => Section::from_toml(&format!("{}.masking", section.path()), "")?,
        };
        let masking = Masking::read(&table, context.tokens, &targets)?;
        let asked = context.tokens.iter().filter(|(name, _)| masking.asks_for(name));
        let outputs = asked.map(|(name, spec)| {
            let (p, width) = (context.parameters.pp(name), context.width);
            let outputs = match spec.kind {
                TokenKind::Codes { vocabulary } => vocabulary,
                TokenKind::Patches { width } => width,
            };
            let weight = p.get("weight", &[outputs, width], Init::fan_in(width), Decay::Yes)?;
            let bias = match spec.kind {
                TokenKind::Codes { .. } => None,
                TokenKind::Patches { .. } => Some(p.get("bias", &[outputs], Init::Zeros, Decay::No)?),
            };
            Ok((name.clone(), Output { kind: spec.kind, weight, bias }))
        });
        Ok(Self { outputs: outputs.collect::<Result<_>>()?, config, masking })
    }

    /// The loss of one modality's targets and what it weighs in [`Average::Token`] and [`Average::Logit`].
    fn loss(&self, output: &Output, predicted: &Tensor, targets: &Targets, tokens: &Tokens) -> Result<(Tensor, f64)> {
        let count = targets.places.len() as f64;
        match (&tokens.values, output.kind) {
            (TokenValues::Codes(codes), TokenKind::Codes { vocabulary }) => {
                let codes = codes.to_vec2::<u32>()?;
                let code = |(row, token): &(u32, u32)| {
                    codes.get(*row as usize).and_then(|own| own.get(*token as usize)).copied().unwrap_or(u32::MAX - 1)
                };
                let asked: Vec<u32> = targets.places.iter().map(code).collect();
                if let Some(code) = asked.iter().find(|code| **code as usize >= vocabulary) {
                    return Err(Error::Shape {
                        part: format!("tokens of `{}`", targets.modality),
                        expected: format!("codes below {vocabulary}"),
                        found: code.to_string(),
                    });
                }
                let asked = Tensor::new(asked, &Device::Cpu)?;
                let loss = cross_entropy(predicted, &asked, self.config.label_smoothing, None)?;
                let weight = if self.config.loss == Average::Logit { vocabulary as f64 } else { 1.0 };
                Ok((loss, count * weight))
            }
            (TokenValues::Patches(values), TokenKind::Patches { width }) => {
                let device = predicted.device();
                let (_, t, _) = values.dims3()?;
                let rows: Vec<u32> = targets.places.iter().map(|(row, token)| row * t as u32 + token).collect();
                let rows = Tensor::new(rows, &Device::Cpu)?;
                let of = |x: &Tensor| -> Result<Tensor> {
                    Ok(ops::gather(&x.reshape(((), width))?, &rows)?.to_device(device)?)
                };
                let squared = (predicted - of(values)?)?.sqr()?;
                let loss = match &tokens.weights {
                    None => squared.mean_all()?,
                    Some(weights) => {
                        let weights = of(weights)?;
                        let sum = weights.sum_all()?.clamp(f32::MIN_POSITIVE, f32::MAX)?;
                        (squared * weights)?.sum_all()?.div(&sum)?
                    }
                };
                let weight = if self.config.loss == Average::Logit { width as f64 } else { 1.0 };
                Ok((loss, count * weight))
            }
            _ => Err(Error::Shape {
                part: format!("tokens of `{}`", targets.modality),
                expected: format!("{:?}", output.kind),
                found: "the other kind".into(),
            }),
        }
    }
}

impl Head for Masked {
    fn view(&self) -> View {
        View::Masked
    }

    fn masking(&self) -> Option<&Masking> {
        Some(&self.masking)
    }

    fn flops(&self, batch: usize) -> f64 {
        let (_, asked) = self.masking.budgets();
        let largest = self.outputs.values().map(|o| o.weight.elem_count()).max().unwrap_or(0);
        2.0 * batch as f64 * asked as f64 * largest as f64
    }

    /// Metrics: the loss of each modality, by its name.
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let mut output = HeadOutput::default();
        let mut losses = Vec::new();
        for targets in &features.targets {
            let Some(own) = self.outputs.get(&targets.modality) else { continue };
            let predicted = ops::linear(&targets.vectors, &own.weight, own.bias.as_ref())?;
            let what = if own.bias.is_some() { "patches" } else { "logits" };
            output.predictions.insert(format!("{what}.{}", targets.modality), predicted.detach());
            if let Some(tokens) = batch.tokens.get(&targets.modality) {
                let (loss, weight) = self.loss(own, &predicted, targets, tokens)?;
                output.metrics.insert(targets.modality.clone(), loss.detach());
                losses.push((loss, if self.config.loss == Average::Modality { 1.0 } else { weight }));
            }
        }
        let all: f64 = losses.iter().map(|(_, weight)| weight).sum();
        for (loss, weight) in losses {
            let part = (loss * (weight / all))?;
            output.loss = Some(match output.loss {
                None => part,
                Some(sum) => (sum + part)?,
            });
        }
        Ok(output)
    }
}
