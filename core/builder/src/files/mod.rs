//! Files that surveys publish, all behind one trait: parts (HDUs, groups, the one table of a Parquet or
//! CSV file) with fields (columns, data sets, the pixels of an image), and keywords beside them.
//!
//! One file per format; a new format is a new file here and one line in [`open`].

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use panchroma_core::Result;
use serde_json::Value;
use std::ops::Range;

/// One column or data set of a [`Part`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name as the file has it; a nested Parquet field has dots in it. The pixels of an image HDU are `image`.
    pub name: String,
    /// Arrow type of one row: a number, bool, text, or (nested) lists of these.
    pub data_type: DataType,
    /// Unit as the file writes it, if it does.
    pub unit: Option<String>,
    /// Whether it has one value per row of the part. Otherwise (a wavelength grid that all objects
    /// share) it has one row.
    pub per_row: bool,
}

/// One table or image in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// `EXTNAME` of an HDU, path of an HDF5 group, empty for files of one table.
    pub name: String,
    /// Number of rows; 1 for an image.
    pub rows: usize,
    /// In the file's order.
    pub fields: Vec<Field>,
}

/// An open file.
pub trait SourceFile: Send {
    /// What is in it, in the file's order: part `i` of a FITS file is HDU `i`.
    fn parts(&self) -> &[Part];

    /// A keyword of a FITS header or an attribute of an HDF5 group: number, text or bool.
    fn keyword(&self, part: usize, key: &str) -> Option<Value>;

    /// Rows of one field, in the type that [`Field::data_type`] says; nulls and NaN where the file says
    /// that there is no value. `rows` is ignored where [`Field::per_row`] is false.
    ///
    /// # Errors
    /// If the file is damaged there; the message names file, part and field.
    fn read(&mut self, part: usize, field: &str, rows: Range<usize>) -> Result<ArrayRef>;
}
