//! Rows: what a component asks for in C, and the host's batch as typed slices.

use super::memory::{c_string, count, read, slice, texts};
use crate::rows::{AnyValues, Data, Mode, Rows};
use crate::{Column, Error, Result, Type};
use panchroma_abi::{self as abi, Struct as _};
use std::ffi::CString;

/// Columns with the texts that the host may point at.
pub(crate) struct Columns {
    list: Vec<Column>,
    paths: Vec<CString>,
}

impl Columns {
    pub(crate) fn new(list: Vec<Column>) -> Result<Self> {
        for (number, column) in list.iter().enumerate() {
            if list.iter().take(number).any(|c| c.path == column.path) {
                // Two keys of a config may name it, so the user is to blame.
                return Err(Error::invalid(format!("column `{}` is asked for twice", column.path)));
            }
        }
        let paths = list.iter().map(|c| c_string(&c.path, "the column's name")).collect::<Result<_>>()?;
        Ok(Self { list, paths })
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, index: u32) -> Result<abi::Column> {
        let number = count(index, "columns")?;
        let found = self.list.get(number).zip(self.paths.get(number));
        let (column, path) = found.ok_or_else(|| Error::failed(format!("no column {index}")))?;
        let mut raw = abi::Column::new();
        raw.r#type = column.kind.number();
        raw.depth = column.depth;
        raw.optional = u32::from(column.optional);
        raw.path = path.as_ptr();
        Ok(raw)
    }

    /// The host's batch, checked.
    ///
    /// # Safety
    /// `rows` is null or points to rows as the interface describes them, which stay as they are during `'a`.
    pub(crate) unsafe fn rows<'a>(&'a self, rows: *const abi::Rows) -> Result<Rows<'a>> {
        // SAFETY: as the caller says.
        let raw = unsafe { read(rows, "rows") }?;
        let rows = count(raw.count, "rows")?;
        let columns = count(raw.column_count, "columns")?;
        if columns != self.list.len() {
            return Err(Error::failed(format!("the host gave {columns} columns, not {}", self.list.len())));
        }
        // SAFETY: as the caller says.
        let pointers = unsafe { slice(raw.columns, columns, "columns") }?;
        let data = self.list.iter().zip(pointers);
        // SAFETY: as the caller says.
        let data = data.map(|(column, data)| unsafe { open(column, *data, rows) }).collect::<Result<_>>()?;
        let ids = if raw.ids.is_null() {
            Vec::new()
        } else {
            // SAFETY: as the caller says.
            unsafe { texts(raw.ids, rows, |row| Error::row(row, "the name of the object isn't UTF-8")) }?
        };
        let random = if raw.random.is_null() { 0 } else { rows };
        Ok(Rows {
            count: rows,
            columns: &self.list,
            data,
            ids,
            mode: mode(raw.mode),
            seed: raw.seed,
            epoch: raw.epoch,
            // SAFETY: as the caller says.
            random: unsafe { slice(raw.random, random, "random numbers") }?,
        })
    }
}

/// An unknown mode gets the same answer every time.
pub(crate) fn mode(number: u32) -> Mode {
    if number == abi::TRAIN { Mode::Train } else { Mode::Evaluate }
}

/// # Safety
/// `data` is null or points to a column of `rows` rows, which stays as it is during `'a`.
unsafe fn open<'a>(column: &Column, data: *const abi::Data, rows: usize) -> Result<Data<'a>> {
    let what = format!("column `{}`", column.path);
    // SAFETY: as the caller says.
    let raw = unsafe { read(data, &what) }?;
    if Type::of(raw.r#type) != Some(column.kind) || raw.depth != column.depth {
        let (kind, depth) = (raw.r#type, raw.depth);
        return Err(Error::failed(format!("the host gave {what} as type {kind} in {depth} levels of lists")));
    }
    // SAFETY: as the caller says.
    let present = unsafe { slice(raw.present, rows, &what) }?;
    let values = count(raw.value_count, "values")?;
    // SAFETY: as the caller says.
    let pointers = unsafe { slice(raw.offsets, count(raw.depth, "levels")?, &what) }?;
    let mut offsets = Vec::with_capacity(pointers.len());
    let mut lists = rows;
    for pointer in pointers {
        let entries = lists.checked_add(1).ok_or_else(|| Error::failed(format!("{what} has too many lists")))?;
        // SAFETY: a level has one entry more than there are lists in it.
        let level = unsafe { slice(*pointer, entries, &what) }?;
        if !level.is_sorted() {
            return Err(Error::failed(format!("offsets of {what} fall")));
        }
        lists = count(level.last().copied().unwrap_or(0), "values")?;
        offsets.push(level);
    }
    if lists > values {
        return Err(Error::failed(format!("{what} has {values} values, and lists or rows of {lists}")));
    }
    // SAFETY: as the caller says.
    let values = unsafe {
        match column.kind {
            Type::F32 => AnyValues::F32(slice(raw.values.cast(), values, &what)?),
            Type::F64 => AnyValues::F64(slice(raw.values.cast(), values, &what)?),
            Type::U8 | Type::U32 => AnyValues::U8(slice(raw.values.cast(), values, &what)?),
            Type::Text => {
                let bad = |number| blame(&what, &offsets, number);
                AnyValues::Text(texts(raw.values.cast(), values, bad)?)
            }
        }
    };
    Ok(Data { present, offsets, values })
}

/// The row that a value belongs to.
fn blame(what: &str, offsets: &[&[u64]], value: usize) -> Error {
    let row = offsets.iter().rev().fold(value, |number, level| {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        level.partition_point(|o| *o <= number).saturating_sub(1)
    });
    Error::row(row, format!("{what} isn't UTF-8"))
}
