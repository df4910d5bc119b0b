//! `panchroma data`: what a user types, from files to a catalogue and a look at it.

use crate::support::{ROOT, fails, succeeds};
use std::fs;
use std::path::Path;

/// A mapping for a table of names and positions, and of `more` columns.
fn mapping_of(csv: &Path, more: &str) -> String {
    format!(
        "[source]\nfiles = [{csv:?}]\nlayout = \"row\"\n[column]\nobject_id = {{ from = \"name\" }}\n\
         ra = {{ from = \"ra\" }}\ndec = {{ from = \"dec\" }}\n{more}"
    )
}

/// A table of sources and a mapping for it.
fn table(folder: &Path) -> (String, String) {
    let csv = folder.join("sources.csv");
    fs::write(&csv, "name,ra,dec,mag\na,359.99995,0,17.5\nb,120.5,-89.9999,18\nc,10,20,\n").expect("written");
    let mapping = folder.join("sources.toml");
    let text = mapping_of(&csv, "mag = { from = \"mag\", type = \"f32\" }\n");
    fs::write(&mapping, text).expect("written");
    (mapping.display().to_string(), csv.display().to_string())
}

#[test]
fn a_table_is_ingested_checked_counted_and_matched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mapping, _) = table(folder.path());
    let name = |n: &str| folder.path().join(n).display().to_string();
    let (out, both) = (name("out"), name("both"));
    assert!(succeeds(&["data", "ingest", &mapping, "--out", &out]).starts_with("3 objects from 1 files"));
    assert!(succeeds(&["data", "validate", &out]).contains("is sound"));
    let stats: serde_json::Value = serde_json::from_str(&succeeds(&["data", "stats", &out, "--json"])).expect("JSON");
    let mag = stats["columns"].as_array().expect("columns").iter().find(|c| c["column"] == "mag").expect("mag");
    assert_eq!((mag["present"].as_u64(), mag["missing"].as_u64()), (Some(2), Some(1)));
    assert_eq!(mag["percentiles"][3], 17.75);
    // Across RA 0, and around the pole: counterparts in another table, which is read as it is.
    let other = name("other.csv");
    fs::write(&other, "object_id,ra,dec\nx,0.00005,0\ny,300.5,-89.9999\nz,50,50\n").expect("written");
    let dry = succeeds(&["data", "match", &out, &other, "--radius", "1", "--dry-run"]);
    let said = succeeds(&["data", "match", &out, &other, "--radius", "1", "--out", &both]);
    assert_eq!(dry.replace("; nothing was written", &format!(" in `{both}`")), said);
    assert!(said.contains("out x other: 2 of 2 pairs within 1 arcsec"), "{said}");
    assert!(succeeds(&["data", "validate", &both]).contains("is sound"));
    let report = fs::read_to_string(folder.path().join("both/match.json")).expect("a report");
    assert!(report.contains("\"completeness\": 0.6666"), "{report}");
    let said = succeeds(&["data", "match", &out, &other, "--keep", "outer", "--out", &name("outer")]);
    assert!(said.contains("4 objects"), "{said}");
    assert!(fails(2, &["data", "match", &out, &other, "--out", &both], &[]).contains("exists"));
}

#[test]
fn every_mapping_in_configs_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").display().to_string();
    let mut count = 0;
    for entry in fs::read_dir(Path::new(ROOT).join("configs/ingest")).expect("a folder") {
        let mapping = entry.expect("an entry").path().display().to_string();
        // Read and checked before files are looked for.
        let said =
            fails(3, &["data", "ingest", &mapping, "--out", &out, "--set", "source.files=['no/such.file']"], &[]);
        assert!(said.contains("matches no file"), "{mapping}: {said}");
        count += 1;
    }
    assert!(count >= 5);
}

#[test]
fn an_object_is_drawn_and_a_wrong_name_gets_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    let png = folder.path().join("a.png");
    succeeds(&["data", "show", "data/ztf_alerts", "ZTF20abfcszi", "--out", &png.display().to_string()]);
    assert!(fs::read(&png).expect("a picture").starts_with(b"\x89PNG"));
    let html = folder.path().join("a.html");
    succeeds(&["data", "show", "data/supernovae", "ASASSN-14jg", "--out", &html.display().to_string()]);
    let page = fs::read_to_string(&html).expect("a page");
    assert!(page.contains("<svg") && page.contains("ASASSN-14jg") && !page.contains("<script"));
    let said = fails(2, &["data", "show", "data/supernovae", "ASASSN-14zzz"], &[]);
    assert!(said.contains("no object is called `ASASSN-14zzz`") && said.contains("ASASSN-14"), "{said}");
}

#[test]
fn what_is_wrong_has_its_place_and_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mapping, csv) = table(folder.path());
    let out = folder.path().join("out").display().to_string();
    let ingest =
        |set: &str| fails(3, &["data", "ingest", &mapping, "--out", &out, "--set", set], &[(folder.path(), "DIR")]);
    assert!(
        ingest("column.mag.from='magg'").contains("`DIR/sources.csv`, has no column `magg`")
            || ingest("column.mag.from='magg'").contains("has no column `magg`")
    );
    assert!(ingest("column.mag.to='Jy'").contains("does not say its unit"));
    let said = fails(2, &["data", "ingest", &mapping, "--out", &out, "--set", "source.layot='row'"], &[]);
    assert!(said.contains("unknown key `layot`") && said.contains("`layout`"), "{said}");
    assert!(fails(2, &["data", "match", &csv, "--out", &out], &[]).contains("2"));
    // A catalogue that is wrong: one position off the sky.
    fs::write(&csv, "name,ra,dec,mag\na,361,0,1\n").expect("written");
    let said = fails(3, &["data", "ingest", &mapping, "--out", &out], &[]);
    assert!(
        said.contains("sources.csv`, column `ra`: object `a`, row 0: expected 0 to 360 degrees, got 361"),
        "{said}"
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_split_is_that_of_training_and_notices_objects_that_are_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (csv, mapping) = (folder.path().join("pairs.csv"), folder.path().join("pairs.toml"));
    // Forty objects, each of them twice within an arcsecond.
    let lines: String = (0..80)
        .map(|i| format!("o{i},{},{}\n", 10.0 * f64::from(i / 2 % 8) + 0.0001 * f64::from(i % 2), f64::from(i / 16)))
        .collect();
    fs::write(&csv, format!("name,ra,dec\n{lines}")).expect("written");
    let text = mapping_of(&csv, "");
    fs::write(&mapping, text).expect("written");
    let (out, csv) = (folder.path().join("out").display().to_string(), folder.path().join("splits.csv"));
    succeeds(&["data", "ingest", &mapping.display().to_string(), "--out", &out]);
    let split = |more: &[&str]| -> serde_json::Value {
        let csv = csv.display().to_string();
        let command = [&["data", "split", &out, "--json", "--out", &csv, "--overwrite"], more].concat();
        serde_json::from_str(&succeeds(&command)).expect("JSON")
    };
    let by_name = split(&[]);
    assert!(by_name["close"].as_u64().expect("positions") > 0, "{by_name}");
    let by_pixel = split(&["--by", "healpix", "--order", "2"]);
    assert_eq!(by_pixel["close"], 0, "{by_pixel}");
    let lines = fs::read_to_string(&csv).expect("a file");
    assert_eq!((lines.lines().count(), lines.lines().next()), (81, Some("object_id,split")));
    let counted = lines.lines().filter(|line| line.ends_with(",test")).count();
    assert_eq!(by_pixel["test"], counted);
    assert!(fails(2, &["data", "split", &out, "--out", &csv.display().to_string()], &[]).contains("exists"));
    assert!(fails(2, &["data", "split", &out, "--shares", "0.5", "0.5", "0.5"], &[]).contains("must sum to 1"));
}

/// A limit on the size of files stands for a full disk: writing fails, with an error from the system.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing_half_written_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (csv, mapping) = (folder.path().join("many.csv"), folder.path().join("many.toml"));
    let lines: String = (0..30_000u32)
        .map(|i| {
            format!(
                "o{i},{},{}\n",
                f64::from(i * 7919 % 360_000) / 1000.0,
                f64::from(i * 104_729 % 170_000) / 1000.0 - 85.0
            )
        })
        .collect();
    fs::write(&csv, format!("name,ra,dec\n{lines}")).expect("written");
    let text = mapping_of(&csv, "");
    fs::write(&mapping, text).expect("written");
    let (mapping, out) = (mapping.display().to_string(), folder.path().join("out"));
    let whole = folder.path().join("whole");
    succeeds(&["data", "ingest", &mapping, "--out", &whole.display().to_string()]);
    let limited = format!(
        "trap '' XFSZ; ulimit -f 100; exec {} data ingest {mapping} --out {}",
        env!("CARGO_BIN_EXE_panchroma"),
        out.display()
    );
    let output =
        std::process::Command::new("bash").args(["-c", &limited]).current_dir(ROOT).output().expect("bash starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("can't write `") && !said.contains("panicked"), "{said}");
    assert!(!out.exists(), "something stands there");
    succeeds(&["data", "ingest", &mapping, "--out", &out.display().to_string()]);
    let bytes = |root: &Path| fs::read(root.join("dataset/Norder=0/Dir=0/Npix=4.parquet")).expect("a tile");
    assert_eq!(bytes(&out), bytes(&whole));
}

#[test]
fn tables_of_one_name_in_two_folders_are_matched_with_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = |place: &str, ra: f64| {
        let path = folder.path().join(place).join("sources.csv");
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, format!("object_id,ra,dec\n{place},{ra},1\nfar {place},{},1\n", 10.0 * ra)).expect("written");
        path.display().to_string()
    };
    let (left, right) = (table("left", 5.0), table("right", 5.0001));
    let out = folder.path().join("out").display().to_string();
    let said = succeeds(&["data", "match", &left, &right, "--radius", "1", "--out", &out]);
    assert!(said.contains("1 of 1 pairs within 1 arcsec, 0.360 arcsec apart"), "{said}");
}
