//! What a loaded plugin gives back, checked.

use crate::support::{codec, config, context, faulty, modality, rows};
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Error, Forward, PluginsConfig};

/// What building or preparing says.
fn said(config: &PluginsConfig, fault: &str) -> Error {
    let built = modality(config, &format!("fault = \"{fault}\"\n"));
    built.and_then(|m| m.prepare(&rows(), &context())).expect_err("noticed")
}

#[test]
fn a_plugin_without_faults_works() {
    let config = config(&faulty(&[]));
    let modality = modality(&config, "").unwrap();
    let arrays = modality.prepare(&rows(), &context()).unwrap();
    arrays.check("x", &modality.spec()).unwrap();
    assert_eq!(arrays.present, [true, true, false]);
    let (shape, values) = arrays.f32("value").unwrap();
    assert_eq!((shape, values), (&[3, 2][..], &[1.0, 2.0, 3.0, 0.0, 0.0, 0.0][..]));
    assert_eq!(arrays.valid().unwrap().1, [1, 1, 1, 0, 0, 0]);
    // Nothing at all is a batch too.
    let empty = modality.prepare(&rows().take(&[]).unwrap(), &context()).unwrap();
    assert!(empty.is_empty());
    let absent = modality.prepare(&rows().take(&[2, 2]).unwrap(), &context()).unwrap();
    assert_eq!(absent.present, [false, false]);
    let codec = codec(&config, &*modality, "").unwrap();
    let tokens = codec.tokenize(&arrays, &Forward::evaluate()).unwrap();
    tokens.check("x", &codec.spec()).unwrap();
    assert_eq!(tokens.present, [true, true, false]);
}

#[test]
fn each_fault_of_a_call_is_named() {
    let cases = [
        ("create_fails", "invalid `modality.x`: plugin `faulty`, modality `faulty`: `fault` is `create_fails`"),
        ("null_instance", "it gave a null pointer and no error"),
        ("describe_fails", "describe: failed: it gave no message"),
        ("null_name", "the name of field 0 is a null pointer"),
        ("dtype_unknown", "has the unknown type 9"),
        ("axes_5", "has 5 axes, at most 4 are allowed"),
        ("bad_axis", "has axis number"),
        ("too_many", "plan: axis `"),
        ("zero_length", "would be 0 long, allowed are 1 to 8"),
        ("error", "run, object `b`: failed: "),
        ("bad_message", "(the message is not UTF-8)"),
        ("endless_message", "(the message has no end)"),
        ("no_message", "it gave no message"),
        ("strange_status", "gave the unknown status 77"),
        ("nothing", "gave the unknown status 4"),
        ("long_message", "it wrote a message longer than the 1024 bytes that there are"),
        ("own_message", "it replaced the pointer `message` of its error"),
        ("huge", "`value` would take"),
        ("pointers", "it replaced pointers of `arrays`"),
        ("shape", "it changed the shape of field `value`"),
        ("dtype", "it changed the type of field `value`"),
        ("data", "it made field `value` point elsewhere"),
        ("overrun", "it wrote behind the end of field `value`"),
        ("unfilled", "a value that was never written is NaN"),
        ("nan", "run, object `a`: field `value` holds NaN"),
        ("valid_2", "the mask must be 0 or 1, has 2"),
        ("present_2", "`present` must be 0 or 1"),
        ("valid_absent", "object `a`: it has valid values and is not `present`"),
        ("nondeterministic", "the same rows gave other values the second time"),
    ];
    let config = config(&faulty(&[]));
    for (fault, expected) in cases {
        let error = said(&config, fault);
        let text = error.to_string();
        assert!(text.contains(expected), "{fault}: {text}");
        assert!(text.contains("plugin `faulty`, modality `faulty`"), "{fault}: {text}");
    }
}

#[test]
fn what_is_not_finite_counts_as_missing_if_the_config_says_so() {
    let config = PluginsConfig { not_finite: NotFinitePolicy::Invalid, ..config(&faulty(&[])) };
    let modality = modality(&config, "fault = \"nan\"\n").unwrap();
    let arrays = modality.prepare(&rows(), &context()).unwrap();
    let (values, valid) = (arrays.f32("value").unwrap().1, arrays.valid().unwrap().1);
    assert!(values.iter().all(|v| v.is_finite()));
    assert!(valid.iter().filter(|v| **v == 1).count() < 3, "{valid:?}");
}

#[test]
fn each_fault_of_a_codec_is_named() {
    let cases = [
        ("huge_vocabulary_zero", "it has 0 codes and 0 values per token"),
        ("too_many", "plan: it would give"),
        ("error", "encode: failed: "),
        ("range", "is outside of the vocabulary of"),
        ("coordinate_inf", "a coordinate is infinite"),
    ];
    let config = config(&faulty(&[]));
    let modality = modality(&config, "").unwrap();
    let arrays = modality.prepare(&rows(), &context()).unwrap();
    for (fault, expected) in cases {
        let built = codec(&config, &*modality, &format!("fault = \"{fault}\"\n"));
        let error = built.and_then(|c| c.tokenize(&arrays, &Forward::evaluate())).err();
        let text = error.expect("noticed").to_string();
        assert!(
            text.contains(expected) && text.contains("plugin `faulty`, tokenizer `faulty_codec`"),
            "{fault}: {text}"
        );
    }
}

#[test]
fn a_config_that_does_not_fit_the_schema_reaches_no_code() {
    let config = config(&faulty(&[]));
    let error = |keys: &str| modality(&config, keys).err().expect("refused");
    let text = error("limt = 3\n").to_string();
    assert_eq!(text, "unknown key `limt` in [modality.x]");
    assert_eq!(error("limt = 3\n").hint().as_deref(), Some("did you mean `limit`?"));
    assert_eq!(error("limit = 0\n").to_string(), "invalid `modality.x.limit`: must be 1 or more");
    let wrong = error("fault = \"nine\"\n");
    assert_eq!(wrong.to_string(), "unknown value `nine` for `modality.x.fault`");
    assert_eq!(wrong.place().map(|p| p.line()), Some(2));
}
