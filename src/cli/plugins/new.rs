//! `panchroma plugins new`: the first files of a plugin.

use crate::cli::print;
use clap::{Args, ValueEnum};
use panchroma_core::{Error, Result};
use std::path::{Path, PathBuf};

/// Arguments of `plugins new`.
#[derive(Args)]
#[command(after_help = "Examples:
  panchroma plugins new my-instrument
  panchroma plugins new my-instrument --lang c --path ~/plugins/my-instrument")]
pub(in crate::cli) struct NewArgs {
    /// Name of the plugin: small letters, digits and hyphens, beginning with a letter
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
    let refuse = |reason: &str| Error::Plugin { kind: "name", name: name.clone(), reason: reason.into() };
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && name.len() <= 40;
    if !fits {
        return Err(refuse("must be small letters, digits and hyphens, beginning with a letter"));
    }
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        return Err(refuse(&format!("`{}` is there already; nothing was written", folder.display())));
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
    let (build, check) = match args.lang {
        Language::Rust => {
            let library = format!("target/release/{}", panchroma_host::file_name(&name.replace('-', "_")));
            ("cargo test && cargo build --release", library)
        }
        Language::C => ("make", "manifest.toml".into()),
    };
    let folder = folder.display();
    print(&format!("{folder} is made. Next:\n\n  cd {folder}\n  {build}\n  panchroma plugins check {check}\n"))
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

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
