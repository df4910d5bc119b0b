//! Mappings on small files, sound and broken, and interruptions.

use super::*;
use crate::describe::{Checks, Table, stats, validate};
use fits_well::FitsWriter;
use fits_well::header::Header;
use fits_well::table::{Builder, ColumnData, WriteColumn};
use panchroma_core::config::Document;
use std::fs::{self, File};

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
    let mapping = place.mapping(str::to_owned).expect("a mapping");
    let scratch = Scratch::open(&place.path("out")).expect("a folder");
    let mut journal = Journal::open(scratch.path(), &mapping, &[], ID).expect("a journal");
    journal.add(&Done::default()).expect("noted");
    drop(scratch);
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
    contains(
        place.fails(|m| m.replace("\"inverse_square\"", "\"inverse_square\", to = \"Jy\"")),
        &["does not say its unit"],
    );
    contains(
        place.fails(|m| m.replace("from = \"flux\"", "from = \"flux\", to = \"Jy\"")),
        &["spectrum.ivar", "needs `unit` and `to` as `flux` has"],
    );
    contains(place.fails(|m| m.replace("spec-*", "nothing-*")), &["matches no file"]);
    contains(
        place.fails(|m| m.replace("{ file_name = \"spec-\" }", "{ constant = \"a\" }")),
        &["two objects are called `a`"],
    );
    contains(place.fails(|m| m.replace("{ from = \"flux\" }", "{}")), &["exactly one of"]);
    contains(place.fails(|m| m.replace("from = \"flux\"", "form = \"flux\"")), &["form"]);
    for (ra, said) in [(f64::from(400), "0 to 360"), (-1.0, "0 to 360")] {
        spectrum(&place.path("spec-0001.fits"), ra, "");
        contains(place.fails(str::to_owned), &["spec-0001.fits", "object `0001`", said]);
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

/// A mapping of CSV files `t*.csv` with these columns besides the name.
fn table(columns: &str) -> String {
    format!(
        "[source]\nfiles = [\"FOLDER/t*.csv\"]\nlayout = \"row\"\n[column]\nobject_id = {{ from = \"name\" }}\n{columns}"
    )
}

fn ingested(place: &Place) -> arrow_array::RecordBatch {
    let table = Table::open(&place.path("out")).expect("a catalogue");
    let batches: Vec<_> = table.files.iter().flat_map(|f| Table::batches(f, None).expect("a file")).collect();
    let batches: Vec<_> = batches.into_iter().map(|b| b.expect("rows").1).collect();
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).expect("one table")
}

fn text(batch: &arrow_array::RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).expect("the column");
    let cast = arrow_cast::cast(column, &arrow_schema::DataType::Utf8).expect("text");
    let cast = arrow_array::cast::AsArray::as_string::<i32>(&cast).clone();
    cast.iter().map(|v| v.unwrap_or("null").to_owned()).collect()
}

#[test]
fn a_column_takes_the_type_that_holds_what_all_files_say() {
    let place = Place::new(0);
    fs::write(place.path("t1.csv"), "name,mag,note\na,15,\nb,16,\n").expect("written");
    fs::write(place.path("t2.csv"), "name,mag,note\nc,15.75,hello\n").expect("written");
    place.run(|_| table("mag = { from = \"mag\" }\nnote = { from = \"note\" }\n")).expect("ingests");
    let rows = ingested(&place);
    assert_eq!(text(&rows, "mag"), ["15.0", "16.0", "15.75"]);
    assert_eq!(text(&rows, "note"), ["null", "null", "hello"]);
    assert!(rows.column_by_name(crate::hats::SOURCE).is_none());
    // Text among numbers is no number, whichever file is read first and whatever happens to bad files.
    fs::remove_dir_all(place.path("out")).expect("removed");
    fs::write(place.path("t2.csv"), "name,mag,note\nc,faint,hello\n").expect("written");
    for how in ["fail", "skip"] {
        let said = place.fails(|_| {
            table("mag = { from = \"mag\" }\n").replace("[source]", &format!("[source]\non_error = \"{how}\""))
        });
        assert!(said.contains("column `mag`") && said.contains("t1.csv") && said.contains("t2.csv"), "{said}");
        assert!(said.contains("text") && said.contains("numbers") && said.contains("set its `type`"), "{said}");
    }
    // With a type in the mapping the file is bad.
    let said = place.fails(|_| table("mag = { from = \"mag\", type = \"f64\" }\n"));
    assert!(said.contains("t2.csv") && said.contains("column `mag`"), "{said}");
    fs::write(place.path("t2.csv"), "name,mag,note\nc,15.75,hello\n").expect("written");
    let said = place.fails(|_| table("mag = { from = \"mag\", type = \"int\" }\n"));
    assert!(said.contains("expected whole numbers, got 15.75"), "{said}");
}

#[test]
fn files_that_changed_are_read_again_and_double_names_name_their_files() {
    let place = Place::new(0);
    for (file, name) in [("t1.csv", "a"), ("t2.csv", "b"), ("t3.csv", "a")] {
        fs::write(place.path(file), format!("name,mag\n{name},15\n")).expect("written");
    }
    let mapping = place.mapping(|_| table("mag = { from = \"mag\" }\n")).expect("a mapping");
    let run = || ingest(&mapping, &place.path("out"), &AtomicBool::new(false), &|_| {});
    let said = run().expect_err("double").to_string();
    assert!(
        said.contains("two objects are called `a`") && said.contains("t1.csv") && said.contains("t3.csv"),
        "{said}"
    );
    assert!(place.path("out.partial").exists());
    fs::write(place.path("t3.csv"), "name,mag\nccc,16\n").expect("written");
    assert_eq!(run().expect("goes on").objects, 3);
    assert_eq!(text(&ingested(&place), "object_id"), ["a", "b", "ccc"]);
}

#[test]
fn units_come_from_the_files_and_positions_are_in_degrees() {
    let place = Place::new(0);
    let ecsv = |unit: &str| {
        format!(
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {{name: name, datatype: string}}\n# - {{name: ra, unit: {unit}, datatype: float64}}\n\
                 # - {{name: dec, unit: deg, datatype: float64}}\n# - {{name: flux, unit: mJy, datatype: float64}}\nname,ra,dec,flux\na,2.0,-5.0,7.5\n"
        )
    };
    let columns = "ra = { from = \"ra\" }\ndec = { from = \"dec\" }\nflux = { from = \"flux\" }\n";
    let mapping = table(columns).replace("t*.csv", "t*.ecsv");
    fs::write(place.path("t1.ecsv"), ecsv("hourangle")).expect("written");
    let report = place.run(|_| mapping.clone()).expect("ingests");
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(text(&ingested(&place), "ra"), ["30.0"]);
    let notes = fs::read_to_string(place.path("out/panchroma.toml")).expect("notes");
    assert!(notes.contains("ra = \"deg\"") && notes.contains("flux = \"mJy\""), "{notes}");
    // A mapping that says otherwise is believed, and that is said.
    fs::remove_dir_all(place.path("out")).expect("removed");
    let report = place.run(|_| mapping.replace("\"flux\" }", "\"flux\", unit = \"Jy\" }")).expect("ingests");
    assert_eq!(report.notes, ["column `flux`: files say `mJy`, the mapping says `Jy` and is believed"]);
    // Files that differ are not mixed.
    fs::remove_dir_all(place.path("out")).expect("removed");
    fs::write(place.path("t2.ecsv"), ecsv("deg").replace("mJy", "uJy").replace("a,2.0", "b,2.0")).expect("written");
    let said = place.fails(|_| mapping.clone());
    assert!(said.contains("column `flux`") && said.contains("`uJy`") && said.contains("`mJy`"), "{said}");
    place.run(|_| mapping.replace("\"flux\" }", "\"flux\", to = \"uJy\" }")).expect("ingests");
    assert_eq!(text(&ingested(&place), "flux").len(), 2);
    assert!(text(&ingested(&place), "flux").contains(&"7500.0".to_owned()), "{:?}", text(&ingested(&place), "flux"));
}

#[test]
fn logarithms_and_flags_are_of_the_right_unit_and_type() {
    let place = Place::new(1);
    place
        .run(|m| {
            m.replace("transform = \"pow10\"", "transform = \"pow10\", unit = \"Angstrom\", to = \"nm\"")
                + "mask = { from = \"error\", transform = \"nonzero\" }\nband = { keyword = \"EXTNAME\", optional = true }\n\
                   kind = { keyword = \"PLUG_RA\", part = \"0\" }\n"
        })
        .expect("ingests");
    let rows = ingested(&place);
    let spectrum = arrow_array::cast::AsArray::as_struct(rows.column_by_name("spectrum").expect("spectra"));
    let values = |name: &str| {
        let list = arrow_array::cast::AsArray::as_list::<i32>(spectrum.column_by_name(name).expect("a field")).value(0);
        text(&arrow_array::RecordBatch::try_from_iter([("x", list)]).expect("a batch"), "x")
    };
    assert!(values("lambda")[0].starts_with("398.1"), "{:?}", values("lambda"));
    assert_eq!(values("mask"), ["true", "false", "true"]);
    // A keyword says the same of every sample; what no file has is no field.
    assert_eq!(values("kind"), ["0", "0", "0"]);
    assert!(spectrum.column_by_name("band").is_none());
}

#[test]
fn samples_of_groups_may_be_in_another_file_behind_an_image() {
    let place = Place::new(0);
    let write = |name: &str, columns: Vec<(&str, ColumnData)>| {
        let mut table = Builder::new();
        for (name, values) in columns {
            table.push(WriteColumn::scalar(name, values)).expect("a column");
        }
        let mut writer = FitsWriter::new(File::create(place.path(name)).expect("a file"));
        writer.write_primary_header(Header::new());
        writer.write_table(&table, None).expect("a table");
    };
    let (first, last) = (ColumnData::I32(vec![1, 3]), ColumnData::I32(vec![2, 3]));
    write("x_HEAD.fits", vec![("SNID", ColumnData::I32(vec![7, 8])), ("FIRST", first), ("LAST", last)]);
    write(
        "x_PHOT.fits",
        vec![("MJD", ColumnData::F64(vec![1.0, 2.0, 3.0])), ("FLUX", ColumnData::F32(vec![4.0, 5.0, 6.0]))],
    );
    let mapping = "[source]\nfiles = [\"FOLDER/*_HEAD.fits\"]\nlayout = \"group\"\n\
                   group = { first = \"FIRST\", last = \"LAST\", replace = \"_HEAD\", with = \"_PHOT\" }\n\
                   [column]\nobject_id = { from = \"SNID\" }\n\
                   [measurement.curve]\ntime = { from = \"MJD\" }\nflux = { from = \"FLUX\" }\nlimit = { from = \"LIMIT\", optional = true }\n";
    place.run(|_| mapping.into()).expect("ingests");
    let rows = ingested(&place);
    let curve = arrow_array::cast::AsArray::as_struct(rows.column_by_name("curve").expect("curves"));
    let times = arrow_array::cast::AsArray::as_list::<i32>(curve.column_by_name("time").expect("times"));
    assert_eq!((times.value_length(0), times.value_length(1)), (2, 1));
    // A file without its partner is a bad file, which can be left out.
    fs::remove_dir_all(place.path("out")).expect("removed");
    fs::copy(place.path("x_HEAD.fits"), place.path("y_HEAD.fits")).expect("copied");
    assert!(place.fails(|_| mapping.into()).contains("y_PHOT.fits"));
    let report = place.run(|_| mapping.replace("[source]", "[source]\non_error = \"skip\"")).expect("skips");
    assert_eq!((report.objects, report.skipped.len()), (2, 1));
}

#[test]
fn a_file_of_many_objects_does_not_silently_become_one() {
    let place = Place::new(0);
    fs::write(place.path("t.csv"), "name,z,flux\na,0.1,1\nb,0.1,2\n").expect("written");
    let mapping = |name: &str| {
        format!(
            "[source]\nfiles = [\"FOLDER/t*.csv\"]\n[column]\nobject_id = {name}\nz = {{ from = \"z\" }}\n\
             [measurement.s]\nflux = {{ from = \"flux\" }}\n"
        )
    };
    let text = place.fails(|_| mapping("{ from = \"name\" }"));
    assert!(text.contains("column `name`: has 2 rows that differ, but an object has one value"), "{text}");
    assert!(text.contains("layout = \"row\""), "{text}");
    // The same in every row: the object's.
    place.run(|_| mapping("{ file_name = \"\" }")).expect("a catalogue");
    assert_eq!(text_of(&place, "z"), ["0.1"]);
}

#[test]
fn a_long_file_that_is_bad_at_its_end_leaves_nothing_behind() {
    let place = Place::new(0);
    let rows = |name: &str, last: &str| {
        let rows: String = (0..20_000).map(|row| format!("{name}{row},{},5\n", f64::from(row) * 0.01)).collect();
        fs::write(place.path(&format!("{name}.csv")), format!("name,ra,dec\n{rows}{last}")).expect("written");
    };
    rows("a", "");
    rows("b", "last,400,5\n");
    rows("c", "");
    let mapping = "[source]\nfiles = [\"FOLDER/?.csv\"]\nlayout = \"row\"\non_error = \"skip\"\n[column]\n\
                   object_id = { from = \"name\" }\nra = { from = \"ra\" }\ndec = { from = \"dec\" }\n";
    let report = place.run(|_| mapping.into()).expect("skips");
    assert_eq!((report.objects, report.skipped.len()), (40_000, 1));
    let names = text_of(&place, "object_id");
    assert!(names.iter().all(|name| name.starts_with(['a', 'c'])));
    let found = validate(&place.path("out"), &Checks { id: "object_id".into() }, &mut |_, _| {}).expect("read");
    assert_eq!(found, []);
}

fn text_of(place: &Place, column: &str) -> Vec<String> {
    text(&ingested(place), column)
}
