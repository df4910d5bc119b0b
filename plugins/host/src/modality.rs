//! Modalities of plugins: rows -> arrays.

use crate::arrays::{Buffers, FieldSpec, Spec};
use crate::call::{Caller, Fault, Function, culprit};
use crate::instance::{Chosen, Instance, Request};
use crate::library::Functions;
use crate::rows::{Batch, Held, Wanted};
use crate::table;
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Arrays, ArraysSpec, Column, Modality, Mode, PrepareContext, Result, Rows};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most columns, axes or fields that one component may have.
const MOST: u32 = 4096;

/// Largest number of values per object and field: 2^31, above which lengths are garbage.
const MOST_VALUES: usize = 1 << 31;

/// What a modality reads and gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) spec: Spec,
    pub(crate) flags: u32,
    /// Whether it learns from the training split.
    pub(crate) fits: bool,
}

/// Where a modality runs.
pub(crate) trait Prepare: Send + Sync {
    /// Rows -> buffers, not yet checked.
    fn prepare(&self, batch: &Batch<'_>) -> Result<Buffers, Fault>;

    /// Begins to learn anew: nothing that was learned before counts.
    fn renew(&mut self) -> Result<(), Fault>;

    /// Learns from a part of the training split; none says that it was all.
    fn fit(&mut self, batch: Option<&Batch<'_>>) -> Result<(), Fault>;

    /// What it learned.
    fn fitted(&mut self) -> Result<Value, Fault>;

    /// Takes back what was learned.
    fn restore(&mut self, fitted: &Value) -> Result<(), Fault>;
}

/// A modality in this process.
pub(crate) struct Local {
    chosen: Chosen,
    /// Config and the user's name, to make another instance.
    made_of: (Value, String),
    instance: Instance,
    functions: abi::Modality,
    spec: Spec,
}

impl Local {
    /// Makes an instance and asks what it is.
    pub(crate) fn new(chosen: Chosen, request: &Request<'_>) -> Result<(Self, Described), Fault> {
        let instance = Instance::new(chosen.clone(), request)?;
        let Functions::Modality(functions) = *instance.functions() else {
            return Err(Function::Describe.fault("it is no modality"));
        };
        let described = describe(&instance, &functions)?;
        let made_of = (request.config.clone(), request.name.to_owned());
        Ok((Self { chosen, made_of, instance, functions, spec: described.spec.clone() }, described))
    }

    fn plan(&self, rows: &abi::Rows) -> Result<Vec<usize>, Fault> {
        let mut lengths: Vec<u64> = self.spec.axes.iter().map(|(_, longest)| *longest as u64).collect();
        let Some(plan) = self.functions.plan else { return Ok(self.spec.longest()) };
        let function = Function::Plan;
        // SAFETY: the instance is alive, and `lengths` has an entry for each axis.
        function.call(|error| unsafe { plan(self.instance.pointer(), rows, lengths.as_mut_ptr(), error) })?;
        for (length, (name, longest)) in lengths.iter().zip(&self.spec.axes) {
            if *length == 0 || *length > *longest as u64 {
                return Err(function.fault(format!("axis `{name}` would be {length} long, allowed are 1 to {longest}")));
            }
        }
        Ok(lengths.into_iter().map(|length| length as usize).collect())
    }
}

impl Local {
    /// The same with no buffer for errors, as the interface allows: whatever comes of it.
    pub(crate) fn prepare_unheard(&self, batch: &Batch<'_>) -> Result<Buffers, Fault> {
        let Some(run) = self.functions.run else { return Err(Function::Run.fault("there is none")) };
        batch.view(|rows| {
            let lengths = self.plan(rows)?;
            self.spec.filled(Function::Run, batch.len(), &lengths, |arrays| {
                // SAFETY: as in `prepare`; `error` may be null.
                match unsafe { run(self.instance.pointer(), rows, arrays, std::ptr::null_mut()) } {
                    abi::OK => Ok(()),
                    status => Err(Function::Run.fault(format!("status {status}"))),
                }
            })
        })
    }
}

impl Prepare for Local {
    fn prepare(&self, batch: &Batch<'_>) -> Result<Buffers, Fault> {
        let Some(run) = self.functions.run else { return Err(Function::Run.fault("there is none")) };
        batch.view(|rows| {
            let lengths = self.plan(rows)?;
            self.spec.filled(Function::Run, batch.len(), &lengths, |arrays| {
                // SAFETY: the instance is alive, rows and arrays are as the interface describes them until the call is over.
                Function::Run.call(|error| unsafe { run(self.instance.pointer(), rows, arrays, error) }).map(|_| ())
            })
        })
    }

    fn renew(&mut self) -> Result<(), Fault> {
        let (config, name) = &self.made_of;
        let request = Request { config, name, arrays: None, modalities: &[], width: 0 };
        self.instance = Instance::new(self.chosen.clone(), &request)?;
        Ok(())
    }

    fn fit(&mut self, batch: Option<&Batch<'_>>) -> Result<(), Fault> {
        let Some(fit) = self.functions.fit else { return Ok(()) };
        let pointer = self.instance.pointer_mut();
        // SAFETY: the instance is alive and, as this borrows it alone, in no other call; rows are as the interface says.
        let call =
            |rows: *const abi::Rows| Function::Fit.call(|error| unsafe { fit(pointer, rows, error) }).map(|_| ());
        match batch {
            Some(batch) => batch.view(|rows| call(rows)),
            None => call(std::ptr::null()),
        }
    }

    fn fitted(&mut self) -> Result<Value, Fault> {
        const MOST: u64 = 64 << 20;
        let function = Function::Fitted;
        let Some(fitted) = self.functions.fitted else { return Ok(Value::Null) };
        let (mut text, mut length): (Vec<u8>, u64) = (Vec::new(), 0);
        // Once for the length, once for the text.
        for _ in 0..2 {
            if length > MOST {
                return Err(function.fault(format!("what it learned takes {length} bytes")));
            }
            text.resize(length as usize, 0);
            let (to, capacity, pointer) = (text.as_mut_ptr().cast(), text.len() as u64, self.instance.pointer());
            // SAFETY: the instance is alive, and `text` has `capacity` bytes.
            function.call(|error| unsafe { fitted(pointer, to, capacity, &raw mut length, error) })?;
        }
        let end = text.iter().position(|byte| *byte == 0);
        let text = end.and_then(|end| text.get(..end)).ok_or_else(|| function.fault("what it learned has no end"))?;
        serde_json::from_slice(text).map_err(|error| function.fault(format!("what it learned is not JSON: {error}")))
    }

    fn restore(&mut self, fitted: &Value) -> Result<(), Fault> {
        let Some(restore) = self.functions.restore else { return Ok(()) };
        let text = CString::new(fitted.to_string()).map_err(|_| Function::Restore.fault("a zero byte in JSON"))?;
        let pointer = self.instance.pointer_mut();
        // SAFETY: as in `fit`; the text lives until the call is over.
        Function::Restore.call(|error| unsafe { restore(pointer, text.as_ptr(), error) }).map(|_| ())
    }
}

fn describe(instance: &Instance, functions: &abi::Modality) -> Result<Described, Fault> {
    let function = Function::Describe;
    let (Some(describe), Some(axis), Some(field)) = (functions.describe, functions.axis, functions.field) else {
        return Err(function.fault("a function is missing"));
    };
    let wrong = |reason: String| function.fault(reason);
    let mut info = abi::ModalityInfo::new();
    // SAFETY: here and below the instance is alive, and the struct is ours and says its size.
    function.call(|_| unsafe { describe(instance.pointer(), &raw mut info) })?;
    if info.column_count > MOST || info.axis_count > MOST || info.field_count > MOST || info.field_count == 0 {
        let (columns, axes, fields) = (info.column_count, info.axis_count, info.field_count);
        return Err(wrong(format!("it says that it has {columns} columns, {axes} axes and {fields} fields")));
    }
    let wanted =
        (0..info.column_count).map(|i| Wanted::read(instance, i, functions.column)).collect::<Result<_, _>>()?;
    let mut axes: Vec<(String, usize)> = Vec::new();
    for index in 0..info.axis_count {
        let mut own = abi::Axis::new();
        // SAFETY: as above.
        function.call(|_| unsafe { axis(instance.pointer(), index, &raw mut own) })?;
        // SAFETY: texts of an instance live as long as it.
        let name = unsafe { table::name(own.name, &format!("the name of axis {index}"), &['_']) }.map_err(wrong)?;
        let longest = usize::try_from(own.longest).ok().filter(|n| (1..=MOST_VALUES).contains(n));
        let longest = longest.ok_or_else(|| wrong(format!("axis `{name}` is {} long at most", own.longest)))?;
        if axes.iter().any(|(other, _)| *other == name) {
            return Err(wrong(format!("two axes are called `{name}`")));
        }
        axes.push((name, longest));
    }
    let numbers = |what: &str, count: u32, numbers: &[u32; abi::MAX_AXES]| -> Result<Vec<usize>, Fault> {
        let numbers = numbers
            .get(..count as usize)
            .ok_or_else(|| wrong(format!("{what} has {count} axes, at most 4 are allowed")))?;
        match numbers.iter().find(|n| **n as usize >= axes.len()) {
            Some(number) => Err(wrong(format!("{what} has axis number {number}, there are {}", axes.len()))),
            None => Ok(numbers.iter().map(|n| *n as usize).collect()),
        }
    };
    let mut fields: Vec<FieldSpec> = Vec::new();
    for index in 0..info.field_count {
        let mut own = abi::Field::new();
        // SAFETY: as above.
        function.call(|_| unsafe { field(instance.pointer(), index, &raw mut own) })?;
        // SAFETY: as above.
        let name = unsafe { table::name(own.name, &format!("the name of field {index}"), &['_']) }.map_err(wrong)?;
        let unit = match own.unit.is_null() {
            true => String::new(),
            // SAFETY: as above.
            false => unsafe { table::text(own.unit, &format!("the unit of field `{name}`")) }.map_err(wrong)?,
        };
        if !(abi::F32..=abi::U32).contains(&own.r#type) {
            return Err(wrong(format!("field `{name}` has the unknown type {}", own.r#type)));
        }
        if fields.iter().any(|other| other.name == name) {
            return Err(wrong(format!("two fields are called `{name}`")));
        }
        let numbers = numbers(&format!("field `{name}`"), own.axis_count, &own.axes)?;
        let values: Option<usize> = numbers.iter().try_fold(1usize, |n, axis| n.checked_mul(axes[*axis].1));
        if values.is_none_or(|n| n > MOST_VALUES) {
            return Err(wrong(format!("field `{name}` has more values per object than fit into memory")));
        }
        fields.push(FieldSpec { name, unit, kind: own.r#type, axes: numbers });
    }
    let valid_axes = numbers("the mask", info.valid_axis_count, &info.valid_axes)?;
    let (flags, fits) = (instance.flags(), functions.fit.is_some());
    Ok(Described { wanted, spec: Spec { axes, fields, valid_axes }, flags, fits })
}

/// A plugin's modality as the framework's.
pub(crate) struct ForeignModality {
    /// The user's name of it.
    name: String,
    runs: Box<dyn Prepare>,
    caller: Caller,
    described: Described,
    spec: ArraysSpec,
    not_finite: NotFinitePolicy,
    /// Whether it was seen to keep its promise to give the same each time.
    repeated: AtomicBool,
    /// What it learned from the training split.
    learned: Value,
}

impl ForeignModality {
    pub(crate) fn new(
        name: &str,
        runs: Box<dyn Prepare>,
        described: Described,
        caller: Caller,
        not_finite: NotFinitePolicy,
    ) -> Self {
        let repeated = AtomicBool::new(described.flags & abi::DETERMINISTIC == 0);
        Self {
            name: name.into(),
            runs,
            caller,
            spec: described.spec.to_core(),
            described,
            not_finite,
            repeated,
            learned: Value::Null,
        }
    }

    /// What the rows give, checked.
    fn arrays(&self, batch: &Batch<'_>) -> Result<Arrays, Fault> {
        let run = || {
            let buffers = self.runs.prepare(batch)?;
            self.described.spec.finish(Function::Run, buffers, batch.len(), self.not_finite)
        };
        let arrays = run()?;
        if batch.len() > 0 && !self.repeated.swap(true, Ordering::Relaxed) && arrays != run()? {
            let reason = "the same rows gave other values the second time, though it says that it is deterministic";
            return Err(Function::Run.fault(reason));
        }
        Ok(arrays)
    }
}

impl Modality for ForeignModality {
    fn columns(&self) -> Vec<Column> {
        self.described.wanted.iter().map(Wanted::column).collect()
    }

    fn spec(&self) -> ArraysSpec {
        self.spec.clone()
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        if !self.described.fits {
            return Ok(());
        }
        let random = self.random();
        let Self { runs, caller, described, name, .. } = self;
        let context = PrepareContext { mode: Mode::Evaluate, seed: 0, epoch: 0, modality: name };
        runs.renew().map_err(|fault| caller.error(fault, &[]))?;
        for rows in rows {
            let rows = rows?;
            let learn = |runs: &mut Box<dyn Prepare>, rows: &Rows, hurry: bool| -> Result<Result<(), Fault>> {
                let held = Held::new(rows, &described.wanted, &context, &caller.plugin, random)?;
                Ok(runs.fit(Some(&Batch { hurry, ..held.batch(rows.ids(), &context) })))
            };
            let Err(mut fault) = learn(runs, &rows, false)? else { continue };
            if fault.may_be_a_row() {
                // What it had learned is void anyway.
                let runs = std::cell::RefCell::new(runs);
                fault.row = culprit(rows.len(), |part| {
                    let mut runs = runs.borrow_mut();
                    let Ok(part) = rows.take(part) else { return false };
                    runs.renew().is_ok()
                        && matches!(learn(&mut runs, &part, true), Ok(Err(fault)) if fault.may_be_a_row())
                });
            }
            return Err(caller.error(fault, rows.ids()));
        }
        let learned = runs.fit(None).and_then(|()| {
            let learned = runs.fitted()?;
            // From here on it is as it will be after a resume: what its JSON doesn't say is nowhere.
            runs.renew()?;
            runs.restore(&learned)?;
            Ok(learned)
        });
        self.learned = learned.map_err(|fault| caller.error(fault, &[]))?;
        Ok(())
    }

    fn fitted(&self) -> Value {
        self.learned.clone()
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        if !self.described.fits {
            return Ok(());
        }
        self.runs.restore(fitted).map_err(|fault| self.caller.error(fault, &[]))?;
        self.learned = fitted.clone();
        Ok(())
    }

    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        match self.once(rows, context, false) {
            Ok(arrays) => arrays,
            Err(fault) if fault.may_be_a_row() => {
                let fails = |part: &[usize]| match rows.take(part).map(|part| self.once(&part, context, true)) {
                    Ok(Err(fault)) => fault.may_be_a_row(),
                    _ => false,
                };
                let row = culprit(rows.len(), fails);
                Err(self.caller.error(Fault { row, ..fault }, rows.ids()))
            }
            Err(fault) => Err(self.caller.error(fault, rows.ids())),
        }
    }
}

impl ForeignModality {
    /// One call; `hurry` gives it little time. The inner error is none of the plugin.
    fn once(&self, rows: &Rows, context: &PrepareContext<'_>, hurry: bool) -> Result<Result<Arrays>, Fault> {
        match Held::new(rows, &self.described.wanted, context, &self.caller.plugin, self.random()) {
            Ok(held) => self.arrays(&Batch { hurry, ..held.batch(rows.ids(), context) }).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Whether it wants a number for each object.
    fn random(&self) -> bool {
        self.described.flags & abi::RANDOM != 0
    }
}
