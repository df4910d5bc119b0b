//! Libraries that can't be loaded.

use crate::support::{config, faulty, refusal, registry};
use panchroma_core::PluginsConfig;
use panchroma_core::plugins::Allowed;

#[test]
fn each_fault_of_a_library_is_named() {
    let cases: [(&[&str], &str); 14] = [
        (&["MISSING_SYMBOL"], "a_function_that_is_nowhere"),
        (&["NO_ENTRY"], "does not export `panchroma_plugin`"),
        (&["MAJOR=9"], "it was compiled for interface 9."),
        (&["MINOR=99"], "it was compiled for interface 1.99, this Panchroma has 1."),
        (&["NULL_TABLE"], "it does not work with interface 1."),
        (&["SMALL"], "its table says that it has 8 bytes"),
        (&["SMALL_COMPONENT"], "its component 0 says that it has 8 bytes"),
        (&["NULL_COMPONENT"], "its component 2 is a null pointer"),
        (&["BAD_SCHEMA"], "`faulty`: its schema is not JSON"),
        (&["BAD_NAME"], "is not UTF-8"),
        (&["TWICE"], "it has the modality `faulty` twice"),
        (&["TAKEN"], "two plugins register the modality `table`: panchroma-table and "),
        (&["NO_RUN"], "the functions of `faulty` have no `run`"),
        (&["UNKNOWN_KIND"], "`faulty` is of kind 99, which this Panchroma does not know"),
    ];
    for (macros, expected) in cases {
        let said = refusal(&config(&faulty(macros)));
        assert!(said.contains(expected), "{macros:?}: {said}");
    }
}

#[test]
fn two_plugins_of_one_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libother.so");
    // Another file with the same content: the system loads it a second time.
    std::fs::copy(faulty(&[]), &other).unwrap();
    let both = PluginsConfig { paths: vec![faulty(&[]), other], ..PluginsConfig::default() };
    let said = refusal(&both);
    assert!(said.contains("is a plugin called `faulty`, too"), "{said}");
}

#[test]
fn only_what_is_allowed_is_loaded() {
    let library = faulty(&[]);
    let sha256 = panchroma_host::facts(&library).unwrap().sha256;
    let with = |name: &str, sha256: &str| {
        let allow = vec![Allowed { name: name.into(), sha256: sha256.into() }];
        PluginsConfig { allow, ..config(&library) }
    };
    let name = {
        let registry = registry(&config(&library)).unwrap();
        registry.modalities.get("faulty").unwrap().library.as_ref().unwrap().name.clone()
    };
    registry(&with(&name, &sha256)).unwrap();
    registry(&with(&name, &sha256.to_uppercase())).unwrap();
    let said = refusal(&with(&name, &"0".repeat(64)));
    assert!(said.contains("its sha256 is not in `plugins.allow`"), "{said}");
    let said = refusal(&with("other", &sha256));
    assert!(said.contains("under another name"), "{said}");
}

#[test]
fn what_is_no_library_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libtext.so");
    std::fs::write(&path, "text").unwrap();
    let said = refusal(&config(&path));
    assert!(said.contains("not a shared library"), "{said}");
    // Half of one, as a copy that was interrupted leaves it.
    let whole = std::fs::read(faulty(&[])).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let said = refusal(&config(&path));
    assert!(said.contains("can't load the plugin"), "{said}");
}

#[test]
fn a_manifest_that_says_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(faulty(&[]), folder.path().join("libx.so")).unwrap();
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let write = |version: u32, abi: &str, name: &str| {
        let text = format!(
            "manifest_version = {version}\nname = \"{name}\"\nversion = \"7.7.7\"\nlicense = \"MIT\"\nabi = \"{abi}\"\n\
             [platforms]\n{platform} = \"libx.so\"\n"
        );
        std::fs::write(folder.path().join("x.toml"), text).unwrap();
        refusal(&config(folder.path()))
    };
    for (said, part) in [
        (write(2, "1.0", "faulty"), "`manifest_version` must be 1, is 2"),
        (write(1, "9.0", "faulty"), "it needs interface 9.0, this Panchroma has 1."),
        (write(1, "soon", "faulty"), "`abi` must be a version"),
        (write(1, "1.0", "faulty"), "its manifest says `faulty` 7.7.7, the library itself "),
    ] {
        assert!(said.contains(part), "{said}");
    }
}
