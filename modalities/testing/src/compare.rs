//! Bitwise comparison of rows of arrays and tokens, and which places of a field are measured.

use candle_core::{DType, Tensor};
use panchroma_core::{Array, Arrays, ArraysSpec, TokenValues, Tokens, Values};
use std::collections::BTreeSet;

/// One array as shape and bits, whatever its type.
pub(crate) struct Bits {
    shape: Vec<usize>,
    bits: Vec<u64>,
}

impl Bits {
    fn of_array(array: &Array) -> Self {
        let bits = match &array.values {
            Values::F32(v) => v.iter().map(|x| u64::from(x.to_bits())).collect(),
            Values::F64(v) => v.iter().map(|x| x.to_bits()).collect(),
            Values::U8(v) => v.iter().map(|&x| u64::from(x)).collect(),
            Values::U32(v) => v.iter().map(|&x| u64::from(x)).collect(),
        };
        Self { shape: array.shape.clone(), bits }
    }

    fn of_tensor(tensor: &Tensor) -> Self {
        let flat = flat_f64(tensor);
        Self { shape: tensor.dims().to_vec(), bits: flat.iter().map(|x| x.to_bits()).collect() }
    }
}

/// All values of a tensor; exact for f32, u8 and u32.
pub(crate) fn flat_f64(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1());
    flat.unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn arrays_bits(arrays: &Arrays) -> Vec<(String, Bits)> {
    let mut all = vec![("valid".to_owned(), Bits::of_array(&arrays.valid))];
    all.extend(arrays.fields.iter().map(|(name, a)| (name.clone(), Bits::of_array(a))));
    all
}

pub(crate) fn tokens_bits(tokens: &Tokens) -> Vec<(String, Bits)> {
    let (TokenValues::Patches(values) | TokenValues::Codes(values)) = &tokens.values;
    let mut all = vec![
        ("valid".to_owned(), Bits::of_tensor(&tokens.valid)),
        ("values".to_owned(), Bits::of_tensor(values)),
        ("coordinates".to_owned(), Bits::of_tensor(&tokens.coordinates)),
    ];
    all.extend(tokens.weights.iter().map(|w| ("weights".to_owned(), Bits::of_tensor(w))));
    all
}

/// Row `i` of `a` must be row `rows[i]` of `b`, bit for bit. Where one is padded to more than the
/// other, what is too much must be masked.
pub(crate) fn same_rows(claim: &str, a: &[(String, Bits)], b: &[(String, Bits)], rows: &[usize]) {
    assert_eq!(a.len(), b.len(), "{claim}: the number of fields differs");
    for ((name, a), (_, b)) in a.iter().zip(b) {
        assert_eq!(a.shape.len(), b.shape.len(), "{claim}: axes of `{name}` differ");
        for (i, &j) in rows.iter().enumerate() {
            let (left, right) = (row(a, i), row(b, j));
            for (index, value) in &left {
                match right.binary_search_by(|(other, _)| other.cmp(index)) {
                    Ok(at) => assert_eq!(*value, right[at].1, "{claim}: row {i}, `{name}` at {index:?}"),
                    Err(_) => {
                        assert!(name != "valid" || *value == 0, "{claim}: row {i} has valid padding at {index:?}")
                    }
                }
            }
            for (index, value) in &right {
                if name == "valid" && index.iter().zip(&a.shape[1..]).any(|(i, size)| i >= size) {
                    assert_eq!(*value, 0, "{claim}: row {i} lost valid values at {index:?}");
                }
            }
        }
    }
}

/// Indices and bits of row `i`, ordered by index.
fn row(array: &Bits, i: usize) -> Vec<(Vec<usize>, u64)> {
    let shape = &array.shape[1..];
    let size: usize = shape.iter().product();
    (0..size).map(|flat| (unravel(flat, shape), array.bits[i * size + flat])).collect()
}

fn unravel(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, size) in index.iter_mut().zip(shape).rev() {
        *place = flat % size;
        flat /= size;
    }
    index
}

/// For each value of the field, whether it was measured: whether the mask is 1 anywhere at the
/// field's place along the axes that both have.
pub(crate) fn measured(arrays: &Arrays, spec: &ArraysSpec, field: &str) -> Vec<bool> {
    let described = spec.fields.iter().find(|f| f.name == field);
    let axes = described.unwrap_or_else(|| panic!("`{field}` is no field of the modality")).axes;
    let array = &arrays.fields[field];
    let (valid_shape, valid) = arrays.valid().unwrap_or_else(|e| panic!("{e}"));
    let common: Vec<(usize, usize)> = axes
        .iter()
        .enumerate()
        .filter_map(|(i, axis)| spec.valid_axes.iter().position(|v| v == axis).map(|j| (i + 1, j + 1)))
        .collect();
    let seen: BTreeSet<Vec<usize>> = (0..valid.len())
        .filter(|&flat| valid[flat] != 0)
        .map(|flat| unravel(flat, valid_shape))
        .map(|index| std::iter::once(index[0]).chain(common.iter().map(|&(_, j)| index[j])).collect())
        .collect();
    (0..array.values.len())
        .map(|flat| unravel(flat, &array.shape))
        .map(|index| std::iter::once(index[0]).chain(common.iter().map(|&(i, _)| index[i])).collect::<Vec<_>>())
        .map(|key| seen.contains(&key))
        .collect()
}
