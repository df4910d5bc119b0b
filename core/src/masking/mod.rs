//! Which tokens masked training gives and which it asks for, drawn for each object.
//!
//! First how many of each modality ([`Scheme`] says by which rule), then which of them ([`SpanConfig`], [`BlockConfig`]; anywhere where
//! there is neither). What is drawn depends on the object's own stream of random numbers and its own tokens alone, not on the batch.

mod budget;
mod config;
mod pattern;
mod read;

pub use config::{BlockConfig, First, MaskingConfig, MixtureConfig, Scheme, SpanConfig};

use budget::{Budget, Division, Room};
use pattern::Pattern;

use crate::masks::{Masks, TokenMask};
use crate::random::Random;
use crate::{Result, Tokens};
use candle_core::DType;
use rand::Rng;
use rand::seq::IteratorRandom;
use std::collections::BTreeMap;

/// One modality of the config.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    /// Most tokens of an object.
    tokens: usize,
    give: bool,
    ask: bool,
    /// Probability that nothing of it is given.
    hide: f64,
    pattern: Pattern,
}

/// Draws [`Masks`].
#[derive(Clone, Debug)]
pub struct Masking {
    parts: Vec<Part>,
    budget: Budget,
    /// Probability that one modality is all that is asked for.
    whole: f64,
}

/// The tokens of one modality, read once for all objects of a batch.
struct Read {
    tokens: usize,
    /// `[B, T]`.
    valid: Vec<u8>,
    present: Vec<bool>,
    /// `[B, T, C]`; empty if nobody looks.
    coordinates: Vec<f32>,
    /// C.
    width: usize,
}

impl Read {
    fn new(tokens: &Tokens, coordinates: bool) -> Result<Self> {
        let (_, t) = tokens.valid.dims2()?;
        let (_, _, width) = tokens.coordinates.dims3()?;
        Ok(Self {
            tokens: t,
            valid: tokens.valid.to_dtype(DType::U8)?.flatten_all()?.to_vec1()?,
            present: tokens.present.clone(),
            coordinates: if coordinates { tokens.coordinates.flatten_all()?.to_vec1()? } else { Vec::new() },
            width,
        })
    }

    /// Numbers of the valid tokens of an object.
    fn of(&self, row: usize) -> Vec<usize> {
        if !self.present[row] {
            return Vec::new();
        }
        let flags = &self.valid[row * self.tokens..(row + 1) * self.tokens];
        (0..self.tokens).filter(|token| flags[*token] != 0).collect()
    }
}

impl Masking {
    /// Tokens per object that are given and asked for on average, for the plan: of an object that has all tokens.
    #[must_use]
    pub fn budgets(&self) -> (usize, usize) {
        let total = |which: fn(&Part) -> bool| self.parts.iter().filter(|p| which(p)).map(|p| p.tokens).sum::<usize>();
        let (give, ask) = (total(|p| p.give), total(|p| p.ask));
        let mean = |[least, most]: [usize; 2], room: usize| least.min(room).midpoint(most.min(room));
        match &self.budget.division {
            Division::Share { range: [least, most] } => {
                let asked = (least.midpoint(*most) * ask as f64).round() as usize;
                (give.saturating_sub(asked).max(1), asked.max(1))
            }
            Division::Aion { mean: share, .. } => {
                let given = mean(self.budget.inputs, give);
                let [least, most] = self.budget.targets.map(|bound| bound.min(ask));
                (given, least + (share * (most - least) as f64).round() as usize)
            }
            Division::Dirichlet { .. } | Division::Uniform => {
                (mean(self.budget.inputs, give), mean(self.budget.targets, ask))
            }
        }
    }

    /// Whether tokens of `modality` may be asked for.
    #[must_use]
    pub fn asks_for(&self, modality: &str) -> bool {
        self.parts.iter().any(|part| part.ask && part.name == modality)
    }

    /// Draws for each object from its own stream, `random(id)`.
    ///
    /// Only tokens that are valid take part, and none is both given and asked for. Of an object that has a token that may be asked
    /// for, at least one is; it is given at least one if it has another that may be given, unless `inputs` begins at 0. An object
    /// that has none to ask for is given nothing.
    ///
    /// # Errors
    /// If `tokens` break their contract.
    pub fn draw(
        &self,
        tokens: &BTreeMap<String, Tokens>,
        ids: &[String],
        random: &dyn Fn(&str) -> Random,
    ) -> Result<Masks> {
        let (mut masks, read) = self.begin(tokens)?;
        for (row, id) in ids.iter().enumerate() {
            let valid: Vec<Vec<usize>> =
                read.iter().map(|own| own.as_ref().map_or_else(Vec::new, |r| r.of(row))).collect();
            let mut rooms: Vec<Room> = self
                .parts
                .iter()
                .zip(&valid)
                .enumerate()
                .filter(|(_, (_, valid))| !valid.is_empty())
                .map(|(modality, (part, valid))| Room { modality, tokens: valid.len(), give: part.give, ask: part.ask })
                .collect();
            let mut random = random(id);
            self.leave_out(&mut rooms, &mut random);
            let counts = self.budget.draw(&rooms, &mut random);
            for (room, count) in rooms.iter().zip(counts) {
                let part = &self.parts[room.modality];
                let (Some(own), Some(mask)) = (&read[room.modality], masks.modality.get_mut(&part.name)) else {
                    continue;
                };
                let coordinate = |token: usize, axis: usize| {
                    own.coordinates.get((row * own.tokens + token) * own.width + axis).copied().unwrap_or(f32::NAN)
                };
                let (given, asked) = part.pattern.place(&valid[room.modality], count, &coordinate, &mut random);
                given.into_iter().for_each(|token| mask.input[row * own.tokens + token] = true);
                asked.into_iter().for_each(|token| mask.target[row * own.tokens + token] = true);
            }
        }
        Ok(masks)
    }

    /// Gives and asks for every token that may be, by turns, so that no modality is left out in a batch of two objects: for a
    /// check that every parameter has a part in the loss.
    ///
    /// # Errors
    /// If `tokens` break their contract.
    pub fn cover(&self, tokens: &BTreeMap<String, Tokens>) -> Result<Masks> {
        let (mut masks, read) = self.begin(tokens)?;
        for (number, (part, own)) in self.parts.iter().zip(&read).enumerate() {
            let (Some(own), Some(mask)) = (own, masks.modality.get_mut(&part.name)) else { continue };
            for row in 0..own.present.len() {
                for token in own.of(row) {
                    let asked = part.ask && (!part.give || (row + number + token) % 2 == 1);
                    mask.target[row * own.tokens + token] = asked;
                    mask.input[row * own.tokens + token] = part.give && !asked;
                }
            }
        }
        Ok(masks)
    }

    /// Masks of nothing, and what the batch has of each of the parts.
    fn begin(&self, tokens: &BTreeMap<String, Tokens>) -> Result<(Masks, Vec<Option<Read>>)> {
        let mut masks = Masks::default();
        for (name, own) in tokens {
            let (batch, t) = own.valid.dims2()?;
            masks.modality.insert(name.clone(), TokenMask::none(batch, t));
        }
        let read = |part: &Part| {
            tokens.get(&part.name).map(|own| Read::new(own, part.pattern.needs_coordinates())).transpose()
        };
        let read = self.parts.iter().map(read).collect::<Result<_>>()?;
        Ok((masks, read))
    }

    /// Modalities of which nothing is given in this object, and whether one is all that is asked for.
    fn leave_out(&self, rooms: &mut [Room], random: &mut Random) {
        let may_give_nothing = self.budget.gives_nothing();
        if self.whole > 0.0 && random.random::<f64>() < self.whole {
            let may = |i: &usize| {
                rooms[*i].ask && (may_give_nothing || rooms.iter().enumerate().any(|(j, room)| j != *i && room.give))
            };
            if let Some(one) = (0..rooms.len()).filter(may).choose(random) {
                rooms[one].give = false;
                for (i, room) in rooms.iter_mut().enumerate() {
                    room.ask &= i == one;
                }
                return;
            }
        }
        let hidden = |room: &Room, random: &mut Random| {
            let hide = self.parts[room.modality].hide;
            room.give && hide > 0.0 && random.random::<f64>() < hide
        };
        let mut hidden: Vec<usize> = (0..rooms.len()).filter(|i| hidden(&rooms[*i], random)).collect();
        for i in &hidden {
            rooms[*i].give = false;
        }
        while !may_give_nothing && budget::givable(rooms) == 0 && !hidden.is_empty() {
            let back = hidden.swap_remove(random.random_range(0..hidden.len()));
            rooms[back].give = true;
        }
    }
}

#[cfg(test)]
mod tests;
