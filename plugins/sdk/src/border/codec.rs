//! A codec as a table of functions.

use super::arrays::{open, open_mut};
use super::guard::guard;
use super::instance::{About, Component, Instance, config, flags, open_instance, tell};
use super::tokens::{self, Coordinates, Values, match_counts, planned};
use crate::{ArraysSpec, Codec, Error, Request, Result};
use panchroma_abi::{self as abi, Status, Struct as _};
use std::ffi::c_void;

struct Held<C> {
    codec: C,
    arrays: ArraysSpec,
    coordinates: Coordinates,
}

impl<C: Codec> Instance for Held<C> {
    fn make(json: &str, request: &Request) -> Result<Self> {
        let codec = C::new(config(json)?, request)?;
        let coordinates = Coordinates::new(codec.coordinates())?;
        if codec.vocabulary() == 0 || codec.max_tokens() == 0 {
            return Err(Error::failed("a codec needs at least one code and one token"));
        }
        Ok(Self { arrays: request.arrays()?.clone(), codec, coordinates })
    }
}

struct Functions<C>(std::marker::PhantomData<C>);

impl<C: Codec> Functions<C> {
    const TABLE: &'static abi::Codec = &abi::Codec {
        size: size_of::<abi::Codec>() as u32,
        reserved: 0,
        describe: Some(describe::<C>),
        coordinate: Some(coordinate::<C>),
        plan: Some(plan::<C>),
        encode: Some(encode::<C>),
        decode: if C::DECODES { Some(decode::<C>) } else { None },
    };
}

pub(crate) fn component<C: Codec>() -> Result<Component> {
    Component::new::<Held<C>, C::Config>(&About {
        kind: abi::CODEC,
        flags: flags(C::DETERMINISTIC, false),
        name: C::NAME,
        summary: C::SUMMARY,
        example: C::EXAMPLE,
        functions: std::ptr::from_ref(Functions::<C>::TABLE).cast(),
    })
}

/// # Safety
/// As the interface says, like all below.
unsafe extern "C" fn describe<C: Codec>(instance: *const c_void, info: *mut abi::CodecInfo) -> Status {
    let get = |held: &Held<C>| {
        let mut info = abi::CodecInfo::new();
        info.vocabulary = held.codec.vocabulary();
        info.max_tokens = held.codec.max_tokens() as u64;
        info.coordinate_count = held.coordinates.len() as u32;
        info.decodes = u32::from(C::DECODES);
        Ok(info)
    };
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, info, get) }
}

unsafe extern "C" fn coordinate<C: Codec>(
    instance: *const c_void,
    index: u32,
    coordinate: *mut abi::Coordinate,
) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, coordinate, |held: &Held<C>| held.coordinates.get(index)) }
}

unsafe extern "C" fn plan<C: Codec>(
    instance: *const c_void,
    arrays: *const abi::Arrays,
    tokens: *mut u64,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<C>>(instance) }?;
        // SAFETY: as above.
        let arrays = unsafe { open(&held.arrays, arrays) }?;
        // SAFETY: as above.
        let tokens = unsafe { tokens.as_mut() }.ok_or_else(|| Error::failed("the host gave no place for a number"))?;
        *tokens = planned(held.codec.plan(&arrays)?, held.codec.max_tokens())?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn encode<C: Codec>(
    instance: *const c_void,
    arrays: *const abi::Arrays,
    tokens: *mut abi::Tokens,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<C>>(instance) }?;
        // SAFETY: as above.
        let arrays = unsafe { open(&held.arrays, arrays) }?;
        // SAFETY: as above.
        let mut tokens = unsafe { tokens::open_mut(tokens, Values::Codes, held.coordinates.len()) }?;
        match_counts(arrays.len(), tokens.len())?;
        held.codec.encode(&arrays, &mut tokens)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn decode<C: Codec>(
    instance: *const c_void,
    tokens: *const abi::Tokens,
    like: *const abi::Arrays,
    arrays: *mut abi::Arrays,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<C>>(instance) }?;
        // SAFETY: as above.
        let tokens = unsafe { tokens::open(tokens, held.coordinates.len()) }?;
        // SAFETY: as above.
        let like = if like.is_null() { None } else { Some(unsafe { open(&held.arrays, like) }?) };
        // SAFETY: as above.
        let mut arrays = unsafe { open_mut(&held.arrays, arrays) }?;
        match_counts(arrays.len(), tokens.len())?;
        held.codec.decode(&tokens, like.as_ref(), &mut arrays)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}
