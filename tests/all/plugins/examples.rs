//! Each example is trained for 50 steps beside a built-in modality, in two halves and in a whole, and embeds.

use super::{ALIGN, OBJECTS, Place, library, rust_example};
use crate::runs::{assert_same, checkpoint, losses};
use crate::support::{panchroma, succeeds};
use serde_json::Value;
use std::fs;

const STEPS: usize = 50;

fn trains_resumes_and_embeds(place: &Place, plugin: &str, present: usize) {
    place.train("whole", &[]);
    let arguments = place.arguments("halves", &["--max-steps", "25"]);
    let output = panchroma(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains(&format!("plugin: {plugin} 0.1.0 (sha256 ")), "{said}");
    place.train("halves", &["--resume"]);
    assert_same(&place.path("whole"), &place.path("halves"));
    let losses: Vec<f64> = losses(&place.path("whole")).into_iter().map(|(_, loss)| loss).collect();
    assert_eq!(losses.len(), STEPS);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&losses[40..]) < 0.9 * mean(&losses[..5]), "nothing was learned: {losses:?}");
    let state = fs::read_to_string(checkpoint(&place.path("whole")).join("state.json")).expect("a state");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["plugins"][plugin]["version"], "0.1.0", "{state}");
    assert_eq!(state["plugins"][plugin]["sha256"].as_str().map(str::len), Some(64));
    let (run, out) = (place.path("whole").display().to_string(), place.path("vectors.parquet").display().to_string());
    let said = succeeds(&["embed", &run, "--out", &out, "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["objects"], OBJECTS);
    assert_eq!(said["with"]["own"], present, "{said}");
}

#[test]
fn a_modality_and_a_codec_in_c() {
    let own = format!(
        "[modality.own]\nkind = \"polarimetry\"\nlongest = 16\ntokenizer = {{ kind = \"polarimetry_codes\" }}\n{ALIGN}"
    );
    let place = Place::new(|folder| library(folder, "plugins/examples/c/polarimetry.c", &[]), &own, STEPS);
    trains_resumes_and_embeds(&place, "polarimetry", OBJECTS - OBJECTS / 10);
}

#[test]
fn a_modality_and_a_head_in_cpp() {
    let own = "[modality.own]\nkind = \"strain\"\nwindow = 64\n[modality.own.tokenizer]\nkind = \"time_patches\"\n\
               observations = 8\n[head.distance]\nkind = \"log_distance\"\n";
    let place = Place::new(|folder| library(folder, "plugins/examples/cpp/gravitational_waves.cpp", &[]), own, STEPS);
    trains_resumes_and_embeds(&place, "gravitational-waves", OBJECTS - OBJECTS / 12);
    // What it throws is an error with its text, and nothing is left behind.
    let said = place.fails(6, "thrown", &["--set", "modality.own.fail=true"]);
    assert!(
        said.contains("plugin `gravitational-waves`, modality `strain`, run: caught a panic or an exception: "),
        "{said}"
    );
    assert!(!place.path("thrown").exists());
}

#[test]
fn a_tokenizer_with_parameters_and_a_head_in_rust() {
    let own = "[modality.own]\nkind = \"events\"\nmax_events = 48\n[modality.own.tokenizer]\nkind = \"event_windows\"\n\
               events = 8\nhidden = 8\nwidth = 8\n[head.flux]\nkind = \"log_flux\"\n";
    let place = Place::new(rust_example, own, STEPS);
    trains_resumes_and_embeds(&place, "panchroma-events", OBJECTS - OBJECTS / 9);
    // The parameters of both were made, saved, and moved.
    let names = |step: &str| -> Vec<u8> {
        fs::read(place.path("halves").join("checkpoints").join(step).join("model.safetensors")).expect("weights")
    };
    let last = String::from_utf8_lossy(&names("step-000050")).into_owned();
    for name in ["codec.own.", "head.flux."] {
        assert!(last.contains(name), "{name}");
    }
    assert_ne!(names("step-000025"), names("step-000050"));
}
