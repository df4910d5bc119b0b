//! A kind of measurement: which columns it reads, and how raw rows become arrays.
//!
//! `prepare` runs on loader threads, many batches at once, so it takes `&self` and everything that
//! it may depend on is in its arguments. What it learned from the training split (a scaler) is
//! explicit: [`Modality::fit`] learns it, [`Modality::fitted`] gives it to the checkpoint.

use crate::random::{self, Random};
use crate::sketch::Sketch;
use crate::{Arrays, ArraysSpec, Column, Result, Rows};
use serde_json::Value;

/// Whether this is for training (augmentation allowed) or for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Augment, drop, draw.
    Train,
    /// The same answer every time.
    Evaluate,
}

/// What `prepare` may depend on besides the rows.
#[derive(Clone, Copy, Debug)]
pub struct PrepareContext<'a> {
    /// Training or not.
    pub mode: Mode,
    /// The run's seed.
    pub seed: u64,
    /// How often the data has been seen.
    pub epoch: u64,
    /// The user's name of the modality, for messages and random streams.
    pub modality: &'a str,
}

impl PrepareContext<'_> {
    /// A random stream for one object and purpose, independent of batch, thread and restart.
    #[must_use]
    pub fn random(&self, object_id: &str, purpose: &str) -> Random {
        random::stream(self.seed, purpose, &[self.modality.as_bytes(), &self.epoch.to_le_bytes(), object_id.as_bytes()])
    }
}

/// What a modality may know while it is built.
#[derive(Clone, Copy, Debug)]
pub struct ModalityContext<'a> {
    /// The user's name, from `[modality.NAME]`.
    pub name: &'a str,
}

/// A kind of measurement of an object.
///
/// # Contract
/// * [`Self::prepare`] gives row `i` of every array to row `i` of its input, whatever else is in
///   the batch: permuting a batch permutes the result.
/// * An object without the measurement has `present = false`; that changes nothing for others.
/// * Every value at a valid place is finite.
/// * Same rows, same context: same bits.
pub trait Modality: Send + Sync {
    /// The columns that [`Self::prepare`] reads; the loader reads no others.
    fn columns(&self) -> Vec<Column>;

    /// Shape and units of what [`Self::prepare`] gives, known before any data is read.
    fn spec(&self) -> ArraysSpec;

    /// Learns scalers from the training split. Modalities without scalers keep the default.
    ///
    /// # Errors
    /// If the data can't be read, or has no usable value.
    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let _ = rows;
        Ok(())
    }

    /// What [`Self::fit`] learned, for the checkpoint; `Null` if nothing.
    fn fitted(&self) -> Value {
        Value::Null
    }

    /// Takes back what [`Self::fitted`] gave.
    ///
    /// # Errors
    /// If `fitted` is not what this modality writes.
    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let _ = fitted;
        Ok(())
    }

    /// Raw columns of a batch of rows -> arrays: calibrate, scale, augment, crop, pad.
    ///
    /// # Errors
    /// If a column has the wrong type, with the column's name and the object's.
    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays>;

    /// How object `row` of arrays is drawn, of [`Self::prepare`] or of a codec, in the units of the data as far as the arrays say;
    /// `None` if there is nothing to draw.
    ///
    /// # Errors
    /// If `arrays` are not this modality's.
    fn sketch(&self, arrays: &Arrays, row: usize) -> Result<Option<Sketch>> {
        let _ = (arrays, row);
        Ok(None)
    }

    /// Arrays without values that ask a codec for the same objects at places close to each other, to draw what it says between
    /// measurements; `None` if the places of the measurements will do.
    ///
    /// # Errors
    /// If `arrays` are not this modality's.
    fn closely(&self, arrays: &Arrays) -> Result<Option<Arrays>> {
        let _ = arrays;
        Ok(None)
    }
}
