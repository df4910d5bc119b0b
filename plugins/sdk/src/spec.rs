//! What a modality's arrays look like: named axes, fields with units, and the axes of the mask.

use crate::{Element, Error, Result, Type};

/// A named axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What its places are: `event`, `channel`.
    pub name: String,
    /// Greatest length, above 0.
    pub longest: usize,
}

/// One array: `[B, axes..]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What its numbers are: `energy`.
    pub name: String,
    /// Unit, such as `keV`; empty for a pure number.
    pub unit: String,
    /// Type of its elements.
    pub kind: Type,
    /// Names of its axes behind the batch.
    pub axes: Vec<String>,
}

/// All arrays of a modality.
///
/// ```
/// # use panchroma_sdk::ArraysSpec;
/// let spec = ArraysSpec::new()
///     .axis("event", 256)
///     .f32("time", "s", &["event"])
///     .f32("energy", "keV", &["event"])
///     .valid(&["event"]);
/// assert_eq!(spec.axis_longest("event").unwrap(), 256);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArraysSpec {
    pub(crate) axes: Vec<Axis>,
    pub(crate) fields: Vec<Field>,
    pub(crate) valid: Vec<String>,
}

impl ArraysSpec {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more axis; `longest` is its greatest length, above 0.
    #[must_use]
    pub fn axis(mut self, name: impl Into<String>, longest: usize) -> Self {
        self.axes.push(Axis { name: name.into(), longest });
        self
    }

    /// With one more field over axes that were named before.
    #[must_use]
    pub fn field<T: Element>(mut self, name: impl Into<String>, unit: impl Into<String>, axes: &[&str]) -> Self {
        let axes = axes.iter().map(ToString::to_string).collect();
        self.fields.push(Field { name: name.into(), unit: unit.into(), kind: T::TYPE, axes });
        self
    }

    /// With one more field in single precision.
    #[must_use]
    pub fn f32(self, name: impl Into<String>, unit: impl Into<String>, axes: &[&str]) -> Self {
        self.field::<f32>(name, unit, axes)
    }

    /// With one more field in double precision.
    #[must_use]
    pub fn f64(self, name: impl Into<String>, unit: impl Into<String>, axes: &[&str]) -> Self {
        self.field::<f64>(name, unit, axes)
    }

    /// With one more field of bytes.
    #[must_use]
    pub fn u8(self, name: impl Into<String>, unit: impl Into<String>, axes: &[&str]) -> Self {
        self.field::<u8>(name, unit, axes)
    }

    /// With one more field of categories or codes.
    #[must_use]
    pub fn u32(self, name: impl Into<String>, unit: impl Into<String>, axes: &[&str]) -> Self {
        self.field::<u32>(name, unit, axes)
    }

    /// Over which axes the mask says whether a value was measured; without a call: one mask per object.
    #[must_use]
    pub fn valid(mut self, axes: &[&str]) -> Self {
        self.valid = axes.iter().map(ToString::to_string).collect();
        self
    }

    /// The axes.
    #[must_use]
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Names of the axes of the mask.
    #[must_use]
    pub fn valid_axes(&self) -> &[String] {
        &self.valid
    }

    /// A field by its name.
    ///
    /// # Errors
    /// If there is none: then these arrays are not those of the modality that the component was written for.
    pub fn field_named(&self, name: &str) -> Result<&Field> {
        let known = || self.fields.iter().map(|f| format!("`{}`", f.name)).collect::<Vec<_>>().join(", ");
        let found = self.fields.iter().find(|f| f.name == name);
        found.ok_or_else(|| Error::invalid(format!("the modality has no field `{name}`: it has {}", known())))
    }

    /// Greatest length of an axis.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn axis_longest(&self, name: &str) -> Result<usize> {
        let found = self.axes.iter().find(|a| a.name == name);
        found.map(|a| a.longest).ok_or_else(|| Error::invalid(format!("the modality has no axis `{name}`")))
    }

    /// Number of an axis.
    pub(crate) fn axis_number(&self, name: &str) -> Result<usize> {
        let found = self.axes.iter().position(|a| a.name == name);
        found.ok_or_else(|| Error::failed(format!("no axis is called `{name}`")))
    }

    /// Shape of arrays over `axes` for `count` rows, if the axes are `lengths` long.
    pub(crate) fn shape(&self, axes: &[String], count: usize, lengths: &[usize]) -> Result<Vec<usize>> {
        let mut shape = vec![count];
        for axis in axes {
            let number = self.axis_number(axis)?;
            shape.push(*lengths.get(number).ok_or_else(|| Error::failed(format!("no length for axis `{axis}`")))?);
        }
        Ok(shape)
    }

    /// Whether names, axes and lengths fit each other.
    pub(crate) fn check(&self) -> Result<()> {
        let most = panchroma_abi::MAX_AXES;
        if self.fields.is_empty() {
            return Err(Error::failed("a modality needs at least one field"));
        }
        for (number, axis) in self.axes.iter().enumerate() {
            if axis.longest == 0 {
                return Err(Error::failed(format!("axis `{}` is 0 long", axis.name)));
            }
            if self.axes.iter().take(number).any(|a| a.name == axis.name) {
                return Err(Error::failed(format!("two axes are called `{}`", axis.name)));
            }
        }
        for (number, field) in self.fields.iter().enumerate() {
            if self.fields.iter().take(number).any(|f| f.name == field.name) {
                return Err(Error::failed(format!("two fields are called `{}`", field.name)));
            }
            self.check_axes(&field.axes, most).map_err(|e| e.within(&format!("field `{}`", field.name)))?;
        }
        self.check_axes(&self.valid, most).map_err(|e| e.within("mask"))
    }

    fn check_axes(&self, axes: &[String], most: usize) -> Result<()> {
        if axes.len() > most {
            return Err(Error::failed(format!("{} axes; the most is {most}", axes.len())));
        }
        axes.iter().try_for_each(|name| self.axis_number(name).map(|_| ()))
    }
}
