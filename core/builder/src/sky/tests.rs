//! Against brute force, where matchers lose pairs.

use super::*;
use crate::describe::{Notes, Table};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use panchroma_core::data::DataError;
use panchroma_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

fn bad(row: usize, column: &str, reason: String) -> Error {
    DataError::BadValue { object: row.to_string(), column: column.into(), reason }.into()
}

fn positions(points: &[(f64, f64)]) -> Positions {
    let (ra, dec) = points.iter().copied().unzip();
    Positions::new(ra, dec, bad).expect("positions")
}

/// Every pair, one by one.
fn brute(left: &[(f64, f64)], right: &[(f64, f64)], radius: f64) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate() {
            if separation(*a, *b).to_radians() <= radius.to_radians() {
                found.push((i as u32, j as u32));
            }
        }
    }
    found
}

/// Anywhere, and where matchers lose pairs: the poles, RA 0, borders of HEALPix pixels, equal positions.
fn point() -> impl Strategy<Value = (f64, f64)> {
    let near = -2e-3..2e-3f64;
    prop_oneof![
        (0.0..360.0f64, -90.0..90.0f64),
        (0.0..360.0f64, near.clone()).prop_map(|(ra, d)| (ra, 90.0 - d.abs())),
        (0.0..360.0f64, near.clone()).prop_map(|(ra, d)| (ra, d.abs() - 90.0)),
        (near.clone(), -2e-3..2e-3f64).prop_map(|(ra, dec)| (ra.rem_euclid(360.0), dec)),
        (near.clone(), near.clone()).prop_map(|(ra, d)| (45.0 + ra, 41.810_314_895_778_6 + d)),
        (near.clone(), near).prop_map(|(ra, d)| ((359.999 + ra).rem_euclid(360.0), 89.9 + d)),
        Just((0.0, 90.0)),
        Just((360.0, 0.0)),
        Just((0.0, -90.0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_pair_is_lost_anywhere(
        left in proptest::collection::vec(point(), 1..40),
        right in proptest::collection::vec(point(), 1..40),
        radius in prop_oneof![Just(1.0 / 3600.0), Just(1e-3), Just(0.1), Just(5.0), Just(100.0), Just(180.0)],
    ) {
        let (a, b) = (positions(&left), positions(&right));
        let found = pairs(&a, &b, radius);
        let mut rows: Vec<(u32, u32)> = found.iter().map(|p| (p.left, p.right)).collect();
        rows.sort_unstable();
        prop_assert_eq!(&rows, &brute(&left, &right, radius));
        // The nearest is the first of each object's pairs.
        let nearest = nearest(&a, &b, radius);
        for (row, best) in nearest.iter().enumerate() {
            let first = found.iter().find(|p| p.left as usize == row);
            prop_assert_eq!(best.as_ref(), first);
        }
        // Mutual pairs are the same from either side.
        let kept: Vec<(u32, u32)> = choose(found, Rule::Mutual, right.len()).kept.iter().map(|p| (p.left, p.right)).collect();
        let mut back: Vec<(u32, u32)> =
            choose(pairs(&b, &a, radius), Rule::Nearest, left.len()).kept.iter().map(|p| (p.right, p.left)).collect();
        back.sort_unstable();
        for pair in &kept {
            let ties = found_ties(&left, &right, *pair);
            prop_assert!(ties || back.binary_search(pair).is_ok(), "{:?} of {:?}", pair, back);
        }
    }
}

/// Whether another object is as near, so that row numbers decide, which differ by side.
fn found_ties(left: &[(f64, f64)], right: &[(f64, f64)], (i, j): (u32, u32)) -> bool {
    let own = separation(left[i as usize], right[j as usize]);
    left.iter().enumerate().any(|(k, a)| k != i as usize && separation(*a, right[j as usize]) <= own)
}

#[test]
fn every_pair_that_is_not_kept_has_a_reason() {
    // Two left objects beside one right, which has a second neighbour.
    let left = positions(&[(10.0, 0.0), (10.0002, 0.0)]);
    let right = positions(&[(10.00005, 0.0), (10.0003, 0.0)]);
    let found = pairs(&left, &right, 0.001);
    assert_eq!(found.len(), 4);
    let mutual = choose(found.clone(), Rule::Mutual, 2);
    assert_eq!(mutual.kept.iter().map(|p| (p.left, p.right)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    assert!(mutual.dropped.iter().all(|d| d.reason == Reason::NotNearest) && mutual.dropped.len() == 2);
    let right = positions(&[(10.00005, 0.0)]);
    let mutual = choose(pairs(&left, &right, 0.001), Rule::Mutual, 1);
    assert_eq!(mutual.dropped[0].reason, Reason::NotMutual);
    assert_eq!(choose(pairs(&left, &right, 0.001), Rule::Nearest, 1).kept.len(), 2);
    assert_eq!(choose(found, Rule::All, 2).kept.len(), 4);
}

#[test]
fn positions_are_checked_and_means_cross_ra_0() {
    let new = |ra: f64, dec: f64| Positions::new(vec![ra], vec![dec], bad).map_err(|e| e.to_string());
    assert!(new(f64::NAN, 0.0).expect_err("NaN").contains("object `0`, column `ra`"));
    assert!(
        new(-1.0, 0.0).is_err()
            && new(360.1, 0.0).is_err()
            && new(0.0, 90.1).is_err()
            && new(0.0, f64::INFINITY).is_err()
    );
    let (ra, dec) = mean_position(&[(359.0, 10.0), (1.0, 10.0)]).expect("a mean");
    assert!((ra + 1.0).rem_euclid(360.0) - 1.0 < 1e-9 && (dec - 10.0).abs() < 0.01, "{ra} {dec}");
    let (_, dec) = mean_position(&[(0.0, 89.0), (180.0, 89.0)]).expect("a mean");
    assert!((dec - 90.0).abs() < 1e-9);
    assert!(mean_position(&[(0.0, 0.0), (180.0, 0.0)]).is_none());
    assert!((separation((0.0, 0.0), (0.0, 1.0)) - 1.0).abs() < 1e-12);
}

/// Tables and what comes of matching them.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A table `NAME.csv`.
    fn table(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(&format!("{name}.csv"));
        fs::write(&path, text).expect("written");
        path
    }

    fn run(&self, paths: &[PathBuf], keep: Keep, rule: Rule, input: &InputSettings) -> Result<MatchReport> {
        let settings = MatchSettings { radius_arcsec: 1.0, rule, keep, inputs: vec![input.clone()], dry_run: false };
        let _ = fs::remove_dir_all(self.path("out"));
        match_catalogues(paths, &settings, &self.path("out"), &mut |_, _| {})
    }

    fn fails(&self, paths: &[PathBuf]) -> Error {
        self.run(paths, Keep::Inner, Rule::Mutual, &InputSettings::default()).expect_err("wrong")
    }
}

fn rows_of(catalogue: &Path) -> RecordBatch {
    let table = Table::open(catalogue).expect("a catalogue");
    let batches = table.files.iter().flat_map(|file| Table::batches(file, None).expect("a file"));
    let batches: Vec<RecordBatch> = batches.map(|batch| batch.expect("rows").1).collect();
    arrow_select::concat::concat_batches(batches[0].schema_ref(), &batches).expect("one schema")
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = cast(batch.column_by_name(column).expect("the column"), &DataType::Utf8).expect("text");
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect()
}

#[test]
fn every_pair_within_the_radius_is_in_the_result_or_in_not_kept_with_a_reason() {
    let place = Place::new();
    // Clumps of objects up to 2 arcseconds apart, so that there are ties, chains, and objects without counterparts.
    let mut next = 1u64;
    let mut random = || {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (next >> 40) as f64 / (1u64 << 24) as f64
    };
    let mut points: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut paths = Vec::new();
    for name in ["a", "b", "c"] {
        let clump = |i: u64| (10.0 + 0.01 * (i % 20) as f64, (i % 7) as f64 * 0.01);
        let own: Vec<(f64, f64)> =
            (0..60).map(|i| (clump(i).0 + random() * 5e-4, clump(i).1 + random() * 5e-4)).collect();
        let lines = own.iter().enumerate().map(|(i, (ra, dec))| format!("{name}{i},{ra},{dec}\n"));
        paths.push(place.table(name, &format!("object_id,ra,dec\n{}", lines.collect::<String>())));
        points.push(own);
    }
    let mut lost = 0;
    for rule in [Rule::Mutual, Rule::Nearest, Rule::All] {
        for keep in [Keep::Inner, Keep::Left, Keep::Outer] {
            let report = place.run(&paths, keep, rule, &InputSettings::default()).expect("matched");
            let rows = rows_of(&place.path("out"));
            let csv = fs::read_to_string(place.path("out/not_kept.csv")).expect("a file");
            let first = texts(&rows, "object_id_a");
            for (other, (name, points_of)) in ["b", "c"].into_iter().zip(&points[1..]).enumerate() {
                let within: BTreeSet<(String, String)> = brute(&points[0], points_of, 1.0 / 3600.0)
                    .into_iter()
                    .map(|(i, j)| (format!("a{i}"), format!("{name}{j}")))
                    .collect();
                let joined = first.iter().zip(texts(&rows, &format!("object_id_{name}")));
                let kept: BTreeSet<_> = joined.filter_map(|(a, b)| Some((a.clone()?, b?))).collect();
                let lines = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
                let lines: Vec<_> = lines.filter(|line| line[2] == name).collect();
                let dropped: BTreeSet<_> = lines.iter().map(|l| (l[1].to_owned(), l[3].to_owned())).collect();
                assert_eq!(lines.len(), dropped.len(), "a pair is there twice");
                assert!(kept.is_disjoint(&dropped), "{rule:?} {keep:?}");
                assert_eq!(kept.union(&dropped).cloned().collect::<BTreeSet<_>>(), within, "{rule:?} {keep:?} {name}");
                let pair = &report.pairs[other];
                assert_eq!((pair.within_radius, pair.kept), (within.len(), kept.len()), "{rule:?} {keep:?} {name}");
                assert_eq!(pair.dropped.values().sum::<usize>(), dropped.len());
                let reason = format!("no_counterpart_in_{}", if name == "b" { "c" } else { "b" });
                lost += lines.iter().filter(|line| line[5] == reason).count();
            }
            let there = first.iter().flatten().collect::<BTreeSet<_>>().len();
            assert_eq!(report.pairs.iter().map(|p| p.left_out).sum::<usize>(), points[0].len() - there);
        }
    }
    assert!(lost > 0, "no object lacked one counterpart alone");
}

#[test]
fn no_two_columns_have_one_name_and_units_follow_them() {
    let place = Place::new();
    let head = "# %ECSV 1.0\n# ---\n# datatype:\n";
    let unit = |name: &str, unit: &str| format!("# - {{name: {name}, unit: {unit}, datatype: float64}}\n");
    let bare = |name: &str| format!("# - {{name: {name}, datatype: string}}\n");
    let described = |columns: &str, rows: &str| format!("{head}{columns}{rows}");
    let a = place.path("a.ecsv");
    let columns = [bare("object_id"), unit("ra", "deg"), unit("dec", "deg"), unit("mag", "mag"), unit("mag_b", "Jy")];
    fs::write(&a, described(&columns.concat(), "object_id,ra,dec,mag,mag_b\nx,1,1,2,3\n")).expect("written");
    // The second has RA in hours, a column that differs by case, and one that is called as the separation.
    let b = place.path("b.ecsv");
    let columns = [
        bare("object_id"),
        unit("RA", "hourangle"),
        unit("dec", "deg"),
        unit("mag", "uJy"),
        unit("separation_arcsec_b", "m"),
    ];
    let hours = 1.0 / 15.0;
    let rows = format!("object_id,RA,dec,mag,separation_arcsec_b\nu,{hours},1,5,7\n");
    fs::write(&b, described(&columns.concat(), &rows)).expect("written");
    let input = InputSettings::default();
    place.run(&[a.clone(), b], Keep::Inner, Rule::Mutual, &input).expect("matched");
    let rows = rows_of(&place.path("out"));
    let expected = [
        ("object_id", None),
        ("ra", Some("deg")),
        ("dec", Some("deg")),
        ("object_id_a", None),
        ("ra_a", Some("deg")),
        ("dec_a", Some("deg")),
        ("mag", Some("mag")),
        ("mag_b", Some("Jy")),
        ("object_id_b", None),
        ("RA_b", Some("hourangle")),
        ("dec_b", Some("deg")),
        ("mag_b_2", Some("uJy")),
        ("separation_arcsec_b", Some("m")),
        ("separation_arcsec_b_2", Some("arcsec")),
        ("_healpix_29", None),
    ];
    assert_eq!(names(&rows), expected.map(|(name, _)| name));
    let notes = Notes::read(&place.path("out")).expect("TOML").expect("notes");
    for (name, unit) in expected {
        assert_eq!(notes.units.get(name).map(String::as_str), unit, "{name}");
    }
    // 1/15 of an hour of right ascension is one degree: both are at the same place.
    let angle = rows.column_by_name("separation_arcsec_b_2").expect("a column").as_primitive::<Float64Type>();
    assert!(angle.value(0) < 1e-6, "{}", angle.value(0));
    // A result again, with a catalogue of a name that is in it; its units come from `panchroma.toml`.
    fs::rename(place.path("out"), place.path("both")).expect("moved");
    place.run(&[place.path("both"), a], Keep::Inner, Rule::Mutual, &input).expect("matched");
    let rows = rows_of(&place.path("out"));
    let lower: BTreeSet<String> = names(&rows).iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(lower.len(), rows.num_columns(), "{:?}", names(&rows));
    let notes = Notes::read(&place.path("out")).expect("TOML").expect("notes");
    assert_eq!(notes.units.get("mag_b_2").map(String::as_str), Some("uJy"));
    assert_eq!(notes.units.get("mag_a").map(String::as_str), Some("mag"));
}

#[test]
fn names_that_are_made_are_no_names_that_are_there() {
    let place = Place::new();
    // `x` of the second is nobody's counterpart and would be called `x_b`, as an object of the first is.
    let a = place.table("a", "object_id,ra,dec\nx,1,1\nx_b,50,50\n");
    let b = place.table("b", "object_id,ra,dec\nx,100,10\nu,1,1\n");
    place.run(&[a, b], Keep::Outer, Rule::Mutual, &InputSettings::default()).expect("matched");
    let rows = rows_of(&place.path("out"));
    let found: BTreeSet<String> = texts(&rows, "object_id").into_iter().flatten().collect();
    assert_eq!(found, ["x", "x_b", "x_b_2"].map(str::to_owned).into());
}

#[test]
fn an_object_without_a_position_is_named_with_file_and_row_or_left_out_and_counted() {
    let place = Place::new();
    let a = place.table("a", "object_id,ra,dec\np,5,5\nq,,1\nr,7,91\ns,9,9\n");
    let b = place.table("b", "object_id,ra,dec\nu,5,5\nv,9,9\n");
    let both = [a.clone(), b];
    let error = place.fails(&both);
    assert_eq!(
        error.to_string(),
        format!("`{}`, row 1: object `q`, column `ra`: expected 0 to 360 degrees, got NaN", a.display())
    );
    assert_eq!(error.hint().expect("a hint"), "correct it, or leave such objects out by `--drop-bad`");
    let input = InputSettings { drop_bad: true, ..InputSettings::default() };
    for (keep, expected) in [(Keep::Inner, 2), (Keep::Left, 2), (Keep::Outer, 2)] {
        let report = place.run(&both, keep, Rule::Mutual, &input).expect("matched");
        assert_eq!((report.objects, report.without_position.get("a")), (expected, Some(&2)));
        assert_eq!((report.pairs[0].completeness, report.pairs[0].completeness_other), (1.0, 1.0));
    }
    // From the other side: what has no position is no object that is nobody's counterpart, either.
    let report = place.run(&[both[1].clone(), a], Keep::Outer, Rule::Mutual, &input).expect("matched");
    assert_eq!(report.objects, 2);
}

#[test]
fn positions_and_names_are_found_under_the_names_that_surveys_use() {
    let place = Place::new();
    let a = place.table("a", "object_id,RAJ2000,DEJ2000\n007,5,5\n");
    let input = InputSettings::default();
    for (ra, dec) in
        [("ra", "dec"), ("RA_ICRS", "DE_ICRS"), ("_RA", "_DE"), ("RAdeg", "DEdeg"), ("ALPHA_J2000", "DELTA_J2000")]
    {
        let b = place.table("b", &format!("object_id,{ra},{dec}\nu,5,5\n"));
        let report = place.run(&[a.clone(), b], Keep::Inner, Rule::Mutual, &input).expect("matched");
        assert_eq!(report.objects, 1, "{ra}");
        assert_eq!(texts(&rows_of(&place.path("out")), "object_id"), [Some("007".to_owned())]);
    }
    // As a HATS catalogue says, whatever else it holds.
    let stating = tempfile::tempdir().expect("a folder");
    let columns = [("object_id", vec!["u"])].map(|(n, v)| (n, Arc::new(StringArray::from(v)) as ArrayRef));
    let angles = [("x", 5.0), ("y", 5.0), ("ra", 100.0), ("dec", 0.0)]
        .map(|(name, angle)| (name, Arc::new(Float64Array::from(vec![angle])) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns.into_iter().chain(angles)).expect("columns of one length");
    let file = fs::File::create(stating.path().join("part.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    fs::write(stating.path().join("hats.properties"), "hats_col_ra=x\nhats_col_dec=y\n").expect("written");
    let both = [a.clone(), stating.path().to_path_buf()];
    assert_eq!(place.run(&both, Keep::Inner, Rule::Mutual, &input).expect("matched").objects, 1);
    let found =
        crate::describe::validate(stating.path(), &crate::describe::Checks { id: "object_id".into() }, &mut |_, _| {});
    assert_eq!(found.expect("read").iter().filter(|f| f.error).count(), 0);
    // Said for each, and in vain.
    let b = place.table("b", "source,x,y,ra,dec\nu,5,5,100,0\n");
    let other = InputSettings { id: "source".into(), position: Some(["x".into(), "y".into()]), drop_bad: false };
    let settings = MatchSettings {
        radius_arcsec: 1.0,
        rule: Rule::Mutual,
        keep: Keep::Inner,
        inputs: vec![input, other],
        dry_run: false,
    };
    let report = match_catalogues(&[a.clone(), b], &settings, &place.path("two"), &mut |_, _| {}).expect("matched");
    assert_eq!(report.objects, 1);
    let none = place.table("none", "object_id,x,y\nu,5,5\n");
    let error = place.fails(&[a.clone(), none.clone()]);
    let said = format!("`{}`: has no columns `ra` and `dec`, nor others that surveys call so", none.display());
    assert_eq!(error.to_string(), said);
    let hint = "`--ra` and `--dec` say which columns these are; it has object_id, x, y";
    assert_eq!(error.hint().as_deref(), Some(hint));
}

#[test]
fn tables_that_cant_be_matched_say_why() {
    let place = Place::new();
    let a = place.table("a", "object_id,ra,dec\np,5,5\n");
    let with = |text: &str| {
        let b = place.table("b", text);
        let error = place.fails(&[a.clone(), b.clone()]);
        error.to_string().replace(&b.display().to_string(), "b.csv")
    };
    assert_eq!(with("object_id,ra,dec\n"), "`b.csv`: has columns but no rows");
    assert_eq!(with("object_id,ra,dec\nu,1,1\n,2,2\n"), "row 1 of `b.csv` has no `object_id`");
    assert_eq!(with("object_id,ra,dec\nu,1,1\nu,2,2\n"), "two objects are called `u`: both in `b.csv`");
    assert_eq!(with("object_id,ra,dec\nu,10:20:30,1\n"), "`b.csv`, column `ra`: holds text, expected degrees");
    let units = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: object_id, datatype: string}\n# - {name: ra, unit: h, datatype: float64}\n";
    let said = with(&format!("{units}object_id,ra,dec\nu,1,1\n"));
    assert_eq!(said, "`b.csv`, column `ra`: is in `h`, which is no unit of angles");
}
