//! Sources through the conformance suite, their order, and what they refuse.

use super::*;
use arrow_schema::{DataType, Field};
use panchroma_core::{Modality, Mode, PrepareContext};
use panchroma_testing::{
    Case, Objects, build_modality, build_tokenizer, conformance, fitted, fitted_tokenizer, modality_descriptor,
    tokenizer_descriptor,
};
use serde_json::json;

const TABLE: &str = "kind = \"sources\"\nfields = [\"x\", \"y\", \"r\"]\nmax_sources = 3\nbrightest_by = \"flux\"";
const CODES: &str = "kind = \"source_codes\"\ncodes = 500\nwhole = { x = 96, y = 64 }";

fn objects(last: Value) -> Objects {
    let list = |name: &str| Field::new(name, DataType::new_list(DataType::Float32, true), true);
    let inner = ["x", "y", "r", "flux"].map(list).to_vec();
    let fields = vec![Field::new("sources", DataType::Struct(inner.into()), true)];
    let all = json!([
        {"object_id": "a", "sources": {"x": [1.0, 2.0], "y": [3.5, 4.0], "r": [0.5, 0.7], "flux": [1.0, 9.0]}},
        {"object_id": "none"},
        {"object_id": "b", "sources": {"x": [5.0, 6.0, "NaN", 7.0, 8.0], "y": [1.0, 2.0, 3.0, 63.9, 5.0],
            "r": [1.0, 2.0, 3.0, 4.0, 5.0], "flux": [5.0, 4.0, 9.0, 3.0, 2.0]}},
        {"object_id": "c", "sources": {"x": [], "y": [], "r": [], "flux": []}},
        {"object_id": "d", "sources": last},
    ]);
    Objects::new(&all, fields)
}

fn some() -> Objects {
    objects(json!({"x": [95.0], "y": [0.0], "r": [0.1], "flux": ["NaN"]}))
}

fn arrays(modality: &dyn Modality, objects: &Objects) -> Result<Arrays> {
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "test" };
    modality.prepare(&objects.rows(), &context)
}

#[test]
fn promises_hold() {
    for tokenizer in
        [CODES, "kind = \"source_codes\"\ncodes = 500", "kind = \"source_codes\"\nwhole = { x = 96, y = 64, r = 9 }"]
    {
        // Pixels lose what is behind the point.
        let objects = some();
        conformance(&Case {
            modality: TABLE,
            tokenizer,
            objects: &objects,
            measured: &["values"],
            reconstruction: Some(0.91),
        });
    }
}

#[test]
fn descriptors_are_true() {
    let spec = modality_descriptor("sources").spec();
    let _ = tokenizer_descriptor("source_codes", &spec);
}

#[test]
fn the_brightest_come_first_and_fields_have_codes_of_their_own() {
    let modality = fitted(TABLE, &some().rows());
    let prepared = arrays(&*modality, &some()).unwrap();
    let (_, values) = prepared.f32("values").unwrap();
    assert_eq!(values[..6], [2.0, 4.0, 0.7, 1.0, 3.5, 0.5]);
    // The source without x is left out, and the faintest has no place.
    assert_eq!(values[18..27].iter().step_by(3).copied().collect::<Vec<f32>>(), [5.0, 6.0, 7.0]);
    assert_eq!(prepared.present, [true, false, true, false, true]);
    let tokenizer = fitted_tokenizer(CODES, &*modality, &some().rows());
    let tokens = tokenizer.tokenize(&prepared, &Forward::evaluate()).unwrap();
    let TokenValues::Codes(codes) = &tokens.values else { panic!("codes") };
    let codes = codes.to_vec2::<u32>().unwrap();
    assert_eq!((codes[0][0], codes[0][1], codes[0][4]), (2, 96 + 4, 96 + 3));
    assert!(codes[0][2] >= 160 && codes[0][2] < 660);
    assert_eq!(tokens.valid.to_vec2::<u8>().unwrap()[0], [1, 1, 1, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn a_source_outside_of_its_pixels_is_left_out() {
    let modality = fitted(TABLE, &some().rows());
    let tokenizer = fitted_tokenizer(CODES, &*modality, &some().rows());
    let far = objects(json!({"x": [96.0, 3.0], "y": [0.0, 1.0], "r": [0.1, 0.2], "flux": [2.0, 1.0]}));
    let tokens = tokenizer.tokenize(&arrays(&*modality, &far).unwrap(), &Forward::evaluate()).unwrap();
    assert_eq!(tokens.valid.to_vec2::<u8>().unwrap()[4], [0, 0, 0, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn lists_of_other_lengths_and_wrong_keys_are_named() {
    let modality = fitted(TABLE, &some().rows());
    let odd = objects(json!({"x": [1.0], "y": [0.0, 1.0], "r": [0.1], "flux": [2.0]}));
    let error = arrays(&*modality, &odd).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`d`") && error.contains("sources.y") && error.contains("got 2"), "{error}");
    let spec = build_modality(TABLE).spec();
    let refused = |toml: &str| {
        let section = Section::from_toml("modality.t.tokenizer", toml).unwrap();
        let parameters = panchroma_core::Parameters::new(0, &Device::Cpu);
        let context = TokenizerContext { modality: "t", arrays: &spec, parameters: &parameters };
        SourceCodes::new(&section, &context).unwrap_err().to_string()
    };
    assert!(refused("kind = \"source_codes\"\nwhole = { z = 3 }").contains("`z` is none of"));
    assert!(refused("kind = \"source_codes\"\ncodes = 1").contains("2 to 65536"));
    let mut tokenizer = build_tokenizer(CODES, &spec);
    let error = tokenizer.fit(&mut std::iter::empty()).unwrap_err().to_string();
    assert!(error.contains("`r` has no value"), "{error}");
    assert!(tokenizer.restore(&json!({"sources": {"fields": [], "padding": 0}})).is_err());
}
