//! Rows of a catalogue as a plugin sees them: views of what lies in arrow's memory, or in memory that processes share.

use crate::call::{Fault, Function};
use crate::instance::Instance;
use crate::table;
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::reexport::arrow_array::cast::AsArray;
use panchroma_core::reexport::arrow_array::types::{Float32Type, Float64Type, UInt8Type};
use panchroma_core::reexport::arrow_array::{Array, ArrayRef};
use panchroma_core::reexport::arrow_schema::DataType;
use panchroma_core::{Column, ColumnKind, Flat, Mode, PrepareContext, Result, Rows};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ffi::c_void;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("offsets are passed to plugins as they are, which needs pointers of 64 bits");

/// Most levels of lists.
const MOST_LEVELS: u32 = 8;

/// A column that a component asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    path: String,
    kind: u32,
    depth: u32,
    optional: bool,
}

impl Wanted {
    /// Asks for column `index`.
    pub(crate) fn read(
        instance: &Instance,
        index: u32,
        getter: Option<unsafe extern "C" fn(*const c_void, u32, *mut abi::Column) -> abi::Status>,
    ) -> Result<Self, Fault> {
        let Some(getter) = getter else {
            return Err(Function::Describe.fault("it asks for columns and has no `column`"));
        };
        let mut column = abi::Column::new();
        // SAFETY: the instance is alive, `column` is ours and says its size.
        Function::Describe.call(|_| unsafe { getter(instance.pointer(), index, &raw mut column) })?;
        let wrong = |reason: String| Function::Describe.fault(reason);
        // SAFETY: texts of an instance live as long as it, and end with a zero byte.
        let path = unsafe { table::text(column.path, &format!("the path of column {index}")) }.map_err(wrong)?;
        if !(abi::F32..=abi::TEXT).contains(&column.r#type) || column.r#type == abi::U32 {
            return Err(wrong(format!("column `{path}` has the unknown type {}", column.r#type)));
        }
        if path.is_empty() || column.depth > MOST_LEVELS {
            return Err(wrong(format!("column `{path}` has {} levels of lists", column.depth)));
        }
        Ok(Self { path, kind: column.r#type, depth: column.depth, optional: column.optional != 0 })
    }

    /// Levels of lists.
    pub(crate) fn depth(&self) -> usize {
        self.depth as usize
    }

    /// Type of its values.
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }

    /// For the loader.
    pub(crate) fn column(&self) -> Column {
        let column = match self.kind {
            abi::TEXT => Column::text(&self.path),
            abi::U8 => Column::flag(&self.path),
            _ => Column::number(&self.path),
        };
        let column = column.depth(self.depth as usize);
        if self.optional { column.optional() } else { column }
    }

    fn leaf(&self) -> DataType {
        match self.column().kind {
            ColumnKind::Flag => DataType::UInt8,
            ColumnKind::Text | ColumnKind::Label => DataType::LargeUtf8,
            ColumnKind::Number if self.kind == abi::F64 => DataType::Float64,
            ColumnKind::Number => DataType::Float32,
        }
    }
}

/// The columns of a batch, held for as long as views of them are used.
pub(crate) struct Held {
    columns: Vec<(u32, Flat)>,
    random: Option<Vec<u64>>,
}

impl Held {
    /// Takes the columns out of `rows`; `random` if the component of `plugin` wants a number for each object.
    ///
    /// # Errors
    /// If a column has another type than was asked for.
    pub(crate) fn new(
        rows: &Rows,
        wanted: &[Wanted],
        context: &PrepareContext<'_>,
        plugin: &str,
        random: bool,
    ) -> Result<Self> {
        let column = |w: &Wanted| Ok((w.kind, rows.flat(&w.column(), &w.leaf())?));
        let columns = wanted.iter().map(column).collect::<Result<_>>()?;
        let purpose = format!("plugin {plugin}");
        let number = |id: &String| context.random(id, &purpose).random();
        let random = if random { Some(rows.ids().iter().map(number).collect()) } else { None };
        Ok(Self { columns, random })
    }

    /// Views of it.
    pub(crate) fn batch<'a>(&'a self, ids: &'a [String], context: &PrepareContext<'_>) -> Batch<'a> {
        Batch {
            ids: ids.iter().map(String::as_str).collect(),
            columns: self.columns.iter().map(|(kind, flat)| ColumnView::of(*kind, flat)).collect(),
            mode: if context.mode == Mode::Train { abi::TRAIN } else { abi::EVALUATE },
            seed: context.seed,
            epoch: context.epoch,
            random: self.random.as_deref(),
            hurry: false,
        }
    }
}

/// A batch of rows by reference.
pub(crate) struct Batch<'a> {
    pub(crate) ids: Vec<&'a str>,
    pub(crate) columns: Vec<ColumnView<'a>>,
    pub(crate) mode: u32,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    /// One per row, if the component wants them.
    pub(crate) random: Option<&'a [u64]>,
    /// Whether a call for it may take only little time: a search for the row that makes one fail.
    pub(crate) hurry: bool,
}

/// One column of it.
pub(crate) struct ColumnView<'a> {
    pub(crate) present: &'a [u8],
    pub(crate) offsets: Vec<&'a [u64]>,
    pub(crate) values: ColumnValues<'a>,
}

/// Its values.
pub(crate) enum ColumnValues<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    U8(&'a [u8]),
    Texts(Vec<&'a str>),
}

impl<'a> ColumnView<'a> {
    fn of(kind: u32, flat: &'a Flat) -> Self {
        Self {
            present: bytemuck::cast_slice(&flat.present),
            offsets: flat.offsets.iter().map(|level| bytemuck::cast_slice(level)).collect(),
            values: ColumnValues::of(kind, &flat.values),
        }
    }
}

impl<'a> ColumnValues<'a> {
    fn of(kind: u32, values: &'a ArrayRef) -> Self {
        match kind {
            abi::F32 => Self::F32(values.as_primitive::<Float32Type>().values()),
            abi::F64 => Self::F64(values.as_primitive::<Float64Type>().values()),
            abi::U8 => Self::U8(values.as_primitive::<UInt8Type>().values()),
            _ => {
                let texts = values.as_string::<i64>();
                Self::Texts((0..texts.len()).map(|i| if texts.is_null(i) { "" } else { texts.value(i) }).collect())
            }
        }
    }
}

fn text(text: &str) -> abi::Text {
    abi::Text { data: text.as_ptr().cast(), length: text.len() as u64 }
}

impl Batch<'_> {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Hands the batch to `call` as the interface's struct, which is gone when that returns.
    pub(crate) fn view<R>(&self, call: impl FnOnce(&abi::Rows) -> R) -> R {
        let ids: Vec<abi::Text> = self.ids.iter().map(|id| text(id)).collect();
        let offsets: Vec<Vec<*const u64>> =
            self.columns.iter().map(|c| c.offsets.iter().map(|level| level.as_ptr()).collect()).collect();
        let texts: Vec<Vec<abi::Text>> = self
            .columns
            .iter()
            .map(|c| match &c.values {
                ColumnValues::Texts(texts) => texts.iter().map(|t| text(t)).collect(),
                _ => Vec::new(),
            })
            .collect();
        let data: Vec<abi::Data> = (self.columns.iter().zip(&offsets).zip(&texts))
            .map(|((column, offsets), texts)| {
                let mut data = abi::Data::new();
                data.depth = offsets.len() as u32;
                data.present = column.present.as_ptr();
                data.offsets = offsets.as_ptr();
                let (kind, values, count): (u32, *const c_void, usize) = match &column.values {
                    ColumnValues::F32(v) => (abi::F32, v.as_ptr().cast(), v.len()),
                    ColumnValues::F64(v) => (abi::F64, v.as_ptr().cast(), v.len()),
                    ColumnValues::U8(v) => (abi::U8, v.as_ptr().cast(), v.len()),
                    ColumnValues::Texts(_) => (abi::TEXT, texts.as_ptr().cast(), texts.len()),
                };
                (data.r#type, data.values, data.value_count) = (kind, values, count as u64);
                data
            })
            .collect();
        let columns: Vec<*const abi::Data> = data.iter().map(|d| &raw const *d).collect();
        let mut rows = abi::Rows::new();
        rows.column_count = columns.len() as u32;
        rows.count = ids.len() as u64;
        rows.ids = ids.as_ptr();
        rows.columns = columns.as_ptr();
        rows.mode = self.mode;
        rows.seed = self.seed;
        rows.epoch = self.epoch;
        rows.random = self.random.map_or(std::ptr::null(), <[u64]>::as_ptr);
        call(&rows)
    }
}
