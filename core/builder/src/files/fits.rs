//! FITS: images and tables, also unpacked from `.gz`. The only file that knows the crate that reads them.
//!
//! Complex columns and columns of bits are left out.

use super::nest::{list_of, nest, nested_type, ragged};
use super::{Field, Part, SourceFile, source};
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, UInt64Array};
use arrow_schema::{ArrowError, DataType};
use fits_well::header::Value as HeaderValue;
use fits_well::image::UnsignedData;
use fits_well::table::{AsciiColumnData, Column, ColumnData, ElementKind, Ragged, Storage, Table};
use fits_well::{FitsError, FitsReader};
use panchroma_core::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a packed file may unpack to: it is held in memory.
const UNPACKED: u64 = 2 << 30;

trait Bytes: Read + Seek {}
impl<T: Read + Seek> Bytes for T {}

type Reader = fits_well::FitsReader<fits_well::io::StreamSource<Box<dyn Bytes>>>;

/// The name of the pixels of an image.
const IMAGE: &str = "image";

pub(super) struct Fits {
    path: PathBuf,
    reader: Reader,
    parts: Vec<Part>,
    /// The rows read last: fields are asked for one after the other.
    last: Option<(usize, Range<usize>, Table)>,
}

/// Opens a file and checks that all of it is there.
pub(super) fn open(path: &Path, packed: bool) -> Result<Fits> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let (bytes, length): (Box<dyn Bytes>, u64) = if packed {
        let mut unpacked = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(file).take(UNPACKED + 1);
        decoder.read_to_end(&mut unpacked).map_err(|e| {
            source(path, "", format!("can't be unpacked: {e}"), "the file may be cut short: copy it again")
        })?;
        let length = unpacked.len() as u64;
        if length > UNPACKED {
            return Err(source(path, "", "unpacks to more than 2 GiB".into(), "unpack it with `gunzip` first"));
        }
        (Box::new(Cursor::new(unpacked)), length)
    } else {
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        (Box::new(file), length)
    };
    let cut = "the file may be cut short: copy it again";
    let reader = FitsReader::open(bytes).map_err(|e| source(path, "", format!("can't be read as FITS: {e}"), cut))?;
    let count = reader.hdus().len();
    if let Some(defect) = reader.scan_defect() {
        return Err(source(path, &format!("after HDU {}", count.saturating_sub(1)), defect.to_string(), cut));
    }
    // A file that ends at the border of a block opens with fewer HDUs and no defect.
    if count == 0 || length % 2880 != 0 {
        return Err(source(path, "", format!("{length} bytes are no whole number of FITS blocks"), cut));
    }
    let parts = reader.hdus().iter().map(describe).collect();
    Ok(Fits { path: path.to_path_buf(), reader, parts, last: None })
}

fn describe(hdu: &fits_well::io::Hdu) -> Part {
    let name = hdu.extname().ok().flatten().unwrap_or_default().trim().to_owned();
    if let Ok(schema) = hdu.table_schema() {
        return Part { name, rows: schema.row_count(), fields: schema.columns.iter().filter_map(column).collect() };
    }
    if let Ok(schema) = hdu.ascii_schema() {
        let field = |c: &fits_well::table::AsciiColumn| {
            let data_type = match c.tform {
                fits_well::table::AsciiTform::Text { .. } => DataType::Utf8,
                _ => DataType::Float64,
            };
            Some(Field { name: c.name().ok()??.to_owned(), data_type, unit: unit(c.unit().ok()?), per_row: true })
        };
        return Part { name, rows: schema.row_count(), fields: schema.columns.iter().filter_map(field).collect() };
    }
    let mut fields = Vec::new();
    if hdu.is_image()
        && let Ok(metadata) = hdu.image_metadata()
    {
        let shape: Vec<usize> = metadata.shape.iter().rev().copied().collect();
        let unit = unit(hdu.header.get_text("BUNIT").ok().flatten());
        let data_type = nested_type(&DataType::Float32, &shape);
        fields.push(Field { name: IMAGE.into(), data_type, unit, per_row: true });
    }
    Part { name, rows: usize::from(!fields.is_empty()), fields }
}

fn unit(unit: Option<&str>) -> Option<String> {
    unit.map(str::trim).filter(|u| !u.is_empty()).map(str::to_owned)
}

/// Whether values are stored as they are.
fn plain(column: &Column) -> bool {
    column.tscale().is_ok_and(|s| s == 1.0) && column.tzero().is_ok_and(|z| z == 0.0)
}

/// Whether whole numbers are stored with an offset, so that they have another sign than FITS knows.
fn unsigned(column: &Column) -> bool {
    let offset = match column.tform.element() {
        ElementKind::U8 => -128.0,
        ElementKind::I16 => 32768.0,
        ElementKind::I32 => 2_147_483_648.0,
        ElementKind::I64 => 9_223_372_036_854_775_808.0,
        _ => return false,
    };
    column.tscale().is_ok_and(|s| s == 1.0) && column.tzero().is_ok_and(|z| z == offset)
}

/// Type of one element; none for what is left out.
fn leaf(column: &Column) -> Option<DataType> {
    let fixed = column.tform.storage() == Storage::Fixed;
    Some(match column.tform.element() {
        ElementKind::I64 if fixed && unsigned(column) => DataType::UInt64,
        _ if fixed && unsigned(column) => DataType::Int64,
        ElementKind::Logical => DataType::Boolean,
        ElementKind::Character => DataType::Utf8,
        ElementKind::U8 | ElementKind::I16 | ElementKind::I32 | ElementKind::I64 if plain(column) => DataType::Int64,
        ElementKind::F32 if plain(column) => DataType::Float32,
        ElementKind::Bit | ElementKind::ComplexF32 | ElementKind::ComplexF64 => return None,
        _ => DataType::Float64,
    })
}

/// Shape of one row, outermost dimension first; empty for one value.
fn shape(column: &Column) -> Vec<usize> {
    if column.tform.element() == ElementKind::Character {
        return Vec::new();
    }
    match column.tdim() {
        Ok(Some(dimensions)) => dimensions.iter().rev().copied().collect(),
        _ if column.tform.repeat() == 1 => Vec::new(),
        _ => vec![column.tform.repeat()],
    }
}

fn column(column: &Column) -> Option<Field> {
    let leaf = leaf(column)?;
    let data_type = match (column.tform.storage(), &leaf) {
        (Storage::Fixed, _) => nested_type(&leaf, &shape(column)),
        // Lists of unequal length come as numbers.
        (_, DataType::Utf8 | DataType::Boolean) => return None,
        _ => list_of(DataType::Float64),
    };
    Some(Field {
        name: column.name().ok()??.trim().to_owned(),
        data_type,
        unit: unit(column.unit().ok()?),
        per_row: true,
    })
}

impl Fits {
    fn wrong(&self, part: usize, field: &str) -> impl Fn(FitsError) -> Error + use<> {
        let (path, place) = (self.path.clone(), super::place(&self.parts, part, field));
        move |e| source(&path, &place, e.to_string(), "the file may be damaged: copy it again, or leave it out")
    }

    fn pixels(&mut self, part: usize) -> Result<ArrayRef> {
        let wrong = self.wrong(part, IMAGE);
        let mut image = self.reader.image(part).map_err(&wrong)?;
        let shape: Vec<usize> = image.metadata().shape.iter().rev().copied().collect();
        let mut values: Vec<f32> = Vec::new();
        image.physical_into(.., &mut values).map_err(&wrong)?;
        nest(Arc::new(Float32Array::from(values)), &shape).map_err(|e| self.arrow(part, IMAGE, &e))
    }

    fn ascii(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        let wrong = self.wrong(part, field);
        let table = self.reader.read_ascii_table(part).map_err(&wrong)?;
        let reader = table.column(field).map_err(&wrong)?;
        let mut raw = AsciiColumnData::Integer(Vec::new());
        reader.raw_into(&mut raw).map_err(&wrong)?;
        let array: ArrayRef = if let AsciiColumnData::Text(text) = &raw {
            let mut builder = StringBuilder::new();
            (0..table.schema().row_count()).for_each(|row| builder.append_option(text.row(row).map(str::trim)));
            Arc::new(builder.finish())
        } else {
            let mut values: Vec<f64> = Vec::new();
            reader.physical_into(&mut values).map_err(&wrong)?;
            Arc::new(Float64Array::from(values))
        };
        Ok(array.slice(rows.start, rows.len()))
    }

    fn table(&mut self, part: usize, rows: &Range<usize>, field: &str) -> Result<&Table> {
        if !matches!(&self.last, Some((p, r, _)) if *p == part && r == rows) {
            let wrong = self.wrong(part, field);
            self.last = None;
            let table = self.reader.read_table_rows(part, rows.clone()).map_err(wrong)?;
            return Ok(&self.last.insert((part, rows.clone(), table)).2);
        }
        self.last
            .as_ref()
            .map(|last| &last.2)
            .ok_or_else(|| source(&self.path, "", "no rows were read".into(), "this is a fault of Panchroma"))
    }

    fn arrow(&self, part: usize, field: &str, e: &ArrowError) -> Error {
        source(&self.path, &super::place(&self.parts, part, field), e.to_string(), "the file may be damaged")
    }
}

impl SourceFile for Fits {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn keyword(&self, part: usize, key: &str) -> Option<Value> {
        let header = &self.reader.hdus().get(part)?.header;
        // Names longer than eight letters, or of several words, stand behind this word.
        let long = format!("HIERARCH {key}");
        let key = if header.get(key).ok().flatten().is_some() { key } else { &long };
        match header.get(key).ok()?? {
            HeaderValue::Logical(flag) => Some(Value::from(*flag)),
            HeaderValue::Text(text) => Some(Value::from(text.trim())),
            HeaderValue::Integer(_) | HeaderValue::Real(_) => {
                let value = header.get(key).ok()??;
                value
                    .as_integer()
                    .ok()
                    .flatten()
                    .map(Value::from)
                    .or_else(|| value.as_real().ok().flatten().map(Value::from))
            }
            _ => None,
        }
    }

    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef> {
        super::check(&self.path, &self.parts, part, field, &rows)?;
        let hdu = self.reader.hdus().get(part);
        if hdu.is_some_and(|h| h.ascii_schema().is_ok()) {
            return self.ascii(part, field, rows);
        }
        if hdu.is_none_or(|h| h.table_schema().is_err()) {
            return self.pixels(part);
        }
        let wrong = self.wrong(part, field);
        let table = self.table(part, &rows, field)?;
        let reader = table.column(field).map_err(&wrong)?;
        let column = reader.descriptor();
        let (shape, repeat) = (shape(column), column.tform.repeat());
        let null = column.tnull().map_err(&wrong)?;
        let whole = |values: Vec<i64>| -> ArrayRef {
            Arc::new(values.into_iter().map(|v| (Some(v) != null).then_some(v)).collect::<Int64Array>())
        };
        let array = if column.tform.storage() != Storage::Fixed {
            let mut values = Ragged::<Vec<f64>>::new(Vec::new(), Vec::new());
            reader.vla_physical_into(&mut values).map_err(&wrong)?;
            let lengths: Vec<usize> = values.iter().map(<[f64]>::len).collect();
            ragged(Arc::new(Float64Array::from(values.into_values())), lengths)
        } else if unsigned(column) && null.is_none() {
            let mut values = UnsignedData::U64(Vec::new());
            reader.unsigned_into(&mut values).map_err(&wrong)?;
            let values: ArrayRef = match values {
                UnsignedData::I8(v) => Arc::new(v.into_iter().map(|v| Some(i64::from(v))).collect::<Int64Array>()),
                UnsignedData::U16(v) => Arc::new(v.into_iter().map(|v| Some(i64::from(v))).collect::<Int64Array>()),
                UnsignedData::U32(v) => Arc::new(v.into_iter().map(|v| Some(i64::from(v))).collect::<Int64Array>()),
                UnsignedData::U64(v) => Arc::new(UInt64Array::from(v)),
            };
            nest(values, &shape)
        } else if !plain(column) || matches!(column.tform.element(), ElementKind::F64) {
            let mut values: Vec<f64> = Vec::new();
            reader.physical_into(&mut values).map_err(&wrong)?;
            nest(Arc::new(Float64Array::from(values)), &shape)
        } else {
            let mut raw = ColumnData::U8(Vec::new());
            reader.raw_into(&mut raw).map_err(&wrong)?;
            let values: ArrayRef = match raw {
                ColumnData::Logical(flags) => Arc::new(BooleanArray::from(flags)),
                ColumnData::U8(v) => whole(v.into_iter().map(i64::from).collect()),
                ColumnData::I16(v) => whole(v.into_iter().map(i64::from).collect()),
                ColumnData::I32(v) => whole(v.into_iter().map(i64::from).collect()),
                ColumnData::I64(v) => whole(v),
                ColumnData::F32(v) => Arc::new(Float32Array::from(v)),
                ColumnData::Character(bytes) => text(&bytes, repeat, rows.len()),
                _ => return Err(wrong(FitsError::UnexpectedEof)),
            };
            nest(values, &shape)
        };
        array.map_err(|e| self.arrow(part, field, &e))
    }
}

/// Fields of `width` bytes up to the first zero, without blanks at their ends.
fn text(bytes: &[u8], width: usize, rows: usize) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for row in 0..rows {
        let field = bytes.get(row * width..(row + 1) * width).unwrap_or_default();
        let field = field.split(|b| *b == 0).next().unwrap_or_default();
        builder.append_value(String::from_utf8_lossy(field).trim());
    }
    Arc::new(builder.finish())
}
