//! Tokens that cross the border: coordinates, buffers, and the checks of what a plugin filled in.

use crate::call::{Fault, Function};
use crate::instance::Instance;
use crate::table;
use crate::views::{Shaped, Slice, View, require_room, unchanged};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::reexport::candle_core::{Device, Tensor};
use panchroma_core::{Coordinate, Encoding, Result, TokenKind, TokenSpec, TokenValues, Tokens, Values};
use serde::{Deserialize, Serialize};
use std::ffi::c_void;

/// Most tokens, values per token or codes.
const MOST: u64 = 1 << 24;

/// Most coordinates.
const MOST_COORDINATES: u32 = 64;

/// What tokens look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenLayout {
    /// Number of codes; 0 of patches.
    pub(crate) vocabulary: u32,
    /// Values of a patch; 0 of codes.
    pub(crate) width: usize,
    pub(crate) max_tokens: usize,
    coordinates: Vec<CoordinateInfo>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CoordinateInfo {
    name: String,
    unit: String,
    encoding: u32,
    smallest: f64,
    largest: f64,
    count: u32,
    metadata: bool,
}

/// Gets coordinate `index`.
type Getter = unsafe extern "C" fn(*const c_void, u32, *mut abi::Coordinate) -> abi::Status;

impl TokenLayout {
    /// Checks what a component said, and asks for its coordinates.
    pub(crate) fn read(
        instance: &Instance,
        (vocabulary, width): (u32, u64),
        max_tokens: u64,
        coordinates: u32,
        getter: Option<Getter>,
    ) -> Result<Self, Fault> {
        let wrong = |reason: String| Function::Describe.fault(reason);
        if u64::from(vocabulary) + width == 0 || u64::from(vocabulary) > MOST || width > MOST {
            return Err(wrong(format!("it has {vocabulary} codes and {width} values per token")));
        }
        if max_tokens == 0 || max_tokens > MOST || coordinates > MOST_COORDINATES {
            return Err(wrong(format!("it has {max_tokens} tokens at most and {coordinates} coordinates")));
        }
        let coordinate = |index| CoordinateInfo::read(instance, index, getter);
        let coordinates = (0..coordinates).map(coordinate).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { vocabulary, width: width as usize, max_tokens: max_tokens as usize, coordinates })
    }

    /// Whether tokens are numbered, without coordinates of their own.
    pub(crate) fn numbered(&self) -> bool {
        self.coordinates.is_empty()
    }

    /// As the framework describes tokens.
    pub(crate) fn to_core(&self) -> TokenSpec {
        let kind = match self.vocabulary {
            0 => TokenKind::Patches { width: self.width },
            vocabulary => TokenKind::Codes { vocabulary: vocabulary as usize },
        };
        // Without coordinates, tokens are told apart by their number.
        let numbered = TokenSpec::codes(1, self.max_tokens).coordinates;
        let coordinates: Vec<Coordinate> = self.coordinates.iter().map(CoordinateInfo::to_core).collect();
        let coordinates = if coordinates.is_empty() { numbered } else { coordinates };
        TokenSpec { kind, max_tokens: self.max_tokens, coordinates }
    }

    /// Makes buffers for `count` rows of `tokens` tokens, lets `fill` fill them, and looks whether it kept to them.
    ///
    /// # Errors
    /// That of `fill`, or what it broke.
    pub(crate) fn filled(
        &self,
        function: Function,
        present: &[u8],
        tokens: usize,
        fill: impl FnOnce(*mut abi::Tokens) -> Result<(), Fault>,
    ) -> Result<TokenBuffers, Fault> {
        let (b, t) = (present.len() as i64, tokens as i64);
        let widest = self.width.max(self.coordinates.len()).max(1) as i64;
        require_room("tokens", &[b, t, widest])?;
        let mut valid = Shaped::new(abi::U8, &[b, t]);
        let mut values = match self.vocabulary {
            0 => Shaped::new(abi::F32, &[b, t, self.width as i64]),
            _ => Shaped::new(abi::U32, &[b, t]),
        };
        let mut coordinates = Shaped::new(abi::F32, &[b, t, self.coordinates.len() as i64]);
        {
            let (mut valid, mut values, mut coordinates) = (valid.view(), values.view(), coordinates.view());
            let mut own = abi::Tokens::new();
            own.count = b as u64;
            own.present = present.as_ptr();
            own.valid = valid.pointer();
            own.values = values.pointer();
            own.coordinates = if self.coordinates.is_empty() { std::ptr::null_mut() } else { coordinates.pointer() };
            let before = (own.valid, own.values, own.coordinates, own.count);
            fill(&raw mut own)?;
            if (own.valid, own.values, own.coordinates, own.count) != before {
                return Err(function.fault("it replaced pointers of `tokens`; what they lead to is to be filled"));
            }
            for (view, what) in [(&valid, "the mask"), (&values, "the tokens"), (&coordinates, "the coordinates")] {
                unchanged(view, what).map_err(|reason| function.fault(reason))?;
            }
        }
        let beyond = |what: &str| function.fault(format!("it wrote behind the end of {what}"));
        let valid = valid.take().ok_or_else(|| beyond("the mask"))?;
        let values = values.take().ok_or_else(|| beyond("the tokens"))?;
        let coordinates = coordinates.take_f32().ok_or_else(|| beyond("the coordinates"))?;
        let Values::U8(valid) = valid else { return Err(function.fault("the mask is not u8")) };
        Ok(TokenBuffers { tokens, valid, values, coordinates })
    }

    /// Refuses a second answer that says something else than the first where that is valid.
    ///
    /// # Errors
    /// The first row that differs.
    pub(crate) fn require_same(&self, one: &TokenBuffers, two: &TokenBuffers) -> Result<(), Fault> {
        let reason = "the same arrays gave other codes the second time, though it says that it is deterministic";
        if one.valid != two.valid || one.tokens != two.tokens {
            return Err(Function::Encode.fault(reason));
        }
        let (Values::U32(first), Values::U32(second)) = (&one.values, &two.values) else { return Ok(()) };
        let differs = |place: &usize| one.valid.get(*place) == Some(&1) && first.get(*place) != second.get(*place);
        match (0..first.len()).find(differs) {
            Some(place) => Err(Function::Encode.fault_of(place / one.tokens.max(1), reason)),
            None => Ok(()),
        }
    }

    /// Checks what a plugin filled in, and makes it the framework's.
    ///
    /// # Errors
    /// The first promise that is broken, with its row.
    pub(crate) fn finish(
        &self,
        function: Function,
        mut buffers: TokenBuffers,
        present: &[bool],
    ) -> Result<Tokens, Fault> {
        let (b, t, c) = (present.len(), buffers.tokens, self.coordinates.len());
        let values = b * t * if self.vocabulary == 0 { self.width } else { 1 };
        let found = (buffers.valid.len(), buffers.values.len(), buffers.coordinates.len());
        if !(1..=self.max_tokens).contains(&t) || found != (b * t, values, b * t * c) {
            return Err(function.fault("what came back has other shapes than were asked for"));
        }
        for (place, valid) in buffers.valid.iter().enumerate() {
            let row = place / t.max(1);
            if *valid > 1 {
                return Err(function.fault_of(row, format!("the mask of tokens must be 0 or 1, has {valid}")));
            }
            if *valid == 1 && present.get(row) != Some(&true) {
                return Err(function.fault_of(row, "it has valid tokens of an object without the measurement"));
            }
        }
        match &mut buffers.values {
            Values::U32(codes) => {
                for (place, (code, valid)) in codes.iter_mut().zip(&buffers.valid).enumerate() {
                    if *valid == 0 {
                        *code = 0;
                    } else if *code >= self.vocabulary {
                        let reason = format!("the code {code} is outside of the vocabulary of {}", self.vocabulary);
                        return Err(function.fault_of(place / t.max(1), reason));
                    }
                }
            }
            Values::F32(values) => {
                for (place, (patch, valid)) in values.chunks_mut(self.width.max(1)).zip(&buffers.valid).enumerate() {
                    if *valid == 0 {
                        patch.fill(0.0);
                    } else if let Some(bad) = patch.iter().find(|v| !v.is_finite()) {
                        let reason = format!("a valid token holds {bad}; a value that was never written is NaN");
                        return Err(function.fault_of(place / t.max(1), reason));
                    }
                }
            }
            _ => return Err(function.fault("tokens of an unknown type")),
        }
        if let Some(place) = buffers.coordinates.iter().position(|v| v.is_infinite()) {
            return Err(function.fault_of(place / (t * c).max(1), "a coordinate is infinite; NaN means unknown"));
        }
        self.tensors(buffers, present, (b, t, c)).map_err(|error| function.fault(error.to_string()))
    }

    fn tensors(&self, buffers: TokenBuffers, present: &[bool], (b, t, c): (usize, usize, usize)) -> Result<Tokens> {
        let cpu = &Device::Cpu;
        let values = match buffers.values {
            Values::U32(codes) => TokenValues::Codes(Tensor::from_vec(codes, (b, t), cpu)?),
            Values::F32(values) => TokenValues::Patches(Tensor::from_vec(values, (b, t, self.width), cpu)?),
            _ => TokenValues::Codes(Tensor::zeros((b, t), panchroma_core::reexport::candle_core::DType::U32, cpu)?),
        };
        let coordinates = match c {
            0 => {
                let numbers: Vec<f32> = (0..b).flat_map(|_| (0..t).map(|i| i as f32)).collect();
                Tensor::from_vec(numbers, (b, t, 1), cpu)?
            }
            _ => Tensor::from_vec(buffers.coordinates, (b, t, c), cpu)?,
        };
        let valid = Tensor::from_vec(buffers.valid, (b, t), cpu)?;
        Ok(Tokens { values, valid, coordinates, weights: None, present: present.to_vec() })
    }
}

impl CoordinateInfo {
    fn read(instance: &Instance, index: u32, getter: Option<Getter>) -> Result<Self, Fault> {
        let wrong = |reason: String| Function::Describe.fault(reason);
        let getter = getter.ok_or_else(|| wrong("it has coordinates and no `coordinate`".into()))?;
        let mut own = abi::Coordinate::new();
        // SAFETY: the instance is alive, and the struct is ours and says its size.
        Function::Describe.call(|_| unsafe { getter(instance.pointer(), index, &raw mut own) })?;
        // SAFETY: texts of an instance live as long as it.
        let name =
            unsafe { table::name(own.name, &format!("the name of coordinate {index}"), &['_']) }.map_err(wrong)?;
        let unit = match own.unit.is_null() {
            true => String::new(),
            // SAFETY: as above.
            false => unsafe { table::text(own.unit, &format!("the unit of coordinate `{name}`")) }.map_err(wrong)?,
        };
        let ordered = own.smallest > 0.0 && own.largest > own.smallest && own.largest.is_finite();
        let right = match own.encoding {
            abi::FOURIER | abi::LOG => ordered,
            abi::CATEGORY => true,
            other => return Err(wrong(format!("coordinate `{name}` has the unknown encoding {other}"))),
        };
        if !right || own.count == 0 || u64::from(own.count) > MOST {
            let (smallest, largest, count) = (own.smallest, own.largest, own.count);
            return Err(wrong(format!("coordinate `{name}` goes from {smallest} to {largest} in {count}")));
        }
        // Of categories, neither means anything, and it may be anything.
        let (smallest, largest) = if own.encoding == abi::CATEGORY { (0.0, 0.0) } else { (own.smallest, own.largest) };
        let count = own.count;
        Ok(Self { name, unit, encoding: own.encoding, smallest, largest, count, metadata: own.metadata != 0 })
    }

    fn to_core(&self) -> Coordinate {
        let (shortest, longest, frequencies) = (self.smallest, self.largest, self.count as usize);
        let encoding = match self.encoding {
            abi::FOURIER => Encoding::Fourier { shortest, longest, frequencies },
            abi::LOG => Encoding::Log { smallest: shortest, largest: longest, frequencies },
            _ => Encoding::Category { size: frequencies },
        };
        Coordinate { name: self.name.clone().into(), unit: self.unit.clone().into(), encoding, metadata: self.metadata }
    }
}

/// What a plugin filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenBuffers {
    /// T.
    pub(crate) tokens: usize,
    pub(crate) valid: Vec<u8>,
    pub(crate) values: Values,
    pub(crate) coordinates: Vec<f32>,
}

/// Tokens by reference, for a codec to decode.
pub(crate) struct TokensView<'a> {
    pub(crate) present: &'a [u8],
    /// T.
    pub(crate) tokens: usize,
    pub(crate) valid: &'a [u8],
    pub(crate) codes: &'a [u32],
    /// [B, T, C]; empty if tokens are numbered.
    pub(crate) coordinates: &'a [f32],
}

impl TokensView<'_> {
    /// Hands them to `call` as the interface's struct.
    pub(crate) fn view<R>(&self, call: impl FnOnce(&abi::Tokens) -> R) -> R {
        let shape = [self.present.len() as i64, self.tokens as i64];
        let mut valid = View::of(&shape, &Slice::U8(self.valid));
        let mut values = View::of(&shape, &Slice::U32(self.codes));
        let mut tokens = abi::Tokens::new();
        tokens.count = self.present.len() as u64;
        tokens.present = self.present.as_ptr();
        tokens.valid = valid.pointer();
        tokens.values = values.pointer();
        let places = self.codes.len().max(1);
        let shape = [shape[0], shape[1], (self.coordinates.len() / places) as i64];
        let mut coordinates = View::of(&shape, &Slice::F32(self.coordinates));
        if !self.coordinates.is_empty() {
            tokens.coordinates = coordinates.pointer();
        }
        call(&tokens)
    }
}
