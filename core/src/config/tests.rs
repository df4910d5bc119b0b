//! Every error with its full text and place; merging, overrides, writing back.

use super::node::{Entry, Node, Value};
use super::{ConfigError, Document, Place, Section, Source, nearest, parse, suggestion, write};
use crate::Error;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Trunk {
    width: u32,
    #[serde(default)]
    depth: Option<usize>,
    #[serde(default)]
    drop: f64,
    #[serde(default)]
    norm: Norm,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    weights: BTreeMap<String, f32>,
    #[serde(default)]
    mlp: Option<Mlp>,
    #[serde(default)]
    range: Option<(f32, f32)>,
    #[serde(default)]
    path: Option<PathBuf>,
    #[serde(default)]
    warm: Option<Warm>,
    #[serde(default)]
    nested: Vec<Mlp>,
    #[serde(default)]
    bias: bool,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Norm {
    #[default]
    LayerNorm,
    RmsNorm,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Mlp {
    ratio: u8,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Warm {
    Steps(u64),
    Word(String),
}

fn section(text: &str) -> Section {
    Document::parse("run.toml", text).unwrap().root().require("trunk").unwrap()
}

/// `file:line:column: message; hint` of reading `[trunk]`.
fn complaint(text: &str) -> String {
    say(&section(text).read::<Trunk>().unwrap_err())
}

fn say(error: &Error) -> String {
    let place = error.place().map_or_else(|| "nowhere".into(), Place::to_string);
    let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{place}: {error}{hint}")
}

#[test]
fn a_table_reads_as_a_struct_with_every_supported_type() {
    let text = r#"
[trunk]
kind = "towers"
width = 64
depth = 2
drop = 1
norm = "rms_norm"
names = ["a", "é"]
range = [0, 1.5]
path = "a/b.parquet"
warm = 100
bias = true
nested = [{ ratio = 1 }, { ratio = 2 }]
[trunk.weights]
image = 1
spectrum = 0.5
[trunk.mlp]
ratio = 4
"#;
    let expected = Trunk {
        width: 64,
        depth: Some(2),
        drop: 1.0,
        norm: Norm::RmsNorm,
        names: vec!["a".into(), "é".into()],
        weights: BTreeMap::from([("image".into(), 1.0), ("spectrum".into(), 0.5)]),
        mlp: Some(Mlp { ratio: 4 }),
        range: Some((0.0, 1.5)),
        path: Some("a/b.parquet".into()),
        warm: Some(Warm::Steps(100)),
        nested: vec![Mlp { ratio: 1 }, Mlp { ratio: 2 }],
        bias: true,
    };
    assert_eq!(section(text).read::<Trunk>().unwrap(), expected);
    assert_eq!(section(text).kind().unwrap(), "towers");
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    assert_eq!(
        complaint("[trunk]\nwidht = 64\n"),
        "run.toml:2:1: unknown key `widht` in [trunk]; did you mean `width`?"
    );
    let text = "[trunk]\nwidth = 64\n[trunk.mlp]\nzzzzzz = 1\n";
    assert_eq!(complaint(text), "run.toml:4:1: unknown key `zzzzzz` in [trunk.mlp]; known keys: `ratio`");
}

const MANUAL: &str = "`panchroma docs KIND`, with the table's `kind`, explains its keys";

#[test]
fn who_misses_by_far_is_sent_to_the_manual() {
    assert_eq!(
        complaint("[trunk]\nwidth = 1\nqqqqqq = 64\n"),
        format!("run.toml:3:1: unknown key `qqqqqq` in [trunk]; {MANUAL}")
    );
}

#[test]
fn a_missing_key_points_at_the_header_of_its_table() {
    assert_eq!(
        complaint("seed = 1\n[trunk]\ndepth = 1\n"),
        format!("run.toml:2:1: missing key `width` in [trunk]; {MANUAL}")
    );
    let text = "[trunk]\nwidth = 1\n  [trunk.mlp]\n";
    assert_eq!(complaint(text), format!("run.toml:3:3: missing key `ratio` in [trunk.mlp]; {MANUAL}"));
}

#[test]
fn a_wrong_type_says_expected_before_got() {
    let cases = [
        (
            "width = \"12\"",
            "2:9: expected an integer for `trunk.width`, got a string `\"12\"`; write `12` without quotes",
        ),
        ("width = 1.0", "2:9: expected an integer for `trunk.width`, got a number `1.0`"),
        ("width = -1", "2:9: expected an integer from 0 to 4294967295 for `trunk.width`, got an integer `-1`"),
        ("width = 1\ndepth = -1", "3:9: expected an integer of 0 or more for `trunk.depth`, got an integer `-1`"),
        ("width = 1\ndrop = true", "3:8: expected a number for `trunk.drop`, got a boolean `true`"),
        ("width = 1\nnames = \"a\"", "3:9: expected a list for `trunk.names`, got a string `\"a\"`"),
        ("width = 1\nnames = [\"a\", 2]", "3:15: expected a string for `trunk.names.1`, got an integer `2`"),
        ("width = 1\nmlp = 3", "3:7: expected a table for `trunk.mlp`, got an integer `3`"),
        (
            "width = 1\nmlp = { ratio = 300 }",
            "3:17: expected an integer from 0 to 255 for `trunk.mlp.ratio`, got an integer `300`",
        ),
        (
            "width = 1\nbias = \"true\"",
            "3:8: expected a boolean for `trunk.bias`, got a string `\"true\"`; write `true` without quotes",
        ),
        ("width = 1\nrange = [1]", "3:9: expected a list of 2 for `trunk.range`, got a list of 1"),
        ("width = 1\nrange = [1, 2, 3]", "3:9: expected a list of 2 for `trunk.range`, got a list of 3"),
        ("width = 1\npath = 1", "3:8: expected a path in quotes for `trunk.path`, got an integer `1`"),
        ("width = 1\nnorm = 1", "3:8: expected a word in quotes for `trunk.norm`, got an integer `1`"),
        ("width = 1\nweights = { a = \"x\" }", "3:17: expected a number for `trunk.weights.a`, got a string `\"x\"`"),
    ];
    for (body, expected) in cases {
        assert_eq!(complaint(&format!("[trunk]\n{body}\n")), format!("run.toml:{expected}"));
    }
}

#[test]
fn an_unknown_word_lists_the_words() {
    assert_eq!(
        complaint("[trunk]\nwidth = 1\nnorm = \"rmsnorm\"\n"),
        "run.toml:3:8: unknown value `rmsnorm` for `trunk.norm`; did you mean `rms_norm`?"
    );
    assert_eq!(
        complaint("[trunk]\nwidth = 1\nnorm = \"batch\"\n"),
        "run.toml:3:8: unknown value `batch` for `trunk.norm`; known values: `layer_norm`, `rms_norm`"
    );
}

#[test]
fn a_value_of_no_known_form_is_rejected_in_plain_words() {
    assert_eq!(
        complaint("[trunk]\nwidth = 1\nwarm = 1.5\n"),
        "run.toml:3:8: invalid `trunk.warm`: it has none of the forms that this key takes"
    );
}

#[test]
fn a_column_counts_characters_not_bytes() {
    let text = "[trunk]\nwidth = 1\nnames = [\"éü星\", 2]\n";
    // n is column 1, the bracket 9, the quote 10, three letters, the quote 14, comma, blank, 2.
    assert_eq!(complaint(text), "run.toml:3:17: expected a string for `trunk.names.1`, got an integer `2`");
}

#[test]
fn syntax_errors_carry_the_place() {
    let error: Error = Document::parse("run.toml", "[trunk]\nwidth = \n").unwrap_err();
    assert_eq!(error.place().unwrap().line(), 2);
    assert!(error.to_string().starts_with("not valid TOML: "), "{error}");
    let error = Document::parse("run.toml", "a = 1\nb = 9223372036854775808\n").unwrap_err();
    assert_eq!(say(&error), "run.toml:2:5: not valid TOML: the integer does not fit into 64 bits");
}

#[test]
fn section_errors_point_at_their_values() {
    let s = section("[trunk]\nwidth = 10\nmodalities = [\"sdss\", \"sdsss\"]\nmain = \"x\"\n[trunk.mlp]\n");
    assert_eq!(
        say(&s.reject("width", "must be a multiple of 8")),
        "run.toml:2:9: invalid `trunk.width`: must be a multiple of 8"
    );
    assert_eq!(say(&s.reject("depth", "must be 1")), "run.toml:1:1: invalid `trunk.depth`: must be 1");
    let known = ["sdss".to_owned(), "desi".to_owned()];
    assert_eq!(
        say(&s.unknown_reference("modalities", "modality", "sdsss", &known)),
        "run.toml:3:23: no modality is called `sdsss`; did you mean `sdss`?"
    );
    assert_eq!(
        say(&s.unknown_reference("main", "modality", "x", &known)),
        "run.toml:4:8: no modality is called `x`; known names: `sdss`, `desi`"
    );
    assert_eq!(
        say(&s.kind().unwrap_err()),
        "run.toml:1:1: missing key `kind` in [trunk]; \
         `kind` says which plugin reads the table; `panchroma plugins list` shows them"
    );
    assert_eq!(
        say(&s.section("width").unwrap_err()),
        "run.toml:2:9: expected a table for `trunk.width`, got an integer `10`"
    );
    assert_eq!(
        say(&s.list("mlp").unwrap_err()),
        "run.toml:5:1: expected a list of tables for `trunk.mlp`, got a table"
    );
    assert_eq!(
        say(&s.only(&["width", "modalities"]).unwrap_err()),
        "run.toml:4:1: unknown key `main` in [trunk]; known keys: `width`, `modalities`"
    );
    assert_eq!(
        say(&Error::from(ConfigError::UnknownKind {
            kind: "trunk",
            name: "tower".into(),
            table: "trunk".into(),
            known: vec!["towers".into()],
            place: s.place_of("width"),
        })),
        "run.toml:2:9: unknown trunk `tower` in [trunk]; did you mean `towers`?"
    );
}

#[test]
fn named_tables_keep_the_order_of_the_file() {
    let text = "[head.zoo]\nkind = \"a\"\n[head.ant]\nkind = \"b\"\n[head.\"m x\"]\nkind = \"c\"\n";
    let heads = Document::parse("run.toml", text).unwrap().root().sections("head").unwrap();
    let found: Vec<_> = heads.iter().map(|(name, s)| (name.as_str(), s.path())).collect();
    assert_eq!(found, [("zoo", "head.zoo"), ("ant", "head.ant"), ("m x", "head.\"m x\"")]);
    assert!(Document::parse("run.toml", "").unwrap().root().sections("head").unwrap().is_empty());
}

/// Writes files into a folder and loads the first.
fn load(files: &[(&str, &str)], overrides: &[&str]) -> (tempfile::TempDir, crate::Result<Document>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let overrides: Vec<String> = overrides.iter().map(|&text| text.into()).collect();
    let document = Document::load(&folder.path().join(files[0].0), &overrides);
    (folder, document)
}

/// The message without the name of the temporary folder.
fn relative(folder: &tempfile::TempDir, text: &str) -> String {
    text.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn extends_merges_deep_and_the_own_file_wins() {
    let (folder, document) = load(
        &[
            ("run.toml", "extends = [\"bases/a.toml\", \"bases/b.toml\"]\n[trunk]\nwidth = 3\n"),
            ("bases/a.toml", "seed = 1\n[trunk]\nwidth = 1\ndepth = 1\ndrop = 0.1\nnames = [\"a\", \"b\"]\n"),
            ("bases/b.toml", "extends = \"c.toml\"\n[trunk]\nwidth = 2\ndepth = 2\nnames = [\"c\"]\n"),
            ("bases/c.toml", "[trunk]\ndrop = 0.3\ndepth = 9\n[trunk.mlp]\nratio = 7\n"),
        ],
        &[],
    );
    let document = document.unwrap();
    let trunk = document.root().require("trunk").unwrap();
    let read = trunk.read::<Trunk>().unwrap();
    assert_eq!((read.width, read.depth, read.drop), (3, Some(2), 0.3));
    assert_eq!((read.names, read.mlp), (vec!["c".to_owned()], Some(Mlp { ratio: 7 })));
    let place = |key| relative(&folder, &trunk.place_of(key).to_string());
    assert_eq!(place("width"), "run.toml:3:9");
    assert_eq!(place("depth"), "bases/b.toml:4:9");
    assert_eq!(place("drop"), "bases/c.toml:2:8");
    assert_eq!(place("absent"), "run.toml:2:1");
    assert!(!document.root().contains("extends"));
    let first = relative(&folder, document.to_toml().lines().next().unwrap());
    assert_eq!(first, "# Resolved from bases/a.toml, bases/c.toml, bases/b.toml, run.toml");
}

#[test]
fn an_error_in_an_extended_file_points_there() {
    let (folder, document) =
        load(&[("run.toml", "extends = \"a.toml\"\n"), ("a.toml", "\n[trunk]\nwidth = \"x\"\n")], &[]);
    let error = document.unwrap().root().require("trunk").unwrap().read::<Trunk>().unwrap_err();
    let expected = "a.toml:3:9: expected an integer for `trunk.width`, got a string `\"x\"`";
    assert_eq!(relative(&folder, &say(&error)), expected);
}

#[test]
fn a_circle_of_extends_shows_the_chain() {
    let (folder, document) = load(
        &[
            ("run.toml", "extends = \"a.toml\"\n"),
            ("a.toml", "seed = 1\nextends = [\"b.toml\"]\n"),
            ("b.toml", "extends = [\"./a.toml\"]\n"),
        ],
        &[],
    );
    assert_eq!(
        relative(&folder, &say(&document.unwrap_err())).replace("./", ""),
        "b.toml:1:12: `extends` goes in a circle: a.toml -> b.toml -> a.toml; leave out one `extends` of the circle"
    );
}

#[test]
fn a_file_may_be_extended_twice_without_a_circle() {
    let files = [
        ("run.toml", "extends = [\"a.toml\", \"b.toml\"]\n"),
        ("a.toml", "extends = \"c.toml\"\n"),
        ("b.toml", "extends = \"c.toml\"\n"),
        ("c.toml", "seed = 4\n"),
    ];
    assert_eq!(load(&files, &[]).1.unwrap().root().get::<u64>("seed").unwrap(), Some(4));
}

#[test]
fn extends_must_name_files_that_exist() {
    let error = Document::parse("run.toml", "extends = [1]").unwrap_err();
    assert_eq!(say(&error), "run.toml:1:12: expected a file name for `extends`, got an integer `1`");
    let (folder, document) = load(&[("run.toml", "extends = \"none.toml\"\n")], &[]);
    assert_eq!(
        relative(&folder, &say(&document.unwrap_err())),
        "run.toml:1:11: can't read the config `none.toml`; \
         paths in `extends` are relative to the file that they stand in"
    );
    let error = Document::load(std::path::Path::new("no_such_run.toml"), &[]).unwrap_err();
    assert_eq!(
        say(&error),
        "nowhere: can't read the config `no_such_run.toml`; the path is relative to the folder where the command runs"
    );
}

const RUN: &str = "seed = 1\n[trunk]\nwidth = 1\n[trunk.mlp]\nratio = 1\n[head.x]\nweight = 1\n[[stage]]\nsteps = 1\n";

fn with(overrides: &[&str]) -> crate::Result<Document> {
    load(&[("run.toml", RUN)], overrides).1
}

#[test]
fn overrides_set_values_of_every_type() {
    let root = with(&[
        "seed=7",
        "trunk.width = 0x10",
        "trunk.drop=0.5",
        "trunk.norm=rms_norm",
        "trunk.names=[\"a\", \"b=c\"]",
        "trunk.mlp.ratio=9",
        "trunk.path=a=b c",
        "stage.0.steps=3",
        "trunk.mlp.ratio=8",
    ])
    .unwrap()
    .root();
    assert_eq!(root.get::<u64>("seed").unwrap(), Some(7));
    let trunk = root.require("trunk").unwrap().read::<Trunk>().unwrap();
    assert_eq!((trunk.width, trunk.drop, trunk.norm), (16, 0.5, Norm::RmsNorm));
    assert_eq!(trunk.names, ["a", "b=c"]);
    assert_eq!(trunk.mlp, Some(Mlp { ratio: 8 }));
    assert_eq!(trunk.path, Some("a=b c".into()));
    assert_eq!(root.list("stage").unwrap()[0].get::<u64>("steps").unwrap(), Some(3));
}

#[test]
fn an_error_in_an_override_points_at_the_argument() {
    let read = |text: &str| say(&with(&[text]).unwrap().root().require("trunk").unwrap().read::<Trunk>().unwrap_err());
    assert_eq!(read("trunk.width=x"), "--set:1:13: expected an integer for `trunk.width`, got a string `\"x\"`");
    assert_eq!(read("trunk.widht=1"), "--set:1:7: unknown key `widht` in [trunk]; did you mean `width`?");
}

#[test]
fn an_override_can_not_make_tables() {
    let cases = [
        ("trnk.width=1", "--set:1:1: no table [trnk] for `--set trnk.width`; did you mean `trunk.width`?"),
        (
            "trunk.mpl.ratio=1",
            "--set:1:7: no table [trunk.mpl] for `--set trunk.mpl.ratio`; did you mean `trunk.mlp.ratio`?",
        ),
        ("head.y.weight=1", "--set:1:6: no table [head.y] for `--set head.y.weight`; known paths: `head.x`"),
        (
            "head.yyyyyyy={weight=1}",
            "--set:1:6: no table [head.yyyyyyy] for `--set head.yyyyyyy`; known paths: `head.x`",
        ),
        ("stage.1.steps=1", "--set:1:7: no table [stage.1] for `--set stage.1.steps`; known paths: `stage.0`"),
    ];
    for (text, expected) in cases {
        assert_eq!(say(&with(&[text]).unwrap_err()), expected);
    }
}

#[test]
fn an_override_that_makes_no_sense_says_why() {
    let cases = [
        ("trunk.width", "--set:1:1: invalid `--set trunk.width`: there is no `=`"),
        ("=1", "--set:1:1: invalid `--set =1`: what stands before `=` is not a path of keys"),
        ("a b=1", "--set:1:1: invalid `--set a b=1`: what stands before `=` is not a path of keys"),
        ("seed.x=1", "--set:1:6: invalid `--set seed.x=1`: the path leads through a value that is not a table"),
        ("seed.x.y=1", "--set:1:6: invalid `--set seed.x.y=1`: the path leads through a value that is not a table"),
        ("extends=a", "--set:1:1: invalid `--set extends=a`: `extends` can't be set"),
        ("head={}", "--set:1:1: invalid `--set head={}`: only the keys of its tables can be set"),
    ];
    for (text, expected) in cases {
        let hint = "; write `--set TABLE.KEY=VALUE`, for example `--set train.batch=128`";
        assert_eq!(say(&with(&[text]).unwrap_err()), format!("{expected}{hint}"));
    }
}

#[test]
fn a_resolved_config_is_readable_toml() {
    let (folder, document) = load(
        &[(
            "run.toml",
            "[trunk.mlp]\nr = 1\n[data]\nc = [1e-5, 2.0, nan]\nb = \"é\\n\"\n[[stage]]\ns = 1\n[[stage]]\n",
        )],
        &["data.a=1\n"],
    );
    let expected = "\
# Resolved from run.toml --set data.a=1\u{20}

[trunk.mlp]
r = 1

[data]
c = [1e-5, 2.0, nan]
b = \"é\\n\"
a = 1

[[stage]]
s = 1

[[stage]]
";
    assert_eq!(relative(&folder, &document.unwrap().to_toml()), expected);
}

#[test]
fn near_names_come_first_and_far_names_not_at_all() {
    assert_eq!(nearest("pixel", ["pixels", "band"]), ["pixels"]);
    assert_eq!(nearest("FLUX", ["lightcurve.flux", "flux", "flux_error"]), ["flux", "lightcurve.flux", "flux_error"]);
    assert_eq!(nearest("batch_size", ["batch", "optimizer", "steps"]), ["batch"]);
    assert_eq!(nearest("aab", ["aaa", "aac", "aad", "aae"]), ["aaa", "aac", "aad"]);
    assert!(nearest("x", ["y", "z"]).is_empty());
    assert!(nearest("", ["y", ""]).is_empty());
    assert_eq!(suggestion("aab", "keys", &["aaa", "aac", "aad"]).unwrap(), "did you mean `aaa`, `aac` or `aad`?");
}

fn place() -> Place {
    Place::new(&Arc::new(Source { name: "test".into(), text: String::new() }), 0..0)
}

fn any_node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::Text),
        any::<i64>().prop_map(Value::Integer),
        // Bit patterns, so that infinities, NaN and subnormal numbers are drawn too.
        any::<u64>().prop_map(|bits| Value::Number(f64::from_bits(bits))),
        any::<bool>().prop_map(Value::Flag),
    ];
    let node = |value| Node { value, place: place() };
    leaf.prop_map(node).prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            any_table(inner.clone()),
            prop::collection::vec(any_table(inner), 0..3)
                .prop_map(move |t| Value::List(t.into_iter().map(node).collect())),
        ]
        .prop_map(node)
    })
}

fn any_table(inner: impl Strategy<Value = Node>) -> impl Strategy<Value = Value> {
    let key = prop_oneof!["[a-z_]{1,4}", any::<String>()];
    prop::collection::btree_map(key, inner, 0..5).prop_map(|map| {
        Value::Table(map.into_iter().map(|(key, node)| Entry { key, key_place: place(), node }).collect())
    })
}

/// Equal, whatever the order of keys. A NaN equals itself.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Integer(a), Value::Integer(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::Flag(a), Value::Flag(b)) => a == b,
        (Value::Date(a), Value::Date(b)) => a == b,
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Table(a), Value::Table(_)) => {
            a.len() == b.entries().len() && a.iter().all(|e| b.entry(&e.key).is_some_and(|o| same(&e.node, &o.node)))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_tree_written_and_read_is_the_same(value in any_table(any_node())) {
        let root = Node { value, place: place() };
        let text = write::document(&root);
        let source = Arc::new(Source { name: "written".into(), text: text.clone() });
        let read = parse::document(&source);
        prop_assert!(read.as_ref().is_ok_and(|read| same(&root, read)), "{text}\n{read:?}");
        // Written again it must not change: a run that repeats a run keeps the same config.
        prop_assert_eq!(read.map(|read| write::document(&read)).unwrap_or_default(), text);
    }

    #[test]
    fn did_you_mean_never_panics(name in any::<String>(), known in prop::collection::vec(any::<String>(), 0..12)) {
        let near = nearest(&name, &known);
        prop_assert!(near.len() <= 3);
        prop_assert!(near.iter().all(|n| known.contains(n)));
        let _ = suggestion(&name, "keys", &known);
    }

    #[test]
    fn no_text_makes_loading_panic(text in any::<String>(), set in any::<String>()) {
        if let Err(error) = Document::parse("run.toml", &text) {
            prop_assert!(error.place().is_some_and(|p| p.line() >= 1 && p.column() >= 1));
        }
        let mut root = Document::parse("run.toml", RUN).unwrap().root;
        if let Err(error) = super::overrides::apply(&mut root, &set) {
            let _ = (error.hint(), error.to_string(), error.place().map(Place::column));
        }
    }

    #[test]
    fn places_never_cut_a_character(text in any::<String>(), start in 0usize..40, end in 0usize..40) {
        let source = Arc::new(Source { name: "test".into(), text });
        let place = Place::new(&source, start..end);
        prop_assert!(source.text.get(place.span.clone()).is_some());
    }
}
