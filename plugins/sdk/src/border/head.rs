//! A head as a table of functions.

use super::guard::guard;
use super::instance::{About, Component, Instance, config, flags, open_instance, tell};
use super::learn::{Learned, compute as open_compute};
use super::memory::{count, read, slice};
use super::rows::Columns;
use super::tensor::{view, view_mut};
use crate::{ArrayMut, Gradients, Head, HeadInput, Request, Result, View};
use panchroma_abi::{self as abi, Status, Struct as _};
use std::ffi::c_void;

struct Held<H> {
    head: H,
    width: usize,
    columns: Columns,
    learned: Learned,
}

impl<H: Head> Instance for Held<H> {
    fn make(json: &str, request: &Request) -> Result<Self> {
        let head = H::new(config(json)?, request)?;
        let columns = Columns::new(head.columns())?;
        let learned = Learned::new(head.parameters())?;
        Ok(Self { head, width: request.width, columns, learned })
    }
}

impl<H: Head> Held<H> {
    /// What the head sees.
    ///
    /// # Safety
    /// `input` is null or as the interface describes it, and stays as it is during `'a`.
    unsafe fn open<'a>(&'a self, input: *const abi::HeadInput) -> Result<HeadInput<'a>> {
        // SAFETY: as the caller says, here and below.
        let raw = unsafe { read(input, "input") }?;
        // SAFETY: as above.
        let rows = unsafe { self.columns.rows(raw.rows) }?;
        let inputs = count(raw.input_count, "inputs")?;
        // SAFETY: as above.
        let (tensors, marks) =
            unsafe { (slice(raw.inputs, inputs, "inputs")?, slice(raw.present, inputs, "present")?) };
        let shape = [rows.len(), self.width];
        // SAFETY: as above.
        let inputs = tensors.iter().map(|t| unsafe { view(*t, &shape, "vectors") }).collect::<Result<_>>()?;
        // SAFETY: as above.
        let present = marks.iter().map(|p| unsafe { slice(*p, rows.len(), "present") }).collect::<Result<_>>()?;
        Ok(HeadInput { inputs, present, rows })
    }
}

struct Functions<H>(std::marker::PhantomData<H>);

impl<H: Head> Functions<H> {
    const TABLE: &'static abi::Head = &abi::Head {
        size: size_of::<abi::Head>() as u32,
        reserved: 0,
        describe: Some(describe::<H>),
        column: Some(column::<H>),
        parameter: Some(parameter::<H>),
        forward: Some(forward::<H>),
        backward: Some(backward::<H>),
    };
}

pub(crate) fn component<H: Head>() -> Result<Component> {
    Component::new::<Held<H>, H::Config>(&About {
        kind: abi::HEAD,
        flags: flags(H::DETERMINISTIC, false),
        name: H::NAME,
        summary: H::SUMMARY,
        example: H::EXAMPLE,
        functions: std::ptr::from_ref(Functions::<H>::TABLE).cast(),
    })
}

/// # Safety
/// As the interface says, like all below.
unsafe extern "C" fn describe<H: Head>(instance: *const c_void, info: *mut abi::HeadInfo) -> Status {
    let get = |held: &Held<H>| {
        let mut info = abi::HeadInfo::new();
        info.view = match held.head.view() {
            View::Joint => abi::JOINT,
            View::Isolated => abi::ISOLATED,
        };
        info.column_count = held.columns.count();
        info.parameter_count = held.learned.len() as u32;
        info.outputs = held.head.outputs() as u64;
        Ok(info)
    };
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, info, get) }
}

unsafe extern "C" fn column<H: Head>(instance: *const c_void, index: u32, column: *mut abi::Column) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, column, |held: &Held<H>| held.columns.get(index)) }
}

unsafe extern "C" fn parameter<H: Head>(instance: *const c_void, index: u32, parameter: *mut abi::Parameter) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, parameter, |held: &Held<H>| held.learned.get(index)) }
}

unsafe extern "C" fn forward<H: Head>(
    instance: *const c_void,
    compute: *const abi::Compute,
    input: *const abi::HeadInput,
    parameters: *const *const abi::Tensor,
    loss: *mut f32,
    predictions: *mut abi::Tensor,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<H>>(instance) }?;
        // SAFETY: as above.
        let (compute, input) = unsafe { (open_compute(compute)?, held.open(input)?) };
        // SAFETY: as above.
        let values = unsafe { held.learned.open(parameters) }?;
        let shape = vec![input.len(), held.head.outputs()];
        let mut predictions = match held.head.outputs() {
            0 => ArrayMut { shape, values: &mut [] },
            // SAFETY: as above.
            _ => unsafe { view_mut(predictions, &shape, "predictions") }?,
        };
        let Some(value) = held.head.forward(&compute, &input, &values, &mut predictions)? else {
            return Ok(abi::NOTHING);
        };
        // SAFETY: null, or the host's place for a number.
        if let Some(loss) = unsafe { loss.as_mut() } {
            *loss = value;
        }
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn backward<H: Head>(
    instance: *const c_void,
    compute: *const abi::Compute,
    input: *const abi::HeadInput,
    parameters: *const *const abi::Tensor,
    inputs_gradients: *const *mut abi::Tensor,
    parameters_gradients: *const *mut abi::Tensor,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<H>>(instance) }?;
        // SAFETY: as above.
        let (compute, input) = unsafe { (open_compute(compute)?, held.open(input)?) };
        // SAFETY: as above.
        let values = unsafe { held.learned.open(parameters) }?;
        // SAFETY: as above.
        let tensors = unsafe { slice(inputs_gradients, input.input_count(), "gradients of inputs") }?;
        let shape = [input.len(), held.width];
        let what = "the gradient of an input";
        // SAFETY: as above.
        let inputs = tensors.iter().map(|t| unsafe { view_mut(*t, &shape, what) }.map(Some)).collect::<Result<_>>()?;
        // SAFETY: as above.
        let parameters = unsafe { held.learned.open_mut(parameters_gradients) }?;
        let mut gradients = Gradients { list: &held.learned.list, inputs, parameters };
        held.head.backward(&compute, &input, &values, &mut gradients)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}
