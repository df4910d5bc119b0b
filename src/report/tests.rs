//! The page of small made-up runs.

use super::*;
use panchroma_core::sketch::{Plane, Sample, Sketch};
use serde_json::json;
use std::fs;

fn line(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Two bands, of which the codec tells one beyond the axis.
fn curves() -> ReconstructionPlot {
    let sample = |at: u32, value: f64| Sample { at: f64::from(at), value, error: 0.1 };
    let band = |name: &str, high: f64| (name.to_owned(), (0..8).map(|i| sample(i, high * f64::from(i % 3))).collect());
    let groups = |high: f64| Sketch::Samples {
        axis: ["time".into(), "day".into()],
        value: ["flux".into(), String::new()],
        groups: vec![band("g", 1.0), band("r", high)],
    };
    let (modality, object) = ("lightcurve".into(), "SN <1>".into());
    ReconstructionPlot { modality, object, measured: groups(2.0), told: groups(100.0) }
}

fn image() -> ReconstructionPlot {
    let plane = |least: f32| {
        let values = (0..12u8).map(|i| (i > 0).then_some(least + f32::from(i))).collect();
        Sketch::Planes { unit: "nJy".into(), planes: vec![Plane { label: "g".into(), width: 4, values }] }
    };
    ReconstructionPlot { modality: "image".into(), object: "SN2".into(), measured: plane(0.0), told: plane(1.0) }
}

fn sample() -> RunData {
    let train =
        |step: u32| json!({"step": step, "loss": 3.0 / f64::from(step), "learning_rate": 1e-3, "gradient_norm": 1.5});
    let mut log: Vec<Map<String, Value>> = (1..=30).map(|step| line(train(step))).collect();
    log.push(line(json!({"step": 30, "evaluation.loss": 0.4, "evaluation.top10.lightcurve-spectrum": 0.3})));
    RunData {
        name: "quickstart".into(),
        summary: json!({"verdict": "Light curves find their spectra.", "steps": 30, "seconds": 71.2, "seed": 1}),
        log,
        retrieval: vec![RetrievalPlot {
            from: "lightcurve".into(),
            to: "spectrum".into(),
            ranks: vec![1, 2, 7, 30],
            pool: 40,
        }],
        map: Some(EmbeddingMap {
            points: vec![[0.0, 0.0], [1.0, 2.0], [2.0, 1.0], [3.0, 3.0]],
            labels: ["Ia", "Ia", "II", "unknown"].map(String::from).to_vec(),
            numbers: Some(("redshift".into(), vec![0.1, 0.2, 0.3, f64::NAN])),
            ids: ["SN1", "SN2", "SN3", "SN4"].map(String::from).to_vec(),
        }),
        regressions: vec![RegressionPlot {
            name: "redshift".into(),
            from: "spectrum".into(),
            truth: vec![0.1, 0.2, 0.3],
            predicted: vec![0.12, 0.18, 0.25],
            r2: 0.83,
        }],
        predictions: vec![PredictionPlot {
            name: "redshift".into(),
            given: vec!["lightcurve".into(), "spectrum".into()],
            truth: vec![0.1, 0.2, f64::NAN],
            predicted: vec![0.12, 0.18, 0.25],
            central68: vec![[0.1, 0.14], [0.1, 0.3], [0.2, 0.3]],
            below: vec![0.3, 0.6, f64::NAN],
            r2: 0.9,
            examples: vec![PosteriorPlot {
                edges: vec![0.0, 0.1, 0.2, 0.2, 0.4],
                probabilities: vec![0.5, 0.2, 0.2, 0.1],
                truth: 0.15,
            }],
        }],
        reconstructions: vec![curves(), image()],
        confusions: vec![ConfusionPlot {
            name: "type".into(),
            from: "joint".into(),
            classes: vec!["Ia".into(), "other".into()],
            counts: vec![vec![9, 1], vec![2, 6]],
        }],
        tables: vec![Table {
            title: "Probes on frozen features".into(),
            columns: vec!["probe".into(), "trained".into()],
            rows: vec![vec!["redshift".into(), "0.83 [0.70, 0.90]".into()]],
            note: "brackets are 95 % intervals".into(),
        }],
        config_toml: "[run]\nname = \"quickstart\"\n".into(),
    }
}

/// Every SVG has only the tags that are closed, and no number that is none.
fn check_drawings(page: &str) {
    for svg in page.split("<svg ").skip(1) {
        let svg = svg.split("</svg>").next().unwrap_or_default();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}

#[test]
fn a_page_has_every_section() {
    let page = page::page(&sample()).unwrap();
    check_drawings(&page);
    for id in ["results", "reconstructions", "retrieval", "predictions", "probes", "map", "training", "config"] {
        assert_eq!(page.matches(&format!("<section id=\"{id}\">")).count(), 1, "{id}");
    }
    for text in [
        "Light curves find their spectra.",
        "30 optimiser steps · 71 s · seed 1",
        "0.83 <small>[0.70, 0.90]</small>",
        "lightcurve → spectrum, 75 % for k = 10",
        "chance, 25.0 % for k = 10",
        "<title>SN3 II</title>",
        "R² = 0.83, 3 held-out objects",
        "R² = 0.90, 2 held-out objects",
        "<title>true 0.200, predicted 0.180, 68 % from 0.100 to 0.300</title>",
        "Calibration: redshift from lightcurve and spectrum",
        "true 0.15",
        "<b>90 %</b><br>9",
        "held out, 0.4 at the end",
        "name = &quot;quickstart&quot;",
    ] {
        assert!(page.contains(text), "no `{text}`");
    }
}

#[test]
fn what_codes_say_is_drawn_beside_what_was_measured() {
    let mut data = RunData { reconstructions: vec![curves()], ..RunData::default() };
    let page = page::page(&data).unwrap();
    assert!(page.contains("SN &lt;1&gt;, lightcurve") && page.contains("g, 8 samples") && page.contains("time [day]"));
    check_drawings(&page);
    // Measured dots of both bands, and two lines beside error bars.
    assert_eq!(page.matches("<title>").count(), 1 + 16);
    data.reconstructions = vec![image()];
    let page = page::page(&data).unwrap();
    assert!(page.contains("g, measured") && page.contains("g, reconstructed") && page.contains("in nJy"));
    // What can't be compared is left out.
    let ReconstructionPlot { told, .. } = image();
    data.reconstructions = vec![ReconstructionPlot { told, ..curves() }];
    assert!(!page::page(&data).unwrap().contains("id=\"reconstructions\""));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = page::page(&sample()).unwrap().replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for text in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(text), "`{text}`");
    }
}

#[test]
fn names_are_text_never_markup() {
    let evil = "<script>alert(\"1\")</script>&";
    let mut data = sample();
    data.name = evil.into();
    data.summary = json!({ "verdict": evil });
    data.config_toml = evil.into();
    data.log.push(line(json!({"step": 1, "evaluation.top10.<script>-b": 0.5})));
    for plot in &mut data.retrieval {
        plot.from = evil.into();
    }
    for plot in &mut data.regressions {
        plot.name = evil.into();
    }
    for plot in &mut data.confusions {
        plot.classes = vec![evil.into(); 2];
    }
    for table in &mut data.tables {
        table.columns = vec![evil.into(); 2];
        table.rows = vec![vec![evil.into(), format!("{evil} [{evil}]")]];
    }
    if let Some(map) = &mut data.map {
        map.labels = vec![evil.into(); 4];
        map.ids = vec![evil.into(); 4];
    }
    let page = page::page(&data).unwrap();
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;"));
}

#[test]
fn what_is_not_there_is_left_out() {
    let page = page::page(&RunData::default()).unwrap();
    assert!(!page.contains("<section") && !page.contains("<svg"));
    let mut data = sample();
    data.reconstructions.clear();
    data.retrieval[0].ranks.clear();
    data.regressions[0].truth.clear();
    data.confusions[0].counts.clear();
    data.tables[0].rows.clear();
    data.log = vec![Map::new()];
    data.map = Some(EmbeddingMap { points: vec![], labels: vec![], numbers: None, ids: vec![] });
    assert_eq!(page::page(&data).unwrap().matches("<section").count(), 1, "only the config");
}

#[test]
fn numbers_that_are_none_are_not_drawn() {
    let mut data = sample();
    data.log.push(line(json!({"step": 31, "loss": null, "gradient_norm": 1e300, "evaluation.loss": "NaN"})));
    data.regressions[0].truth[0] = f64::NAN;
    data.regressions[0].predicted[1] = f64::INFINITY;
    data.regressions[0].r2 = f64::NAN;
    let map = data.map.as_mut().unwrap();
    map.points[0] = [f32::NAN, 1.0];
    map.points[1] = [1.0, f32::NEG_INFINITY];
    map.labels.truncate(1);
    map.ids.clear();
    let page = page::page(&data).unwrap();
    check_drawings(&page);
    assert!(page.contains("R² unknown, 1 held-out objects"));
    data.regressions[0].truth.fill(f64::NAN);
    data.map.as_mut().unwrap().points.fill([f32::NAN; 2]);
    data.retrieval[0].ranks = vec![0, usize::MAX];
    data.retrieval[0].pool = 1;
    check_drawings(&page::page(&data).unwrap());
}

#[test]
fn saved_data_give_the_same_page() {
    let mut data = sample();
    data.regressions[0].r2 = f64::NAN;
    data.map.as_mut().unwrap().points[0] = [f32::NAN, 1.0];
    let saved = serde_json::to_vec(&data).unwrap();
    let read: RunData = serde_json::from_slice(&saved).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    write_report(&read, &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), page::page(&data).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
}
