//! The simulated catalogue is right, and `my-panchroma` trains on it.

#[path = "../examples/simulate/catalogue.rs"]
mod catalogue;
#[path = "../examples/simulate/sources.rs"]
mod sources;

use panchroma_core::data::{Catalogue, DataConfig};
use sources::{Component, baselines, visibility};
use std::process::Command;

/// What `my-panchroma` prints, run beside `config.toml`.
fn my_panchroma(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_my-panchroma"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_command_knows_plugins_of_this_crate_and_of_panchroma() {
    let list = my_panchroma(&["plugins", "list"]);
    for name in ["visibilities", "visibility_tokens", "flux_ratio", "time_series", "contrastive"] {
        assert!(list.contains(name), "no `{name}` in\n{list}");
    }
    assert!(my_panchroma(&["docs", "visibilities"]).contains("max_visibilities"));
}

#[test]
fn the_config_trains_on_the_simulated_catalogue() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, run) = (folder.path().join("data.parquet"), folder.path().join("run"));
    catalogue::write(&data, 60).expect("written");
    let (data, output) = (format!("data.path={data:?}"), format!("run.output={run:?}"));
    my_panchroma(&["train", "config.toml", "--max-steps", "2", "--set", &data, "--set", &output]);
    for name in ["log.jsonl", "results.json", "report.html"] {
        assert!(run.join(name).is_file(), "no {name}");
    }
    let log = std::fs::read_to_string(run.join("log.jsonl")).expect("a log");
    assert!(log.contains("dex"), "{log}");
}

#[test]
fn the_catalogue_is_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        let path = folder.path().join(name);
        catalogue::write(&path, 20).expect("written");
        std::fs::read(path).expect("a file")
    };
    assert_eq!(write("a.parquet"), write("b.parquet"));
    let config = DataConfig::at(folder.path().join("a.parquet"));
    let catalogue = Catalogue::open(&config, &[]).expect("a catalogue");
    assert_eq!(catalogue.describe().rows, 20);
}

fn close(found: [f64; 2], expected: [f64; 2]) {
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {expected:?}");
}

#[test]
fn a_pair_of_points_makes_fringes() {
    let radians = std::f64::consts::PI / 180.0 / 3600.0;
    let point = |flux, east| Component { flux, place: [east, 0.0], width: 0.0 };
    let pair = [point(3.0, 0.0), point(1.0, 2.0)];
    // Periods of 1 / 2 arcseconds to the east; nothing changes to the north.
    let u = |share: f64| share / (2.0 * radians);
    close(visibility(&pair, [0.0, 0.0]), [4.0, 0.0]);
    close(visibility(&pair, [u(0.25), 0.0]), [3.0, -1.0]);
    close(visibility(&pair, [u(0.5), 12_345.0]), [2.0, 0.0]);
    close(visibility(&pair, [u(1.0), 0.0]), [4.0, 0.0]);
    let ([re, im], [re_mirror, im_mirror]) = (visibility(&pair, [u(0.3), 9.0]), visibility(&pair, [-u(0.3), -9.0]));
    close([re_mirror, im_mirror], [re, -im]);
}

#[test]
fn a_gaussian_is_half_as_bright_at_two_ln_2_over_pi_widths() {
    let radians = std::f64::consts::PI / 180.0 / 3600.0;
    let source = [Component { flux: 2.0, place: [0.0, 0.0], width: 0.5 }];
    let half = 2.0 * std::f64::consts::LN_2 / std::f64::consts::PI / (0.5 * radians);
    close(visibility(&source, [0.6 * half, 0.8 * half]), [1.0, 0.0]);
}

#[test]
fn baselines_to_the_east_turn_with_the_sky() {
    // 15 pairs; at the pole, a baseline keeps its length as the hour angle changes.
    let pole = std::f64::consts::FRAC_PI_2;
    let length = |at: &[f64; 2]| at[0].hypot(at[1]);
    let (now, later) = (baselines(&[0.0], pole), baselines(&[1.0], pole));
    assert_eq!(now.len(), 15);
    for (a, b) in now.iter().zip(&later) {
        assert!((length(a) / length(b) - 1.0).abs() < 1e-9, "{a:?} {b:?}");
    }
    // No pair is further apart than 3.6 km, 180,000 wavelengths.
    assert!(now.iter().all(|at| length(at) < 180_000.0));
}
