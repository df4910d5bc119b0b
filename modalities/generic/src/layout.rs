//! Which place of the mask says whether a value was measured: by the names of the axes of both.

use panchroma_core::{ArrayField, ArraysSpec, Error, Result};

/// The axes of a field beside those of the mask.
///
/// Every axis of the mask must be one of the field: all of them, the first ones, or any others; along an axis that the mask lacks,
/// what it says holds throughout. A field without axes is one entry of one value.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    field: &'static str,
    axes: usize,
    /// Largest length of each axis of the field, at least one.
    sizes: Vec<usize>,
    /// Which axis of the field each axis of the mask is.
    mask: Vec<usize>,
}

/// The same for the arrays of one batch.
pub(crate) struct Places {
    /// Entries of the first axis.
    pub(crate) entries: usize,
    /// For each value of an entry, where it is in that of a token, and where it is in the mask, from the entry's first place on.
    pub(crate) values: Vec<(usize, usize)>,
    /// Places of an object in the mask.
    object: usize,
    /// Places of the mask from an entry to the next.
    step: usize,
}

impl Layout {
    /// # Errors
    /// With what is in the way, for the config error.
    pub(crate) fn new(field: &ArrayField, arrays: &ArraysSpec) -> Result<Self, String> {
        let mut sizes = Vec::with_capacity(field.axes.len());
        for axis in field.axes {
            let size = arrays.size(axis).filter(|size| *size > 0);
            sizes
                .push(size.ok_or_else(|| format!("the modality says no length of axis `{axis}` of `{}`", field.name))?);
        }
        let mut mask: Vec<usize> = Vec::with_capacity(arrays.valid_axes.len());
        for axis in arrays.valid_axes {
            // Of two axes of one name, as of a covariance, each is taken once.
            let own = field.axes.iter().enumerate().find(|(i, name)| *name == axis && !mask.contains(i));
            let (own, _) = own.ok_or_else(|| {
                format!(
                    "expected a field that has all axes of the mask, [{}]: `{}` has [{}]",
                    arrays.valid_axes.join(", "),
                    field.name,
                    field.axes.join(", ")
                )
            })?;
            mask.push(own);
        }
        if sizes.is_empty() {
            sizes.push(1);
        }
        Ok(Self { field: field.name, axes: field.axes.len(), sizes, mask })
    }

    /// Largest length of the first axis.
    pub(crate) fn entries(&self) -> usize {
        self.sizes.first().copied().unwrap_or(1)
    }

    /// Largest number of values of an entry.
    pub(crate) fn width(&self) -> usize {
        self.sizes.iter().skip(1).product()
    }

    /// For arrays of these shapes.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are not as the modality said.
    pub(crate) fn places(&self, batch: usize, shape: &[usize], valid: &[usize]) -> Result<Places> {
        let wrong = |what: &str, expected: String, found: &[usize]| Error::Shape {
            part: format!("tokenizer `windows`, {what}"),
            expected,
            found: format!("shape {found:?}"),
        };
        let fits = shape.len() == self.axes + 1
            && shape.first() == Some(&batch)
            && shape.iter().skip(1).zip(&self.sizes).all(|(length, most)| length <= most);
        if !fits {
            let most: Vec<String> = self.sizes.iter().take(self.axes).map(|size| format!(", <= {size}")).collect();
            return Err(wrong(&format!("field `{}`", self.field), format!("[{batch}{}]", most.concat()), shape));
        }
        let lengths: Vec<usize> = if self.axes == 0 { vec![1] } else { shape.iter().skip(1).copied().collect() };
        let expected: Vec<usize> = std::iter::once(batch).chain(self.mask.iter().map(|i| lengths[*i])).collect();
        if valid != expected {
            return Err(wrong("valid", format!("{expected:?}"), valid));
        }
        let mut steps = vec![0; lengths.len()];
        let mut object = 1;
        for axis in self.mask.iter().rev() {
            steps[*axis] = object;
            object *= lengths[*axis];
        }
        let count: usize = lengths.iter().skip(1).product();
        let values = (0..count).map(|flat| self.place(flat, &lengths, &steps)).collect();
        Ok(Places { entries: lengths[0], values, object, step: steps[0] })
    }

    /// Value `flat` of an entry of `lengths`: its place in an entry of the largest lengths, and in the mask by `steps`.
    fn place(&self, flat: usize, lengths: &[usize], steps: &[usize]) -> (usize, usize) {
        let (mut rest, mut size, mut own, mut mask) = (flat, 1, 0, 0);
        for axis in (1..lengths.len()).rev() {
            let index = rest % lengths[axis];
            rest /= lengths[axis];
            own += index * size;
            size *= self.sizes[axis];
            mask += index * steps[axis];
        }
        (own, mask)
    }
}

impl Places {
    /// The first place of an entry in the mask.
    pub(crate) fn first(&self, object: usize, entry: usize) -> usize {
        object * self.object + entry * self.step
    }
}
