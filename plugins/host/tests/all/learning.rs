//! What a modality learns from the training split.

use crate::support::{config, context, faulty, modality, rows};

#[test]
fn what_is_learned_is_kept_and_taken_back() {
    let config = config(&faulty(&["FITS"]));
    let mut own = modality(&config, "").unwrap();
    // Two parts, one of them without anything; twice: nothing of the first time counts.
    for _ in 0..2 {
        let parts = [rows(), rows().take(&[2]).unwrap()];
        own.fit(&mut parts.into_iter().map(Ok)).unwrap();
        assert_eq!(own.fitted()["mean"].as_f64(), Some(2.0));
    }
    let values =
        |m: &dyn panchroma_core::Modality| m.prepare(&rows(), &context()).unwrap().f32("value").unwrap().1.to_vec();
    assert_eq!(values(&*own), [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    let mut other = modality(&config, "").unwrap();
    other.restore(&own.fitted()).unwrap();
    assert_eq!(values(&*own), values(&*other));
    let error = other.restore(&serde_json::json!({ "median": 2.0 })).unwrap_err().to_string();
    assert_eq!(error, "plugin `faulty`, modality `faulty`, restore: there is no `mean`");
}

#[test]
fn what_was_begun_and_not_ended_does_not_count() {
    let mut own = modality(&config(&faulty(&["FITS"])), "").unwrap();
    own.fit(&mut [Ok(rows()), rows().take(&[99])].into_iter()).unwrap_err();
    own.fit(&mut std::iter::once(rows().take(&[0]))).unwrap();
    assert_eq!(own.fitted()["mean"].as_f64(), Some(1.5));
}

#[test]
fn faults_of_learning_name_the_object() {
    let config = config(&faulty(&["FITS"]));
    let mut own = modality(&config, "fault = \"error\"\n").unwrap();
    let error = own.fit(&mut std::iter::once(Ok(rows()))).unwrap_err().to_string();
    assert_eq!(error, "plugin `faulty`, modality `faulty`, fit, object `b`: `fault` is `error`");
    let mut own = modality(&config, "").unwrap();
    let error = own.fit(&mut std::iter::once(rows().take(&[2]))).unwrap_err().to_string();
    assert_eq!(error, "plugin `faulty`, modality `faulty`, fit: no value to learn from");
}
