//! A modality as a table of functions.

use super::arrays::{Description, open_mut};
use super::guard::guard;
use super::instance::{About, Component, Instance, config, flags, open_instance, open_instance_mut, tell};
use super::memory::{count, slice_mut, text};
use super::rows::Columns;
use crate::{Error, Modality, Request, Result};
use panchroma_abi::{self as abi, Status, Struct as _};
use std::ffi::{c_char, c_void};

struct Held<M> {
    modality: M,
    columns: Columns,
    arrays: Description,
}

impl<M: Modality> Instance for Held<M> {
    fn make(json: &str, request: &Request) -> Result<Self> {
        let modality = M::new(config(json)?, request)?;
        let columns = Columns::new(modality.columns())?;
        let arrays = Description::new(modality.arrays())?;
        Ok(Self { modality, columns, arrays })
    }
}

struct Functions<M>(std::marker::PhantomData<M>);

impl<M: Modality> Functions<M> {
    const TABLE: &'static abi::Modality = &abi::Modality {
        size: size_of::<abi::Modality>() as u32,
        reserved: 0,
        describe: Some(describe::<M>),
        column: Some(column::<M>),
        axis: Some(axis::<M>),
        field: Some(field::<M>),
        plan: Some(plan::<M>),
        run: Some(run::<M>),
        fit: if M::FITS { Some(fit::<M>) } else { None },
        fitted: if M::FITS { Some(fitted::<M>) } else { None },
        restore: if M::FITS { Some(restore::<M>) } else { None },
    };
}

pub(crate) fn component<M: Modality>() -> Result<Component> {
    Component::new::<Held<M>, M::Config>(&About {
        kind: abi::MODALITY,
        flags: flags(M::DETERMINISTIC, M::RANDOM),
        name: M::NAME,
        summary: M::SUMMARY,
        example: M::EXAMPLE,
        functions: std::ptr::from_ref(Functions::<M>::TABLE).cast(),
    })
}

/// # Safety
/// As the interface says, like all below.
unsafe extern "C" fn describe<M: Modality>(instance: *const c_void, info: *mut abi::ModalityInfo) -> Status {
    let get = |held: &Held<M>| {
        let mut info = abi::ModalityInfo::new();
        info.column_count = held.columns.count();
        info.axis_count = held.arrays.axes.len() as u32;
        info.field_count = held.arrays.fields.len() as u32;
        info.valid_axis_count = held.arrays.spec.valid.len() as u32;
        info.valid_axes = held.arrays.valid_axes;
        Ok(info)
    };
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, info, get) }
}

unsafe extern "C" fn column<M: Modality>(instance: *const c_void, index: u32, column: *mut abi::Column) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, column, |held: &Held<M>| held.columns.get(index)) }
}

unsafe extern "C" fn axis<M: Modality>(instance: *const c_void, index: u32, axis: *mut abi::Axis) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, axis, |held: &Held<M>| held.arrays.axis(index)) }
}

unsafe extern "C" fn field<M: Modality>(instance: *const c_void, index: u32, field: *mut abi::Field) -> Status {
    // SAFETY: the host keeps to the interface.
    unsafe { tell(instance, field, |held: &Held<M>| held.arrays.field(index)) }
}

unsafe extern "C" fn plan<M: Modality>(
    instance: *const c_void,
    rows: *const abi::Rows,
    lengths: *mut u64,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<M>>(instance) }?;
        // SAFETY: as above.
        let rows = unsafe { held.columns.rows(rows) }?;
        // SAFETY: as above.
        let lengths = unsafe { slice_mut(lengths, held.arrays.axes.len(), "lengths") }?;
        let mut planned = lengths.iter().map(|n| count(*n, "places")).collect::<Result<Vec<_>>>()?;
        held.modality.plan(&rows, &mut planned)?;
        for ((axis, length), planned) in held.arrays.spec.axes.iter().zip(lengths).zip(planned) {
            if planned == 0 || planned > axis.longest {
                let (name, longest) = (&axis.name, axis.longest);
                return Err(Error::failed(format!(
                    "`plan` made axis `{name}` {planned} long; it goes from 1 to {longest}"
                )));
            }
            *length = planned as u64;
        }
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn run<M: Modality>(
    instance: *const c_void,
    rows: *const abi::Rows,
    arrays: *mut abi::Arrays,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<M>>(instance) }?;
        // SAFETY: as above.
        let rows = unsafe { held.columns.rows(rows) }?;
        // SAFETY: as above.
        let mut arrays = unsafe { open_mut(&held.arrays.spec, arrays) }?;
        if arrays.len() != rows.len() {
            return Err(Error::failed(format!("the host gave {} rows, and arrays for {}", rows.len(), arrays.len())));
        }
        held.modality.prepare(&rows, &mut arrays)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn fit<M: Modality>(instance: *mut c_void, rows: *const abi::Rows, error: *mut abi::Error) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below; nobody else uses the instance during this call.
        let Held { modality, columns, .. } = unsafe { open_instance_mut::<Held<M>>(instance) }?;
        if rows.is_null() {
            modality.fit(None)?;
        } else {
            // SAFETY: as above.
            modality.fit(Some(&unsafe { columns.rows(rows) }?))?;
        }
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn fitted<M: Modality>(
    instance: *const c_void,
    text: *mut c_char,
    capacity: u64,
    length: *mut u64,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below.
        let held = unsafe { open_instance::<Held<M>>(instance) }?;
        let json = serde_json::to_string(&held.modality.fitted())?;
        let needed = json.len() as u64 + 1;
        if length.is_null() {
            return Err(Error::failed("the host gave no place for the length"));
        }
        // SAFETY: not null, and the host's place for a number.
        unsafe { length.write(needed) };
        if needed <= capacity && !text.is_null() {
            // SAFETY: as above: `text` has `capacity` bytes.
            let to = unsafe { slice_mut(text.cast::<u8>(), needed as usize, "text") }?;
            let (end, own) = to.split_last_mut().ok_or_else(|| Error::failed("no room"))?;
            own.copy_from_slice(json.as_bytes());
            *end = 0;
        }
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}

unsafe extern "C" fn restore<M: Modality>(
    instance: *mut c_void,
    json: *const c_char,
    error: *mut abi::Error,
) -> Status {
    let body = || {
        // SAFETY: the host keeps to the interface, here and below; nobody else uses the instance during this call.
        let held = unsafe { open_instance_mut::<Held<M>>(instance) }?;
        // SAFETY: as above.
        let json = unsafe { text(json, "what was learned") }?;
        held.modality.restore(&serde_json::from_str(json)?)?;
        Ok(abi::OK)
    };
    // SAFETY: as above.
    unsafe { guard(error, body) }
}
