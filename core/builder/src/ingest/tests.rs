//! Mappings on small files, sound and broken, and interruptions.

use super::*;
use crate::describe::{Checks, Table, stats, validate};
use fits_well::FitsWriter;
use fits_well::header::Header;
use fits_well::table::{Builder, ColumnData, WriteColumn};
use panchroma_core::config::Document;
use std::fs::File;

/// A spectrum as SDSS has it: position in the primary header, samples in rows of the first extension.
fn spectrum(path: &Path, ra: f64, unit: &str) {
    let mut header = Header::new();
    header.set("PLUG_RA", ra).expect("a keyword").set("PLUG_DEC", -5.0).expect("a keyword");
    let column = |name: &str, values: Vec<f32>| WriteColumn::scalar(name, ColumnData::F32(values));
    let mut table = Builder::new();
    table.push(column("flux", vec![1., 2., 3.])).expect("a column");
    table.push(column("error", vec![0.5, 0., f32::INFINITY])).expect("a column");
    table.push(column("loglam", vec![3.6, 3.61, 3.62]).with_unit(unit)).expect("a column");
    let mut writer = FitsWriter::new(File::create(path).expect("a file"));
    writer.write_primary_header(header);
    writer.write_table(&table, None).expect("a table");
}

trait Primary {
    fn write_primary_header(&mut self, header: Header);
}

impl Primary for FitsWriter<File> {
    fn write_primary_header(&mut self, header: Header) {
        let image =
            fits_well::image::Image::new(vec![1], vec![0u8], fits_well::image::Scaling::IDENTITY).expect("a pixel");
        self.write_image(image.view(), Some(&header)).expect("a header");
    }
}

const MAPPING: &str = r#"
[source]
files = ["FOLDER/spec-*.fits"]

[column]
object_id = { file_name = "spec-" }
ra = { keyword = "PLUG_RA", part = "0" }
dec = { keyword = "PLUG_DEC", part = "0" }

[measurement.spectrum]
flux = { from = "flux" }
ivar = { from = "error", transform = "inverse_square" }
lambda = { from = "loglam", transform = "pow10" }
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(files: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for i in 0..files {
            spectrum(&folder.path().join(format!("spec-{i:04}.fits")), (i as f64 * 37.0) % 360.0, "log(Angstrom)");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mapping(&self, change: impl Fn(&str) -> String) -> Result<Mapping> {
        let text = change(MAPPING).replace("FOLDER", &self.folder.path().display().to_string());
        Mapping::read(&Document::parse("mapping.toml", &text)?)
    }

    /// Ingests with a changed mapping.
    fn run(&self, change: impl Fn(&str) -> String) -> Result<Report> {
        ingest(&self.mapping(change)?, &self.path("out"), &AtomicBool::new(false), &|_| {})
    }

    /// The message of an ingest that fails, which leaves no catalogue.
    fn fails(&self, change: impl Fn(&str) -> String) -> String {
        let error = self.run(change).expect_err("fails");
        assert!(!self.path("out").exists(), "no half-written catalogue");
        let _ = fs::remove_dir_all(self.path("out.partial"));
        format!("{error} {}", error.hint().unwrap_or_default())
    }
}

#[test]
fn spectra_become_a_sound_catalogue() {
    let place = Place::new(30);
    let report = place.run(str::to_owned).expect("ingests");
    assert_eq!((report.objects, report.files), (30, 30));
    let checks = Checks { id: "object_id".into() };
    assert_eq!(validate(&place.path("out"), &checks, &mut |_, _| {}).expect("a catalogue"), []);
    let found = stats(&Table::open(&place.path("out")).expect("a catalogue"), &mut |_, _| {}).expect("stats");
    assert_eq!(found.modalities[0].objects, 30);
    let column = |name: &str| found.columns.iter().find(|c| c.column == name).expect("a column");
    assert_eq!(column("spectrum.flux").mean, Some(2.0));
    // 1 / 0.5^2, and 0 where the error is 0 or infinite.
    assert!((column("spectrum.ivar").mean.expect("a mean") - 4.0 / 3.0).abs() < 1e-6);
    assert!((column("spectrum.lambda").percentiles.expect("numbers")[0] - 3981.0717).abs() < 1e-3);
    assert!(!place.path("out.partial").exists());
    assert!(place.run(str::to_owned).expect_err("is there").to_string().contains("exists"));
}

#[test]
fn an_interrupted_ingest_goes_on_and_gives_the_same_bytes() {
    let place = Place::new(300);
    let mapping = place.mapping(str::to_owned).expect("a mapping");
    let whole = place.path("whole");
    ingest(&mapping, &whole, &AtomicBool::new(false), &|_| {}).expect("ingests");
    let (out, stop) = (place.path("out"), AtomicBool::new(false));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let interrupted = pool.install(|| {
        ingest(&mapping, &out, &stop, &|progress| {
            if matches!(progress, Progress::Reading(200, _)) {
                stop.store(true, Ordering::Relaxed);
            }
        })
    });
    assert!(matches!(interrupted, Err(Error::Interrupted)));
    assert!(!out.exists());
    // Killed while it wrote: a cut line and a piece that nothing names.
    let journal = place.path("out.partial").join("journal.jsonl");
    let text = fs::read_to_string(&journal).expect("a journal");
    fs::write(&journal, format!("{text}{{\"files\":[\"x")).expect("written");
    fs::write(place.path("out.partial").join("piece-000009-000.writing"), b"PAR1").expect("written");
    let report = ingest(&mapping, &out, &AtomicBool::new(false), &|_| {}).expect("goes on");
    assert_eq!((report.resumed, report.objects), (128, 300));
    for tile in Table::open(&whole).expect("a catalogue").files {
        let other = out.join(tile.strip_prefix(&whole).expect("below"));
        assert_eq!(fs::read(&tile).expect("bytes"), fs::read(&other).expect("bytes"), "{}", tile.display());
    }
}

#[test]
fn another_mapping_does_not_go_on_with_what_is_there() {
    let place = Place::new(2);
    fs::create_dir(place.path("out.partial")).expect("a folder");
    let mapping = place.mapping(str::to_owned).expect("a mapping");
    let mut journal = Journal::open(&place.path("out.partial"), &mapping).expect("a journal");
    journal.add(&Done { files: vec!["a".into()], pieces: vec![], skipped: vec![] }).expect("noted");
    let error = place.run(|m| m.replace("flux = ", "flux2 = ")).expect_err("another mapping");
    assert!(error.to_string().contains("unfinished ingest by another mapping"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_file_part_and_column() {
    let place = Place::new(3);
    let contains = |message: String, parts: &[&str]| {
        for part in parts {
            assert!(message.contains(part), "`{part}` in `{message}`");
        }
    };
    contains(
        place.fails(|m| m.replace("from = \"flux\"", "from = \"fluxx\"")),
        &["spec-0000.fits", "part 1", "no column `fluxx`", "flux"],
    );
    contains(
        place.fails(|m| m.replace("from = \"flux\"", "from = \"flux\", part = \"COADD\"")),
        &["no part `COADD`", "its parts: 0"],
    );
    contains(place.fails(|m| m.replace("PLUG_RA", "RA_X")), &["no keyword `RA_X`"]);
    contains(
        place.fails(|m| m.replace("transform = \"pow10\"", "to = \"s\"")),
        &["column `loglam`", "can't be converted to `s`"],
    );
    contains(place.fails(|m| m.replace("from = \"flux\"", "from = \"flux\", to = \"Jy\"")), &["does not say its unit"]);
    contains(place.fails(|m| m.replace("spec-*", "nothing-*")), &["matches no file"]);
    contains(
        place.fails(|m| m.replace("{ file_name = \"spec-\" }", "{ constant = \"a\" }")),
        &["two objects are called `a`"],
    );
    contains(place.fails(|m| m.replace("{ from = \"flux\" }", "{}")), &["exactly one of"]);
    contains(place.fails(|m| m.replace("from = \"flux\"", "form = \"flux\"")), &["form"]);
    for (ra, said) in [(f64::from(400), "0 to 360"), (-1.0, "0 to 360")] {
        spectrum(&place.path("spec-0001.fits"), ra, "");
        contains(place.fails(str::to_owned), &["object `0001`, column `ra`", said]);
    }
    let whole = fs::read(place.path("spec-0000.fits")).expect("bytes");
    fs::write(place.path("spec-0001.fits"), &whole[..whole.len() - 2000]).expect("cut");
    contains(place.fails(str::to_owned), &["spec-0001.fits", "cut short"]);
    // The same file is left out where that is asked for.
    let report = place.run(|m| m.replace("[source]", "[source]\non_error = \"skip\"")).expect("skips");
    assert_eq!((report.objects, report.skipped.len()), (2, 1));
}

#[test]
fn rows_and_groups_of_tables_become_objects_without_positions() {
    let place = Place::new(0);
    fs::write(place.path("a.csv"), "name,band,t,f\nx,g,1.5,10\ny,g,2,20\nx,r,3,30\n").expect("written");
    let mapping = "[source]\nfiles = [\"FOLDER/*.csv\"]\nlayout = \"group\"\ngroup = { key = \"name\" }\n[column]\n\
                   object_id = { from = \"name\" }\n[measurement.curve]\nband = { from = \"band\" }\n\
                   time = { from = \"t\", unit = \"d\", to = \"s\" }\nflux = { from = \"f\" }\n";
    let report = place.run(|_| mapping.into()).expect("ingests");
    assert_eq!(report.objects, 2);
    let table = Table::open(&place.path("out")).expect("a plain folder");
    let found = stats(&table, &mut |_, _| {}).expect("stats");
    let time = found.columns.iter().find(|c| c.column == "curve.time").expect("a column");
    assert_eq!((time.values, time.percentiles.expect("numbers")[0]), (3, 1.5 * 86400.0));
    let (measured, _) = crate::describe::find(&table, "object_id", "x").expect("there").measured();
    let crate::describe::Measured::Samples { groups, .. } = &measured[0] else { panic!("samples") };
    assert_eq!(groups.iter().map(|g| g.0.as_str()).collect::<Vec<_>>(), ["g", "r"]);
}
