//! Tiles and what stands beside them. Catalogues made by ingest and match were judged by `hats` 0.11.1
//! (`is_valid_catalog(strict=True)`) and opened and cross-matched by `lsdb` 0.11.1.

use super::tiles::choose;
use super::*;
use arrow_array::{ArrayRef, Float64Array, StringArray};
use proptest::prelude::*;
use std::sync::Arc;

proptest! {
    #[test]
    fn tiles_hold_every_object_once_and_no_more_than_allowed(
        mut pixels in proptest::collection::vec(0i64..(12 << 58), 0..300),
        most in 1u64..40,
    ) {
        pixels.sort_unstable();
        let tiles = choose(&pixels, most);
        prop_assert_eq!(tiles.iter().map(|t| t.rows).sum::<u64>(), pixels.len() as u64);
        for tile in &tiles {
            let inside = pixels.iter().filter(|p| tile.range().contains(p)).count() as u64;
            prop_assert_eq!(inside, tile.rows);
            prop_assert!(tile.rows <= most || tile.order == 18);
        }
    }
}

fn piece(folder: &Path, number: usize, ids: &[&str], ra: &[f64]) -> Result<Piece> {
    let batch = RecordBatch::try_from_iter([
        ("object_id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef),
        ("ra", Arc::new(Float64Array::from(ra.to_vec()))),
        ("dec", Arc::new(Float64Array::from(vec![12.0; ra.len()]))),
    ])
    .expect("columns of one length");
    Piece::write(&folder.join(format!("piece-{number:06}-000.parquet")), &batch, "object_id")
}

#[test]
fn pieces_become_a_catalogue_with_all_that_belongs_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let scratch = Scratch::open(&out).expect("a folder");
    let mut pieces = Pieces::new("object_id", vec![]);
    pieces.push(piece(&partial(&out), 0, &["a", "b", "c"], &[300.0, 1.0, 100.0]).expect("a piece"));
    pieces.push(piece(&partial(&out), 1, &["d"], &[1.0]).expect("a piece"));
    let layout = Layout {
        name: "test".into(),
        rows_per_tile: 2,
        beside: vec![("note.txt".into(), b"beside".to_vec())],
        ..Layout::default()
    };
    let mut last = (0, 0);
    let mut note = |done, total| {
        last = (done, total);
        true
    };
    assemble(&out, &scratch, &pieces, &layout, &mut note).expect("assembled");
    scratch.remove().expect("removed");
    assert_eq!(last, (4, 4));
    for name in ["hats.properties", "properties", "partition_info.csv", "panchroma.toml", "note.txt"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let metadata = fs::read(out.join("dataset/_metadata")).expect("bytes");
    assert!(metadata.starts_with(b"PAR1") && metadata.ends_with(b"PAR1"));
    assert!(fs::read_to_string(out.join("hats.properties")).expect("text").contains("hats_nrows=4"));
    assert_eq!(crate::describe::Table::open(&out).expect("a catalogue").rows, 4);
    assert!(!partial(&out).exists());
}

#[test]
fn positions_that_are_none_and_names_that_are_double_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for ra in [f64::NAN, -0.5, 361.0, f64::INFINITY] {
        let error = piece(folder.path(), 0, &["a"], &[ra]).expect_err("no position");
        assert!(error.to_string().contains("object `a`, column `ra`"), "{error}");
    }
    let mut pieces = Pieces::new("object_id", vec![]);
    pieces.push(piece(folder.path(), 0, &["a", "b"], &[1.0, 2.0]).expect("a piece"));
    pieces.push(piece(folder.path(), 1, &["b"], &[3.0]).expect("a piece"));
    let error = pieces.check_unique().expect_err("double");
    assert!(error.to_string().contains("two objects are called `b`"), "{error}");
}
