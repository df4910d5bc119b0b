//! On catalogues of a few rows, each with one fault.

use super::*;
use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{Field, Fields};
use panchroma_core::Error;
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

fn lists(rows: &[&[f32]]) -> ArrayRef {
    let mut builder = ListBuilder::new(Float32Builder::new());
    for row in rows {
        builder.values().append_slice(row);
        builder.append(!row.is_empty());
    }
    Arc::new(builder.finish())
}

fn write(path: &Path, ids: &[&str], ra: &[f64], spectra: [&[&[f32]]; 3]) {
    let [flux, ivar, lambda] = spectra.map(lists);
    let field = |name: &str, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
    let fields = Fields::from(vec![field("flux", &flux), field("ivar", &ivar), field("lambda", &lambda)]);
    let spectrum = StructArray::new(fields, vec![flux, ivar, lambda], None);
    let dec = vec![5.0; ra.len()];
    let pixels: Vec<i64> = ra
        .iter()
        .map(|ra| if ra.is_nan() { 0.0 } else { *ra })
        .map(|ra: f64| cdshealpix::nested::hash(29, ra.to_radians(), 5f64.to_radians()) as i64)
        .collect();
    let batch = RecordBatch::try_from_iter([
        ("object_id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef),
        ("ra", Arc::new(Float64Array::from(ra.to_vec()))),
        ("dec", Arc::new(Float64Array::from(dec))),
        ("_healpix_29", Arc::new(Int64Array::from(pixels))),
        ("spectrum", Arc::new(spectrum)),
    ])
    .expect("columns of one length");
    let file = std::fs::File::create(path).expect("a new file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

const GOOD: [&[&[f32]]; 3] = [&[&[1., 2.], &[]], &[&[1., 1.], &[]], &[&[4000., 4001.], &[]]];

#[test]
fn stats_count_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("a.parquet"), &["a", "b"], &[10.0, 11.0], GOOD);
    let table = Table::open(folder.path()).expect("a catalogue");
    let stats = stats(&table, &mut |_, _| {}).expect("stats");
    assert_eq!(stats.objects, 2);
    assert_eq!((stats.modalities[0].name.as_str(), stats.modalities[0].objects), ("spectrum", 1));
    let flux = stats.columns.iter().find(|c| c.column == "spectrum.flux").expect("a column");
    assert_eq!((flux.present, flux.missing, flux.values, flux.depth), (1, 1, 2, 1));
    assert_eq!(flux.mean, Some(1.5));
    assert_eq!(flux.percentiles.expect("numbers")[3], 1.5);
    assert_eq!(flux.lengths, Some([2.0, 2.0, 2.0]));
}

#[test]
fn validation_is_silent_on_a_sound_catalogue_and_finds_each_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.parquet");
    let problems = |ids: &[&str], ra: &[f64], spectra: [&[&[f32]]; 3]| {
        write(&file, ids, ra, spectra);
        let checks = Checks { id: "object_id".into() };
        let found = validate(folder.path(), &checks, &mut |_, _| {}).expect("a catalogue");
        found.iter().map(|f| format!("{}: {}", f.column, f.problem)).collect::<Vec<_>>().join("; ")
    };
    // Ascending pixels: checked, not assumed.
    let (a, b) = (10.0, 11.0);
    let sorted = |x: f64| cdshealpix::nested::hash(29, x.to_radians(), 5f64.to_radians());
    let (low, high) = if sorted(a) < sorted(b) { (a, b) } else { (b, a) };
    assert_eq!(problems(&["a", "b"], &[low, high], GOOD), "");
    assert!(problems(&["a", "a"], &[low, high], GOOD).contains("object_id: names two objects"));
    assert!(problems(&["a", "b"], &[high, low], GOOD).contains("rows are not sorted"));
    assert!(problems(&["a", "b"], &[400.0, high], GOOD).contains("not in 0 to 360"));
    assert!(problems(&["a", "b"], &[f64::NAN, high], GOOD).contains("not a position"));
    let bad = |spectra| problems(&["a", "b"], &[low, high], spectra);
    assert!(bad([GOOD[0], &[&[1., -1.], &[]], GOOD[2]]).contains("spectrum.ivar: is negative"));
    assert!(bad([GOOD[0], &[&[0., 0.], &[]], GOOD[2]]).contains("is 0 everywhere"));
    assert!(bad([GOOD[0], GOOD[1], &[&[4000., 4000.], &[]]]).contains("neither ascending nor descending"));
    assert!(bad([GOOD[0], &[&[1.], &[]], GOOD[2]]).contains("another length"));
    assert!(bad([&[&[f32::NAN, f32::NAN], &[]], GOOD[1], GOOD[2]]).contains("no finite value"));
}

#[test]
fn a_damaged_file_and_other_columns_are_findings() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("a.parquet"), &["a", "b"], &[10.0, 10.0], GOOD);
    let other = RecordBatch::try_from_iter([("object_id", Arc::new(StringArray::from(vec!["c"])) as ArrayRef)])
        .expect("a batch");
    let file = std::fs::File::create(folder.path().join("b.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, other.schema(), None).expect("a writer");
    writer.write(&other).expect("written");
    writer.close().expect("closed");
    std::fs::write(folder.path().join("c.parquet"), b"PAR1 cut short").expect("written");
    let checks = Checks { id: "object_id".into() };
    let found = validate(folder.path(), &checks, &mut |_, _| {}).expect("a catalogue");
    assert!(found.iter().any(|f| f.column == "ra" && f.problem.contains("is missing")), "{found:?}");
    assert!(found.iter().any(|f| f.file == "c.parquet" && f.problem.contains("can't be read")), "{found:?}");
}

#[test]
fn an_object_is_found_by_name_with_its_samples() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("a.parquet"), &["sn1", "sn2"], &[10.0, 11.0], GOOD);
    let table = Table::open(folder.path()).expect("a catalogue");
    let (measured, facts) = find(&table, "object_id", "sn1").expect("there").measured();
    let Measured::Samples { axis, groups, .. } = &measured[0] else { panic!("samples, not {measured:?}") };
    assert_eq!(axis.name, "lambda");
    assert_eq!(groups[0].1[1], Sampled { at: 4001.0, value: 2.0, error: 1.0 });
    assert_eq!(facts[0], ("object_id".into(), "sn1".into()));
    assert!(find(&table, "object_id", "sn2").expect("there").measured().0.is_empty());
    match find(&table, "object_id", "sn3") {
        Err(Error::UnknownName { known, .. }) => assert!(known.contains(&"sn1".to_owned())),
        other => panic!("expected an unknown name, got {other:?}"),
    }
    assert!(find(&table, "name", "sn1").expect_err("no such column").to_string().contains("no column `name`"));
}

#[test]
fn images_become_planes_with_flagged_pixels_left_out() {
    let flux = Arc::new(nested(&[[1., 2.], [3., 4.]])) as ArrayRef;
    let mask = Arc::new(nested(&[[0., 1.], [0., 0.]])) as ArrayRef;
    let fields = |array: &ArrayRef, name: &str| Field::new(name, array.data_type().clone(), true);
    let image =
        StructArray::new(Fields::from(vec![fields(&flux, "flux"), fields(&mask, "mask")]), vec![flux, mask], None);
    let row = RecordBatch::try_from_iter([("image", Arc::new(image) as ArrayRef)]).expect("a batch");
    let (measured, _) = Object { id: "a".into(), file: "a.parquet".into(), row, units: Default::default() }.measured();
    let Measured::Planes { planes, .. } = &measured[0] else { panic!("planes, not {measured:?}") };
    assert_eq!((planes[0].width, planes[0].values[0], planes[0].values[3]), (2, 1.0, 4.0));
    assert!(planes[0].values[1].is_nan());
}

/// One row with one plane.
fn nested(lines: &[[f32; 2]]) -> arrow_array::ListArray {
    let mut planes = ListBuilder::new(ListBuilder::new(ListBuilder::new(Float32Builder::new())));
    for line in lines {
        planes.values().values().values().append_slice(line);
        planes.values().values().append(true);
    }
    planes.values().append(true);
    planes.append(true);
    planes.finish()
}

#[test]
fn measurements_of_any_names_are_told_apart_by_what_they_hold() {
    let field = |name: &str, array: &ArrayRef, unit: &str| {
        let unit = std::collections::HashMap::from([("unit".to_owned(), unit.to_owned())]);
        Field::new(name, array.data_type().clone(), true).with_metadata(unit)
    };
    let (power, frequency) = (lists(&[&[5., 1., 2.]]), lists(&[&[1., 2., 3.]]));
    let fields = Fields::from(vec![field("power", &power, "mV^2/Hz"), field("frequency_hz", &frequency, "Hz")]);
    let spectrum = StructArray::new(fields, vec![power, frequency], None);
    let lead = Arc::new(nested(&[[1., 2.], [3., 4.]])) as ArrayRef;
    let image = StructArray::new(Fields::from(vec![field("amplitude", &lead, "")]), vec![lead], None);
    let row = RecordBatch::try_from_iter([
        ("spectrum", Arc::new(spectrum) as ArrayRef),
        ("image", Arc::new(image)),
        ("interval", Arc::new(Float64Array::from(vec![7.0 / 9.0]))),
    ])
    .expect("a batch");
    let units = [("interval".to_owned(), "s".to_owned())].into();
    let (measured, facts) = Object { id: "a".into(), file: "a.parquet".into(), row, units }.measured();
    let Measured::Samples { axis, value, groups, .. } = &measured[0] else { panic!("samples, not {measured:?}") };
    let quantity = |name: &str, unit: &str| Quantity { name: name.into(), unit: Some(unit.into()) };
    assert_eq!((axis, value), (&quantity("frequency_hz", "Hz"), &quantity("power", "mV^2/Hz")));
    assert_eq!(groups[0].1[2], Sampled { at: 3.0, value: 2.0, error: 0.0 });
    assert!(matches!(&measured[1], Measured::Planes { name, .. } if name == "image"));
    assert_eq!(facts, [("interval".to_owned(), "0.777777778 s".to_owned())]);
}
