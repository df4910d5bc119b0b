//! Codes of columns through the conformance suite, what they stand for, and what they refuse.

use super::*;
use arrow_schema::{DataType, Field};
use panchroma_core::{Modality, ModalityContext, Mode, Parameters, PrepareContext, Registry};
use panchroma_testing::{Case, Objects, build_modality, conformance, fitted, fitted_tokenizer, tokenizer_descriptor};

const TABLE: &str = "kind = \"table\"\n[columns]\nmag = { scale = \"none\" }\nredshift = { scale = \"none\", error = \"error\" }\n\
                     star = { kind = \"flag\" }";

fn objects(list: &Value) -> Objects {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let numbers = ["mag", "redshift", "error"].map(|name| field(name, DataType::Float64));
    Objects::new(list, numbers.into_iter().chain([field("star", DataType::Boolean)]).collect())
}

fn some() -> Objects {
    objects(&json!([
        {"object_id": "a", "mag": 17.0, "redshift": 0.1, "error": 0.05, "star": true},
        {"object_id": "none"},
        {"object_id": "b", "mag": 19.0, "redshift": 10.0},
        {"object_id": "c", "mag": "NaN", "redshift": 0.02, "star": false},
        {"object_id": "d", "mag": -4.0, "redshift": "inf"},
    ]))
}

fn arrays(modality: &dyn Modality, objects: &Objects) -> Arrays {
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "meta" };
    modality.prepare(&objects.rows(), &context).unwrap()
}

#[test]
fn promises_hold() {
    // With many codes and few values, values lie between neighbouring quantiles.
    for (tokenizer, error) in [
        ("kind = \"quantile_codes\"\ncodes = 2000", 0.02),
        ("kind = \"quantile_codes\"\ncodes = 2000\ncompress = [\"arcsinh\"]\ndecompress = [\"sinh\"]", 0.02),
        ("kind = \"grid_codes\"\nfrom = -10.0\nto = 30.0\ncodes = 4001", 0.006),
        ("kind = \"grid_codes\"\ncodes = 4001", 0.006),
    ] {
        let objects = some();
        conformance(&Case {
            modality: TABLE,
            tokenizer,
            objects: &objects,
            measured: &["values"],
            reconstruction: Some(error),
        });
    }
}

#[test]
fn descriptors_are_true() {
    let spec = build_modality(TABLE).spec();
    assert_eq!(spec.labels("C"), ["mag", "redshift", "star"]);
    for name in ["quantile_codes", "grid_codes"] {
        let _ = tokenizer_descriptor(name, &spec);
    }
}

#[test]
fn quantiles_share_out_the_objects_and_have_physical_bins() {
    let many: Vec<Value> =
        (0..200).map(|i| json!({"object_id": i.to_string(), "redshift": (i * 77 % 200) as f64 / 100.0})).collect();
    let objects = objects(&Value::from(many));
    let modality = fitted("kind = \"table\"\ncolumns = { redshift = { scale = \"none\" } }", &objects.rows());
    let tokenizer = fitted_tokenizer("kind = \"quantile_codes\"\ncodes = 11", &*modality, &objects.rows());
    let tokens = tokenizer.tokenize(&arrays(&*modality, &objects), &Forward::evaluate()).unwrap();
    let TokenValues::Codes(codes) = &tokens.values else { panic!("codes") };
    let mut counts = [0; 11];
    codes.flatten_all().unwrap().to_vec1::<u32>().unwrap().iter().for_each(|code| counts[*code as usize] += 1);
    assert!(counts[1..].iter().all(|count| (19..=21).contains(count)), "{counts:?}");
    let bins = tokenizer.bins();
    assert_eq!((bins.len(), bins[0].name.as_str(), bins[0].edges.len()), (1, "redshift", 12));
    assert!(bins[0].edges.is_sorted() && bins[0].centres.is_sorted());
    assert!((bins[0].centres[5] - 0.9).abs() < 0.01 && (bins[0].edges[11] - 1.99).abs() < 1e-6);
}

#[test]
fn a_logarithmic_grid_has_equal_ratios_and_starts_at_the_least_positive_value() {
    let objects = some();
    let modality = fitted("kind = \"table\"\ncolumns = { redshift = { scale = \"none\" } }", &objects.rows());
    let tokenizer =
        fitted_tokenizer("kind = \"grid_codes\"\nspacing = \"log\"\ncodes = 4", &*modality, &objects.rows());
    let edges = tokenizer.bins().remove(0).edges;
    let ratio = (10.0_f64 / 0.02).powf(1.0 / 3.0);
    // The first bin, which holds all below the grid, is as wide as the next.
    for (edge, power) in edges.iter().zip([-1, 0, 1, 2, 3]) {
        assert!((edge / (0.02 * ratio.powi(power)) - 1.0).abs() < 1e-5, "{edges:?}");
    }
}

#[test]
fn codes_made_elsewhere_are_restored_and_kept() {
    let spec = build_modality("kind = \"table\"\ncolumns = { redshift = { scale = \"none\" } }").spec();
    let codec =
        ScalarCodec::new(Compression::log(-3.0), panchroma_core::Codebook::linear(-3.0, 2.0, 64).unwrap()).unwrap();
    let fitted = Codes::fitted_of([("redshift", &codec)].into_iter());
    let text: Value = serde_json::from_str(&fitted.to_string()).unwrap();
    for toml in ["kind = \"grid_codes\"\nfrom = 0.0\nto = 1.0\ncodes = 64", "kind = \"quantile_codes\"\ncodes = 64"] {
        let mut tokenizer = panchroma_testing::build_tokenizer(toml, &spec);
        tokenizer.restore(&text).unwrap();
        assert_eq!(tokenizer.fitted(), text);
        let centres: Vec<f64> = codec.values().iter().map(|x| f64::from(*x)).collect();
        assert_eq!(tokenizer.bins()[0].centres, centres);
    }
    for (toml, part) in
        [("kind = \"quantile_codes\"\ncodes = 65", "64 codes"), ("kind = \"quantile_codes\"", "64 codes")]
    {
        let error = panchroma_testing::build_tokenizer(toml, &spec).restore(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let other = Codes::fitted_of([("z", &codec)].into_iter());
    let mut tokenizer = panchroma_testing::build_tokenizer("kind = \"quantile_codes\"\ncodes = 64", &spec);
    let error = tokenizer.restore(&other).unwrap_err().to_string();
    assert!(error.contains("\"z\"") && error.contains("\"redshift\""), "{error}");
    assert!(tokenizer.restore(&Value::Null).is_err());
}

#[test]
fn what_does_not_fit_is_rejected_at_its_key() {
    let registry = Registry::linked().unwrap();
    let parameters = Parameters::new(0, &Device::Cpu);
    let refused = |table: &str, toml: &str| {
        let modality = panchroma_core::Section::from_toml("modality.t", table).unwrap();
        let arrays = registry.modalities.build(&modality, &ModalityContext { name: "t" }).unwrap().spec();
        let section = panchroma_core::Section::from_toml("modality.t.tokenizer", toml).unwrap();
        let context = TokenizerContext { modality: "t", arrays: &arrays, parameters: &parameters };
        registry.tokenizers.build(&section, &context).err().unwrap().to_string()
    };
    let plain = "kind = \"table\"\ncolumns = { mag = { scale = \"none\" } }";
    for (toml, part) in [
        ("kind = \"quantile_codes\"\ncodes = 1", "2 to 65536"),
        ("kind = \"quantile_codes\"\nlog_from = 0.0", "above 0"),
        ("kind = \"quantile_codes\"\nlog_from = 1.0\ncompress = [\"arcsinh\"]", "got both"),
        ("kind = \"quantile_codes\"\ncompress = [\"arcsinh\"]\ndecompress = [\"exp\"]", "Arcsinh"),
        ("kind = \"quantile_codes\"\ncompress = [\"gamma\"]", "gamma"),
        ("kind = \"grid_codes\"\nfrom = 2.0\nto = 1.0", "more than `from` = 2"),
        ("kind = \"grid_codes\"\nspacing = \"log\"\nfrom = 0.0", "above 0"),
    ] {
        let error = refused(plain, toml);
        assert!(error.contains(part), "{toml}: {error}");
    }
    let error = refused("kind = \"table\"\ncolumns = { mag = { kind = \"angle\" } }", "kind = \"grid_codes\"");
    assert!(error.contains("2 features"), "{error}");
}

#[test]
fn a_tokenizer_that_was_not_fitted_says_so() {
    let objects = some();
    let modality = fitted(TABLE, &objects.rows());
    let tokenizer = panchroma_testing::build_tokenizer("kind = \"quantile_codes\"", &modality.spec());
    let error = tokenizer.tokenize(&arrays(&*modality, &objects), &Forward::evaluate()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("before its codes were fitted"), "{error}");
    let mut tokenizer = tokenizer;
    let error = tokenizer.fit(&mut std::iter::empty()).unwrap_err().to_string();
    assert!(error.contains("`mag` has no value"), "{error}");
}

#[test]
fn a_list_is_as_many_columns() {
    let list = DataType::new_list(DataType::Float32, true);
    let fields = vec![Field::new("coefficients", list, true), Field::new("mag", DataType::Float64, true)];
    let made = |last: Value| {
        Objects::new(
            &json!([
                {"object_id": "a", "coefficients": [1.0, -20.0, 300.0], "mag": 3.0},
                {"object_id": "none"},
                {"object_id": "b", "coefficients": [2.0, "NaN", 100.0]},
                {"object_id": "c", "coefficients": last},
            ]),
            fields.clone(),
        )
    };
    let toml =
        "kind = \"table\"\n[columns]\nmag = { scale = \"none\" }\ncoefficients = { scale = \"none\", length = 3 }";
    let objects = made(json!([0.5, -10.0, 200.0]));
    let tokenizer = "kind = \"quantile_codes\"\ncodes = 999\ncompress = [\"arcsinh\"]\ndecompress = [\"sinh\"]";
    conformance(&Case {
        modality: toml,
        tokenizer,
        objects: &objects,
        measured: &["values"],
        reconstruction: Some(0.05),
    });
    let modality = fitted(toml, &objects.rows());
    let spec = modality.spec();
    assert_eq!(spec.labels("C"), ["coefficients[0]", "coefficients[1]", "coefficients[2]", "mag"]);
    let arrays = arrays(&*modality, &objects);
    let (_, values) = arrays.f32("values").unwrap();
    assert_eq!([values[0], values[5], values[10], values[15]], [1.0, -20.0, 300.0, 3.0]);
    assert_eq!(arrays.valid().unwrap().1[8..12], [1, 0, 1, 0]);
    let short = made(json!([0.5]));
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "meta" };
    let error = modality.prepare(&short.rows(), &context).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`c`") && error.contains("3 numbers") && error.contains("got 1"), "{error}");
}
