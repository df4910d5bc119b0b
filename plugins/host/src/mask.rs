//! Which values of a field a mask is about, and what becomes of those that it hides or that are not finite.

use crate::arrays::{FieldSpec, Spec};
use crate::call::{Fault, Function};
use panchroma_core::plugins::NotFinitePolicy;

/// How places of a field and places of the mask belong together, within a row.
pub(crate) enum Mapping {
    /// One to one.
    Same,
    /// So many values of the field for each place of the mask.
    Groups(usize),
    /// By the axes that both have. A value counts if the mask is 1 anywhere on the axes that only the mask has.
    Axes {
        /// Per place of the field.
        starts: Vec<usize>,
        /// What is added to each for the axes that only the mask has.
        rest: Vec<usize>,
    },
}

impl Mapping {
    /// For a field with the axes `own`.
    pub(crate) fn new(own: &[usize], mask: &[usize], lengths: &[usize]) -> Self {
        let length = |axis: &usize| lengths.get(*axis).copied().unwrap_or(0);
        if own == mask {
            return Self::Same;
        }
        if let Some(more) = own.strip_prefix(mask) {
            return Self::Groups(more.iter().map(length).product());
        }
        let mut stride = 1;
        let mut strides: Vec<(usize, usize)> = Vec::new();
        for axis in mask.iter().rev() {
            strides.push((*axis, stride));
            stride *= length(axis);
        }
        let stride_of = |axis: &usize| strides.iter().find(|(a, _)| a == axis).map(|(_, stride)| *stride);
        let spread = |places: Vec<usize>, length: usize, stride: usize| -> Vec<usize> {
            places.iter().flat_map(|place| (0..length).map(move |i| place + i * stride)).collect()
        };
        let mut starts = vec![0];
        for (number, axis) in own.iter().enumerate() {
            // An axis that a field has twice, as a matrix does, counts by its first.
            let first = !own.iter().take(number).any(|other| other == axis);
            starts = spread(starts, length(axis), stride_of(axis).filter(|_| first).unwrap_or(0));
        }
        let only_mask = mask.iter().filter(|axis| !own.contains(axis));
        let rest = only_mask.fold(vec![0], |rest, axis| spread(rest, length(axis), stride_of(axis).unwrap_or(0)));
        Self::Axes { starts, rest }
    }

    /// Places of the mask that the value at `place` belongs to.
    pub(crate) fn of(&self, place: usize) -> impl Iterator<Item = usize> {
        let (start, rest): (usize, &[usize]) = match self {
            Self::Same => (place, &[0]),
            Self::Groups(size) => (place / (*size).max(1), &[0]),
            Self::Axes { starts, rest } => (starts.get(place).copied().unwrap_or(0), rest),
        };
        rest.iter().map(move |more| start + more)
    }

    /// Whether the value at `place` of a row was measured.
    pub(crate) fn measured(&self, place: usize, valid: &[u8]) -> bool {
        self.of(place).any(|at| valid.get(at) == Some(&1))
    }
}

/// The rows of one field beside those of the mask.
pub(crate) struct Rows<'a> {
    mapping: Mapping,
    function: Function,
    field: &'a FieldSpec,
    /// Values, and places of the mask, of a row.
    width: usize,
    per_row: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(function: Function, field: &'a FieldSpec, spec: &Spec, lengths: &[usize]) -> Self {
        let product = |axes: &[usize]| axes.iter().map(|a| lengths.get(*a).copied().unwrap_or(0)).product::<usize>();
        let mapping = Mapping::new(&field.axes, &spec.valid_axes, lengths);
        Self { mapping, function, field, width: product(&field.axes).max(1), per_row: product(&spec.valid_axes).max(1) }
    }

    /// Looks for measured values that are not finite: an error, or no longer measured.
    pub(crate) fn require_finite<T: Copy + std::fmt::Debug>(
        &self,
        values: &[T],
        valid: &mut [u8],
        policy: NotFinitePolicy,
        is_finite: impl Fn(T) -> bool,
    ) -> Result<(), Fault> {
        for (row, (values, valid)) in values.chunks(self.width).zip(valid.chunks_mut(self.per_row)).enumerate() {
            // What takes the time: passes without branches, which find nothing where all is well.
            let fine = match self.mapping {
                Mapping::Same => {
                    let fine = |fine: bool, (value, valid): (&T, &u8)| fine & ((*valid == 0) | is_finite(*value));
                    values.iter().zip(&*valid).fold(true, fine)
                }
                _ => values.iter().fold(true, |fine, value| fine & is_finite(*value)),
            };
            if fine {
                continue;
            }
            for (place, value) in values.iter().enumerate().filter(|(_, value)| !is_finite(**value)) {
                if !self.mapping.measured(place, valid) {
                    continue;
                }
                if policy == NotFinitePolicy::Error {
                    let name = &self.field.name;
                    let reason = format!(
                        "field `{name}` holds {value:?} where the mask says that it was measured; a value that was never written is NaN"
                    );
                    return Err(self.function.fault_of(row, reason));
                }
                for at in self.mapping.of(place) {
                    if let Some(valid) = valid.get_mut(at) {
                        *valid = 0;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets values to 0 that were not measured.
    pub(crate) fn clear<T: Copy + Default>(&self, values: &mut [T], valid: &[u8]) {
        for (values, valid) in values.chunks_mut(self.width).zip(valid.chunks(self.per_row)) {
            if valid.iter().fold(true, |all, valid| all & (*valid == 1)) {
                continue;
            }
            for (place, value) in values.iter_mut().enumerate() {
                if !self.mapping.measured(place, valid) {
                    *value = T::default();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of the mask for each place of a field, by a plain loop over names of axes.
    fn plain(own: &[usize], mask: &[usize], lengths: &[usize]) -> Vec<Vec<usize>> {
        let index = |axes: &[usize], mut place: usize| -> Vec<usize> {
            let mut index = vec![0; axes.len()];
            for (to, axis) in index.iter_mut().zip(axes).rev() {
                *to = place % lengths[*axis];
                place /= lengths[*axis];
            }
            index
        };
        let size = |axes: &[usize]| axes.iter().map(|a| lengths[*a]).product::<usize>();
        let belongs = |field: usize, at: usize| {
            let (field, at) = (index(own, field), index(mask, at));
            mask.iter().zip(&at).all(|(axis, i)| own.iter().position(|a| a == axis).is_none_or(|n| field[n] == *i))
        };
        (0..size(own)).map(|f| (0..size(mask)).filter(|at| belongs(f, *at)).collect()).collect()
    }

    #[test]
    fn a_mask_is_matched_by_its_axes() {
        let lengths = [2, 3, 4];
        let lists: [&[usize]; 9] = [&[], &[0], &[1], &[0, 1], &[1, 0], &[0, 2], &[2, 1, 0], &[0, 1, 2], &[1, 1]];
        for own in lists {
            for mask in lists.iter().filter(|mask| **mask != [1, 1]) {
                let mapping = Mapping::new(own, mask, &lengths);
                let size: usize = own.iter().map(|a| lengths[*a]).product();
                let mut found: Vec<Vec<usize>> = (0..size).map(|place| mapping.of(place).collect()).collect();
                found.iter_mut().for_each(|places| places.sort_unstable());
                assert_eq!(found, plain(own, mask, &lengths), "{own:?} {mask:?}");
            }
        }
    }

    #[test]
    fn what_is_hidden_need_not_be_finite_and_becomes_0() {
        let spec = Spec { axes: vec![("C".into(), 2), ("L".into(), 2)], fields: Vec::new(), valid_axes: vec![1] };
        let field = FieldSpec { name: "flux".into(), unit: String::new(), kind: panchroma_abi::F32, axes: vec![0, 1] };
        let rows = Rows::new(Function::Run, &field, &spec, &[2, 2]);
        let mut valid = [1, 0];
        let mut values = [1.0, f32::NAN, 2.0, f32::NAN];
        rows.require_finite(&values, &mut valid, NotFinitePolicy::Error, f32::is_finite).unwrap();
        rows.clear(&mut values, &valid);
        assert_eq!(values, [1.0, 0.0, 2.0, 0.0]);
        let bad = [1.0, 0.0, f32::INFINITY, 0.0];
        assert_eq!(
            rows.require_finite(&bad, &mut valid, NotFinitePolicy::Error, f32::is_finite).unwrap_err().row,
            Some(0)
        );
        rows.require_finite(&bad, &mut valid, NotFinitePolicy::Invalid, f32::is_finite).unwrap();
        assert_eq!(valid, [0, 0]);
    }
}
