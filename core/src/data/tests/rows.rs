//! Values come out as they are, and nothing comes out from under a null.

use super::*;
use arrow_array::types::Int32Type;
use arrow_array::{
    BooleanArray, Decimal128Array, DictionaryArray, FixedSizeListArray, Float64Array, Int8Array, LargeStringArray,
    NullArray, StringViewArray, UInt8Array,
};

fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let batch = batch(columns);
    Rows::new((0..batch.num_rows()).map(|i| format!("o{i}")).collect(), batch).unwrap()
}

#[test]
fn values_under_a_null_list_do_not_come_out() {
    // Row 1 is null but holds 7 and 8.
    let rows = rows(vec![("f", lists(&[2, 4, 5], &[true, false, true], floats(&[1., 2., 7., 8., 3.])))]);
    let ragged = rows.ragged_f32("f").unwrap();
    assert_eq!(
        ragged,
        Ragged { present: vec![true, false, true], offsets: vec![vec![0, 2, 2, 3]], values: vec![1., 2., 3.] }
    );
}

#[test]
fn values_under_a_null_struct_do_not_come_out() {
    let inner = lists(&[2, 4, 5], &[true, true, true], floats(&[1., 2., 7., 8., 3.]));
    let scalar = structure("s", floats(&[1., 2., 3.]), &[true, false, true]);
    // Two structs deep: the outer one is null in row 2.
    let deep = structure("in", structure("v", strings(["a", "b", "c"]), &[true, false, true]), &[true, true, false]);
    let rows = rows(vec![("lc", structure("flux", inner, &[true, false, true])), ("t", scalar), ("d", deep)]);
    let ragged = rows.ragged_f64("lc.flux").unwrap();
    assert_eq!(ragged.present, [true, false, true]);
    assert_eq!(ragged.values, [1., 2., 3.]);
    assert_eq!(rows.numbers("t.s").unwrap(), [Some(1.), None, Some(3.)]);
    assert_eq!(rows.texts("d.in.v").unwrap(), [Some("a".to_owned()), None, None]);
}

#[test]
fn null_leaves_are_nan_and_null_inner_lists_are_empty() {
    let leaf: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.), None, Some(9.), Some(f32::INFINITY)]));
    let inner = lists(&[2, 3, 4], &[true, false, true], leaf);
    let rows = rows(vec![("f", lists(&[2, 3], &[true, true], inner))]);
    let ragged = rows.ragged_f32("f").unwrap();
    assert_eq!(ragged.offsets, [vec![0, 2, 3], vec![0, 2, 2, 3]]);
    assert!(ragged.values[1].is_nan());
    assert_eq!((ragged.values[0], ragged.values[2]), (1., f32::INFINITY));
    assert_eq!(ragged.row(1), [f32::INFINITY]);
    // Row 0 has lists of 2 and 0 values.
    assert_eq!((ragged.shape(0), ragged.shape(1)), (None, Some(vec![1, 1])));
}

#[test]
fn a_slice_of_rows_has_its_own_values_only() {
    let whole = batch(vec![("f", lists(&[1, 3, 6], &[true; 3], floats(&[1., 2., 3., 4., 5., 6.])))]);
    let slice = Rows::new(vec!["o1".into()], whole.slice(1, 1)).unwrap();
    assert_eq!(slice.ragged_f32("f").unwrap().values, [2., 3.]);
}

#[test]
fn lists_of_structs_read_like_structs_of_lists() {
    // Element 1 is a null struct with a left-over value.
    let elements = structure("flux", floats(&[1., 5., 3.]), &[true, false, true]);
    let rows = rows(vec![("lc", lists(&[2, 3], &[true, true], elements))]);
    let ragged = rows.ragged_f32("lc.flux").unwrap();
    assert_eq!(ragged.offsets, [vec![0, 2, 3]]);
    assert!(ragged.values[1].is_nan());
    assert_eq!((ragged.row(0)[0], ragged.row(1)), (1., &[3.][..]));
}

#[test]
fn fixed_size_lists_skip_what_a_null_holds() {
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let valid = NullBuffer::from(&[true, false, true][..]);
    let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, floats(&[1., 2., 7., 8., 3., 4.]), Some(valid)));
    let ragged = rows(vec![("f", Arc::clone(&fixed))]).ragged_f32("f").unwrap();
    assert_eq!(ragged.values, [1., 2., 3., 4.]);
    assert_eq!((ragged.shape(0), ragged.shape(1)), (Some(vec![2]), None));
    let sliced = rows(vec![("s", fixed.slice(2, 1))]).ragged_f32("s").unwrap();
    assert_eq!(sliced.values, [3., 4.]);
}

#[test]
fn rectangular_rows_have_a_shape() {
    let inner = lists(&[3, 6, 7], &[true; 3], floats(&[0.; 7]));
    let ragged = rows(vec![("f", lists(&[2, 3, 3], &[true; 3], inner))]).ragged_f32("f").unwrap();
    assert_eq!(ragged.shape(0), Some(vec![2, 3]));
    assert_eq!(ragged.shape(1), Some(vec![1, 1]));
    assert_eq!(ragged.shape(2), Some(vec![0, 0]));
    assert_eq!((ragged.range(0), ragged.range(1), ragged.range(9)), (0..6, 6..7, 0..0));
}

#[test]
fn every_arrow_type_of_a_kind_is_read() {
    let keys = [Some("a"), None, Some("a")];
    let dictionary: DictionaryArray<Int32Type> = keys.into_iter().collect();
    let rows = rows(vec![
        ("i8", Arc::new(Int8Array::from(vec![-1, 0, 1])) as ArrayRef),
        ("i64", Arc::new(Int64Array::from(vec![1 << 40, 0, 1]))),
        ("f64", Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, 1.5]))),
        ("large", Arc::new(LargeStringArray::from(keys.to_vec()))),
        ("view", Arc::new(StringViewArray::from(keys.to_vec()))),
        ("dictionary", Arc::new(dictionary)),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("u8", Arc::new(UInt8Array::from(vec![Some(4), None, Some(0)]))),
        ("nothing", Arc::new(NullArray::new(3))),
    ]);
    assert_eq!(rows.numbers("i8").unwrap(), [Some(-1.), Some(0.), Some(1.)]);
    assert_eq!(rows.numbers("i64").unwrap()[0], Some(1_099_511_627_776.));
    assert_eq!(rows.numbers("f64").unwrap(), [None, None, Some(1.5)]);
    for text in ["large", "view", "dictionary"] {
        assert_eq!(rows.texts(text).unwrap(), keys.map(|k| k.map(str::to_owned)), "{text}");
    }
    for flag in ["bool", "u8"] {
        assert_eq!(rows.flags(flag).unwrap(), [Some(true), None, Some(false)], "{flag}");
    }
    assert_eq!(rows.flags("i8").unwrap(), [Some(true), Some(false), Some(true)]);
    assert_eq!(rows.flags("f64").unwrap(), [Some(true); 3]);
    assert_eq!(rows.numbers("nothing").unwrap(), [None; 3]);
    assert_eq!(rows.texts("nothing").unwrap(), [const { None }; 3]);
    assert_eq!(rows.ragged_flags("nothing").unwrap().present, [false; 3]);
}

#[test]
fn ragged_texts_and_flags_have_defaults_for_null() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("g"), None]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(true)]));
    let rows = rows(vec![("t", lists(&[2], &[true], texts)), ("f", lists(&[2], &[true], flags))]);
    assert_eq!(rows.ragged_text("t").unwrap().values, ["g", ""]);
    assert_eq!(rows.ragged_flags("f").unwrap().values, [false, true]);
}

#[test]
fn an_absent_column_is_missing_for_every_row() {
    let rows = rows(vec![("x", floats(&[1., 2.]))]);
    assert_eq!(rows.numbers("y").unwrap(), [None, None]);
    assert_eq!(rows.texts("y.z").unwrap(), [None, None]);
    assert_eq!(rows.ragged_f32("y").unwrap(), Ragged::absent(2, 1));
}

#[test]
fn a_column_of_another_type_says_what_it_is() {
    let rows = rows(vec![
        ("x", strings(["a"])),
        ("l", lists(&[1], &[true], strings(["a"]))),
        ("n", floats(&[1.])),
        ("d", Arc::new(Decimal128Array::from(vec![1]))),
    ]);
    let cases = [
        (data_error(rows.numbers("x")), "column `x`: expected a number, got text"),
        (data_error(rows.numbers("l")), "column `l`: expected a number, got a list of text"),
        (data_error(rows.texts("n")), "column `n`: expected text, got f32 numbers"),
        (data_error(rows.flags("x")), "column `x`: expected a flag, got text"),
        (data_error(rows.flags("d")), "column `d`: expected a flag, got Decimal128(38, 10)"),
        (data_error(rows.ragged_f32("n")), "column `n`: expected a list of numbers, got f32 numbers"),
        (data_error(rows.ragged_f32("l")), "column `l`: expected a list of numbers, got a list of text"),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn take_and_concat_keep_names_and_values_together() {
    let all =
        rows(vec![("x", floats(&[0., 1., 2.])), ("f", lists(&[1, 1, 3], &[true, false, true], floats(&[5., 6., 7.])))]);
    let picked = all.take(&[2, 0, 2]).unwrap();
    assert_eq!(picked.ids(), ["o2", "o0", "o2"]);
    assert_eq!(picked.numbers("x").unwrap(), [Some(2.), Some(0.), Some(2.)]);
    assert_eq!(picked.ragged_f32("f").unwrap().values, [6., 7., 5., 6., 7.]);
    let both = Rows::concat(&[picked, all.clone()]).unwrap();
    assert_eq!(both.ids(), ["o2", "o0", "o2", "o0", "o1", "o2"]);
    assert_eq!(both.ragged_f32("f").unwrap().present, [true, true, true, true, false, true]);
    assert!(matches!(data_error(all.take(&[3])), DataError::NoSuchRow { row: 3, rows: 3 }));
    assert!(matches!(data_error(Rows::concat(&[])), DataError::NoSuchRow { .. }));
}

#[test]
fn names_must_match_rows_in_number() {
    let result = Rows::new(vec![], batch(vec![("x", floats(&[1.]))]));
    assert!(matches!(data_error(result), DataError::IdCount { ids: 0, rows: 1 }));
}

#[test]
fn rows_can_be_sent_to_other_threads() {
    fn sendable<T: Send + Sync + Clone + std::fmt::Debug>() {}
    sendable::<Rows>();
}
