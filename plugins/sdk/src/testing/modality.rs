//! A modality, run as the host runs it.

use super::arrays::{Arrays, Raw};
use super::batch::Batch;
use super::held::{Asked, Held, call, column, get, there};
use super::rows::Rows;
use crate::border::memory::text;
use crate::{ArraysSpec, Axis, Column, Error, Field, Modality, Result, Type};
use panchroma_abi as abi;

/// What modality `M` makes of rows, with a config in JSON. If it learns, it learns from the same rows.
///
/// # Errors
/// What the modality says, or which promise it breaks: valid values are finite, absent objects have nothing, the same rows
/// give the same bits, and each row gives on its own what it gives in the batch.
pub fn prepare<M: Modality>(config: &str, rows: &Rows) -> Result<Arrays> {
    let modality = Prepared::new::<M>(config)?;
    let learned = modality.fit(rows)?;
    let arrays = modality.run(rows, None)?;
    arrays.check()?;
    if let Some(learned) = learned {
        let other = Prepared::new::<M>(config)?;
        other.restore(&learned)?;
        let again = other.run(rows, None)?;
        let promise = |e: Error| e.within("what it learned, taken back, gave other values");
        (0..rows.len()).try_for_each(|row| arrays.same_row(row, &again, row).map_err(promise))?;
    }
    if !modality.held.flag(abi::DETERMINISTIC) {
        return Ok(arrays);
    }
    let again = modality.run(rows, None)?;
    for row in 0..rows.len() {
        let promise = |what: &'static str| move |e: Error| e.within(what);
        arrays.same_row(row, &again, row).map_err(promise("the same rows gave other bits"))?;
        let alone = modality.run(&rows.alone(row), Some(&arrays.lengths))?;
        arrays.same_row(row, &alone, 0).map_err(promise("a row gave other values on its own"))?;
    }
    Ok(arrays)
}

struct Prepared {
    held: Held,
    columns: Vec<Column>,
    spec: ArraysSpec,
}

impl Prepared {
    fn new<M: Modality>(config: &str) -> Result<Self> {
        let held = Held::new(crate::border::modality::component::<M>()?, config, &Asked::default())?;
        // SAFETY: the component is a modality.
        let functions = unsafe { held.functions::<abi::Modality>() };
        let this = held.instance();
        let describe = there(functions.describe, "describe")?;
        // SAFETY: the instance lives, and the getter writes our struct; the same below.
        let info = get(|info| unsafe { describe(this, info) })?;
        let (read, axis) = (there(functions.column, "column")?, there(functions.axis, "axis")?);
        let field = there(functions.field, "field")?;
        let mut columns = Vec::new();
        for index in 0..info.column_count {
            // SAFETY: as above.
            columns.push(column(&get(|c| unsafe { read(this, index, c) })?)?);
        }
        let mut spec = ArraysSpec::new();
        for index in 0..info.axis_count {
            // SAFETY: as above.
            let raw = get(|a| unsafe { axis(this, index, a) })?;
            // SAFETY: texts live as long as the instance.
            let name = unsafe { text(raw.name, "the axis") }?.to_owned();
            spec.axes.push(Axis { name, longest: raw.longest as usize });
        }
        let names = |numbers: &[u32], count: u32| -> Vec<String> {
            let names = numbers.iter().take(count as usize).filter_map(|n| spec.axes.get(*n as usize));
            names.map(|a| a.name.clone()).collect()
        };
        let mut fields = Vec::new();
        for index in 0..info.field_count {
            // SAFETY: as above.
            let raw = get(|f| unsafe { field(this, index, f) })?;
            // SAFETY: texts live as long as the instance.
            let (name, unit) = unsafe { (text(raw.name, "the field")?, text(raw.unit, "the unit")?) };
            let kind = Type::of(raw.r#type).ok_or_else(|| Error::failed(format!("no type {}", raw.r#type)))?;
            let axes = names(&raw.axes, raw.axis_count);
            fields.push(Field { name: name.to_owned(), unit: unit.to_owned(), kind, axes });
        }
        let valid = names(&info.valid_axes, info.valid_axis_count);
        spec = ArraysSpec { axes: spec.axes, fields, valid };
        Ok(Self { held, columns, spec })
    }

    /// Lets it learn from the rows, if it does; gives what it learned.
    fn fit(&self, rows: &Rows) -> Result<Option<String>> {
        // SAFETY: the component is a modality.
        let functions = unsafe { self.held.functions::<abi::Modality>() };
        let (Some(fit), Some(fitted)) = (functions.fit, functions.fitted) else { return Ok(None) };
        let this = self.held.instance();
        let batch = Batch::new(rows, &self.columns, false)?;
        for rows in [batch.raw(), std::ptr::null()] {
            // SAFETY: the batch lives, and nobody else uses the instance.
            call(|error| unsafe { fit(this.cast_mut(), rows, error) })?;
        }
        let mut bytes: Vec<u8> = Vec::new();
        let mut length = 0;
        for _ in 0..2 {
            bytes.resize(length as usize, 0);
            let (to, capacity) = (bytes.as_mut_ptr().cast(), bytes.len() as u64);
            // SAFETY: there are as many bytes as is said.
            call(|error| unsafe { fitted(this, to, capacity, &raw mut length, error) })?;
        }
        match bytes.pop() {
            Some(0) => String::from_utf8(bytes).map(Some).map_err(|_| Error::failed("what it learned is not UTF-8")),
            _ => Err(Error::failed("what it learned does not end with a zero byte")),
        }
    }

    /// Gives back what another one learned.
    fn restore(&self, learned: &str) -> Result<()> {
        // SAFETY: the component is a modality.
        let functions = unsafe { self.held.functions::<abi::Modality>() };
        let restore = there(functions.restore, "restore")?;
        let text = std::ffi::CString::new(learned).map_err(|_| Error::failed("what it learned has a zero byte"))?;
        // SAFETY: the text lives, and nobody else uses the instance.
        call(|error| unsafe { restore(self.held.instance().cast_mut(), text.as_ptr(), error) }).map(|_| ())
    }

    /// Plans and runs; `lengths` are those of a larger batch, if there is one.
    fn run(&self, rows: &Rows, lengths: Option<&[usize]>) -> Result<Arrays> {
        // SAFETY: the component is a modality.
        let functions = unsafe { self.held.functions::<abi::Modality>() };
        let (this, run) = (self.held.instance(), there(functions.run, "run")?);
        let batch = Batch::new(rows, &self.columns, self.held.flag(abi::RANDOM))?;
        let mut planned: Vec<u64> = self.spec.axes.iter().map(|a| a.longest as u64).collect();
        if let Some(plan) = functions.plan {
            // SAFETY: the batch lives, and there is a length for each axis.
            call(|error| unsafe { plan(this, batch.raw(), planned.as_mut_ptr(), error) })?;
        }
        let planned: Vec<usize> = planned.into_iter().map(|n| n as usize).collect();
        let lengths = lengths.unwrap_or(&planned);
        if lengths.iter().zip(&planned).any(|(given, needed)| given < needed) {
            return Err(Error::failed(format!(
                "`plan` wants {planned:?} for a row alone, and {lengths:?} for the batch"
            )));
        }
        let mut arrays = Arrays::new(&self.spec, rows.len(), lengths)?;
        let mut raw = Raw::of(&mut arrays)?;
        // SAFETY: batch and arrays live, and nobody else looks at them.
        call(|error| unsafe { run(this, batch.raw(), &raw mut raw.raw, error) })?;
        Ok(arrays)
    }
}
