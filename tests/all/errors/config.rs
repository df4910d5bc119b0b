//! Wrong configs: exit code 2, the user's line with a caret, and no output.

use super::{file, over, refused, setting};
use crate::support::fails;
use insta::assert_snapshot;
use std::fs;
use std::path::Path;

/// Everything that a config needs, but the table `[modality.x]`, as its second line.
const REST: &str = "\n[run]\nname = \"x\"\n[data]\npath = \"data/supernovae\"\n[trunk]\nkind = \"towers\"\n\
                    [head.align]\nkind = \"contrastive\"\n[train]\nbatch = 4\nmax_steps = 3\n";

#[test]
fn a_missing_file_offers_the_one_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("galaxies.toml"), "").expect("written");
    assert_snapshot!(refused(2, &folder.path().join("galxies.toml"), &[], &[(folder.path(), "FOLDER")]), @"
    error: can't read the config `FOLDER/galxies.toml`
    caused by: No such file or directory (os error 2)
    hint: did you mean `FOLDER/galaxies.toml`?
    ");
    assert_snapshot!(fails(2, &["check", "nowhere/x.toml"], &[]), @"
    error: can't read the config `nowhere/x.toml`
    caused by: No such file or directory (os error 2)
    hint: the path is relative to the folder where the command runs
    ");
    assert_snapshot!(file("extends = \"base.toml\"\n"), @r#"
    error: can't read the config `FOLDER/base.toml`
     --> my.toml:1:11
      |
    1 | extends = "base.toml"
      |           ^^^^^^^^^^^
    caused by: No such file or directory (os error 2)
    hint: paths in `extends` are relative to the file that they stand in
    "#);
}

#[test]
fn bf16_needs_a_cuda_device() {
    assert_snapshot!(over("[train]\nprecision = \"bf16\"\n"), @r#"
    error: invalid `train.precision`: must be "f32" on the CPU: bf16 needs a CUDA device, such as `--device cuda:0`
     --> my.toml:3:13
      |
    3 | precision = "bf16"
      |             ^^^^^^
    "#);
    assert!(setting(&["train.precision=bf8"]).contains("`train.precision`"));
}

#[test]
fn invalid_toml_is_shown() {
    assert_snapshot!(file("[run]\nname = \"x\n"), @r#"
    error: not valid TOML: invalid basic string, expected `"`
     --> my.toml:2:10
      |
    2 | name = "x
      |          ^
    "#);
    assert_snapshot!(file("[run]\nname = x\n"), @"
    error: not valid TOML: string values must be quoted, expected literal string
     --> my.toml:2:8
      |
    2 | name = x
      |        ^
    ");
    assert_snapshot!(file("[run]\nname = \"x\"\n[run]\n"), @"
    error: not valid TOML: duplicate key
     --> my.toml:3:2
      |
    3 | [run]
      |  ^^^
    ");
}

#[test]
fn an_unknown_key_offers_the_nearest() {
    assert_snapshot!(over("[train]\nbatchsize = 3\n"), @"
    error: unknown key `batchsize` in [train]
     --> my.toml:3:1
      |
    3 | batchsize = 3
      | ^^^^^^^^^
    hint: did you mean `batch`?
    ");
    assert_snapshot!(over("[modality.spectrum]\nredshifted = true\n"), @"
    error: unknown key `redshifted` in [modality.spectrum]
     --> my.toml:3:1
      |
    3 | redshifted = true
      | ^^^^^^^^^^
    hint: `panchroma docs KIND`, with the table's `kind`, explains its keys
    ");
    assert_snapshot!(over("[[train.group]]\nprefix = \"trunk\"\nlearningrate = 3\n"), @"
    error: unknown key `learningrate` in [train.group.0]
     --> my.toml:4:1
      |
    4 | learningrate = 3
      | ^^^^^^^^^^^^
    hint: did you mean `learning_rate`?
    ");
    assert_snapshot!(over("[head.align]\nwieght = 2.0\n"), @"
    error: unknown key `wieght` in [head.align]
     --> my.toml:3:1
      |
    3 | wieght = 2.0
      | ^^^^^^
    hint: did you mean `weight`?
    ");
    assert_snapshot!(over("[probe.redshift]\nform = [\"spectrum\"]\n"), @r#"
    error: unknown key `form` in [probe.redshift]
     --> my.toml:3:1
      |
    3 | form = ["spectrum"]
      | ^^^^
    hint: did you mean `from`?
    "#);
}

#[test]
fn a_misspelt_key_is_not_reported_as_a_missing_one() {
    assert_snapshot!(over("[probe.mass]\nkind = \"ridge\"\ntaget = \"host_logmass\"\n"), @r#"
    error: unknown key `taget` in [probe.mass]
     --> my.toml:4:1
      |
    4 | taget = "host_logmass"
      | ^^^^^
    hint: did you mean `target`?
    "#);
    let text = "[modality.x]\nkind = \"table\"\ncolumns = { ebv = {} }\ntokeniser = { kind = \"columns\" }";
    assert_snapshot!(file(&format!("{text}{REST}")), @r#"
    error: unknown key `tokeniser` in [modality.x]
     --> my.toml:4:1
      |
    4 | tokeniser = { kind = "columns" }
      | ^^^^^^^^^
    hint: did you mean `tokenizer`?
    "#);
}

#[test]
fn kind_is_unknown_where_no_plugin_reads_the_table() {
    assert_snapshot!(over("[train]\nkind = \"adam\"\n"), @r#"
    error: unknown key `kind` in [train]
     --> my.toml:3:1
      |
    3 | kind = "adam"
      | ^^^^
    hint: `panchroma docs train` explains its keys
    "#);
    for table in ["run", "data", "evaluate"] {
        let text = over(&format!("[{table}]\nkind = \"x\"\n"));
        assert!(text.starts_with(&format!("error: unknown key `kind` in [{table}]\n")), "{text}");
    }
}

#[test]
fn an_unknown_table_offers_the_nearest() {
    assert_snapshot!(over("[modalities.x]\nkind = \"spectrum\"\n"), @"
    error: unknown key `modalities` at the top level
     --> my.toml:2:2
      |
    2 | [modalities.x]
      |  ^^^^^^^^^^
    hint: did you mean `modality`?
    ");
}

#[test]
fn a_missing_table_or_key_is_named_with_the_table() {
    assert_snapshot!(file("[run]\nname = \"x\"\n"), @"
    error: the table [data] is missing
     --> my.toml:1:1
      |
    1 | [run]
      | ^
    hint: `panchroma docs` explains every table
    ");
    assert_snapshot!(fails(2, &["check", "/dev/null"], &[]), @"
    error: the table [run] is missing
     --> /dev/null:1:1
      |
    1 |
      | ^
    hint: `panchroma docs` explains every table
    ");
    assert_snapshot!(file(&format!("[modality.x]\nkind = \"table\"\ncolumns = {{ ebv = {{}} }}{REST}")), @r#"
    error: missing key `tokenizer` in [modality.x]
     --> my.toml:1:1
      |
    1 | [modality.x]
      | ^^^^^^^^^^^^
    hint: write `tokenizer = { kind = "NAME" }`; `panchroma plugins list` shows the tokenizers
    "#);
    assert_snapshot!(file(&format!("[modality.x]\ncolumns = {{ ebv = {{}} }}{REST}")), @"
    error: missing key `kind` in [modality.x]
     --> my.toml:1:1
      |
    1 | [modality.x]
      | ^^^^^^^^^^^^
    hint: `kind` says which plugin reads the table; `panchroma plugins list` shows them
    ");
    assert_snapshot!(file(&format!("[modality.x]\nkind = \"table\"{}", REST.replace("batch = 4\n", ""))), @"
    error: missing key `batch` in [train]
      --> my.toml:11:1
       |
    11 | [train]
       | ^^^^^^^
    hint: `panchroma docs train` explains its keys
    ");
}

#[test]
fn an_unknown_kind_offers_the_nearest_or_all() {
    assert_snapshot!(setting(&["modality.spectrum.kind=spectra"]), @"
    error: unknown modality `spectra` in [modality.spectrum]
     --> --set:1:24
      |
    1 | modality.spectrum.kind=spectra
      |                        ^^^^^^^
    hint: did you mean `spectrum`?
    ");
    assert_snapshot!(setting(&["modality.spectrum.tokenizer.kind=slice"]), @"
    error: unknown tokenizer `slice` in [modality.spectrum.tokenizer]
     --> --set:1:34
      |
    1 | modality.spectrum.tokenizer.kind=slice
      |                                  ^^^^^
    hint: did you mean `slices`?
    ");
    assert_snapshot!(setting(&["trunk.kind=tower"]), @"
    error: unknown trunk `tower` in [trunk]
     --> --set:1:12
      |
    1 | trunk.kind=tower
      |            ^^^^^
    hint: did you mean `towers`?
    ");
    assert_snapshot!(setting(&["head.align.kind=clip"]), @"
    error: unknown head `clip` in [head.align]
     --> --set:1:17
      |
    1 | head.align.kind=clip
      |                 ^^^^
    hint: known kinds: `classification`, `contrastive`, `masked`, `regression`; one of a shared library needs it in `[plugins] paths`
    ");
    assert_snapshot!(setting(&["probe.redshift.kind=rigde"]), @"
    error: unknown probe `rigde` in [probe.redshift]
     --> --set:1:21
      |
    1 | probe.redshift.kind=rigde
      |                     ^^^^^
    hint: did you mean `ridge`?
    ");
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    assert_snapshot!(over("[train]\nbatch = \"64\"\n"), @r#"
    error: expected an integer for `train.batch`, got a string `"64"`
     --> my.toml:3:9
      |
    3 | batch = "64"
      |         ^^^^
    hint: write `64` without quotes
    "#);
    assert_snapshot!(setting(&["train.batch=1.5"]), @"
    error: expected an integer for `train.batch`, got a number `1.5`
     --> --set:1:13
      |
    1 | train.batch=1.5
      |             ^^^
    ");
    assert_snapshot!(setting(&["train.batch=-1"]), @"
    error: expected an integer of 0 or more for `train.batch`, got an integer `-1`
     --> --set:1:13
      |
    1 | train.batch=-1
      |             ^^
    ");
    assert_snapshot!(setting(&["train=3"]), @"
    error: expected a table for `train`, got an integer `3`
     --> --set:1:7
      |
    1 | train=3
      |       ^
    ");
    assert_snapshot!(setting(&["modality.spectrum.tokenizer=slices"]), @r#"
    error: expected a table for `modality.spectrum.tokenizer`, got a string `"slices"`
     --> --set:1:29
      |
    1 | modality.spectrum.tokenizer=slices
      |                             ^^^^^^
    hint: write `tokenizer = { kind = "slices" }`
    "#);
    assert_snapshot!(setting(&["train.schedule=cosin"]), @"
    error: unknown value `cosin` for `train.schedule`
     --> --set:1:16
      |
    1 | train.schedule=cosin
      |                ^^^^^
    hint: did you mean `cosine`?
    ");
    assert_snapshot!(setting(&["modality.host.columns.ebv.kind=numbr"]), @"
    error: unknown value `numbr` for `modality.host.columns.ebv.kind`
     --> --set:1:32
      |
    1 | modality.host.columns.ebv.kind=numbr
      |                                ^^^^^
    hint: did you mean `number`?
    ");
}

#[test]
fn out_of_range_says_the_range() {
    assert_snapshot!(setting(&["train.batch=0"]), @"
    error: invalid `train.batch`: must be at least 1
     --> --set:1:13
      |
    1 | train.batch=0
      |             ^
    ");
    assert_snapshot!(setting(&["train.learning_rate=-1e-3"]), @"
    error: invalid `train.learning_rate`: must be above 0
     --> --set:1:21
      |
    1 | train.learning_rate=-1e-3
      |                     ^^^^^
    ");
    assert_snapshot!(setting(&["trunk.depth=0"]), @"
    error: invalid `trunk.depth`: must be between 1 and 256
     --> --set:1:13
      |
    1 | trunk.depth=0
      |             ^
    ");
    assert_snapshot!(setting(&["modality.spectrum.mask_fraction=2.0"]), @"
    error: invalid `modality.spectrum.mask_fraction`: expected a number from 0 to 0.9, got 2
     --> --set:1:33
      |
    1 | modality.spectrum.mask_fraction=2.0
      |                                 ^^^
    ");
    assert_snapshot!(setting(&["modality.spectrum.tokenizer.width=1000"]), @"
    error: invalid `modality.spectrum.tokenizer.width`: expected 1 to 512, the samples of the spectrum, got 1000
     --> --set:1:35
      |
    1 | modality.spectrum.tokenizer.width=1000
      |                                   ^^^^
    ");
    assert_snapshot!(setting(&["run.name=a/b"]), @"
    error: invalid `run.name`: must be a plain name, usable as that of a folder
     --> --set:1:10
      |
    1 | run.name=a/b
      |          ^^^
    ");
}

#[test]
fn keys_that_do_not_go_together_say_why() {
    assert_snapshot!(setting(&["trunk.width=130"]), @"
    error: invalid `trunk.width`: width 130 is not a multiple of heads 4; the next one is 132
     --> --set:1:13
      |
    1 | trunk.width=130
      |             ^^^
    ");
    assert_snapshot!(setting(&["train.warmup_steps=400"]), @"
    error: invalid `train.warmup_steps`: must be below max_steps, which is 300
     --> --set:1:20
      |
    1 | train.warmup_steps=400
      |                    ^^^
    ");
    assert_snapshot!(setting(&["modality.spectrum.wavelength_max=3000"]), @"
    error: invalid `modality.spectrum.wavelength_max`: expected more than `wavelength_min` = 3700 (Angstrom), got 3000
     --> --set:1:34
      |
    1 | modality.spectrum.wavelength_max=3000
      |                                  ^^^^
    ");
    assert_snapshot!(setting(&["data.split={train=0.8, test=0.1}"]), @"
    error: invalid `data.split`: the fractions must sum to 1, they sum to 0.9
     --> --set:1:12
      |
    1 | data.split={train=0.8, test=0.1}
      |            ^^^^^^^^^^^^^^^^^^^^^
    ");
    assert_snapshot!(setting(&["data.split.test=2"]), @"
    error: invalid `data.split.test`: must be between 0 and 1, is 2
     --> --set:1:17
      |
    1 | data.split.test=2
      |                 ^
    ");
}

#[test]
fn patches_must_divide_the_image() {
    let image = "[modality.x]\nkind = \"image\"\nchannels = [\"science\"]\nchannels_from = \"view\"\nsize = 63\n\
                 tokenizer = { kind = \"patches\", patch = 8 }";
    assert_snapshot!(file(&format!("{image}{REST}")), @r#"
    error: invalid `modality.x.tokenizer.patch`: `patch = 8` does not divide `size = 63`; the nearest that do: `7` and `9`
     --> my.toml:6:41
      |
    6 | tokenizer = { kind = "patches", patch = 8 }
      |                                         ^
    "#);
}

#[test]
fn a_name_of_no_modality_offers_the_nearest() {
    assert_snapshot!(setting(&["head.align.modalities=[\"lightcurve\", \"spectrumm\"]"]), @r#"
    error: no modality is called `spectrumm`
     --> --set:1:38
      |
    1 | head.align.modalities=["lightcurve", "spectrumm"]
      |                                      ^^^^^^^^^^^
    hint: did you mean `spectrum`?
    "#);
    assert_snapshot!(setting(&["head.align.pairs=[[\"lightcurve\", \"spectrumm\"]]"]), @r#"
    error: no modality is called `spectrumm`
     --> --set:1:34
      |
    1 | head.align.pairs=[["lightcurve", "spectrumm"]]
      |                                  ^^^^^^^^^^^
    hint: did you mean `spectrum`?
    "#);
    assert_snapshot!(setting(&["probe.redshift.from=[\"image\"]"]), @r#"
    error: no modality is called `image`
     --> --set:1:22
      |
    1 | probe.redshift.from=["image"]
      |                      ^^^^^^^
    hint: known names: `lightcurve`, `spectrum`, `host`, `joint`
    "#);
}

#[test]
fn extends_that_goes_in_a_circle_shows_the_circle() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    fs::write(&a, "extends = \"b.toml\"\n").expect("written");
    fs::write(&b, "\nextends = [\"a.toml\"]\n").expect("written");
    assert_snapshot!(refused(2, &a, &[], &[(folder.path(), "FOLDER")]), @r#"
    error: `extends` goes in a circle: FOLDER/a.toml -> FOLDER/b.toml -> FOLDER/a.toml
     --> FOLDER/b.toml:2:12
      |
    2 | extends = ["a.toml"]
      |            ^^^^^^^^
    hint: leave out one `extends` of the circle
    "#);
}

#[test]
fn a_set_of_what_is_not_there_offers_what_is() {
    assert_snapshot!(setting(&["trian.batch=3"]), @"
    error: no table [trian] for `--set trian.batch`
     --> --set:1:1
      |
    1 | trian.batch=3
      | ^^^^^
    hint: did you mean `train.batch`?
    ");
    assert_snapshot!(setting(&["train.bacth=3"]), @"
    error: unknown key `bacth` in [train]
     --> --set:1:7
      |
    1 | train.bacth=3
      |       ^^^^^
    hint: did you mean `batch`?
    ");
    assert_snapshot!(setting(&["modality.lightcurv.noise=3"]), @"
    error: no table [modality.lightcurv] for `--set modality.lightcurv.noise`
     --> --set:1:10
      |
    1 | modality.lightcurv.noise=3
      |          ^^^^^^^^^
    hint: did you mean `modality.lightcurve.noise`?
    ");
    assert_snapshot!(setting(&["modality.image.kind=image"]), @"
    error: no table [modality.image] for `--set modality.image.kind`
     --> --set:1:10
      |
    1 | modality.image.kind=image
      |          ^^^^^
    hint: known paths: `modality.lightcurve`, `modality.spectrum`, `modality.host`
    ");
}

#[test]
fn a_set_that_cannot_be_read_shows_how_to_write_it() {
    assert_snapshot!(setting(&["train.batch"]), @"
    error: invalid `--set train.batch`: there is no `=`
     --> --set:1:1
      |
    1 | train.batch
      | ^^^^^^^^^^^
    hint: write `--set TABLE.KEY=VALUE`, for example `--set train.batch=128`
    ");
    assert_snapshot!(setting(&["=3"]), @"
    error: invalid `--set =3`: what stands before `=` is not a path of keys
     --> --set:1:1
      |
    1 | =3
      | ^^
    hint: write `--set TABLE.KEY=VALUE`, for example `--set train.batch=128`
    ");
    assert_snapshot!(setting(&["train.batch="]), @r#"
    error: expected an integer for `train.batch`, got a string `""`
     --> --set:1:13
      |
    1 | train.batch=
      |             ^
    "#);
    assert_snapshot!(setting(&["train.batch.x=3"]), @"
    error: invalid `--set train.batch.x=3`: the path leads through a value that is not a table
     --> --set:1:13
      |
    1 | train.batch.x=3
      |             ^
    hint: write `--set TABLE.KEY=VALUE`, for example `--set train.batch=128`
    ");
    assert_snapshot!(setting(&["extends=\"x.toml\""]), @r#"
    error: invalid `--set extends="x.toml"`: `extends` can't be set
     --> --set:1:1
      |
    1 | extends="x.toml"
      | ^^^^^^^
    hint: write `--set TABLE.KEY=VALUE`, for example `--set train.batch=128`
    "#);
}

#[test]
fn a_folder_with_another_run_is_not_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("a folder");
    fs::write(run.join("config.toml"), "# mine\n").expect("written");
    let output = format!("run.output={:?}", run.display().to_string());
    let arguments = ["train", "configs/quickstart.toml", "--max-steps", "1", "--set", &output];
    assert_snapshot!(fails(4, &arguments, &[(folder.path(), "FOLDER")]), @"
    error: `FOLDER/run` holds another run
    hint: go on with it by `--resume`, replace it by `--overwrite`, or choose another folder by `--set run.output=DIR`
    ");
    assert_eq!(fs::read_to_string(run.join("config.toml")).expect("still there"), "# mine\n");
    assert_eq!(fs::read_dir(&run).expect("a folder").count(), 1, "something was written beside it");
}

#[test]
fn resume_without_a_run_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let output = format!("run.output={:?}", run.display().to_string());
    let arguments = ["train", "configs/quickstart.toml", "--resume", "--max-steps", "1", "--set", &output];
    assert_snapshot!(fails(4, &arguments, &[(folder.path(), "FOLDER")]), @"
    error: there is no run to go on with in `FOLDER/run`
    hint: leave out `--resume` to begin one, or name the run's folder by `--set run.output=DIR`
    ");
    assert!(!run.exists());
}

#[test]
fn an_output_that_is_a_file_is_not_replaced() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let output = format!("run.output={:?}", file.path().display().to_string());
    let arguments = ["train", "configs/quickstart.toml", "--max-steps", "1", "--set", &output];
    assert_snapshot!(fails(1, &arguments, &[(file.path(), "FILE")]), @"
    error: can't create `FILE/checkpoints`
    caused by: Not a directory (os error 20)
    ");
    assert!(Path::new(file.path()).is_file());
}
