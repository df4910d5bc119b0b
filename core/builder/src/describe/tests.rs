//! On catalogues of a few rows, each with one fault.

use super::*;
use crate::hats::{Layout, Piece, Pieces, Scratch, assemble};
use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float64Array, Int64Array, NullArray, RecordBatch, StringArray, StructArray};
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
    assert!(bad([GOOD[0], &[&[0., 0.], &[]], GOOD[2]]).contains("is nowhere above 0"));
    assert!(bad([GOOD[0], GOOD[1], &[&[4000., 4000.], &[]]]).contains("neither ascending nor descending"));
    assert!(bad([GOOD[0], &[&[1.], &[]], GOOD[2]]).contains("another length"));
    assert!(bad([&[&[f32::NAN, f32::NAN], &[]], GOOD[1], GOOD[2]]).contains("no finite value"));
    assert!(bad([GOOD[0], &[&[1., f32::INFINITY], &[]], GOOD[2]]).contains("spectrum.ivar: is infinite"));
    assert_eq!(bad([GOOD[0], GOOD[1], &[&[4000., f32::NAN], &[]]]), "spectrum.lambda: is not finite");
    assert_eq!(bad([GOOD[0], GOOD[1], &[&[0., 4000.], &[]]]), "spectrum.lambda: is not positive");
    assert_eq!(bad([GOOD[0], &[&[], &[]], GOOD[2]]), "spectrum.ivar: is missing where `spectrum.flux` is there");
    assert_eq!(
        bad([GOOD[0], &[&[1., 1.], &[1.]], GOOD[2]]),
        "spectrum.ivar: is there where `spectrum.flux` is missing"
    );
    // The whole circle: ingest and match take 360 for 0.
    assert_eq!(problems(&["a"], &[360.0], [&GOOD[0][..1], &GOOD[1][..1], &GOOD[2][..1]]), "");
}

/// Everything that is found in one file of these columns, the objects of which are called `0`, `1`, ...
fn found_in(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let names: StringArray = (0..rows).map(|row| Some(row.to_string())).collect();
    let all = std::iter::once(("object_id", Arc::new(names) as ArrayRef)).chain(columns);
    let batch = RecordBatch::try_from_iter(all).expect("columns of one length");
    let file = std::fs::File::create(folder.path().join("a.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let found = validate(folder.path(), &Checks { id: "object_id".into() }, &mut |_, _| {}).expect("a catalogue");
    let text =
        |f: Finding| format!("{} {}: {} ({})", if f.error { "error" } else { "odd" }, f.column, f.problem, f.objects);
    found.into_iter().map(text).collect()
}

/// A struct column of fields.
fn structure(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let (names, arrays): (Vec<Field>, Vec<ArrayRef>) =
        fields.into_iter().map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array)).unzip();
    Arc::new(StructArray::new(Fields::from(names), arrays, None))
}

#[test]
fn values_below_a_null_are_no_values() {
    // Lists of fixed size keep three places where they are null: nothing of `lambda` would be positive there.
    let column = |values: [f32; 3]| -> ArrayRef {
        let mut lists = FixedSizeListBuilder::new(Float32Builder::new(), 3);
        for valid in [true, false, true] {
            lists.values().append_slice(&if valid { values } else { [0.0; 3] });
            lists.append(valid);
        }
        Arc::new(lists.finish())
    };
    let fixed = structure(vec![("flux", column([1., 2., 3.])), ("lambda", column([1., 2., 3.]))]);
    let batch = RecordBatch::try_from_iter([("fixed", fixed.clone()), ("none", Arc::new(NullArray::new(3)))]);
    let mut gatherer = Gatherer::new(0);
    gatherer.add(&batch.expect("columns of one length"));
    let stats = gatherer.finish(1);
    let of = |name: &str| stats.columns.iter().find(|c| c.column == name).expect("a column");
    assert_eq!((of("fixed.flux").values, of("fixed.flux").not_finite, of("fixed.flux").mean), (6, 0, Some(2.0)));
    assert_eq!((of("none").present, of("none").missing), (0, 3));
    assert!(found_in(vec![("fixed", fixed)]).is_empty());
}

/// Images of planes of lines.
fn images(objects: &[&[&[&[f32]]]]) -> ArrayRef {
    let mut images = ListBuilder::new(ListBuilder::new(ListBuilder::new(Float32Builder::new())));
    for planes in objects {
        for lines in *planes {
            for line in *lines {
                images.values().values().values().append_slice(line);
                images.values().values().append(true);
            }
            images.values().append(true);
        }
        images.append(true);
    }
    Arc::new(images.finish())
}

#[test]
fn images_are_rectangles_of_one_shape_and_so_are_their_masks() {
    let check = |flux: &[&[&[f32]]], mask: &[&[&[f32]]]| {
        let fields = vec![("flux", images(&[flux])), ("mask", images(&[mask]))];
        found_in(vec![("image", structure(fields))]).join("; ")
    };
    let square: &[&[f32]] = &[&[0., 1.], &[0., 0.]];
    let wide: &[&[f32]] = &[&[0., 1., 0.], &[0., 0., 0.]];
    assert_eq!(check(&[square, square], &[square, square]), "");
    // One plane of flags for all planes.
    assert_eq!(check(&[square, square], &[square]), "");
    assert_eq!(check(&[square, square], &[wide]), "error image.mask: has another shape than `image.flux` (1)");
    // As many pixels, in other lines.
    let tall: &[&[f32]] = &[&[0., 1.], &[0., 0.], &[0., 0.]];
    assert_eq!(check(&[wide], &[tall]), "error image.mask: has another shape than `image.flux` (1)");
    assert_eq!(check(&[square, wide], &[square, wide]), "odd image.flux: has planes of unequal shape (1)");
    let torn: &[&[f32]] = &[&[0., 1.], &[0.]];
    assert_eq!(check(&[torn], &[torn]), "error image.flux: has lines of unequal length in a plane (1)");
}

#[test]
fn flags_of_everything_and_bands_that_nobody_knows_are_odd() {
    let mut bands = ListBuilder::new(StringBuilder::new());
    for band in ["g", "hsc-r", "mystery"] {
        bands.values().append_value(band);
        bands.values().append_value("g");
        bands.append(true);
    }
    let flux = lists(&[&[1., 2.], &[1., 2.], &[1., 2.]]);
    let check = |mask: &[&[f32]]| {
        let bands: ArrayRef = Arc::new(bands.finish_cloned());
        let fields = vec![("flux", flux.clone()), ("mask", lists(mask)), ("band", bands)];
        found_in(vec![("lightcurve", structure(fields))])
    };
    let unknown =
        "odd lightcurve.band: names `mystery`, whose wavelength is not known: a config can say it in `bands` (1)";
    assert_eq!(check(&[&[0., 1.], &[0., 1.], &[0., 1.]]), [unknown]);
    let all = "odd lightcurve.mask: flags all samples of an object (1)";
    assert_eq!(check(&[&[0., 0.], &[1., 1.], &[0., 1.]]), [unknown, all]);
    // Five of six.
    let most = "odd lightcurve.mask: flags 83 % of the samples: if it marks the good ones, a config has to say so (0)";
    assert_eq!(check(&[&[0., 1.], &[1., 1.], &[1., 1.]])[1..], [unknown, most]);
}

/// A catalogue in tiles of two objects, as it is written.
fn catalogue(out: &Path, ra: &[f64]) {
    let scratch = Scratch::open(out).expect("a folder");
    let names: StringArray = ra.iter().map(|ra| Some(format!("at {ra}"))).collect();
    let batch = RecordBatch::try_from_iter([
        ("object_id", Arc::new(names) as ArrayRef),
        ("ra", Arc::new(Float64Array::from(ra.to_vec()))),
        ("dec", Arc::new(Float64Array::from(vec![12.0; ra.len()]))),
    ])
    .expect("columns of one length");
    let mut pieces = Pieces::new("object_id", vec![]);
    pieces.push(Piece::write(&scratch.path().join("piece"), &batch, "object_id").expect("a piece"));
    let name = String::from("test");
    let layout = Layout { name, rows_per_tile: 2, ..Layout::default() };
    assemble(out, &scratch, &pieces, &layout, &mut |_, _| true).expect("assembled");
    scratch.remove().expect("removed");
}

#[test]
fn files_that_are_not_those_that_were_written_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, other) = (folder.path().join("out"), folder.path().join("other"));
    // Objects at 1 and 2, at 100, and at 300 degrees: three pixels of order 0.
    catalogue(&out, &[1.0, 2.0, 100.0, 300.0]);
    catalogue(&other, &[1.0, 100.0, 300.0, 301.0]);
    let check = || {
        let found = validate(&out, &Checks { id: "object_id".into() }, &mut |_, _| {}).expect("a catalogue");
        let text = |f: Finding| format!("{} {}: {}", if f.error { "error" } else { "odd" }, f.file, f.problem);
        found.into_iter().map(text).collect::<Vec<_>>()
    };
    assert!(check().is_empty(), "{:?}", check());
    let tiles = panchroma_core::data::list(&out).expect("a catalogue").files;
    let tile = tiles.iter().find(|t| t.ends_with("Npix=4.parquet")).expect("the tile at RA 1").clone();
    let name = "dataset/Norder=0/Dir=0/Npix=4.parquet";
    let written = std::fs::read(&tile).expect("bytes");
    // A bit that no reader minds: of the name of the writer, in the footer.
    let mut damaged = written.clone();
    let at = damaged.windows(10).rposition(|w| w == b"parquet-rs").expect("the writer");
    damaged[at] ^= 1;
    std::fs::write(&tile, damaged).expect("written");
    let differs = "is not what was written: its SHA-256 is not that in `panchroma.toml`";
    assert_eq!(check(), [format!("error {name}: {differs}")]);
    // Another file of the same name: one object instead of two.
    std::fs::copy(other.join(name), &tile).expect("copied");
    let found = check();
    assert!(found.contains(&format!("error {name}: has 1 objects, but 2 in `panchroma.toml`")), "{found:?}");
    let groups = format!("has 2 objects in 1 groups of `{name}`, the file 1 in 1");
    assert!(found.contains(&format!("error dataset/_metadata: {groups}")), "{found:?}");
    // A file that is missing.
    std::fs::remove_file(&tile).expect("removed");
    let found = check();
    for problem in [
        format!("error {name}: is missing, but `panchroma.toml` lists it"),
        "error partition_info.csv: lists Norder=0, Npix=4, which is not there".into(),
        format!("error dataset/_metadata: has rows of `{name}`, which is not there"),
    ] {
        assert!(found.contains(&problem), "{problem}: {found:?}");
    }
    std::fs::write(&tile, &written).expect("written");
    assert!(check().is_empty());
    // A file too many, and what stands beside the files.
    let more = tile.with_file_name("Npix=9.parquet");
    std::fs::copy(&tile, &more).expect("copied");
    std::fs::write(out.join("partition_info.csv"), "junk").expect("written");
    std::fs::remove_file(out.join("dataset/_metadata")).expect("removed");
    std::fs::remove_file(out.join("dataset/_common_metadata")).expect("removed");
    let found = check();
    for problem in [
        "error dataset/Norder=0/Dir=0/Npix=9.parquet: is not among the files that `panchroma.toml` lists",
        "error partition_info.csv: is no list of tiles: expected a line `Norder,Npix`, then a line for each",
        "odd dataset/_metadata: is missing: `hats` and `lsdb` read the columns from it",
        "odd dataset/_common_metadata: is missing: `hats` and `lsdb` read the columns from it",
    ] {
        assert!(found.contains(&problem.to_owned()), "{problem}: {found:?}");
    }
    std::fs::remove_file(&more).expect("removed");
    // Others write no `panchroma.toml`, and `_common_metadata` alone.
    std::fs::remove_file(out.join("panchroma.toml")).expect("removed");
    std::fs::write(out.join("partition_info.csv"), "Norder,Dir,Npix\n0,0,4\n0,0,7\n").expect("written");
    std::fs::copy(other.join("dataset/_common_metadata"), out.join("dataset/_common_metadata")).expect("copied");
    let npix: Vec<String> = tiles.iter().map(|t| t.file_name().expect("a name").to_string_lossy().into()).collect();
    assert_eq!(npix, ["Npix=4.parquet", "Npix=5.parquet", "Npix=7.parquet"]);
    assert_eq!(check(), ["error partition_info.csv: lacks Norder=0, Npix=5, which is there"]);
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

/// One row with the planes of an image, each of lines.
fn image(planes: &[&[&[f32]]]) -> ArrayRef {
    let mut image = ListBuilder::new(ListBuilder::new(ListBuilder::new(Float32Builder::new())));
    for plane in planes {
        for line in *plane {
            image.values().values().values().append_slice(line);
            image.values().values().append(true);
        }
        image.values().append(true);
    }
    image.append(true);
    Arc::new(image.finish())
}

fn measured(column: ArrayRef) -> Vec<Measured> {
    let row = RecordBatch::try_from_iter([("seen", column)]).expect("a batch");
    Object { id: "a".into(), file: "a.parquet".into(), row, units: Default::default() }.measured().0
}

#[test]
fn what_cannot_be_drawn_is_said_with_its_reason() {
    let reasons = |column: ArrayRef| -> Vec<String> {
        let reason = |m: Measured| match m {
            Measured::Undrawn { name, reason } => format!("{name}: {reason}"),
            drawn => format!("{drawn:?}").chars().take(6).collect(),
        };
        measured(column).into_iter().map(reason).collect()
    };
    let nan = f32::NAN;
    assert_eq!(reasons(image(&[&[&[1.], &[2., 3.]]])), ["seen: the lines of its plane differ in length"]);
    let three = image(&[&[&[1., 2.], &[3., 4.]], &[&[1., 2.], &[3.]], &[&[nan, nan], &[nan, nan]]]);
    let said = ["Planes", "seen: every pixel of 1 of its 3 planes is flagged or not finite"];
    assert_eq!(reasons(three), [said[0], said[1], "seen: the lines of 1 of its 3 planes differ in length"]);
    assert_eq!(reasons(lists(&[&[nan]])), ["seen: every sample is flagged or not finite"]);
    let masks = structure(vec![("mask", lists(&[&[1.0]]))]);
    assert_eq!(reasons(masks), ["seen: none of its fields holds values"]);
}

#[test]
fn pixels_know_their_width_on_the_sky() {
    let flux = image(&[&[&[1., 2.]], &[&[3., 4.]]]);
    let scales = |scale: ArrayRef| match measured(structure(vec![("flux", flux.clone()), ("scale", scale)])).as_slice()
    {
        [Measured::Planes { planes, .. }] => planes.iter().map(|p| p.scale.clone().map(|s| s.0)).collect::<Vec<_>>(),
        other => panic!("planes, not {other:?}"),
    };
    // One for all planes, or one for each; 0 is none.
    assert_eq!(scales(Arc::new(Float64Array::from(vec![0.25]))), [Some(0.25), Some(0.25)]);
    assert_eq!(scales(lists(&[&[0.5, 0.0]])), [Some(0.5), None]);
}

fn left_out(measured: &[Measured]) -> Vec<usize> {
    let of = |m: &Measured| if let Measured::Samples { left_out, .. } = m { Some(*left_out) } else { None };
    measured.iter().filter_map(of).collect()
}

#[test]
fn few_samples_along_t_have_it_as_their_axis() {
    let phot = structure(vec![("mag", lists(&[&[18., 17.]])), ("t", lists(&[&[3., 9.]]))]);
    let found = measured(phot);
    assert_eq!(left_out(&found), [0]);
    assert_eq!(left_out(&measured(lists(&[&[1.0, f32::NAN, 3.0]]))), [1]);
    let [Measured::Samples { axis, value, groups, .. }] = found.as_slice() else { panic!("not {found:?}") };
    assert_eq!((axis.name.as_str(), value.name.as_str()), ("t", "mag"));
    assert_eq!(groups[0].1[1], Sampled { at: 9.0, value: 17.0, error: 0.0 });
}

#[test]
fn a_struct_of_plain_values_is_columns() {
    let row = RecordBatch::try_from_iter([("fit", structure(vec![("chi2", Arc::new(Float64Array::from(vec![1.5])))]))]);
    let row = row.expect("a batch");
    let (drawn, facts) = Object { id: "a".into(), file: "a.parquet".into(), row, units: Default::default() }.measured();
    assert!(drawn.is_empty());
    assert_eq!(facts, [("fit.chi2".to_owned(), "1.5".to_owned())]);
}
