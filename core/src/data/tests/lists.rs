//! The fast way to read lists gives what arrow's readers give.

use super::super::parquet::{Canonical, ParquetFile, Run};
use super::*;
use arrow_array::types::Float64Type;
use arrow_array::{LargeListArray, PrimitiveArray};
use proptest::prelude::*;

/// A value, a null, or a list of such; as deep as the column.
#[derive(Clone, Debug)]
enum Item {
    Null,
    Value(f64),
    List(Vec<Item>),
}

fn items(depth: u32) -> BoxedStrategy<Item> {
    let null = Just(Item::Null);
    if depth == 0 {
        return prop_oneof![1 => null, 12 => (-9.0..9.0f64).prop_map(Item::Value)].boxed();
    }
    let below = proptest::collection::vec(items(depth - 1), 0..4).prop_map(Item::List);
    prop_oneof![1 => null, 5 => below].boxed()
}

/// Arrow arrays of the items.
fn build(items: &[&Item], depth: usize) -> ArrayRef {
    if depth == 0 {
        let value = |item: &&Item| if let Item::Value(v) = item { Some(*v) } else { None };
        return Arc::new(items.iter().map(value).collect::<PrimitiveArray<Float64Type>>());
    }
    let below: Vec<&Item> = items
        .iter()
        .flat_map(|item| if let Item::List(list) = item { list.iter().collect() } else { Vec::new() })
        .collect();
    let lengths = items.iter().map(|item| if let Item::List(list) = item { list.len() } else { 0 });
    let valid: Vec<bool> = items.iter().map(|item| !matches!(item, Item::Null)).collect();
    let values = build(&below, depth - 1);
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::<i64>::from_lengths(lengths);
    Arc::new(LargeListArray::new(field, offsets, values, Some(NullBuffer::from(valid))))
}

fn same(path: &Path, leaf: &DataType, depth: usize) {
    let file = ParquetFile::open(path).unwrap();
    let column = [Canonical { path: "s.x".into(), leaf: leaf.clone(), depth }];
    for (group, rows) in file.groups().enumerate().collect::<Vec<_>>() {
        for (start, count) in [(0, rows), (rows / 2, rows - rows / 2), (rows / 3, 1)] {
            let run = Run { group, start, rows: count };
            let fast = file.decode(run, &column).unwrap();
            assert_eq!(fast, file.decode_by_arrow(run, &column).unwrap(), "{run:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn nulls_and_empty_lists_of_any_level_are_read_as_arrow_reads_them(
        (depth, rows, structs) in (1u32..4).prop_flat_map(|depth| {
            let rows = proptest::collection::vec(items(depth), 3..40);
            (Just(depth as usize), rows, proptest::collection::vec(proptest::bool::weighted(0.9), 40))
        })
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let column = build(&rows.iter().collect::<Vec<_>>(), depth);
        let table = batch(vec![("s", structure("x", column, &structs[..rows.len()]))]);
        write(&path, &table, 17);
        for leaf in [DataType::Float64, DataType::Float32] {
            same(&path, &leaf, depth);
        }
    }
}

#[test]
fn real_catalogues_are_read_as_arrow_reads_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let asked =
        [("supernovae", "lightcurve.flux_err", 1), ("supernovae", "spectrum.ivar", 1), ("ztf_alerts", "image.flux", 3)];
    for (catalogue, path, depth) in asked {
        for file in list(&root.join(catalogue)).unwrap().files {
            let file = ParquetFile::open(&file).unwrap();
            let column = [Canonical { path: path.into(), leaf: DataType::Float32, depth }];
            for (group, rows) in file.groups().enumerate().collect::<Vec<_>>() {
                let run = Run { group, start: 0, rows };
                let (fast, by_arrow) =
                    (file.decode(run, &column).unwrap(), file.decode_by_arrow(run, &column).unwrap());
                // NaN is not equal to itself.
                assert_eq!(format!("{fast:?}"), format!("{by_arrow:?}"), "{catalogue} {path}");
                let bits = |batch: &RecordBatch| {
                    let rows = Rows::new(vec![String::new(); batch.num_rows()], batch.clone()).unwrap();
                    let list = rows.ragged_f32(path).unwrap();
                    (list.present, list.offsets, list.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                };
                assert_eq!(bits(&fast), bits(&by_arrow), "{catalogue} {path}");
            }
        }
    }
}
