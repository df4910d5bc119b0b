//! The table through the conformance suite, wrong input, and real columns.

use arrow_schema::{DataType, Field};
use panchroma_core::data::{Catalogue, DataConfig};
use panchroma_core::{Arrays, Error, Modality, ModalityContext, Mode, PrepareContext, Registry, Rows, Section};
use panchroma_testing::{
    Case, Objects, build_modality, conformance, fitted, modality_descriptor, tokenizer_descriptor,
};
use serde_json::{Value, json};

const TOKENIZER: &str = "kind = \"columns\"";

fn objects(list: &Value) -> Objects {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let fields = vec![
        field("mag", DataType::Float32),
        field("ebv", DataType::Float64),
        field("ebv_err", DataType::Float64),
        field("dec", DataType::Float64),
        field("angle", DataType::Float64),
        field("star", DataType::Boolean),
        field("class", DataType::Utf8),
        field("host", DataType::Struct(vec![field("mass", DataType::Float32)].into())),
    ];
    Objects::new(list, fields)
}

fn some() -> Objects {
    objects(&json!([
        {"object_id": "a", "mag": 17.0, "ebv": 0.1, "ebv_err": 0.05, "dec": 30.0, "angle": 0.0, "star": true, "class": "Ia", "host": {"mass": 10.0}},
        {"object_id": "none"},
        {"object_id": "b", "mag": 19.0, "ebv": 10.0, "ebv_err": 20.0, "dec": -90.0, "angle": -270.0, "star": false, "class": "II", "host": {"mass": 12.0}},
        {"object_id": "c", "mag": "NaN", "ebv": -1.0, "angle": "inf", "class": " Ia", "host": {}},
        {"object_id": "d", "class": "IIn"},
        {"object_id": "e", "mag": "NaN", "class": ""},
    ]))
}

fn prepare(modality: &dyn Modality, rows: &Rows) -> Arrays {
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "meta" };
    modality.prepare(rows, &context).unwrap()
}

fn evaluate(columns: &str) -> Arrays {
    let toml = format!("kind = \"table\"\ncolumns = {{ {columns} }}");
    prepare(&*fitted(&toml, &some().rows()), &some().rows())
}

/// Features per object of a table of one column; none where missing.
fn one_column(columns: &str) -> Vec<Option<Vec<f32>>> {
    let arrays = evaluate(columns);
    let (shape, values) = arrays.f32("values").unwrap();
    let (_, valid) = arrays.valid().unwrap();
    assert_eq!(shape[1], 1);
    values.chunks(shape[2]).zip(valid).map(|(v, ok)| (*ok == 1).then(|| v.to_vec())).collect()
}

#[test]
fn descriptors_are_true() {
    let spec = modality_descriptor("table").spec();
    let _ = tokenizer_descriptor("columns", &spec);
}

#[test]
fn promises_hold() {
    let columns = "kind = \"table\"\nclip = 5.0\n[columns]\nmag = {}\nebv = { scale = \"log\" }\n\
                   angle = { kind = \"angle\" }\nstar = { kind = \"flag\" }\n\
                   class = { kind = \"category\", max_categories = 2 }\n\"host.mass\" = { scale = \"quantile\" }";
    let objects = some();
    let more = "kind = \"table\"\n[columns]\nebv = { scale = \"asinh\", error = \"ebv_err\" }\nmag = { scale = \"quantile\" }\n\
                place = { kind = \"sky\", columns = [\"angle\", \"dec\"] }\nangle = { kind = \"angle\" }";
    conformance(&Case {
        modality: more,
        tokenizer: TOKENIZER,
        objects: &objects,
        measured: &["values"],
        reconstruction: Some(0.0),
    });
    conformance(&Case {
        modality: columns,
        tokenizer: TOKENIZER,
        objects: &objects,
        measured: &["values"],
        reconstruction: Some(0.0),
    });
}

#[test]
fn numbers_are_standardized() {
    // 17 and 19: mean 18, deviation 1.
    assert_eq!(one_column("mag = {}"), [Some(vec![-1.0]), None, Some(vec![1.0]), None, None, None]);
}

#[test]
fn logarithms_of_what_is_not_positive_are_missing() {
    // log10: -1 and 1.
    let ebv = one_column("ebv = { scale = \"log\" }");
    assert_eq!(ebv, [Some(vec![-1.0]), None, Some(vec![1.0]), None, None, None]);
}

#[test]
fn asinh_takes_both_signs() {
    let ebv = one_column("ebv = { scale = \"asinh\", softening = 0.5 }");
    let x = [0.2f64.asinh(), 20f64.asinh(), (-2f64).asinh()];
    let mean = x.iter().sum::<f64>() / 3.0;
    let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    for (row, x) in [0, 2, 3].into_iter().zip(x) {
        let got = ebv[row].as_ref().unwrap()[0];
        assert!((f64::from(got) - (x - mean) / deviation).abs() < 1e-6);
    }
}

#[test]
fn quantiles_are_normal_deviates_of_ranks() {
    // Ranks 0, 1/2, 1 of three values; the ends are cut to 1/6: scipy.stats.norm.ppf(1/6) = -0.9674216.
    let ebv = one_column("ebv = { scale = \"quantile\" }");
    let got: Vec<f32> = [3, 0, 2].iter().map(|&row: &usize| ebv[row].as_ref().unwrap()[0]).collect();
    for (got, expected) in got.iter().zip([-0.967_421_6, 0.0, 0.967_421_6]) {
        assert!((got - expected).abs() < 1e-6, "{got}");
    }
}

#[test]
fn angles_are_a_point_on_the_circle() {
    let angle = one_column("angle = { kind = \"angle\" }");
    for (row, expected) in [(0, [0.0, 1.0]), (2, [1.0, 0.0])] {
        let got = angle[row].as_ref().unwrap();
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
    }
    assert_eq!(angle[3], None);
}

#[test]
fn flags_are_plus_and_minus_one() {
    let star = one_column("star = { kind = \"flag\" }");
    assert_eq!(star, [Some(vec![1.0]), None, Some(vec![-1.0]), None, None, None]);
}

#[test]
fn rare_and_new_classes_are_other() {
    // Ia twice, II and IIn once: of equally frequent ones the first by name is kept.
    let toml = "kind = \"table\"\ncolumns = { class = { kind = \"category\", max_categories = 2 } }";
    let class = one_column("class = { kind = \"category\", max_categories = 2 }");
    let [ia, ii, other] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|v| Some(v.to_vec()));
    assert_eq!(class, [ia.clone(), None, ii, ia, other.clone(), None]);

    let modality = fitted(toml, &some().rows());
    let new = objects(&json!([{"object_id": "z", "class": "kilonova"}]));
    assert_eq!(prepare(&*modality, &new.rows()).f32("values").unwrap().1, other.unwrap());
}

#[test]
fn columns_have_slots_of_their_own_in_the_order_of_names() {
    let arrays = evaluate("mag = {}, angle = { kind = \"angle\" }");
    let (shape, values) = arrays.f32("values").unwrap();
    assert_eq!(shape, [6, 2, 3]);
    assert_eq!(values[..6], [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]);
    assert_eq!(arrays.present, [true, false, true, false, false, false]);
}

#[test]
fn scaled_numbers_are_cut() {
    let toml = "kind = \"table\"\nclip = 1.5\ncolumns = { mag = {} }";
    let modality = fitted(toml, &some().rows());
    let far = objects(&json!([{"object_id": "z", "mag": 1000.0}]));
    assert_eq!(prepare(&*modality, &far.rows()).f32("values").unwrap().1, [1.5]);
}

#[test]
fn constant_columns_become_zero() {
    let same = objects(
        &json!([{"object_id": "a", "mag": 0.1}, {"object_id": "b", "mag": 0.1}, {"object_id": "c", "mag": 0.1}]),
    );
    let modality = fitted("kind = \"table\"\ncolumns = { mag = {} }", &same.rows());
    assert!(prepare(&*modality, &same.rows()).f32("values").unwrap().1.iter().all(|v| v.abs() < 1e-12));
}

#[test]
fn a_column_without_values_in_training_is_an_error() {
    let none = objects(&json!([{"object_id": "a", "mag": 1.0}]));
    let mut modality = build_modality("kind = \"table\"\ncolumns = { mag = {}, ebv = {} }");
    let error = modality.fit(&mut std::iter::once(Ok(none.rows()))).unwrap_err();
    assert!(matches!(&error, Error::Data(_)) && error.to_string().contains("`ebv`"), "{error}");
}

#[test]
fn columns_of_another_type_are_named() {
    let mut modality = build_modality("kind = \"table\"\ncolumns = { class = {} }");
    let error = modality.fit(&mut std::iter::once(Ok(some().rows()))).unwrap_err();
    assert!(error.to_string().contains("`class`"), "{error}");
}

#[test]
fn checkpoints_of_other_columns_are_refused() {
    let saved = fitted("kind = \"table\"\ncolumns = { mag = {} }", &some().rows()).fitted();
    for (columns, part) in [
        ("mag = {}, ebv = {}", "without column `ebv`"),
        ("ebv = {}", "without column `ebv`"),
        ("mag = { scale = \"quantile\" }", "another kind"),
    ] {
        let error =
            build_modality(&format!("kind = \"table\"\ncolumns = {{ {columns} }}")).restore(&saved).unwrap_err();
        assert!(error.to_string().contains(part), "{columns}: {error}");
    }
    let both = fitted("kind = \"table\"\ncolumns = { mag = {}, ebv = {} }", &some().rows()).fitted();
    let error = build_modality("kind = \"table\"\ncolumns = { mag = {} }").restore(&both).unwrap_err();
    assert!(error.to_string().contains("with column `ebv`"), "{error}");
    assert!(build_modality("kind = \"table\"\ncolumns = { mag = {} }").restore(&Value::Null).is_err());
}

#[test]
fn what_does_not_go_together_is_rejected_at_its_key() {
    let registry = Registry::linked().unwrap();
    for (toml, part, line) in [
        ("columns = {}", "at least one", 2),
        ("clip = 0.0\ncolumns = { mag = {} }", "above 0", 2),
        ("[columns.mag]\nsoftening = 1.0", "`softening` is for", 3),
        ("[columns.mag]\nscale = \"asinh\"\nsoftening = -1.0", "above 0", 4),
        ("[columns.mag]\nkind = \"flag\"\nscale = \"log\"", "`scale` is for", 4),
        ("[columns.mag]\nmax_categories = 3", "`max_categories` is for", 3),
        ("[columns.mag]\nkind = \"category\"\nmax_categories = 0", "1 to 1024", 4),
        ("[columns.mag]\nscale = \"sqrt\"", "sqrt", 3),
    ] {
        let section = Section::from_toml("modality.meta", &format!("kind = \"table\"\n{toml}")).unwrap();
        let error = registry.modalities.build(&section, &ModalityContext { name: "meta" }).err().unwrap();
        assert!(error.to_string().contains(part), "{toml}: {error}");
        assert_eq!(error.place().map(panchroma_core::config::Place::line), Some(line), "{toml}");
    }
}

#[test]
fn real_supernovae_have_a_table() {
    let toml = "kind = \"table\"\n[columns]\nebv = { scale = \"log\" }\npeak_mag = {}\nhost_logmass = {}\n\
                host_offset_arcsec = { scale = \"quantile\" }\npeak_band = { kind = \"category\" }\nra = { kind = \"angle\" }";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/supernovae");
    let catalogue = Catalogue::open(&DataConfig::at(folder), &build_modality(toml).columns()).unwrap();
    let every: Vec<u32> = (0..catalogue.len() as u32).collect();
    let rows = catalogue.read(&every).unwrap();
    let arrays = prepare(&*fitted(toml, &rows), &rows);
    let (_, valid) = arrays.valid().unwrap();
    let measured = |column: usize| valid.iter().skip(column).step_by(6).filter(|v| **v == 1).count();
    // In the order of names: ebv, host_logmass, host_offset_arcsec, peak_band, peak_mag, ra.
    let null = [85, 2312, 1317, 1341, 481, 0];
    assert_eq!([0, 1, 2, 3, 4, 5].map(measured), null.map(|n| 2771 - n));
}

#[test]
fn columns_that_the_catalogue_lacks_are_an_error_of_the_loader() {
    let columns = build_modality("kind = \"table\"\ncolumns = { peak_magg = {} }").columns();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/supernovae");
    let error = Catalogue::open(&DataConfig::at(folder), &columns).err().unwrap();
    assert!(error.to_string().contains("`peak_magg`"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("`peak_mag`")), "{:?}", error.hint());
}

#[test]
fn places_on_the_sky_are_points_of_the_unit_sphere() {
    let places = one_column("here = { kind = \"sky\", columns = [\"angle\", \"dec\"] }");
    let near = |got: &Option<Vec<f32>>, expected: [f32; 3]| {
        got.as_ref().unwrap().iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-6)
    };
    assert!(near(&places[0], [0.75f32.sqrt(), 0.0, 0.5]) && near(&places[2], [0.0, 0.0, -1.0]), "{places:?}");
    assert!(places[3].is_none());
}

#[test]
fn errors_are_scaled_like_their_numbers() {
    let errors = |columns: &str| {
        let arrays = evaluate(columns);
        let (shape, errors) = arrays.f32("error").unwrap();
        assert_eq!(shape, [6, 1]);
        errors.to_vec()
    };
    // Of 0.1, 10 and -1 the deviation is 4.95.
    let plain = errors("ebv = { error = \"ebv_err\" }");
    let (mean, squares) = ((0.1 + 10.0 - 1.0) / 3.0, 0.01 + 100.0 + 1.0);
    let deviation = (squares / 3.0 - f64::powi(mean, 2)).sqrt();
    assert!((f64::from(plain[0]) - 0.05 / deviation).abs() < 1e-6 && plain[1] == 0.0 && plain[3] == 0.0, "{plain:?}");
    // log10 of 0.1 and 10: deviation 1; 10 minus 20 has no logarithm.
    let log = errors("ebv = { scale = \"log\", error = \"ebv_err\" }");
    assert!((f64::from(log[0]) - 0.5 * 3f64.log10()).abs() < 1e-6, "{log:?}");
    assert!((f64::from(log[2]) - 3f64.log10()).abs() < 1e-6, "{log:?}");
}

#[test]
fn keys_of_other_kinds_are_refused() {
    for bad in ["mag = { kind = \"flag\", error = \"x\" }", "mag = { columns = [\"a\", \"b\"] }"] {
        let toml = format!("kind = \"table\"\ncolumns = {{ {bad} }}\n");
        let section = Section::from_toml("modality.test", &toml).unwrap();
        assert!(crate::Table::new(&section, &ModalityContext { name: "test" }).is_err(), "{bad}");
    }
}

#[test]
fn a_class_that_training_never_saw_is_the_class_of_all_others() {
    let modality =
        fitted("kind = \"table\"\ncolumns = { class = { kind = \"category\", max_categories = 4 } }", &some().rows());
    let new = objects(&json!([{"object_id": "x", "class": "kilonova"}, {"object_id": "y", "class": "Ia"}]));
    let arrays = prepare(&*modality, &new.rows());
    let (_, values) = arrays.f32("values").unwrap();
    // Three classes were seen; the last place is for others.
    assert_eq!(values[..5], [0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(values[5..].iter().position(|v| *v == 1.0), Some(0));
}

#[test]
fn what_is_no_place_is_missing() {
    let list = json!([
        {"object_id": "a", "angle": 10.0, "dec": 5.0},
        {"object_id": "b", "angle": -999.0, "dec": -999.0},
        {"object_id": "c", "angle": "NaN", "dec": 5.0},
        {"object_id": "d", "angle": 10.0, "dec": -999.0},
    ]);
    let toml = "kind = \"table\"\ncolumns = { here = { kind = \"sky\", columns = [\"angle\", \"dec\"] } }";
    let rows = objects(&list).rows();
    assert_eq!(prepare(&*fitted(toml, &rows), &rows).present, [true, false, false, false]);
}

#[test]
fn classes_may_be_whole_numbers() {
    let fields = vec![Field::new("code", DataType::Int64, true)];
    let rows = Objects::new(
        &json!([{"object_id": "a", "code": 3}, {"object_id": "b", "code": 7}, {"object_id": "c", "code": 3}]),
        fields,
    )
    .rows();
    let arrays = prepare(&*fitted("kind = \"table\"\ncolumns = { code = { kind = \"category\" } }", &rows), &rows);
    let (shape, values) = arrays.f32("values").unwrap();
    let row = |i: usize| &values[i * shape[2]..(i + 1) * shape[2]];
    assert!(row(0) == row(2) && row(0) != row(1));
}

#[test]
fn a_known_error_lowers_the_weight_of_its_value() {
    let toml = "kind = \"table\"\ncolumns = { ebv = { error = \"ebv_err\" }, mag = {} }";
    let rows = some().rows();
    let modality = fitted(toml, &rows);
    let arrays = prepare(&*modality, &rows);
    let tokens = panchroma_testing::build_tokenizer(TOKENIZER, &modality.spec())
        .tokenize(&arrays, &panchroma_core::Forward::evaluate())
        .unwrap();
    let weights = tokens.weights.unwrap().to_vec3::<f32>().unwrap();
    let error = arrays.f32("error").unwrap().1[0];
    assert!(error > 0.0 && (weights[0][0][0] - 1.0 / (1.0 + error * error)).abs() < 1e-6, "{weights:?}");
    assert_eq!(weights[0][1][0], 1.0);
    // A missing value has none.
    let valid = arrays.valid().unwrap().1.to_vec();
    for (at, valid) in valid.iter().enumerate() {
        assert_eq!(weights[at / 2][at % 2].iter().all(|w| *w == 0.0), *valid == 0);
    }
}

#[test]
fn an_error_is_metadata_and_so_hidden_in_training() {
    let spec = build_modality("kind = \"table\"\ncolumns = { ebv = { error = \"ebv_err\" } }").spec();
    let coordinates = panchroma_testing::build_tokenizer(TOKENIZER, &spec).spec().coordinates;
    let said: Vec<_> = coordinates.iter().map(|c| (c.name.as_ref(), c.metadata)).collect();
    assert_eq!(said, [("column", false), ("error", true)]);
}
