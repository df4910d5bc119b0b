//! The components of this plugin, tested without Panchroma but through the same tables that it calls.

use panchroma_events::{EventCodes, EventWindows, Events, LogFlux, panchroma_parts};
use panchroma_sdk::testing::{self, Arrays, HeadTrial, Rows, TokenizerTrial, json};

#[test]
fn panchroma_would_take_the_plugin() {
    assert_eq!(testing::check(panchroma_parts()).unwrap(), ["events", "event_codes", "event_windows", "log_flux"]);
}

#[test]
fn the_manifest_says_what_the_library_has() {
    let manifest = include_str!("../panchroma-events.toml");
    for name in testing::check(panchroma_parts()).unwrap() {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert!(manifest.contains(&format!("version = \"{}\"", env!("CARGO_PKG_VERSION"))));
}

/// Photons of three objects: some, none, and a list that is missing.
fn rows() -> Rows {
    let rows = json!([
        { "time": [7e8, 7e8 + 250.0, 7e8 + 1.0, 7e8 + 2.0], "energy": [1.0, 6.0, 0.1, 2.0] },
        { "time": [], "energy": [] },
        {},
    ]);
    Rows::json(rows).unwrap()
}

#[test]
fn photons_are_in_the_band_and_by_time() {
    let arrays = testing::prepare::<Events>("{}", &rows()).unwrap();
    assert_eq!(arrays.present(), [1, 0, 0]);
    // 0.1 keV is below the band. Differences of times are exact though the times are some 10⁸ s.
    assert_eq!(arrays.row_f32("time", 0).unwrap(), [0.0, 2.0, 250.0]);
    assert_eq!(arrays.row_f32("energy", 0).unwrap(), [1.0, 2.0, 6.0]);
}

#[test]
fn what_is_not_a_number_is_left_out() {
    let rows = json!([{ "time": [1.0, null, 3.0], "energy": [1.0, 1.0, null] }]);
    let arrays = testing::prepare::<Events>("{}", &Rows::json(rows).unwrap()).unwrap();
    assert_eq!(arrays.row_f32("energy", 0).unwrap(), [1.0]);
}

#[test]
fn lists_of_different_lengths_are_an_error_of_their_row() {
    let rows = json!([{}, { "time": [1.0, 2.0], "energy": [1.0] }]);
    let error = testing::prepare::<Events>("{}", &Rows::json(rows).unwrap()).unwrap_err();
    assert_eq!((error.blamed_row(), error.message()), (Some(1), "2 times and 1 energies"));
}

#[test]
fn of_too_many_photons_a_part_is_drawn_in_training() {
    let time: Vec<f64> = (0..100).map(f64::from).collect();
    let rows = Rows::new().column("time", [time]).column("energy", [vec![1.0; 100]]);
    let config = r#"{ "max_events": 10 }"#;
    let times = |rows: &Rows| testing::prepare::<Events>(config, rows).unwrap().f32("time").unwrap();
    assert_eq!(times(&rows), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]);
    let drawn = times(&rows.clone().train(1, 0));
    assert!(drawn.len() == 10 && drawn.is_sorted());
    assert_eq!(drawn, times(&rows.clone().train(1, 0)));
    assert_ne!(drawn, times(&rows.clone().train(1, 1)));
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    let error = testing::prepare::<Events>(r#"{ "lowest_kev": 12.0 }"#, &rows()).unwrap_err();
    assert_eq!(error.message(), "`lowest_kev` 12 is not between 0 and `highest_kev` 10");
    assert!(testing::prepare::<Events>(r#"{ "max_event": 1 }"#, &rows()).is_err());
}

fn arrays() -> Arrays {
    testing::prepare::<Events>("{}", &rows()).unwrap()
}

#[test]
fn bins_become_codes() {
    let tokens = testing::encode::<EventCodes>("{}", &arrays()).unwrap();
    // Bin 0: 2 photons, level 1; the mean of ln 1 and ln 2 is ln 1.414: (0.347 - ln 0.3) / (ln 10 - ln 0.3) · 16 = 7.07.
    // Bin 1: nothing. Bin 2: 1 photon of 6 keV, level 0: (1.792 + 1.204) / 3.507 · 16 = 13.67.
    assert_eq!(tokens.row_codes(0), [1 + 16 + 7, 0, 1 + 13]);
    assert!(tokens.row_codes(1).is_empty());
    assert_eq!(tokens.coordinates()[..3], [50.0, 150.0, 250.0]);
}

#[test]
fn what_comes_back_has_the_same_codes() {
    let arrays = arrays();
    let tokens = testing::encode::<EventCodes>("{}", &arrays).unwrap();
    let back = testing::decode::<EventCodes>("{}", arrays.spec(), &tokens, None).unwrap();
    let again = testing::encode::<EventCodes>("{}", &back).unwrap();
    assert_eq!(again.row_codes(0), tokens.row_codes(0));
    assert_eq!(back.present(), [1, 0, 0]);
}

#[test]
fn every_code_comes_back_as_itself() {
    let spec = arrays().spec().clone();
    // All codes, but for counts that don't fit into the 512 photons of an object.
    for code in 1..1 + 7 * 16 {
        let tokens = testing::Tokens::codes_of(&[&[code]]);
        let back = testing::decode::<EventCodes>("{}", &spec, &tokens, None).unwrap();
        assert_eq!(testing::encode::<EventCodes>("{}", &back).unwrap().row_codes(0), [code]);
    }
}

#[test]
fn codes_that_there_are_not_are_an_error_of_their_row() {
    let tokens = testing::Tokens::codes_of(&[&[1], &[0, 1 + 7 * 16]]);
    let error = testing::decode::<EventCodes>("{}", arrays().spec(), &tokens, None).unwrap_err();
    assert_eq!((error.blamed_row(), error.message()), (Some(1), "code 113 isn't below 113"));
}

#[test]
fn a_window_has_a_spectrum_and_a_rate() {
    let windows = TokenizerTrial::new::<EventWindows>(r#"{ "events": 2, "bands": 2 }"#, arrays().spec()).unwrap();
    let tokens = windows.run(&arrays()).unwrap();
    assert_eq!(tokens.valid(), [1, 1, 0, 0, 0, 0]);
    // The bands meet at √(0.3 · 10) = 1.73 keV. 2 photons in 2 s; then 1 in no time, which counts as 0.1 s.
    let expected = [0.5, 0.5, 2.0_f32.ln(), 0.0, 1.0, 11.0_f32.ln()];
    for (found, expected) in tokens.patches().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{:?}", tokens.patches());
    }
    assert_eq!(tokens.coordinates()[..2], [1.0, 250.0]);
}

#[test]
fn gradients_of_windows_are_exact() {
    let config = r#"{ "events": 2, "bands": 3, "hidden": 5, "width": 4 }"#;
    let windows = TokenizerTrial::new::<EventWindows>(config, arrays().spec()).unwrap();
    windows.check_gradients(&arrays()).unwrap();
}

#[test]
fn gradients_of_the_flux_are_exact() {
    // The last is so far off that the loss is linear there.
    let rows = Rows::new().column("log_flux", [Some(-13.0), Some(-12.5), None, Some(-17.0)]);
    HeadTrial::new::<LogFlux>("{}", 6, &["events"]).unwrap().check_gradients(&rows).unwrap();
}

#[test]
fn fluxes_are_predicted_in_their_units() {
    let mut head = HeadTrial::new::<LogFlux>(r#"{ "spread_dex": 2.0 }"#, 2, &["events"]).unwrap();
    head.set("weight", &[1.0, -1.0]).unwrap();
    head.set("bias", &[0.5]).unwrap();
    let rows = Rows::new().column("log_flux", [Some(-13.0), None]);
    let outcome = head.forward(&[vec![1.0, 0.25, 0.0, 1.0]], &rows).unwrap();
    // Row 0: 0.5 + 1 - 0.25 = 1.25 spreads above -13. Off by 1.25, behind the turn: 1.25 - 0.5.
    assert_eq!(outcome.predictions, [-13.0 + 2.0 * 1.25, -13.0 + 2.0 * -0.5]);
    assert_eq!(outcome.loss, Some(0.75));
}

#[test]
fn a_batch_without_fluxes_has_no_loss() {
    let head = HeadTrial::new::<LogFlux>("{}", 2, &["events"]).unwrap();
    let rows = Rows::json(json!([{}, { "log_flux": "-inf" }])).unwrap();
    let outcome = head.forward(&[vec![1.0; 4]], &rows).unwrap();
    assert_eq!((outcome.loss, outcome.predictions.len()), (None, 2));
}
