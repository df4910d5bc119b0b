//! The transformer's stages: encoding, logits and losses.

use super::names::{Stage, kinds, stage};
use super::parts::{Part, keep, orders};
use super::{Computed, Fixture};
use crate::config::unfit;
use crate::modalities::AionKind;
use crate::model::AionModel;
use candle_core::{DType, Device, Tensor};
use panchroma_core::reexport::arrow_array::{RecordBatch, RecordBatchOptions};
use panchroma_core::reexport::arrow_schema::Schema;
use panchroma_core::{Batch, Error, Forward, Head, HeadOutput, Masks, Result, Rows, TokenMask, TokenSet, Trunk};
use panchroma_heads::masked::Masked;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Tokens that are hidden in `model.encoded_masked_GIVEN`.
const HIDDEN: std::ops::Range<usize> = 100..400;

/// The transformer of a fixture.
pub(super) struct Network<'a> {
    fixture: &'a Fixture,
    model: AionModel,
    /// For losses weighted by the sizes of vocabularies.
    by_logit: Masked,
    device: Device,
}

impl<'a> Network<'a> {
    pub(super) fn open(fixture: &'a Fixture, device: &Device) -> Result<Self> {
        let model = AionModel::read(&fixture.folder, device)?;
        let by_logit = model.head_with("logit")?;
        Ok(Self { fixture, model, by_logit, device: device.clone() })
    }

    /// The kinds of which the inputs have tokens, in the order in which they go in.
    fn inputs(&self) -> Vec<&'static AionKind> {
        let names = self.fixture.input_names().into_iter().filter_map(|name| name.strip_prefix("model."));
        names.filter_map(AionKind::of).filter(|kind| self.model.config.encodes(kind)).collect()
    }

    fn refused(&self, reason: &str) -> Error {
        unfit(&self.fixture.folder, reason)
    }

    fn named(&self, text: &str, known: &[&'static AionKind]) -> Result<Vec<&'static AionKind>> {
        kinds(text, known).ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(|kind| kind.name()).collect();
            self.refused(&format!("`{text}` names no kinds of tokens; there are {}", known.join(", ")))
        })
    }

    /// What a name gives to the encoder, and nothing asked.
    fn given(&self, text: &str) -> Result<Vec<Part>> {
        let known = self.inputs();
        let chosen = if text == "all" { known } else { self.named(text, &known)? };
        let part = |kind: &'static AionKind| {
            let codes = self.codes(&format!("model.{}", kind.key), kind)?;
            let (batch, tokens) = codes.dims2()?;
            let mask = TokenMask { input: vec![true; batch * tokens], ..TokenMask::none(batch, tokens) };
            Ok(Part { kind, codes, mask })
        };
        chosen.into_iter().map(part).collect()
    }

    /// The codes of an input, each below the vocabulary.
    fn codes(&self, name: &str, kind: &AionKind) -> Result<Tensor> {
        let codes = self.fixture.input(name)?.to_dtype(DType::I64)?;
        let codes = if codes.rank() == 1 { codes.unsqueeze(1)? } else { codes.flatten_from(1)? };
        let (_, tokens) = codes.dims2()?;
        let right = if kind.is_sequence() { tokens <= kind.tokens() } else { tokens == kind.tokens() };
        if !right {
            return Err(Error::Shape {
                part: format!("input `{name}`"),
                expected: format!("{} tokens per object", kind.tokens()),
                found: tokens.to_string(),
            });
        }
        let all = codes.flatten_all()?.to_vec1::<i64>()?;
        match all.iter().find(|code| !(0..kind.vocabulary as i64).contains(code)) {
            None => Ok(codes.to_dtype(DType::U32)?),
            Some(code) => Err(Error::Shape {
                part: format!("input `{name}`"),
                expected: format!("codes from 0 to {}", kind.vocabulary - 1),
                found: code.to_string(),
            }),
        }
    }

    /// Embedded tokens of `parts`, and their masks.
    fn embedded(&self, parts: &[Part], uniform: bool) -> Result<(TokenSet, Masks)> {
        let mut masks = Masks { uniform, ..Masks::default() };
        let mut segments = Vec::with_capacity(parts.len());
        let mut objects = None;
        for part in parts {
            let (batch, _) = part.size()?;
            if *objects.get_or_insert(batch) != batch {
                return Err(
                    self.refused(&format!("`{}` has {batch} objects, others have more or fewer", part.kind.key))
                );
            }
            let (_, embed) = self
                .model
                .kind(part.kind.key)
                .ok_or_else(|| self.refused(&format!("the model does not know `{}`", part.kind.key)))?;
            segments.extend(embed.forward_with_places(&part.tokens()?, &self.device)?);
            masks.modality.insert(part.kind.name().to_owned(), part.mask.clone());
        }
        Ok((TokenSet { batch: objects.unwrap_or_default(), segments }, masks))
    }

    /// What the decoder attends to, `[B, R + N, D]`, where what is expected says how many tokens N were kept.
    pub(super) fn encoded(&self, text: &str, expected: &Tensor) -> Result<Computed> {
        let (_, rows, width) = expected.dims3()?;
        let mut given = match (text.strip_prefix("masked_"), kinds(text, &self.inputs())) {
            (Some(text), None) => {
                let mut given = self.given(text)?;
                for part in &mut given {
                    let tokens = part.mask.tokens.max(1);
                    for (place, input) in part.mask.input.iter_mut().enumerate() {
                        *input = !HIDDEN.contains(&(place % tokens));
                    }
                }
                given
            }
            _ => self.given(text)?,
        };
        let registers = self.model.config.num_register_tokens;
        let kept = rows.checked_sub(registers).ok_or_else(|| self.refused("fewer rows than registers"))?;
        keep(&mut given, kept)?;
        let (tokens, masks) = self.embedded(&given, false)?;
        let encoded = self.model.trunk.encode(&tokens, Some(&masks), Some(kept), &Forward::evaluate())?;
        Ok(Computed::plain(encoded.context.reshape(((), rows, width))?))
    }

    /// Logits `[B, T, V]` of the first T tokens of a kind of which all are asked for.
    ///
    /// The names do not say whether several targets of the same given tokens were asked for in one call, where they see each other:
    /// what comes nearest is taken, and the note says which it is.
    pub(super) fn logits(&self, target: &str, text: &str, expected: &Tensor) -> Result<Computed> {
        let target = self.target(target)?;
        let mut together = Vec::new();
        for name in self.fixture.expected.keys() {
            match stage(name) {
                Some(Stage::Logits { target, given }) if given == text => together.push(self.target(target)?),
                _ => {}
            }
        }
        let mut calls = vec![vec![target]];
        if together.len() > 1 {
            let ordered = self.model.config.decoder_causal_mask && !self.model.config.decoder_sep_mask;
            let orders = if ordered { orders(together.len()) } else { vec![(0..together.len()).collect()] };
            let of = |order: Vec<usize>| order.iter().filter_map(|i| together.get(*i).copied()).collect();
            calls.splice(0..0, orders.into_iter().map(of));
        }
        let mut best: Option<(f64, Computed)> = None;
        for targets in calls {
            let tensor = self.logits_of(target, &targets, text, expected)?;
            let off = distance(&tensor, expected)?;
            if best.as_ref().is_none_or(|(least, _)| off < *least) {
                let names: Vec<&str> = targets.iter().map(|kind| kind.name()).collect();
                let asked =
                    if targets.len() > 1 { format!("asked for together: {}", names.join(", ")) } else { String::new() };
                let notes = [asked, self.uniform()].into_iter().filter(|note| !note.is_empty());
                best = Some((off, Computed { tensor, note: notes.collect::<Vec<_>>().join("; ") }));
            }
        }
        best.map(|(_, computed)| computed).ok_or_else(|| self.refused("no targets"))
    }

    fn target(&self, text: &str) -> Result<&'static AionKind> {
        match self.named(text, &self.model.config.targets())?.as_slice() {
            &[target] => Ok(target),
            _ => Err(self.refused(&format!("`{text}` names several kinds of tokens; logits are of one"))),
        }
    }

    /// Logits of `target` where `targets` are asked for.
    fn logits_of(
        &self,
        target: &'static AionKind,
        targets: &[&'static AionKind],
        text: &str,
        expected: &Tensor,
    ) -> Result<Tensor> {
        let mut parts = self.given(text)?;
        let batch = parts.first().map_or(Ok(0), |part| part.size().map(|(batch, _)| batch))?;
        for kind in targets {
            let asked = vec![true; batch * kind.tokens()];
            match parts.iter_mut().find(|part| part.kind == *kind) {
                Some(part) => part.mask.target = asked,
                None => {
                    let codes = Tensor::zeros((batch, kind.tokens()), DType::U32, &Device::Cpu)?;
                    let mask = TokenMask { target: asked, ..TokenMask::none(batch, kind.tokens()) };
                    parts.push(Part { kind, codes, mask });
                }
            }
        }
        let output = self.predict(&self.model.head, &parts, false)?;
        let logits = output.predictions.get(&format!("logits.{}", target.name()));
        let logits = logits.ok_or_else(|| self.refused("no logits"))?;
        let logits = logits.reshape((batch, target.tokens(), target.vocabulary))?;
        let first = expected.dim(1)?.min(target.tokens());
        Ok(logits.narrow(1, 0, first)?)
    }

    /// How the reference's targets see each other.
    fn uniform(&self) -> String {
        if self.model.config.decoder_causal_mask { String::new() } else { "targets see each other uniformly".into() }
    }

    /// The loss, or that of one kind.
    pub(super) fn loss(&self, average: &str, kind: Option<&str>) -> Result<Computed> {
        let head = match average {
            "mod" | "modality" => &self.model.head,
            "token" => &self.by_logit,
            other => return Err(self.refused(&format!("no loss is called `{other}`; there are `mod` and `token`"))),
        };
        let kinds = self.loss_kinds(average)?;
        let parts = || kinds.iter().map(|kind| self.loss_part(kind)).collect::<Result<Vec<Part>>>();
        let causal = self.model.config.decoder_causal_mask && !self.model.config.decoder_sep_mask && kinds.len() > 1;
        if !causal {
            return Ok(Computed {
                tensor: loss_of(&self.predict(head, &parts()?, true)?, kind)?,
                note: self.uniform(),
            });
        }
        // The reference draws in which order the kinds stand, and so what a causal decoder sees of them.
        let mut best: Option<(f64, Computed)> = None;
        for order in orders(kinds.len()) {
            let mut parts: Vec<Option<Part>> = parts()?.into_iter().map(Some).collect();
            let ordered: Vec<Part> = order.iter().filter_map(|i| parts.get_mut(*i)?.take()).collect();
            let named: Vec<&str> = ordered.iter().map(|part| part.kind.name()).collect();
            let note = format!("order of targets as the reference drew it: {}", named.join(", "));
            let output = self.predict(head, &ordered, true)?;
            let off = self.loss_distance(average, &output)?;
            if best.as_ref().is_none_or(|(least, _)| off < *least) {
                best = Some((off, Computed { tensor: loss_of(&output, kind)?, note }));
            }
        }
        best.map(|(_, computed)| computed).ok_or_else(|| self.refused("no targets"))
    }

    /// Kinds of which a loss is expected, in the order of the inputs, then of their names.
    fn loss_kinds(&self, average: &str) -> Result<Vec<&'static AionKind>> {
        let prefix = format!("loss.{average}.");
        let keys = self.fixture.expected.keys().filter_map(|name| name.strip_prefix(&prefix));
        let targets = self.model.config.targets();
        let mut found: Vec<&'static AionKind> = Vec::new();
        for key in keys {
            found.extend(self.named(key, &targets)?);
        }
        if found.is_empty() {
            return Err(self.refused(&format!("no tensor `{prefix}KIND` is expected, which says what the targets are")));
        }
        let order: Vec<&str> = self.fixture.input_names();
        let place = |kind: &AionKind| {
            let names = [format!("model.{}", kind.key), format!("loss.{}", kind.key)];
            order.iter().position(|name| names.iter().any(|own| own == name))
        };
        found.sort_by_key(|kind| place(kind).unwrap_or(order.len()));
        Ok(found)
    }

    /// Tokens of one kind in training: all asked for if they are an input of the loss alone; else those at even places asked for and
    /// the others given.
    fn loss_part(&self, kind: &'static AionKind) -> Result<Part> {
        let own = format!("loss.{}", kind.key);
        let alone = self.fixture.inputs.contains_key(&own);
        let codes = self.codes(&if alone { own } else { format!("model.{}", kind.key) }, kind)?;
        let (batch, tokens) = codes.dims2()?;
        let mut mask = TokenMask::none(batch, tokens);
        for place in 0..batch * tokens {
            let asked = alone || (place % tokens).is_multiple_of(2);
            mask.target[place] = asked;
            mask.input[place] = !asked;
        }
        Ok(Part { kind, codes, mask })
    }

    /// How far the losses of an order are from the expected ones.
    fn loss_distance(&self, average: &str, output: &HeadOutput) -> Result<f64> {
        let mut off = 0.0_f64;
        for (name, expected) in &self.fixture.expected {
            let own = format!("loss.{average}");
            let Some(rest) = name.strip_prefix(&own) else { continue };
            let found = loss_of(output, rest.strip_prefix('.'))?;
            off = off.max(distance(&found, expected)?);
        }
        Ok(off)
    }

    /// What a head says; with `learn`, also its loss.
    fn predict(&self, head: &Masked, parts: &[Part], learn: bool) -> Result<HeadOutput> {
        let (tokens, masks) = self.embedded(parts, true)?;
        let features = self.model.trunk.predict(&tokens, &masks, &Forward::evaluate())?;
        let known = if learn {
            let known = parts.iter().map(|part| Ok((part.kind.name().to_owned(), part.tokens()?)));
            known.collect::<Result<_>>()?
        } else {
            BTreeMap::new()
        };
        let ids: Vec<String> = (0..tokens.batch).map(|i| i.to_string()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let columns = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
            .map_err(|error| unfit(&PathBuf::from("rows"), &error.to_string()))?;
        let rows = Rows::new(ids, columns)?;
        let batch = Batch { rows, arrays: BTreeMap::new(), tokens: known, masks: BTreeMap::new() };
        head.forward(&features, &batch, &Forward::evaluate())
    }
}

/// The greatest difference, infinite if shapes differ.
fn distance(found: &Tensor, expected: &Tensor) -> Result<f64> {
    if found.dims() != expected.dims() {
        return Ok(f64::INFINITY);
    }
    let values = |t: &Tensor| Ok::<_, Error>(t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
    let pairs = values(found)?.into_iter().zip(values(expected)?);
    Ok(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

/// The whole loss, or one kind's, as `[1]`.
fn loss_of(output: &HeadOutput, kind: Option<&str>) -> Result<Tensor> {
    let found = match kind {
        None => output.loss.as_ref(),
        Some(kind) => output.metrics.get(kind.strip_prefix("tok_").unwrap_or(kind)),
    };
    let missing = || Error::Shape { part: "losses".into(), expected: format!("one of {kind:?}"), found: "none".into() };
    Ok(found.ok_or_else(missing)?.reshape(1)?)
}
