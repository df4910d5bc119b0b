//! Each format against what was written. Beyond these, all 927 columns and images of eleven FITS files of
//! SDSS, DES, MaNGA, LEGA-C and SNANA were compared with astropy 8.0: same counts, same sums.

use super::*;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use fits_well::FitsWriter;
use fits_well::image::{Image, Scaling};
use fits_well::table::{Builder, ColumnData, DescriptorWidth, Ragged, WriteColumn};
use serde_json::json;
use std::path::PathBuf;

fn fits(folder: &Path) -> PathBuf {
    let path = folder.join("a.fits");
    let image = Image::new(vec![3, 2], vec![1f32, 2., 3., 4., 5., f32::NAN], Scaling::IDENTITY).expect("an image");
    let mut table = Builder::new();
    let mut push = |column| {
        table.push(column).expect("a column");
    };
    push(WriteColumn::scalar("ID", ColumnData::I64(vec![1 << 60, 2])));
    push(WriteColumn::characters("NAME", ["Vega", "Rigel"], 8).expect("texts"));
    push(WriteColumn::scalar("MAG", ColumnData::F64(vec![0.03, 0.13])).with_unit("mag"));
    push(WriteColumn::fixed("POS", ColumnData::F32(vec![1., 2., 3., 4.]), 2));
    let rows = Ragged::from_rows([ColumnData::F32(vec![1.0]), ColumnData::F32(vec![2.0, 2.5])]).expect("lists");
    push(WriteColumn::vla("FLUXES", rows, DescriptorWidth::P));
    let mut writer = FitsWriter::new(File::create(&path).expect("a file"));
    writer.write_image(image.view(), None).expect("an image");
    writer.write_table(&table, None).expect("a table");
    path
}

#[test]
fn fits_images_and_tables_come_with_types_units_and_shapes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = fits(folder.path());
    let mut file = open(&path).expect("opens");
    let pixels = file.read(0, "image", 0..1).expect("pixels");
    let lines = pixels.as_list::<i32>().value(0);
    assert_eq!(lines.len(), 2, "lines of three pixels");
    assert_eq!(lines.as_list::<i32>().value(1).as_primitive::<Float32Type>().value(0), 4.0);
    let units: Vec<_> = file.parts()[1].fields.iter().map(|f| f.unit.as_deref()).collect();
    assert_eq!(units, [None, None, Some("mag"), None, None]);
    let id = file.read(1, "id", 0..2).expect("any case");
    assert_eq!(id.as_primitive::<Int64Type>().value(0), 1 << 60, "whole numbers stay exact");
    assert_eq!(file.read(1, "NAME", 0..2).expect("texts").as_string::<i32>().value(1), "Rigel");
    assert_eq!(file.read(1, "MAG", 1..2).expect("numbers").as_primitive::<Float64Type>().value(0), 0.13);
    let fluxes = file.read(1, "FLUXES", 1..2).expect("lists");
    assert_eq!(fluxes.as_list::<i32>().value(0).as_primitive::<Float64Type>().values(), &[2.0, 2.5]);
    let position = file.read(1, "POS", 1..2).expect("vectors");
    assert_eq!(position.as_list::<i32>().value(0).as_primitive::<Float32Type>().values(), &[3., 4.]);
    assert_eq!(file.keyword(1, "TFIELDS"), Some(Value::from(5)));
}

#[test]
fn whole_numbers_without_sign_stay_exact_and_long_keywords_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("u.fits.packed");
    let mut table = Builder::new();
    let mut push = |name: &str, data, zero: f64| {
        table.push(WriteColumn::scalar(name, data).with_scaling(1.0, zero)).expect("a column");
    };
    push("U16", ColumnData::I16(vec![-32768, 32767]), 32768.0);
    push("U64", ColumnData::I64(vec![i64::MIN, i64::MAX]), 9_223_372_036_854_775_808.0);
    let mut header = fits_well::header::Header::new();
    header.set("HIERARCH ESO DET NAME", "blue").expect("a keyword");
    let mut packed = flate2::write::GzEncoder::new(File::create(&path).expect("a file"), flate2::Compression::fast());
    let mut writer = FitsWriter::new(&mut packed);
    writer.write_table(&table, Some(&header)).expect("a table");
    drop(writer);
    packed.finish().expect("written");
    let mut file = open(&path).expect("opens under any name");
    let types: Vec<_> = file.parts()[1].fields.iter().map(|f| f.data_type.clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::UInt64]);
    let mut text = |name: &str| {
        let array = file.read_text(1, name, 0..2).expect("text");
        array.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(text("U16"), ["0", "65535"]);
    assert_eq!(text("U64"), ["0", "18446744073709551615"]);
    assert_eq!(file.keyword(1, "ESO DET NAME"), Some(Value::from("blue")));
}

#[test]
fn parquet_columns_are_read_in_parts_whatever_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let inner = arrow_array::RecordBatch::try_from_iter([
        ("x", std::sync::Arc::new(arrow_array::Int32Array::from_iter_values(0..1000)) as ArrayRef),
        ("y", std::sync::Arc::new(arrow_array::Int32Array::from_iter_values(2000..3000))),
    ])
    .expect("a batch");
    let batch = arrow_array::RecordBatch::try_from_iter([
        ("a.x", std::sync::Arc::new(arrow_array::Int32Array::from_iter_values(5000..6000)) as ArrayRef),
        ("b", std::sync::Arc::new(arrow_array::StructArray::from(inner))),
    ])
    .expect("a batch");
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(File::create(&path).expect("a file"), batch.schema(), None)
        .expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let mut file = open(&path).expect("opens");
    for (name, first) in [("a.x", 5000), ("b.x", 0), ("b.y", 2000)] {
        // On, over several parts, and back.
        for rows in [0..10, 10..700, 700..1000, 3..5, 1000..1000] {
            let read = file.read(0, name, rows.clone()).expect("rows");
            let read = read.as_primitive::<arrow_array::types::Int32Type>();
            let expected: Vec<i32> = rows.map(|row| first + row as i32).collect();
            assert_eq!(read.values(), expected.as_slice(), "{name}");
        }
    }
}

#[test]
fn a_cut_or_damaged_fits_file_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(fits(folder.path())).expect("bytes");
    let path = folder.path().join("cut.fits");
    for length in (1..whole.len()).step_by(97).chain([2880, 5760]) {
        std::fs::write(&path, &whole[..length]).expect("written");
        // A cut at the border of an HDU leaves a whole, shorter file, in which parts are missing.
        if let Ok(file) = open(&path) {
            assert_eq!((length % 2880, file.parts().len()), (0, 1), "{length} bytes");
        }
    }
    for place in (0..whole.len()).step_by(31) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x41;
        std::fs::write(&path, &bytes).expect("written");
        let Ok(mut file) = open(&path) else { continue };
        for (i, part) in file.parts().to_vec().iter().enumerate() {
            for field in part.fields.iter().filter(|_| part.rows < 1000) {
                let _ = file.read(i, &field.name, 0..part.rows);
            }
        }
    }
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = fits(folder.path());
    let mut file = open(&path).expect("opens");
    let error = file.read(1, "MAGG", 0..2).expect_err("no such column");
    assert!(
        error.to_string().contains("part 1, has no column `MAGG`")
            || error.to_string().contains("has no column `MAGG`")
    );
    assert!(error.hint().expect("a hint").contains("MAG"), "{:?}", error.hint());
    let error = find_part(&path, file.parts(), "COADD").expect_err("no such part");
    assert!(error.to_string().contains("has no part `COADD`"), "{error}");
    assert_eq!(find_part(&path, file.parts(), "1").expect("by number"), 1);
    assert!(file.read(1, "MAG", 0..3).is_err(), "more rows than there are");
}

#[test]
fn hdf5_groups_become_parts_and_shared_arrays_are_no_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.hdf5");
    let file = rust_hdf5::H5File::create(&path).expect("a file");
    let flux = file.new_dataset::<f32>().shape([2usize, 3]).create("spectrum_flux").expect("a set");
    flux.write_raw(&[1f32, 2., 3., 4., 5., 6.]).expect("written");
    file.new_dataset::<f64>().shape([2usize]).create("ra").expect("a set").write_raw(&[10f64, 20.]).expect("written");
    let grid = file.new_dataset::<f32>().shape([3usize]).create("lambda").expect("a set");
    grid.write_raw(&[4000f32, 4001., 4002.]).expect("written");
    file.write_vlen_strings("object_id", &["a", "b"]).expect("texts");
    let big = file.new_dataset::<u64>().shape([2usize]).create("big").expect("a set");
    big.write_raw(&[1u64, u64::MAX]).expect("written");
    file.set_attr_string("survey", "hsc").expect("an attribute");
    file.set_attr_numeric("version", &3i64).expect("an attribute");
    file.close().expect("closed");
    let mut file = open(&path).expect("opens");
    let part = file.parts()[0].clone();
    assert_eq!(part.rows, 2);
    let per_row: Vec<_> = part.fields.iter().filter(|f| !f.per_row).map(|f| f.name.as_str()).collect();
    assert_eq!(per_row, ["lambda"]);
    let second = file.read(0, "spectrum_flux", 1..2).expect("a row");
    assert_eq!(second.as_list::<i32>().value(0).as_primitive::<Float32Type>().values(), &[4., 5., 6.]);
    assert_eq!(file.read(0, "object_id", 1..2).expect("texts").as_string::<i32>().value(0), "b");
    assert_eq!(file.read_text(0, "big", 0..2).expect("numbers").as_string::<i32>().value(1), "18446744073709551615");
    assert_eq!((file.keyword(0, "survey"), file.keyword(0, "version")), (Some("hsc".into()), Some(3.into())));
    let bytes = std::fs::read(&path).expect("bytes");
    for length in (8..bytes.len()).step_by(61) {
        std::fs::write(folder.path().join("cut.hdf5"), &bytes[..length]).expect("written");
        if let Ok(mut file) = open(&folder.path().join("cut.hdf5")) {
            for field in file.parts()[0].clone().fields {
                let _ = file.read(0, &field.name, 0..2);
            }
        }
    }
}

/// By `fixtures/hdf5_attributes.py`.
#[test]
fn hdf5_attributes_of_groups_have_the_types_that_they_were_written_with() {
    for version in ["old", "new"] {
        let name = format!("fixtures/hdf5_attributes_{version}.hdf5");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let file = open(&path).expect("opens");
        let of = |part: &str, key: &str| {
            let part = find_part(&path, file.parts(), part).expect("a group");
            file.keyword(part, key)
        };
        for group in ["a", "a/b"] {
            let expected = [
                ("redshift", json!(0.1)),
                ("single", json!(0.5)),
                // Its bytes are `abcd`.
                ("count", json!(1_684_234_849)),
                ("negative", json!(-3)),
                ("byte", json!(200)),
                ("big_endian", json!(2.5)),
                ("large", json!(u64::MAX)),
                ("flag", json!(true)),
                ("one", json!(7)),
                ("name", json!(group)),
                ("fixed", json!("fixed text")),
            ];
            for (key, value) in expected {
                assert_eq!(of(group, key), Some(value), "{version} {group} {key}");
            }
            assert_eq!(of(group, "two"), None);
            let part = &file.parts()[find_part(&path, file.parts(), group).expect("a group")];
            assert_eq!(part.fields[0].unit.as_deref(), Some("Jy"));
        }
        for i in 0..5 {
            assert_eq!(of("few", &format!("key{i}")), Some(json!(f64::from(i) * 0.5)), "{version}");
        }
        for i in 0..40 {
            assert_eq!(of("many", &format!("key{i}")), Some(json!(f64::from(i) * 0.5)), "{version}");
            assert_eq!(of(&format!("groups/{i}"), "number"), Some(json!(i)), "{version}");
        }
    }
}

#[test]
fn damaged_hdf5_attributes_are_never_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    for version in ["old", "new"] {
        let name = format!("fixtures/hdf5_attributes_{version}.hdf5");
        let whole = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("bytes");
        let path = folder.path().join("damaged.hdf5");
        for at in (8..whole.len()).step_by(173) {
            let mut damaged = whole.clone();
            damaged[at..whole.len().min(at + 4)].iter_mut().for_each(|byte| *byte ^= 0xa5);
            for bytes in [&damaged, &whole[..at].to_vec()] {
                std::fs::write(&path, bytes).expect("written");
                let _ = open(&path);
            }
        }
    }
}

#[test]
fn units_of_parquet_are_found_as_fields_or_astropy_have_them() {
    let unit = |key: &str, unit: &str| std::collections::HashMap::from([(key.to_owned(), unit.to_owned())]);
    let inner = arrow_schema::Field::new("flux", DataType::Float32, true).with_metadata(unit("unit", "Jy"));
    let fields = vec![
        arrow_schema::Field::new("ra", DataType::Float64, true),
        arrow_schema::Field::new("t", DataType::Float64, true).with_metadata(unit("units", "d")),
        arrow_schema::Field::new("s", DataType::Struct(vec![inner].into()), true),
    ];
    let yaml = "datatype:\n- {name: id, datatype: string}\n- {name: ra, unit: hourangle, datatype: float64}\n";
    let schema = arrow_schema::Schema::new(fields).with_metadata(unit("table_meta_yaml", yaml));
    let found: Vec<(String, String)> = units(&schema).into_iter().collect();
    let expected = [("ra", "hourangle"), ("s.flux", "Jy"), ("t", "d")];
    assert_eq!(found, expected.map(|(column, unit)| (column.to_owned(), unit.to_owned())));
}

#[test]
fn text_tables_find_their_separator_types_and_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        open(&path)
    };
    let ecsv = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, unit: deg, datatype: float64}\n\
                # - {name: good, datatype: bool}\nra good\n1.5 True\n\"\" False\n";
    let mut file = write("a.ecsv", ecsv).expect("opens");
    assert_eq!(file.parts()[0].fields[0].unit.as_deref(), Some("deg"));
    assert_eq!(file.parts()[0].fields[1].data_type, DataType::Boolean);
    assert!(!file.read(0, "good", 1..2).expect("flags").as_boolean().value(0));
    let mut file = write("b.csv", "id,mag,n\n\"a, b\",nan,1\nc,3.5,2\n").expect("opens");
    assert_eq!(file.read(0, "id", 0..1).expect("texts").as_string::<i32>().value(0), "a, b");
    let mag = file.read(0, "mag", 0..2).expect("numbers");
    assert!(mag.is_null(0) && mag.as_primitive::<Float64Type>().value(1) == 3.5);
    assert_eq!(file.parts()[0].fields[2].data_type, DataType::Int64);
    let mut file = write("c.flm", "4000 1.5\n4001 1.6\n").expect("opens");
    assert_eq!(file.read(0, "column2", 1..2).expect("numbers").as_primitive::<Float64Type>().value(0), 1.6);
    let error = write("d.csv", "a,b\n1,2\n1,2,3\n").err().expect("unequal lines");
    assert!(error.to_string().contains("line 3 has 3 values, expected 2"), "{error}");
    assert!(write("e.csv", "").err().expect("empty").to_string().contains("is empty"));
    assert!(write("e.csv", "\n# x\n").err().expect("empty").to_string().contains("has no line"));
    assert!(write("f.png", "\u{1}\u{2}").err().expect("unknown").to_string().contains("no known kind"));
}

/// A table of text, all of whose cells are read as text.
fn table(text: &[u8]) -> std::result::Result<Vec<Vec<Option<String>>>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.csv");
    std::fs::write(&path, text).expect("written");
    let mut file = open(&path).map_err(|e| format!("{e} {}", e.hint().unwrap_or_default()))?;
    let part = file.parts()[0].clone();
    let column = |name: &str| {
        let array = file.read_text(0, name, 0..part.rows).expect("text");
        array.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
    };
    Ok(part.fields.iter().map(|f| f.name.as_str()).map(column).collect())
}

fn cells(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|v| (!v.is_empty()).then(|| (*v).to_owned())).collect()
}

#[test]
fn text_is_as_the_file_has_it() {
    let names = ["007", "1e5", "12345678901234567890", "FALSE", "NA", "#9", "#10"];
    let text = format!("id,x\n{}\n", names.map(|n| format!("{n},1")).join("\n"));
    assert_eq!(table(text.as_bytes()).expect("a table")[0], cells(&names));
    // Quotes hold separators, quotes, comment signs and lines.
    let found = table(b"id,note\r\na,\"x, \"\"y\"\"\n# no comment\n\nz\"\r\n\r\nb,\n").expect("a table");
    assert_eq!(found, [cells(&["a", "b"]), cells(&["x, \"y\"\n# no comment\n\nz", ""])]);
    // Names behind the sign of a comment; a comment that is none of names.
    assert_eq!(table(b"#id,ra,dec\na,1,2\nb,3,4\n").expect("a table")[0], cells(&["a", "b"]));
    assert_eq!(table(b"# made by hand\nid,ra\na,1\n").expect("a table")[0], cells(&["a"]));
    assert_eq!(table("\u{feff}id;ra\n\u{3b1};1\n".as_bytes()).expect("a table")[0], cells(&["\u{3b1}"]));
}

#[test]
fn text_that_can_not_be_a_table_says_where() {
    let said = |text: &[u8]| table(text).expect_err("refused");
    assert!(said(b"id,x\na,1\nb,\"open\nc,2\n").contains("line 3 opens a quote that nothing closes"));
    assert!(said(b"id,x,id\na,1,2\n").contains("has two columns `id`"));
    assert!(said(b"id,x\na,1\nb\xe9,2\n").contains("line 3 is no UTF-8 save it as UTF-8; from Latin-1 by"));
    assert!(said(b"\xff\xfei\0d\0").contains("is UTF-16"));
    assert!(said(b"id,x\na,1\n\nb,1,2\n").contains("line 4 has 3 values, expected 2"));
}

#[test]
fn columns_have_the_narrowest_type_or_the_declared_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.ecsv");
    let header = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string}\n# - {name: z, unit: '', datatype: float32}\n\
                  # - {name: note, datatype: string}\n";
    std::fs::write(&path, format!("{header}id z note\n0012 1 \"a b\"\n0013 \"\" \"\"\n")).expect("written");
    let mut file = open(&path).expect("opens");
    let types: Vec<_> = file.parts()[0].fields.iter().map(|f| f.data_type.clone()).collect();
    assert_eq!(types, [DataType::Utf8, DataType::Float64, DataType::Utf8]);
    assert_eq!(file.read(0, "id", 0..1).expect("text").as_string::<i32>().value(0), "0012");
    assert_eq!(file.read(0, "note", 0..1).expect("text").as_string::<i32>().value(0), "a b");
    assert!(file.read(0, "z", 0..2).expect("numbers").is_null(1));
    std::fs::write(&path, format!("{header}id z note\na red x\n")).expect("written");
    let error = open(&path).expect("opens").read(0, "z", 0..1).expect_err("no number");
    assert!(error.to_string().contains("column `z`: `red` is no Float64"), "{error}");
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "a,b,c,d,e\n1,18446744073709551615,99999999999999999999,1.5,true\nNA,1,1,nan,false\n")
        .expect("written");
    let types: Vec<_> = open(&path).expect("opens").parts()[0].fields.iter().map(|f| f.data_type.clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::UInt64, DataType::Utf8, DataType::Float64, DataType::Boolean]);
}
