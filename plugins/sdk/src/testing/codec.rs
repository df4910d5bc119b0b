//! A codec, run as the host runs it.

use super::arrays::{Arrays, Buffer, Raw, View, description};
use super::held::{Asked, Held, call, get, there};
use crate::{ArraysSpec, Codec, Error, Result};
use panchroma_abi::{self as abi, Struct as _};

/// Tokens of a batch of objects: codes of a codec, or patches of a tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    pub(crate) length: usize,
    pub(crate) width: usize,
    pub(crate) present: Vec<u8>,
    pub(crate) valid: Buffer,
    pub(crate) values: Buffer,
    pub(crate) coordinates: Option<(usize, Buffer)>,
}

impl Tokens {
    /// Room for `length` tokens of each object: codes if `width` is 0, otherwise patches.
    pub(crate) fn new(arrays: &Arrays, length: usize, width: usize, coordinates: usize) -> Self {
        let count = arrays.len() * length;
        let values = if width == 0 { crate::Type::U32 } else { crate::Type::F32 };
        let places = Buffer::unknown(crate::Type::F32, count * coordinates);
        Self {
            length,
            width,
            present: arrays.present.clone(),
            valid: Buffer::U8(vec![0; count]),
            values: Buffer::unknown(values, count * width.max(1)),
            coordinates: (coordinates > 0).then_some((coordinates, places)),
        }
    }

    /// Codes of one object each, without coordinates; tokens behind the end of a list aren't valid.
    #[must_use]
    pub fn codes_of(rows: &[&[u32]]) -> Self {
        let length = rows.iter().map(|r| r.len()).max().unwrap_or(0).max(1);
        let mut valid = vec![0; rows.len() * length];
        let mut codes = vec![0; rows.len() * length];
        for (row, list) in rows.iter().enumerate() {
            for (place, code) in list.iter().enumerate() {
                let place = row * length + place;
                if let (Some(v), Some(c)) = (valid.get_mut(place), codes.get_mut(place)) {
                    (*v, *c) = (1, *code);
                }
            }
        }
        let present = rows.iter().map(|r| u8::from(!r.is_empty())).collect();
        Self { length, width: 0, present, valid: Buffer::U8(valid), values: Buffer::U32(codes), coordinates: None }
    }

    /// How many tokens there is room for in each object.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// 1 where a token says something: `[B, T]`.
    #[must_use]
    pub fn valid(&self) -> &[u8] {
        if let Buffer::U8(valid) = &self.valid { valid } else { &[] }
    }

    /// The codes `[B, T]`, of a codec.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        if let Buffer::U32(codes) = &self.values { codes } else { &[] }
    }

    /// The valid codes of one object.
    #[must_use]
    pub fn row_codes(&self, row: usize) -> Vec<u32> {
        let places = row * self.length..(row + 1) * self.length;
        places.filter(|p| self.is_valid(*p)).filter_map(|p| self.codes().get(p).copied()).collect()
    }

    /// The patches `[B, T, P]`, of a tokenizer.
    #[must_use]
    pub fn patches(&self) -> &[f32] {
        if let Buffer::F32(patches) = &self.values { patches } else { &[] }
    }

    /// Coordinates `[B, T, C]`; none if tokens are numbered.
    #[must_use]
    pub fn coordinates(&self) -> &[f32] {
        if let Some((_, Buffer::F32(places))) = &self.coordinates { places } else { &[] }
    }

    pub(crate) fn is_valid(&self, place: usize) -> bool {
        self.valid().get(place) == Some(&1)
    }

    /// What the interface demands of tokens; `vocabulary` is that of a codec.
    pub(crate) fn check(&self, vocabulary: u32) -> Result<()> {
        for (place, valid) in self.valid().iter().enumerate() {
            let (row, token) = (place / self.length.max(1), place % self.length.max(1));
            if *valid > 1 || (*valid == 1 && self.present.get(row) != Some(&1)) {
                return Err(Error::row(row, format!("token {token} is valid, and the object is absent")));
            }
            if *valid == 0 {
                continue;
            }
            if self.codes().get(place).is_some_and(|code| *code >= vocabulary) {
                return Err(Error::row(row, format!("the code of token {token} isn't below {vocabulary}")));
            }
            let patch = self.patches().get(place * self.width..(place + 1) * self.width).unwrap_or_default();
            if patch.iter().any(|x| !x.is_finite()) {
                return Err(Error::row(row, format!("token {token} is valid and not finite")));
            }
        }
        Ok(())
    }

    /// Whether valid tokens are the same, to the bit.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let width = self.width.max(1);
        let bits = |t: &Self, place: usize| -> Vec<u32> {
            let span = place * width..(place + 1) * width;
            let codes = t.codes().get(span.clone()).unwrap_or_default().iter().copied();
            codes.chain(t.patches().get(span).unwrap_or_default().iter().map(|x| x.to_bits())).collect()
        };
        let places = |t: &Self| -> Vec<u32> { t.coordinates().iter().map(|x| x.to_bits()).collect() };
        self.valid() == other.valid()
            && places(self) == places(other)
            && (0..self.valid().len()).filter(|p| self.is_valid(*p)).all(|p| bits(self, p) == bits(other, p))
    }
}

/// Tokens as the C interface has them, with everything that the struct points at.
pub(crate) struct RawTokens {
    pub(crate) raw: abi::Tokens,
    _views: Vec<View>,
}

impl RawTokens {
    pub(crate) fn of(tokens: &mut Tokens) -> Self {
        let (rows, length) = (tokens.present.len(), tokens.length);
        let shape = if tokens.width == 0 { vec![rows, length] } else { vec![rows, length, tokens.width] };
        let mut views =
            vec![View::of_mut(&mut tokens.valid, &[rows, length]), View::of_mut(&mut tokens.values, &shape)];
        views.extend(tokens.coordinates.as_mut().map(|(count, b)| View::of_mut(b, &[rows, length, *count])));
        let mut raw = abi::Tokens::new();
        raw.count = rows as u64;
        raw.present = tokens.present.as_ptr();
        let mut pointers = views.iter().map(View::raw);
        raw.valid = pointers.next().unwrap_or_default();
        raw.values = pointers.next().unwrap_or_default();
        raw.coordinates = pointers.next().unwrap_or_default();
        Self { raw, _views: views }
    }
}

fn held<C: Codec>(config: &str, spec: &ArraysSpec) -> Result<(Held, &'static abi::Codec, abi::CodecInfo)> {
    let description = description(spec)?;
    let asked = Asked { arrays: Some(&description), ..Asked::default() };
    let held = Held::new(crate::border::codec::component::<C>()?, config, &asked)?;
    // SAFETY: the component is a codec.
    let functions = unsafe { held.functions::<abi::Codec>() };
    let describe = there(functions.describe, "describe")?;
    // SAFETY: the instance lives, and the getter writes our struct; the same below.
    let info = get(|info| unsafe { describe(held.instance(), info) })?;
    let coordinate = there(functions.coordinate, "coordinate")?;
    for index in 0..info.coordinate_count {
        // SAFETY: as above.
        get(|c| unsafe { coordinate(held.instance(), index, c) })?;
    }
    Ok((held, functions, info))
}

/// What codec `C` makes of arrays, with a config in JSON.
///
/// # Errors
/// What the codec says, or which promise it breaks: codes are below the vocabulary, absent objects have no tokens, the same
/// arrays give the same bits.
pub fn encode<C: Codec>(config: &str, arrays: &Arrays) -> Result<Tokens> {
    let (held, functions, info) = held::<C>(config, arrays.spec())?;
    let encode = there(functions.encode, "encode")?;
    let mut arrays = arrays.clone();
    let raw = Raw::of(&mut arrays)?;
    let mut length = info.max_tokens;
    if let Some(plan) = functions.plan {
        // SAFETY: the arrays live.
        call(|error| unsafe { plan(held.instance(), &raw const raw.raw, &raw mut length, error) })?;
    }
    let run = || -> Result<Tokens> {
        let mut tokens = Tokens::new(&arrays, length as usize, 0, info.coordinate_count as usize);
        let mut places = RawTokens::of(&mut tokens);
        // SAFETY: arrays and tokens live, and nobody else looks at the tokens.
        call(|error| unsafe { encode(held.instance(), &raw const raw.raw, &raw mut places.raw, error) })?;
        Ok(tokens)
    };
    let tokens = run()?;
    tokens.check(info.vocabulary)?;
    if held.flag(abi::DETERMINISTIC) && !tokens.same(&run()?) {
        return Err(Error::failed("the same arrays gave other codes"));
    }
    Ok(tokens)
}

/// What codec `C` makes of codes, with a config in JSON: arrays that look like `spec`, as long as those of `like`, which
/// holds the measurement that is asked for, or, without it, as long as may be.
///
/// # Errors
/// What the codec says, or which promise it breaks: valid values are finite, absent objects have nothing.
pub fn decode<C: Codec>(config: &str, spec: &ArraysSpec, tokens: &Tokens, like: Option<&Arrays>) -> Result<Arrays> {
    let (held, functions, _) = held::<C>(config, spec)?;
    let decode = there(functions.decode, "decode")?;
    let longest: Vec<usize> = spec.axes().iter().map(|a| a.longest).collect();
    let mut arrays = Arrays::new(spec, tokens.present.len(), like.map_or(&longest, |l| &l.lengths))?;
    let (mut tokens, mut like) = (tokens.clone(), like.cloned());
    let (places, like) = (RawTokens::of(&mut tokens), like.as_mut().map(Raw::of).transpose()?);
    let mut raw = Raw::of(&mut arrays)?;
    let like = like.as_ref().map_or(std::ptr::null(), |l| &raw const l.raw);
    // SAFETY: tokens and arrays live, and nobody else looks at what is filled.
    call(|error| unsafe { decode(held.instance(), &raw const places.raw, like, &raw mut raw.raw, error) })?;
    arrays.check()?;
    Ok(arrays)
}
