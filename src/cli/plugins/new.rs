//! `panchroma plugins new`: the first files of a plugin.

use crate::cli::print;
use clap::{Args, ValueEnum};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Registry, Result};
use std::path::{Path, PathBuf};

/// Arguments of `plugins new`.
#[derive(Args)]
#[command(after_help = "Examples:
  panchroma plugins new my-instrument
  panchroma plugins new my-instrument --lang c --path ~/plugins/my-instrument")]
pub(in crate::cli) struct NewArgs {
    /// Name of the plugin: small letters, digits and hyphens, beginning with a letter
    #[arg(value_parser = name)]
    name: String,
    /// Language to write it in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Folder to make. Default: the name
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// Folder of the SDK, `plugins/sdk` of Panchroma's source, in place of the published one
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// A crate with the SDK: no unsafe code, tests included
    Rust,
    /// One file and the header; any C99 compiler
    C,
}

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../../plugins/sdk/template/", $file))
    };
}

/// Where each file goes, and its text.
const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", template!("rust/Cargo.toml.in")),
    ("README.md", template!("rust/README.md.in")),
    (".gitignore", template!("rust/.gitignore.in")),
    ("{{name}}.toml", template!("rust/manifest.toml.in")),
    ("src/lib.rs", template!("rust/src/lib.rs.in")),
    ("tests/plugin.rs", template!("rust/tests/plugin.rs.in")),
];

const C: &[(&str, &str)] = &[
    ("plugin.c", template!("c/plugin.c.in")),
    ("Makefile", template!("c/Makefile.in")),
    ("README.md", template!("c/README.md.in")),
    (".gitignore", template!("c/.gitignore.in")),
    ("manifest.toml", template!("c/manifest.toml.in")),
    ("panchroma.h", include_str!("../../../plugins/abi/panchroma.h")),
];

pub(super) fn run(args: &NewArgs) -> Result<()> {
    let name = &args.name;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        return Err(DataError::Exists { path: folder }.into());
    }
    let words = [
        ("{{name}}", name.clone()),
        ("{{ident}}", name.replace('-', "_")),
        ("{{Type}}", name.split('-').map(capitalized).collect()),
        ("{{sdk}}", sdk(args)?),
    ];
    let filled = |text: &str| words.iter().fold(text.to_owned(), |text, (key, value)| text.replace(key, value));
    // Under another name until it is complete: what is interrupted leaves nothing that looks like a project.
    let partial = folder.with_extension("partial");
    let _ = std::fs::remove_dir_all(&partial);
    for (file, text) in if args.lang == Language::Rust { RUST } else { C } {
        let path = partial.join(filled(file));
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        std::fs::write(&path, filled(text)).map_err(Error::io("write", &path))?;
    }
    std::fs::rename(&partial, &folder).map_err(Error::io("create", &folder))?;
    let build = match args.lang {
        Language::Rust => "cargo test && cargo build --release",
        Language::C => "make",
    };
    let folder = folder.display().to_string();
    let shown = if folder.contains(char::is_whitespace) { format!("{folder:?}") } else { folder };
    print(&format!("{shown} is made. Next:\n\n  cd {shown}\n  {build}\n  panchroma plugins check .\n"))
}

/// The dependency on the SDK: a folder, if there is one, else the published crate.
fn sdk(args: &NewArgs) -> Result<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/sdk");
    let folder = match &args.sdk {
        Some(folder) => Some(folder.canonicalize().map_err(Error::io("read", folder))?),
        // Built from source that is still there: what is published need not be as new.
        None => Some(own).filter(|own| own.join("Cargo.toml").is_file()),
    };
    Ok(match folder {
        Some(folder) => format!("{{ path = {:?} }}", folder.display().to_string()),
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    })
}

/// Names that a crate or its function can't have, or that would hide one that its files use.
const TAKEN: [&str; 24] = [
    "abstract",
    "become",
    "box",
    "do",
    "final",
    "macro",
    "override",
    "priv",
    "try",
    "typeof",
    "unsized",
    "virtual",
    "yield",
    "test",
    "std",
    "core",
    "alloc",
    "proc-macro",
    "panchroma",
    "panchroma-sdk",
    "panchroma-abi",
    "serde",
    "schemars",
    "plugin",
];

/// Words of Rust and of C.
const WORDS: &str = " as async auto await break case char const continue crate default do double dyn else enum extern \
    false float fn for gen goto if impl in inline int let long loop match mod move mut pub ref register restrict return \
    self short signed sizeof static struct super switch trait true type typedef union unsafe unsigned use void volatile \
    where while ";

/// Checks the name of a plugin.
fn name(text: &str) -> std::result::Result<String, String> {
    let fits = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !text.ends_with('-')
        && text.len() <= 40;
    if !fits {
        return Err("must be small letters, digits and hyphens, beginning with a letter".into());
    }
    if TAKEN.contains(&text) || WORDS.contains(&format!(" {text} ")) {
        return Err("is a word of the language, or a crate's that the project uses".into());
    }
    let kind = text.replace('-', "_");
    match Registry::linked() {
        Ok(registry) if registry.modalities.get(&kind).is_some() => {
            Err(format!("the modality `{kind}` is compiled into Panchroma"))
        }
        _ => Ok(text.to_owned()),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
