//! What is to be generated, and doing it.

use super::canvas::{Canvas, numbered, take};
use super::{GenerateError, Sampling, Schedule};
use crate::random::{self, Random};
use crate::{Batch, Error, Model, Result, TokenKind, TokenValues, Tokens};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

/// What is given, what is asked for, and how it is drawn.
#[derive(Clone, Debug)]
pub struct Request {
    /// Modalities that are given, as far as an object has them.
    pub given: Vec<String>,
    /// Modalities that are asked for, one after the other: each is given what was drawn of those before.
    pub targets: Vec<String>,
    /// In which steps their tokens are drawn.
    pub schedule: Schedule,
    /// How a code is drawn.
    pub sampling: Sampling,
    /// Strength of classifier-free guidance: 1 for none, more to exaggerate what is due to the given modalities.
    pub guidance: f64,
    /// Samples per object.
    pub samples: usize,
    /// Of the drawing.
    pub seed: u64,
}

/// What was drawn for the objects of a batch.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Which objects of the batch: those that have something that is given.
    pub objects: Vec<usize>,
    /// Samples of each, one behind the other.
    pub samples: usize,
    /// Tokens of each modality that was asked for, `[objects * samples, T]`.
    pub tokens: BTreeMap<String, Tokens>,
}

impl Request {
    /// Refuses what the model can't do, before anything is read.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a modality that there isn't, else a [`GenerateError`].
    pub fn check(&self, model: &Model) -> Result<()> {
        check_given(model, &self.given)?;
        let known: Vec<String> = model.modalities().map(str::to_owned).collect();
        if self.targets.is_empty() {
            return Err(GenerateError::NothingAsked { known }.into());
        }
        check_names(model, &self.targets)?;
        let mut named: Vec<&String> = self.given.iter().chain(&self.targets).collect();
        named.sort();
        if let Some(pair) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(GenerateError::Twice { modality: pair[0].clone() }.into());
        }
        for target in &self.targets {
            let continuous =
                model.token_spec(target).is_some_and(|spec| matches!(spec.kind, TokenKind::Patches { .. }));
            if continuous && self.schedule != Schedule::OneStep {
                let (modality, schedule) = (target.clone(), self.schedule.name());
                return Err(GenerateError::Continuous { modality, schedule }.into());
            }
        }
        self.schedule.check()?;
        self.sampling.check()?;
        if !(self.guidance.is_finite() && self.guidance >= 0.0) {
            let found = self.guidance.to_string();
            return Err(GenerateError::OutOfRange { name: "guidance", expected: "0 or more", found }.into());
        }
        if self.samples == 0 {
            let found = "0".to_owned();
            return Err(GenerateError::OutOfRange { name: "samples", expected: "at least 1", found }.into());
        }
        Ok(())
    }

    /// Draws for those objects of `batch` that have one of the given modalities, and tokens to stand at where those of a target are not
    /// numbered. What is drawn for an object depends on its name, the number of the sample and the seed, not on the others.
    ///
    /// # Errors
    /// If the model fails, or no head predicts a target.
    pub fn draw(&self, model: &Model, batch: &Batch) -> Result<Generated> {
        let objects = self.objects(model, batch)?;
        let mut tokens = BTreeMap::new();
        if objects.is_empty() {
            return Ok(Generated { objects, samples: self.samples, tokens });
        }
        let rows: Vec<usize> = objects.iter().flat_map(|i| std::iter::repeat_n(*i, self.samples)).collect();
        let mut canvas = Canvas::new(batch, &rows, &self.given)?;
        for target in &self.targets {
            let spec = model.token_spec(target).ok_or_else(|| unknown(model, target))?;
            let like = match batch.tokens.get(target) {
                Some(own) if !numbered(spec) => Some(take(own, &rows)?),
                _ => None,
            };
            canvas.prepare(target, spec, like.as_ref())?;
            match spec.kind {
                TokenKind::Codes { .. } => self.draw_codes(model, &mut canvas, target, batch, &rows)?,
                TokenKind::Patches { width } => self.predict_patches(model, &mut canvas, target, width)?,
            }
            tokens.insert(target.clone(), canvas.of(target)?.clone());
        }
        Ok(Generated { objects, samples: self.samples, tokens })
    }

    /// Objects for which something can be drawn.
    fn objects(&self, model: &Model, batch: &Batch) -> Result<Vec<usize>> {
        let mut usable = having(batch, &self.given)?;
        for target in &self.targets {
            if model.token_spec(target).is_some_and(|spec| !numbered(spec)) {
                let own = having(batch, std::slice::from_ref(target))?;
                usable.iter_mut().zip(own).for_each(|(usable, own)| *usable &= own);
            }
        }
        Ok(usable.iter().enumerate().filter(|(_, usable)| **usable).map(|(i, _)| i).collect())
    }

    fn draw_codes(
        &self,
        model: &Model,
        canvas: &mut Canvas,
        target: &str,
        batch: &Batch,
        rows: &[usize],
    ) -> Result<()> {
        let (t, valid) = canvas.valid(target)?;
        let mut codes = vec![0_u32; valid.len()];
        let mut known = vec![false; valid.len()];
        let mut drawings: Vec<Drawing> = rows
            .iter()
            .enumerate()
            .map(|(row, object)| {
                let id = batch.rows.ids().get(*object).map_or("", String::as_str);
                let sample = (row % self.samples) as u64;
                let parts = [target.as_bytes(), id.as_bytes(), &sample.to_le_bytes()[..]];
                let own = valid.iter().enumerate().skip(row * t).take(t).filter(|(_, valid)| **valid);
                Drawing::new(
                    self.schedule,
                    own.map(|(at, _)| at).collect(),
                    random::stream(self.seed, "generate", &parts),
                )
            })
            .collect();
        let steps = drawings.iter().map(|drawing| drawing.counts.len()).max().unwrap_or(0);
        for step in 0..steps {
            let mut asked = vec![false; valid.len()];
            for at in drawings.iter().flat_map(|drawing| drawing.asked(step)) {
                asked[*at] = true;
            }
            canvas.ask(target, asked);
            let predicted = canvas.predict(model, target, &self.given, self.guidance)?;
            let mut found: Vec<Vec<(usize, u32, f64)>> = vec![Vec::new(); drawings.len()];
            for ((row, token), logits) in predicted.places.iter().zip(predicted.values.chunks(predicted.width)) {
                let row = *row as usize;
                if let (Some(drawing), Some(found)) = (drawings.get_mut(row), found.get_mut(row)) {
                    let (code, probability) = self.sampling.draw(logits, &mut drawing.random);
                    found.push((row * t + *token as usize, code, probability));
                }
            }
            for (drawing, found) in drawings.iter_mut().zip(found) {
                for (at, code) in drawing.keep(step, found) {
                    (codes[at], known[at]) = (code, true);
                }
            }
            canvas.know_codes(target, &codes, &known)?;
        }
        Ok(())
    }

    fn predict_patches(&self, model: &Model, canvas: &mut Canvas, target: &str, width: usize) -> Result<()> {
        let (t, valid) = canvas.valid(target)?;
        canvas.ask(target, valid.clone());
        let predicted = canvas.predict(model, target, &self.given, self.guidance)?;
        let mut values = vec![0_f32; valid.len() * width];
        for ((row, token), patch) in predicted.places.iter().zip(predicted.values.chunks(width.max(1))) {
            let at = (*row as usize * t + *token as usize) * width;
            if let Some(to) = values.get_mut(at..at + width) {
                to.copy_from_slice(patch);
            }
        }
        canvas.know_patches(target, values, width, &valid)
    }
}

/// What is left to draw of one row.
struct Drawing {
    schedule: Schedule,
    /// Places of tokens in the order in which they become known.
    order: Vec<usize>,
    counts: Vec<usize>,
    random: Random,
}

impl Drawing {
    fn new(schedule: Schedule, mut places: Vec<usize>, mut random: Random) -> Self {
        if let Schedule::Roar { .. } = schedule {
            places.shuffle(&mut random);
        }
        let counts = schedule.counts(places.len());
        Self { schedule, order: places, counts, random }
    }

    /// The places that are asked for in a step.
    fn asked(&self, step: usize) -> &[usize] {
        let Some(count) = self.counts.get(step) else { return &[] };
        let before: usize = self.counts.iter().take(step).sum();
        match self.schedule {
            // Those that were kept are moved to the front.
            Schedule::MaskGit { .. } => self.order.get(before..).unwrap_or_default(),
            _ => self.order.get(before..before + count).unwrap_or_default(),
        }
    }

    /// Which of the codes that were drawn in a step stay.
    fn keep(&mut self, step: usize, mut found: Vec<(usize, u32, f64)>) -> Vec<(usize, u32)> {
        if let (Schedule::MaskGit { .. }, Some(count)) = (self.schedule, self.counts.get(step)) {
            // Stable: of equals, the first token stays.
            found.sort_by(|a, b| b.2.total_cmp(&a.2));
            let before: usize = self.counts.iter().take(step).sum();
            let left = self.order.iter_mut().skip(before);
            left.zip(&found).for_each(|(place, (at, _, _))| *place = *at);
            found.truncate(*count);
        }
        found.into_iter().map(|(at, code, _)| (at, code)).collect()
    }
}

/// Which objects of a batch have a valid token of one of `modalities`.
///
/// # Errors
/// If tokens break their contract.
pub fn having(batch: &Batch, modalities: &[String]) -> Result<Vec<bool>> {
    let mut having = vec![false; batch.len()];
    for tokens in modalities.iter().filter_map(|name| batch.tokens.get(name)) {
        let rows = tokens.valid.to_vec2::<u8>()?;
        for ((having, row), present) in having.iter_mut().zip(rows).zip(&tokens.present) {
            *having |= *present && row.contains(&1);
        }
    }
    Ok(having)
}

/// Refuses modalities that can't be given, or a model that predicts nothing.
///
/// # Errors
/// As [`Request::check`].
pub fn check_given(model: &Model, given: &[String]) -> Result<()> {
    if !model.is_masked() {
        return Err(GenerateError::NoMaskedHead { heads: model.heads() }.into());
    }
    if given.is_empty() {
        return Err(GenerateError::NothingGiven { known: model.modalities().map(str::to_owned).collect() }.into());
    }
    check_names(model, given)
}

fn check_names(model: &Model, names: &[String]) -> Result<()> {
    match names.iter().find(|name| model.token_spec(name).is_none()) {
        Some(name) => Err(unknown(model, name)),
        None => Ok(()),
    }
}

fn unknown(model: &Model, name: &str) -> Error {
    let known = model.modalities().map(str::to_owned).collect();
    Error::UnknownName { what: "modality of the run", name: name.into(), known }
}

/// The codes of tokens, row by row, of valid ones.
///
/// # Errors
/// If they are no codes.
pub fn codes(tokens: &Tokens) -> Result<Vec<Vec<u32>>> {
    let TokenValues::Codes(codes) = &tokens.values else { return Ok(vec![Vec::new(); tokens.len()]) };
    let rows = codes.to_vec2::<u32>()?.into_iter().zip(tokens.valid.to_vec2::<u8>()?);
    let valid = |(codes, valid): (Vec<u32>, Vec<u8>)| {
        codes.into_iter().zip(valid).filter(|(_, v)| *v == 1).map(|(c, _)| c).collect()
    };
    Ok(rows.map(valid).collect())
}
