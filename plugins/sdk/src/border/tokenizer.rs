//! A tokenizer with parameters as a table of functions.

use super::arrays::open;
use super::guard::guard;
use super::instance::{About, Component, Instance, config, flags, open_instance, tell};
use super::learn::{Learned, compute as open_compute};
use super::tensor::{shape, view, view_mut};
use super::tokens::{self, Coordinates, Values, match_counts, planned};
use crate::{ArraysSpec, Error, Gradients, Request, Result, Tokenizer};
use panchroma_abi::{self as abi, Status, Struct as _};
use std::ffi::c_void;

struct Held<T> {
    tokenizer: T,
    arrays: ArraysSpec,
    coordinates: Coordinates,
    learned: Learned,
}

impl<T: Tokenizer> Instance for Held<T> {
    fn make(json: &str, request: &Request) -> Result<Self> {
        let tokenizer = T::new(config(json)?, request)?;
        let coordinates = Coordinates::new(tokenizer.coordinates())?;
        let learned = Learned::new(tokenizer.parameters())?;
        if tokenizer.width() == 0 || tokenizer.max_tokens() == 0 {
            return Err(Error::failed("a tokenizer needs at least one token of one value"));
        }
        Ok(Self { arrays: request.arrays()?.clone(), tokenizer, coordinates, learned })
    }
}

struct Functions<T>(std::marker::PhantomData<T>);

impl<T: Tokenizer> Functions<T> {
    const TABLE: &'static abi::Tokenizer = &abi::Tokenizer {
        size: size_of::<abi::Tokenizer>() as u32,
        reserved: 0,
        describe: Some(describe::<T>),
        coordinate: Some(coordinate::<T>),
        parameter: Some(parameter::<T>),
        plan: Some(plan::<T>),
        run: Some(run::<T>),
        forward: Some(forward::<T>),
        backward: Some(backward::<T>),
    };
}

pub(crate) fn component<T: Tokenizer>() -> Result<Component> {
    Component::new::<Held<T>, T::Config>(&About {
        kind: abi::TOKENIZER,
        flags: flags(T::DETERMINISTIC, false),
        name: T::NAME,
        summary: T::SUMMARY,
        example: T::EXAMPLE,
        functions: std::ptr::from_ref(Functions::<T>::TABLE).cast(),
    })
}

/// # Safety
/// As the interface says, like all below.
unsafe extern "C" fn describe<T: Tokenizer>(instance: *const c_void, info: *mut abi::TokenizerInfo) -> Status {
    let get = |held: &Held<T>| {
        let mut info = abi::TokenizerInfo::new();
        info.coordinate_count = held.coordinates.len() as u32;
        info.max_tokens = held.tokenizer.max_tokens() as u64;
        info.width = held.tokenizer.width() as u64;
        info.outputs = held.tokenizer.outputs() as u64;
        info.parameter_count = held.learned.len() as u32;
        Ok(info)
    };
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, info, get) }
}

unsafe extern "C" fn coordinate<T: Tokenizer>(
    instance: *const c_void,
    index: u32,
    coordinate: *mut abi::Coordinate,
) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, coordinate, |held: &Held<T>| held.coordinates.get(index)) }
}

unsafe extern "C" fn parameter<T: Tokenizer>(
    instance: *const c_void,
    index: u32,
    parameter: *mut abi::Parameter,
) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, parameter, |held: &Held<T>| held.learned.get(index)) }
}

unsafe extern "C" fn plan<T: Tokenizer>(
    instance: *const c_void,
    arrays: *const abi::Arrays,
    tokens: *mut u64,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<T>>(instance) }?;
        // SAFETY: as above.
        let arrays = unsafe { open(&held.arrays, arrays) }?;
        // SAFETY: as above.
        let tokens = unsafe { tokens.as_mut() }.ok_or_else(|| Error::failed("the host gave no place for a number"))?;
        *tokens = planned(held.tokenizer.plan(&arrays)?, held.tokenizer.max_tokens())?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn run<T: Tokenizer>(
    instance: *const c_void,
    arrays: *const abi::Arrays,
    tokens: *mut abi::Tokens,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<T>>(instance) }?;
        // SAFETY: as above.
        let arrays = unsafe { open(&held.arrays, arrays) }?;
        let values = Values::Patches(held.tokenizer.width());
        // SAFETY: as above.
        let mut tokens = unsafe { tokens::open_mut(tokens, values, held.coordinates.len()) }?;
        match_counts(arrays.len(), tokens.len())?;
        held.tokenizer.run(&arrays, &mut tokens)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

/// How many patches a view holds.
///
/// # Safety
/// `patches` is null or points to a view.
unsafe fn patch_count(patches: *const abi::Tensor) -> Result<usize> {
    // SAFETY: as the caller says.
    let shape = unsafe { shape(patches, "patches") }?;
    shape.first().copied().ok_or_else(|| Error::failed("the host gave patches without axes"))
}

unsafe extern "C" fn forward<T: Tokenizer>(
    instance: *const c_void,
    compute: *const abi::Compute,
    patches: *const abi::Tensor,
    parameters: *const *const abi::Tensor,
    outputs: *mut abi::Tensor,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<T>>(instance) }?;
        let (width, given) = (held.tokenizer.width(), held.tokenizer.outputs());
        // SAFETY: as above.
        let (compute, count) = unsafe { (open_compute(compute)?, patch_count(patches)?) };
        // SAFETY: as above.
        let patches = unsafe { view(patches, &[count, width], "patches") }?;
        // SAFETY: as above.
        let parameters = unsafe { held.learned.open(parameters) }?;
        // SAFETY: as above.
        let mut outputs = unsafe { view_mut(outputs, &[count, given], "outputs") }?;
        held.tokenizer.forward(&compute, &patches, &parameters, &mut outputs)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn backward<T: Tokenizer>(
    instance: *const c_void,
    compute: *const abi::Compute,
    patches: *const abi::Tensor,
    parameters: *const *const abi::Tensor,
    outputs_gradient: *const abi::Tensor,
    patches_gradient: *mut abi::Tensor,
    parameters_gradients: *const *mut abi::Tensor,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<T>>(instance) }?;
        let (width, given) = (held.tokenizer.width(), held.tokenizer.outputs());
        // SAFETY: as above.
        let (compute, count) = unsafe { (open_compute(compute)?, patch_count(patches)?) };
        // SAFETY: as above.
        let patches = unsafe { view(patches, &[count, width], "patches") }?;
        // SAFETY: as above.
        let values = unsafe { held.learned.open(parameters) }?;
        // SAFETY: as above.
        let from = unsafe { view(outputs_gradient, &[count, given], "the gradient of the outputs") }?;
        // SAFETY: as above.
        let input = unsafe { view_mut(patches_gradient, &[count, width], "the gradient of the patches") }?;
        // SAFETY: as above.
        let parameters = unsafe { held.learned.open_mut(parameters_gradients) }?;
        let mut gradients = Gradients { list: &held.learned.list, inputs: vec![Some(input)], parameters };
        held.tokenizer.backward(&compute, &patches, &values, &from, &mut gradients)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}
