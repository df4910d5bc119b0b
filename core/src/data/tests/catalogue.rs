//! What a catalogue finds, refuses, and reads.

use super::*;
use crate::config::Section;
use arrow_array::Float64Array;

/// A number as it is stored in `x` of object `o{i}`.
fn number(id: &str) -> Option<f64> {
    id.trim_start_matches('o').parse().ok()
}

#[test]
fn rows_come_in_the_order_asked_for_from_any_file_and_row_group() {
    let folder = folder();
    let catalogue = open(folder.path()).unwrap();
    assert_eq!(catalogue.len(), 100);
    let wanted = [99, 0, 40, 41, 13, 13, 57, 4];
    let rows = catalogue.read(&wanted).unwrap();
    assert_eq!(rows.ids(), ["o99", "o0", "o40", "o41", "o13", "o13", "o57", "o4"]);
    assert_eq!(rows.numbers("x").unwrap(), wanted.map(|i| Some(f64::from(i))));
    let flux = rows.ragged_f32("lightcurve.flux").unwrap();
    // 99 % 4 = 3 values, but 99 % 5 = 4: none; 13 % 4 = 1 value; 57 % 4 = 1; 4 is none.
    assert_eq!(flux.present, [false, true, true, true, true, true, true, false]);
    assert_eq!(flux.values, [41., 13., 13., 57.]);
    assert!(matches!(data_error(catalogue.read(&[100])), DataError::NoSuchRow { row: 100, rows: 100 }));
    assert_eq!(catalogue.read(&[]).unwrap().numbers("x").unwrap(), []);
}

#[test]
fn a_part_of_a_row_group_is_decoded_as_in_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write(&path, &objects(0, 20), 20);
    let file = super::parquet::ParquetFile::open(&path).unwrap();
    let flux = super::parquet::Canonical { path: "lightcurve.flux".into(), leaf: DataType::Float32, depth: 1 };
    let decode = |start, rows| file.decode(super::parquet::Run { group: 0, start, rows }, std::slice::from_ref(&flux));
    let whole = decode(0, 20).unwrap();
    for (start, rows) in [(0, 7), (3, 1), (7, 13)] {
        assert_eq!(decode(start, rows).unwrap(), whole.slice(start, rows), "{start}, {rows}");
    }
    // The footer promises 20 rows.
    assert!(matches!(data_error(decode(15, 6)), DataError::Unreadable { .. }));
}

#[test]
fn a_small_cache_changes_nothing_and_keeps_its_bound() {
    let folder = folder();
    let config = DataConfig { cache_mib: 0, ..DataConfig::at(folder.path()) };
    let catalogue = Catalogue::open(&config, &columns()).unwrap();
    let wanted: Vec<u32> = (0..100).rev().collect();
    for _ in 0..2 {
        let numbers = catalogue.read(&wanted).unwrap().numbers("x").unwrap();
        assert_eq!(numbers, wanted.iter().map(|&i| Some(f64::from(i))).collect::<Vec<_>>());
        assert_eq!(catalogue.cached_bytes(), 0);
    }
    let large = open(folder.path()).unwrap();
    large.read(&wanted).unwrap();
    assert!(large.cached_bytes() > 800, "{}", large.cached_bytes());
}

#[test]
fn only_what_was_asked_for_can_be_read() {
    let folder = folder();
    let asked = [Column::number("lightcurve.flux").list(), Column::text("nowhere").optional()];
    let rows = Catalogue::open(&DataConfig::at(folder.path()), &asked).unwrap().read(&[3]).unwrap();
    assert_eq!(rows.texts("nowhere").unwrap(), [None]);
    let error = data_error(rows.numbers("lightcurve.flx"));
    assert_eq!(error.to_string(), "column `lightcurve.flx` was read but not asked for");
    assert_eq!(error.hint().unwrap(), "did you mean `lightcurve.flux`?");
}

#[test]
fn files_may_differ_in_other_columns_and_in_number_types() {
    let folder = tempfile::tempdir().unwrap();
    let first = batch(vec![("object_id", strings(["a"])), ("x", floats(&[0.5])), ("extra", strings(["?"]))]);
    let second = batch(vec![
        ("y", Arc::new(Float64Array::from(vec![2.0])) as ArrayRef),
        ("x", Arc::new(Int64Array::from(vec![(1i64 << 40) + 1]))),
        ("object_id", Arc::new(Int64Array::from(vec![17]))),
    ]);
    write(&folder.path().join("1.parquet"), &first, 10);
    write(&folder.path().join("deeper/2.parquet"), &second, 10);
    let columns = [Column::number("x"), Column::number("y").optional(), Column::number("z.flux").depth(3).optional()];
    let catalogue = Catalogue::open(&DataConfig::at(folder.path()), &columns).unwrap();
    let rows = catalogue.read(&[1, 0]).unwrap();
    assert_eq!(rows.ids(), ["17", "a"]);
    assert_eq!(rows.numbers("x").unwrap(), [Some(1_099_511_627_777.), Some(0.5)]);
    assert_eq!(rows.numbers("y").unwrap(), [Some(2.), None]);
    assert_eq!(rows.ragged_f32("z.flux").unwrap(), Ragged::absent(2, 3));
}

#[test]
fn hidden_files_metadata_and_thumbnails_are_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    write(&dataset.join("Norder=0/Dir=0/Npix=1.parquet"), &objects(0, 3), 10);
    write(&dataset.join("Norder=1/Dir=0/Npix=8/part0.parquet"), &objects(3, 5), 10);
    write(&dataset.join("data_thumbnail.parquet"), &objects(0, 2), 10);
    write(&dataset.join("_metadata.parquet"), &objects(0, 2), 10);
    write(&dataset.join("Norder=0/.part.parquet"), &objects(0, 2), 10);
    std::fs::write(folder.path().join("hats.properties"), "# HATS\nhats_nrows = 5\n").unwrap();
    assert_eq!(open(folder.path()).unwrap().ids(), ["o0", "o1", "o2", "o3", "o4"]);

    std::fs::write(folder.path().join("hats.properties"), "hats_nrows=6\n").unwrap();
    let error = data_error(open(folder.path()));
    assert!(matches!(error, DataError::RowCount { expected: 6, found: 5, .. }), "{error}");
}

#[test]
fn the_main_catalogue_of_a_collection_is_read_without_its_margin() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("main/dataset/Norder=0/Dir=0/Npix=1.parquet"), &objects(0, 3), 10);
    write(&folder.path().join("margin/dataset/Norder=0/Dir=0/Npix=1.parquet"), &objects(1, 2), 10);
    std::fs::write(folder.path().join("collection.properties"), "hats_primary_table_url=main\n").unwrap();
    assert_eq!(open(folder.path()).unwrap().len(), 3);
}

#[test]
fn one_file_is_a_catalogue() {
    let folder = folder();
    assert_eq!(open(&folder.path().join("b.parquet")).unwrap().ids(), ["o40"]);
}

#[test]
fn a_missing_folder_suggests_its_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("supernovae")).unwrap();
    let error = data_error(open(&folder.path().join("supernova")));
    assert!(error.to_string().ends_with("supernova` doesn't exist"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("did you mean `") && hint.ends_with("supernovae`?"), "{hint}");
    let error = data_error(open(Path::new("/nothing_like_this/at_all")));
    assert!(error.hint().unwrap().contains("check the path"));
}

#[test]
fn a_folder_without_parquet_or_without_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(data_error(open(folder.path())), DataError::NoParquet { .. }));
    write(&folder.path().join("a.parquet"), &objects(0, 0), 10);
    assert!(matches!(data_error(open(folder.path())), DataError::NoRows { .. }));
}

#[test]
fn a_missing_column_names_the_file_and_the_nearest_columns() {
    let folder = folder();
    let open = |column| data_error(Catalogue::open(&DataConfig::at(folder.path()), &[column]));
    let error = open(Column::number("lightcurve.flx").list());
    assert!(error.to_string().ends_with("a.parquet` has no column `lightcurve.flx`"), "{error}");
    assert_eq!(error.hint().unwrap(), "did you mean `lightcurve.flux`?");
    // Only one of the files lacks it.
    write(&folder.path().join("d.parquet"), &batch(vec![("object_id", strings(["z"]))]), 10);
    let error = open(Column::number("x"));
    assert!(error.to_string().ends_with("d.parquet` has no column `x`"), "{error}");
}

#[test]
fn a_column_of_another_type_names_the_file_and_both_types() {
    let folder = folder();
    let cases = [
        (Column::text("x"), "expected text, got i64 numbers"),
        (Column::number("x").list(), "expected a list of numbers, got i64 numbers"),
        (Column::number("lightcurve.flux"), "expected a number, got a list of f32 numbers"),
        (Column::number("lightcurve.flux").depth(2), "expected a list of lists of numbers, got a list of f32 numbers"),
        (Column::number("lightcurve").optional(), "expected a number, got a struct of `flux`"),
        (Column::flag("object_id"), "expected a flag, got text"),
    ];
    for (column, message) in cases {
        let error = data_error(Catalogue::open(&DataConfig::at(folder.path()), &[column])).to_string();
        assert!(error.ends_with(message) && error.contains("a.parquet`"), "{error}");
    }
}

#[test]
fn names_are_needed_and_unique() {
    let folder = folder();
    write(&folder.path().join("d.parquet"), &objects(7, 8), 10);
    let error = data_error(open(folder.path()));
    assert!(error.to_string().starts_with("two objects are called `o7`: one in `"), "{error}");
    assert!(error.to_string().contains("a.parquet`, one in `") && error.to_string().ends_with("d.parquet`"), "{error}");

    let null: ArrayRef = Arc::new(StringArray::from(vec![Some("z"), None]));
    write(&folder.path().join("d.parquet"), &batch(vec![("object_id", null), ("x", floats(&[0., 0.]))]), 10);
    let config = DataConfig::at(folder.path());
    let error = data_error(Catalogue::open(&config, &[]));
    assert!(matches!(&error, DataError::NullId { row: 1, .. }), "{error}");

    let config = DataConfig { id: "name".into(), ..config };
    assert!(matches!(data_error(Catalogue::open(&config, &[])), DataError::ColumnMissing { .. }));
    let config = DataConfig { id: "x".into(), ..DataConfig::at(folder.path().join("d.parquet")) };
    let error = data_error(Catalogue::open(&config, &[])).to_string();
    assert!(error.ends_with("expected text or whole numbers, got f32 numbers"), "{error}");
}

#[test]
fn a_file_cut_short_is_named() {
    let folder = folder();
    let path = folder.path().join("c.parquet");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = data_error(open(folder.path()));
    assert!(error.to_string().ends_with("c.parquet` can't be read as Parquet"), "{error}");
    assert!(std::error::Error::source(&error).is_some() && error.hint().is_some());
}

#[test]
fn a_file_damaged_inside_is_named_when_it_is_read() {
    let folder = folder();
    let catalogue = open(folder.path()).unwrap();
    let path = folder.path().join("c.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() / 2;
    bytes[4..end].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let error = data_error(catalogue.read(&[0, 50]));
    assert!(error.to_string().ends_with("c.parquet` can't be read as Parquet"), "{error}");
}

#[test]
fn splits_part_the_objects_by_their_names_alone() {
    let folder = folder();
    let config =
        DataConfig { split: Fractions { train: 0.5, validation: 0.2, test: 0.3 }, ..DataConfig::at(folder.path()) };
    let catalogue = Catalogue::open(&config, &[]).unwrap();
    let parts = Split::ALL.map(|s| catalogue.split(s).unwrap());
    let mut all = parts.concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    // 50, 20 and 30 expected, standard deviations 5, 4 and 4.6.
    let sizes = parts.each_ref().map(|p| p.len());
    assert!((35..65).contains(&sizes[0]) && (8..32).contains(&sizes[1]) && (16..44).contains(&sizes[2]), "{sizes:?}");
    assert_eq!(catalogue.describe().splits, sizes);
    // The same objects in one file, in another order of files.
    let single = DataConfig { path: folder.path().join("c.parquet"), ..config.clone() };
    let single = Catalogue::open(&single, &[]).unwrap();
    for (split, rows) in Split::ALL.into_iter().zip(&parts) {
        let of = |c: &Catalogue, rows: &[u32]| rows.iter().map(|&r| c.ids()[r as usize].clone()).collect::<Vec<_>>();
        let expected: Vec<_> = of(&catalogue, rows).into_iter().filter(|id| number(id) >= Some(41.)).collect();
        assert_eq!(of(&single, &single.split(split).unwrap()), expected, "{split}");
    }
    let salted = Catalogue::open(&DataConfig { split_salt: "other".into(), ..config }, &[]).unwrap();
    assert_ne!(salted.split(Split::Train).unwrap(), parts[0]);
}

#[test]
fn neighbours_on_the_sky_share_a_split() {
    let folder = folder();
    // Objects lie at `i << 50`; a pixel of order 1 is 56 bits wide, so 64 objects share one.
    let config = DataConfig {
        split_by: SplitBy::Healpix,
        healpix_order: 1,
        split: Fractions { train: 0.5, validation: 0.0, test: 0.5 },
        ..DataConfig::at(folder.path())
    };
    let splits = (0..20).map(|salt| {
        let config = DataConfig { split_salt: salt.to_string(), ..config.clone() };
        let catalogue = Catalogue::open(&config, &[]).unwrap();
        let sizes = catalogue.describe().splits;
        assert!([0, 36, 64, 100].contains(&sizes[0]) && sizes[1] == 0, "{sizes:?}");
        sizes[0]
    });
    assert!(splits.collect::<std::collections::BTreeSet<_>>().len() > 1);

    write(&folder.path().join("d.parquet"), &batch(vec![("object_id", strings(["z"]))]), 10);
    let error = data_error(Catalogue::open(&config, &[]));
    assert!(error.to_string().ends_with("d.parquet` has no column `_healpix_29`, which [data] reads"), "{error}");
    let null: ArrayRef = Arc::new(Int64Array::from(vec![None::<i64>]));
    write(&folder.path().join("d.parquet"), &batch(vec![("object_id", strings(["z"])), ("_healpix_29", null)]), 10);
    let error = data_error(Catalogue::open(&config, &[]));
    assert_eq!(error.to_string(), "object `z` has no `_healpix_29`");
}

#[test]
fn an_empty_split_says_how_it_was_made() {
    let folder = folder();
    let config =
        DataConfig { split: Fractions { train: 1.0, validation: 0.0, test: 0.0 }, ..DataConfig::at(folder.path()) };
    let catalogue = Catalogue::open(&config, &[]).unwrap();
    assert_eq!(catalogue.split(Split::Train).unwrap().len(), 100);
    let error = data_error(catalogue.split(Split::Test));
    assert_eq!(error.to_string(), "the test split has no object: its fraction is 0, of 100 objects");
}

#[test]
fn the_fingerprint_changes_with_the_files() {
    let folder = folder();
    let before = open(folder.path()).unwrap().fingerprint();
    assert_eq!(before.len(), 64);
    assert_eq!(before, open(folder.path()).unwrap().fingerprint());
    write(&folder.path().join("d.parquet"), &objects(100, 101), 10);
    let after = open(folder.path()).unwrap().fingerprint();
    assert_ne!(before, after);
    std::fs::rename(folder.path().join("d.parquet"), folder.path().join("e.parquet")).unwrap();
    assert_ne!(after, open(folder.path()).unwrap().fingerprint());
}

#[test]
fn the_table_data_has_defaults_and_ranges() {
    let read = |text: &str| DataConfig::read(&Section::from_toml("data", text).unwrap());
    let config = read("path = 'x'").unwrap();
    assert_eq!((config.id.as_str(), config.threads, config.prefetch), ("object_id", 2, 4));
    assert_eq!(config.split, Fractions { train: 0.8, validation: 0.1, test: 0.1 });
    let config = read("path = 'x'\nsplit_by = 'healpix'\nsplit = { train = 0.7, test = 0.3 }").unwrap();
    assert_eq!((config.split_by, config.split.validation), (SplitBy::Healpix, 0.0));
    for (text, message) in [
        ("split = { train = 0.7 }", "the fractions must sum to 1, they sum to 0.7"),
        ("split = { train = 1.5, test = -0.5 }", "invalid `data.split.train`: must be between 0 and 1, is 1.5"),
        ("threads = 0", "must be between 1 and 256, is 0"),
        ("healpix_order = 30", "must be between 0 and 29, is 30"),
        ("shuffle_window = 0", "must be at least 1, is 0"),
        ("id = ''", "must name a column"),
    ] {
        let error = read(&format!("path = 'x'\n{text}")).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn messages_without_a_file_read_well() {
    let missing = DataError::AllMissing { column: "ebv".into(), modality: Some("table".into()) };
    assert_eq!(missing.to_string(), "column `ebv` of [modality.table] has no value in the training split");
    let missing = DataError::AllMissing { column: "ebv".into(), modality: None };
    assert_eq!(missing.to_string(), "column `ebv` has no value in the training split");
    let bad = DataError::BadValue { object: "o1".into(), column: "flux".into(), reason: "3 values for 2 times".into() };
    assert_eq!(bad.to_string(), "object `o1`, column `flux`: 3 values for 2 times");
}

#[test]
fn objects_of_several_catalogues_have_what_their_own_has() {
    let (first, second) = (folder(), tempfile::tempdir().unwrap());
    let more = batch(vec![
        ("object_id", strings(["s1", "s2"])),
        ("y", Arc::new(Float64Array::from(vec![7.0, 8.0])) as ArrayRef),
    ]);
    write(&second.path().join("a.parquet"), &more, 2);
    let config = DataConfig { also: vec![second.path().to_path_buf()], ..DataConfig::at(first.path()) };
    let asked = [Column::number("x"), Column::number("y"), Column::number("lightcurve.flux").list()];
    let rows = Catalogue::open(&config, &asked).unwrap().read(&[101, 3]).unwrap();
    assert_eq!(rows.ids(), ["s2", "o3"]);
    assert_eq!(rows.numbers("x").unwrap(), [None, Some(3.0)]);
    assert_eq!(rows.numbers("y").unwrap(), [Some(8.0), None]);
    assert_eq!(rows.ragged_f32("lightcurve.flux").unwrap().present, [false, true]);
    // A catalogue that has a column has it in all of its files.
    write(&second.path().join("b.parquet"), &batch(vec![("object_id", strings(["s3"]))]), 2);
    match data_error(Catalogue::open(&config, &[Column::number("y")])) {
        DataError::ColumnMissing { file, column, .. } => {
            assert_eq!((file, column.as_str()), (second.path().join("b.parquet"), "y"));
        }
        other => panic!("{other:?}"),
    }
    std::fs::remove_file(second.path().join("b.parquet")).unwrap();
    // In neither, and twice the same names.
    let open = |config: &DataConfig, column| data_error(Catalogue::open(config, &[column]));
    assert!(matches!(open(&config, Column::number("z")), DataError::ColumnMissing { .. }));
    let twice = DataConfig { also: vec![first.path().to_path_buf()], ..config };
    assert!(matches!(open(&twice, Column::number("x")), DataError::DuplicateId { .. }));
}

#[test]
fn an_error_about_an_object_says_where_it_is() {
    let folder = folder();
    let catalogue = open(folder.path()).unwrap();
    let bad = |object: &str| {
        let (object, column, reason) = (object.into(), "flux".into(), "is odd".into());
        catalogue.locate(DataError::BadValue { object, column, reason }.into())
    };
    let file = folder.path().join("c.parquet");
    // Objects from 41 on, in groups of 7: number 50 is the third of the second.
    assert_eq!(
        bad("o50").to_string(),
        format!("object `o50`, column `flux`: is odd, in `{}` (row group 1)", file.display())
    );
    assert_eq!(bad("o50").hint(), bad("nobody").hint());
    assert_eq!(bad("nobody").to_string(), "object `nobody`, column `flux`: is odd");
    assert!(matches!(catalogue.locate(crate::Error::Interrupted), crate::Error::Interrupted));
}

/// Overwrites a column of a row group with bytes that nothing can be read from.
fn spoil(path: &Path, group: usize, leaf: usize) {
    use ::parquet::file::reader::FileReader;
    let reader = ::parquet::file::reader::SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let (start, length) = reader.metadata().row_group(group).column(leaf).byte_range();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn columns_and_row_groups_that_nobody_asks_for_are_not_read() {
    let folder = folder();
    let file = folder.path().join("c.parquet");
    // The leaf columns are the name, x, the fluxes and the pixel.
    (0..9).for_each(|group| spoil(&file, group, 2));
    spoil(&file, 0, 1);
    let catalogue = Catalogue::open(&DataConfig::at(folder.path()), &[Column::number("x")]).unwrap();
    assert_eq!(catalogue.read(&[50, 99]).unwrap().numbers("x").unwrap(), [Some(50.0), Some(99.0)]);
    assert!(catalogue.read(&[41]).is_err(), "the spoilt group can't be read");
    assert!(open(folder.path()).unwrap().read(&[50]).is_err(), "the spoilt column can't be read");
}

#[test]
fn one_column_is_a_label_to_one_reader_and_a_flag_or_number_to_another() {
    let folder = folder();
    // In the order in which a model asks.
    let asked = [Column::number("x"), Column::label("x"), Column::flag("x")];
    for from in 0..2 {
        let catalogue = Catalogue::open(&DataConfig::at(folder.path()), &asked[from..]).unwrap();
        let rows = catalogue.read(&[0, 41]).unwrap();
        assert_eq!(rows.labels("x").unwrap(), [Some("0".to_owned()), Some("41".to_owned())]);
        assert_eq!(rows.flags("x").unwrap(), [Some(false), Some(true)]);
    }
}
