//! Codecs of plugins: arrays -> codes, and back.

use crate::arrays::{ArraysView, Buffers, Spec};
use crate::call::{Caller, Fault, Function, culprit};
use crate::instance::{Chosen, Instance, Request};
use crate::library::Functions;
use crate::tokens::{TokenBuffers, TokenLayout, TokensView};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Arrays, Error, Forward, Result, TokenSpec, TokenValues, Tokenizer, Tokens};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a codec gives, and what it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) layout: TokenLayout,
    pub(crate) decodes: bool,
    pub(crate) deterministic: bool,
    pub(crate) arrays: Spec,
}

/// Where a codec runs.
pub(crate) trait Encode: Send + Sync {
    /// Arrays -> codes, not yet checked.
    fn encode(&self, arrays: &ArraysView<'_>) -> Result<TokenBuffers, Fault>;

    /// Codes -> arrays of these lengths, not yet checked.
    fn decode(
        &self,
        tokens: &TokensView<'_>,
        like: Option<&ArraysView<'_>>,
        lengths: &[usize],
    ) -> Result<Buffers, Fault>;
}

/// A codec in this process.
pub(crate) struct Local {
    instance: Instance,
    functions: abi::Codec,
    described: Described,
}

impl Local {
    /// Makes an instance and asks what it is.
    pub(crate) fn new(chosen: Chosen, request: &Request<'_>, arrays: &Spec) -> Result<(Self, Described), Fault> {
        let instance = Instance::new(chosen, request)?;
        let Functions::Codec(functions) = *instance.functions() else {
            return Err(Function::Describe.fault("it is no codec"));
        };
        let Some(describe) = functions.describe else { return Err(Function::Describe.fault("there is none")) };
        let mut info = abi::CodecInfo::new();
        // SAFETY: the instance is alive, and the struct is ours and says its size.
        Function::Describe.call(|_| unsafe { describe(instance.pointer(), &raw mut info) })?;
        let kind = (info.vocabulary, 0);
        let layout = TokenLayout::read(&instance, kind, info.max_tokens, info.coordinate_count, functions.coordinate)?;
        let decodes = info.decodes != 0 && functions.decode.is_some();
        let described = Described {
            layout,
            decodes,
            deterministic: instance.flags() & abi::DETERMINISTIC != 0,
            arrays: arrays.clone(),
        };
        Ok((Self { instance, functions, described: described.clone() }, described))
    }
}

/// How many tokens `plan` says that arrays need.
pub(crate) fn planned(
    instance: &Instance,
    plan: Option<
        unsafe extern "C" fn(*const std::ffi::c_void, *const abi::Arrays, *mut u64, *mut abi::Error) -> abi::Status,
    >,
    arrays: &abi::Arrays,
    max_tokens: usize,
) -> Result<usize, Fault> {
    let Some(plan) = plan else { return Ok(max_tokens) };
    let mut tokens = max_tokens as u64;
    // SAFETY: the instance is alive, and the arrays are as the interface describes them.
    Function::Plan.call(|error| unsafe { plan(instance.pointer(), arrays, &raw mut tokens, error) })?;
    match usize::try_from(tokens) {
        Ok(tokens) if (1..=max_tokens).contains(&tokens) => Ok(tokens),
        _ => Err(Function::Plan.fault(format!("it would give {tokens} tokens, allowed are 1 to {max_tokens}"))),
    }
}

impl Encode for Local {
    fn encode(&self, arrays: &ArraysView<'_>) -> Result<TokenBuffers, Fault> {
        let Some(encode) = self.functions.encode else { return Err(Function::Encode.fault("there is none")) };
        let layout = &self.described.layout;
        arrays.view(|view| {
            let tokens = planned(&self.instance, self.functions.plan, view, layout.max_tokens)?;
            layout.filled(Function::Encode, arrays.present, tokens, |tokens| {
                // SAFETY: the instance is alive, arrays and tokens are as the interface describes them.
                Function::Encode
                    .call(|error| unsafe { encode(self.instance.pointer(), view, tokens, error) })
                    .map(|_| ())
            })
        })
    }

    fn decode(
        &self,
        tokens: &TokensView<'_>,
        like: Option<&ArraysView<'_>>,
        lengths: &[usize],
    ) -> Result<Buffers, Fault> {
        let Some(decode) = self.functions.decode else { return Err(Function::Decode.fault("there is none")) };
        let spec = &self.described.arrays;
        let run = |like: *const abi::Arrays| {
            tokens.view(|view| {
                spec.filled(Function::Decode, tokens.present.len(), lengths, |arrays| {
                    // SAFETY: as above.
                    let call = |error| unsafe { decode(self.instance.pointer(), view, like, arrays, error) };
                    Function::Decode.call(call).map(|_| ())
                })
            })
        };
        match like {
            Some(like) => like.view(|like| run(like)),
            None => run(std::ptr::null()),
        }
    }
}

/// A plugin's codec as the framework's tokenizer.
pub(crate) struct ForeignCodec {
    runs: Box<dyn Encode>,
    caller: Caller,
    described: Described,
    spec: TokenSpec,
    /// Whether it was seen to keep its promise to give the same each time.
    repeated: AtomicBool,
}

impl ForeignCodec {
    pub(crate) fn new(runs: Box<dyn Encode>, described: Described, caller: Caller) -> Self {
        Self { runs, spec: described.layout.to_core(), described, caller, repeated: AtomicBool::new(false) }
    }

    fn encoded(&self, arrays: &Arrays) -> Result<Tokens, Fault> {
        let view = ArraysView::of(Function::Encode, arrays, &self.described.arrays)?;
        let buffers = self.runs.encode(&view)?;
        if self.described.deterministic && !arrays.is_empty() && !self.repeated.swap(true, Ordering::Relaxed) {
            self.described.layout.require_same(&buffers, &self.runs.encode(&view)?)?;
        }
        self.described.layout.finish(Function::Encode, buffers, &arrays.present)
    }

    fn decoded(&self, tokens: &Tokens, like: Option<&Arrays>) -> Result<Arrays, Fault> {
        let function = Function::Decode;
        let wrong = |error: &dyn std::fmt::Display| function.fault(error.to_string());
        let TokenValues::Codes(codes) = &tokens.values else { return Err(function.fault("tokens that are no codes")) };
        let codes = codes.flatten_all().and_then(|c| c.to_vec1::<u32>()).map_err(|e| wrong(&e))?;
        let valid = tokens.valid.flatten_all().and_then(|v| v.to_vec1::<u8>()).map_err(|e| wrong(&e))?;
        let outside =
            codes.iter().zip(&valid).position(|(c, valid)| *valid == 1 && *c >= self.described.layout.vocabulary);
        let per_row = tokens.valid.dims().get(1).copied().unwrap_or(0);
        if let Some(place) = outside {
            return Err(function.fault_of(place / per_row.max(1), "a code is outside of its vocabulary"));
        }
        let present: &[u8] = bytemuck::cast_slice(&tokens.present);
        let coordinates = match self.described.layout.numbered() {
            true => Vec::new(),
            false => tokens.coordinates.flatten_all().and_then(|c| c.to_vec1::<f32>()).map_err(|e| wrong(&e))?,
        };
        let view = TokensView { present, tokens: per_row, valid: &valid, codes: &codes, coordinates: &coordinates };
        let spec = &self.described.arrays;
        let like = like.map(|like| ArraysView::of(function, like, spec)).transpose()?;
        let buffers = self.runs.decode(&view, like.as_ref(), &lengths(spec, like.as_ref()))?;
        spec.finish(function, buffers, tokens.len(), NotFinitePolicy::Error)
    }
}

impl Tokenizer for ForeignCodec {
    fn spec(&self) -> TokenSpec {
        self.spec.clone()
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        attributed(arrays, |arrays| self.encoded(arrays)).map_err(|fault| self.caller.error(fault, &[]))
    }

    fn reconstruct(&self, tokens: &Tokens, like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        if !self.described.decodes {
            return Ok(None);
        }
        self.decoded(tokens, like).map(Some).map_err(|fault| self.caller.error(fault, &[]))
    }
}

/// What `run` makes of arrays; a fault says which row is to blame, if one alone is.
pub(crate) fn attributed(arrays: &Arrays, run: impl Fn(&Arrays) -> Result<Tokens, Fault>) -> Result<Tokens, Fault> {
    run(arrays).map_err(|mut fault| {
        if fault.may_be_a_row() {
            let fails = |rows: &[usize]| run(&arrays.take(rows)).is_err_and(|fault| fault.may_be_a_row());
            fault.row = culprit(arrays.len(), fails);
        }
        fault
    })
}

/// Lengths of arrays to decode to: those of `like`, or the longest.
pub(crate) fn lengths(spec: &Spec, like: Option<&ArraysView<'_>>) -> Vec<usize> {
    let mut lengths = spec.longest();
    if let Some(like) = like {
        let of_fields = spec.fields.iter().zip(&like.fields).map(|(field, (shape, _))| (&field.axes, shape));
        for (axes, shape) in of_fields.chain([(&spec.valid_axes, &like.valid.0)]) {
            for (axis, length) in axes.iter().zip(shape.iter().skip(1)) {
                if let Some(to) = lengths.get_mut(*axis) {
                    *to = *length as usize;
                }
            }
        }
    }
    lengths
}

/// What a codec of a plugin reads.
///
/// # Errors
/// If the modality's arrays can't be described to it.
pub(crate) fn arrays_of(context: &panchroma_core::TokenizerContext<'_>, caller: &Caller) -> Result<Spec> {
    let spec = Spec::of_core(context.arrays).filter(|spec| {
        let most = spec.fields.iter().map(|f| f.axes.len()).chain([spec.valid_axes.len()]).max().unwrap_or(0);
        most <= abi::MAX_AXES
    });
    spec.ok_or_else(|| Error::Shape {
        part: format!("[modality.{}.tokenizer] `{}`", context.modality, caller.component),
        expected: "a modality whose arrays have axes of known length, 4 at most".into(),
        found: format!("{:?}", BTreeMap::from_iter(context.arrays.sizes.iter().copied())),
    })
}
