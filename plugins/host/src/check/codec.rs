//! The promises of a codec, on arrays of the library's own modalities.

use super::made_up::{Like, MadeUp};
use super::{Outcome, Steps, heap, modalities, on_threads, request, said, throughput};
use crate::arrays::{ArraysView, Spec};
use crate::call::Function;
use crate::codec::{Described, Encode, Local, lengths};
use crate::instance::Chosen;
use crate::library::Loaded;
use crate::modality::Prepare;
use crate::tokens::{TokenBuffers, TokensView};
use crate::views::Slice;
use panchroma_abi as abi;
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Arrays, Values};
use serde_json::Value;
use std::sync::Arc;

/// Arrays of the first modality of the library for which `fits` gives something.
pub(super) fn on_own_arrays<T>(
    loaded: &Arc<Loaded>,
    mut fits: impl FnMut(&Spec) -> Result<T, String>,
) -> Result<(T, Spec, Vec<Arrays>), String> {
    let mut reasons = Vec::new();
    for (local, described) in modalities(loaded) {
        let spec = &described.spec;
        let batches: [&[Like]; 3] =
            [&[Like::Plain(5), Like::Missing, Like::Plain(9), Like::Plain(1)], &[Like::Missing; 2], &[]];
        let arrays = |rows: &&[Like]| {
            let buffers =
                local.prepare(&MadeUp::new(&described.wanted, rows, described.flags).batch(abi::EVALUATE)).ok()?;
            spec.finish(Function::Run, buffers, rows.len(), NotFinitePolicy::Error).ok()
        };
        let Some(arrays) = batches.iter().map(arrays).collect::<Option<Vec<Arrays>>>() else { continue };
        match fits(spec) {
            Ok(found) => return Ok((found, spec.clone(), arrays)),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(match reasons.first() {
        None => "the library has no modality of its own to try it on".into(),
        Some(reason) => format!("it takes the arrays of no modality of the library: {reason}"),
    })
}

/// Tries a codec.
pub(super) fn check(steps: &mut Steps<'_>, chosen: &Chosen, config: &Value, loaded: &Arc<Loaded>) {
    let make = |spec: &Spec| Local::new(chosen.clone(), &request(config, Some(spec)), spec).map_err(said);
    let (tried, spec, arrays) = match on_own_arrays(loaded, make) {
        Err(reason) => return steps.say("describe", Outcome::Skipped(reason)),
        Ok(((local, described), spec, arrays)) => (Tried { local, described }, spec, arrays),
    };
    let layout = &tried.described.layout;
    let remark = format!("{} codes, up to {} tokens", layout.vocabulary, layout.max_tokens);
    steps.say("describe", Outcome::Passed(remark));
    let names = ["encode", "encode missing rows", "encode no rows"];
    for (name, arrays) in names.into_iter().zip(&arrays) {
        steps.step(name, || {
            let tokens =
                layout.finish(Function::Encode, tried.encode(arrays, &spec)?, &arrays.present).map_err(said)?;
            Ok(format!("{} of {} rows present", tokens.present.iter().filter(|p| **p).count(), tokens.len()))
        });
    }
    let Some(first) = arrays.first() else { return };
    if tried.described.decodes {
        steps.step("decode", || tried.decode(first, &spec));
    } else {
        steps.say("decode", Outcome::Skipped("it does not decode".into()));
    }
    let Ok(expected) = tried.encode(first, &spec) else { return };
    let deterministic = chosen.component().about.flags & abi::DETERMINISTIC != 0;
    steps.step("threads", || {
        let bits = |b: TokenBuffers| (b.valid, Slice::from(&b.values).bytes().to_vec());
        let expected = deterministic.then(|| bits(expected));
        on_threads(expected.as_ref(), || tried.encode(first, &spec).map(bits))
    });
    steps.step("leaks", || {
        heap::leaks(|| {
            let (local, described) = make(&spec)?;
            Tried { local, described }.encode(first, &spec).map(|_| ())
        })
    });
    steps.step("throughput", || throughput(first.len(), || tried.encode(first, &spec).map(|_| ())));
}

struct Tried {
    local: Local,
    described: Described,
}

impl Tried {
    fn encode(&self, arrays: &Arrays, spec: &Spec) -> Result<TokenBuffers, String> {
        let view = ArraysView::of(Function::Encode, arrays, spec).map_err(said)?;
        self.local.encode(&view).map_err(said)
    }

    /// Codes back to arrays: with the measurement that they came from, and without.
    fn decode(&self, arrays: &Arrays, spec: &Spec) -> Result<String, String> {
        let buffers = self.encode(arrays, spec)?;
        let Values::U32(codes) = &buffers.values else { return Err("its tokens are no codes".into()) };
        let (present, tokens): (Vec<u8>, usize) =
            (arrays.present.iter().map(|p| u8::from(*p)).collect(), buffers.tokens);
        let view =
            TokensView { present: &present, tokens, valid: &buffers.valid, codes, coordinates: &buffers.coordinates };
        let like = ArraysView::of(Function::Decode, arrays, spec).map_err(said)?;
        let (mut decoded_arrays, tokens_of) = (None, arrays.len());
        for like in [None, Some(&like)] {
            let lengths = lengths(spec, like);
            let decoded = self.local.decode(&view, like, &lengths).map_err(said)?;
            decoded_arrays =
                Some(spec.finish(Function::Decode, decoded, tokens_of, NotFinitePolicy::Error).map_err(said)?);
        }
        let Some(decoded) = decoded_arrays else { return Err("nothing was decoded".into()) };
        let of = |a: &Arrays| a.valid().map(|(_, v)| v.iter().map(|v| u32::from(*v)).sum::<u32>()).unwrap_or(0);
        Ok(format!("{} values of {} that were measured", of(&decoded), of(arrays)))
    }
}
