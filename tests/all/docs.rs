//! What is written in the docs is true: commands parse, configs exist, the reference is the code's.

use crate::support::{ROOT, command, succeeds};
use panchroma_core::{Coordinate, Encoding, Masking, Result, Section, TokenKind, TokenSpec};
use std::fs;
use std::path::{Path, PathBuf};

/// How a command begins in the docs.
const STARTS: [&str; 2] = ["panchroma ", "cargo run --release -- "];

/// The README and everything in `docs/`, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(ROOT);
    let mut paths = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).expect("the folder docs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("UTF-8"))).collect()
}

/// The commands that a page tells its readers to type: code blocks, and code in a line of text.
fn commands(text: &str) -> Vec<String> {
    let mut fenced = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fenced = if fenced.is_none() { Some(language.trim().to_owned()) } else { None };
            continue;
        }
        let shell = match &fenced {
            Some(language) => ["", "console", "sh", "bash"].contains(&language.as_str()),
            None => line.starts_with("    "),
        };
        if shell {
            found.push(line.trim().trim_start_matches("$ ").to_owned());
        } else if fenced.is_none() {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found.retain(|line| STARTS.iter().any(|start| line.starts_with(start)));
    found
}

/// The words of a command line as a shell splits them, without what is piped or a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#' | '|' | '>' | '&' | ';') => break,
            (None, c) if c.is_whitespace() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (_, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[test]
fn the_config_reference_is_what_the_code_says() {
    let path = Path::new(ROOT).join("docs/config-reference.md");
    let written = fs::read_to_string(&path).unwrap_or_default();
    let said = succeeds(&["docs"]);
    let first = said.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(said, written)| said != written);
    assert!(
        said == written,
        "docs/config-reference.md is out of date; run `cargo run -- docs > docs/config-reference.md`\n\
         first difference (said, written): {first:?}"
    );
}

#[test]
fn every_command_in_the_docs_parses() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in pages() {
        for line in commands(&text) {
            let arguments = STARTS.iter().find_map(|start| line.strip_prefix(start)).expect("filtered");
            // The only stand-in that is checked before `--help` is obeyed.
            let arguments: Vec<String> = words(&arguments.replace("SHELL", "bash"));
            let mut command = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            let output = command.arg("--help").output().expect("the command starts");
            count += 1;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                wrong.push(format!("{}: `{line}`: {}", path.display(), said.lines().next().unwrap_or("")));
            }
        }
    }
    assert!(count >= 8, "only {count} commands found: did the docs change their form?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_config_that_the_docs_name_exists() {
    let mut named = 0;
    for (path, text) in pages() {
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        for (at, _) in text.match_indices("configs/") {
            let rest = &text[at..];
            let name = &rest[..rest.find(|c| !is_path(c)).unwrap_or(rest.len())];
            if name.ends_with(".toml") {
                named += 1;
                assert!(Path::new(ROOT).join(name).is_file(), "{} names {name}", path.display());
            }
        }
    }
    assert!(named > 0, "the docs name no config");
}

/// The tables `[head.masked.masking]` in code blocks of the page on masking.
fn maskings() -> Vec<String> {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/masked.md")).expect("UTF-8");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("[head.masked.masking]")).map(str::to_owned).collect()
}

#[test]
fn every_masking_in_the_docs_is_read() {
    let coordinate = |name: &'static str| Coordinate {
        name: name.into(),
        unit: "".into(),
        encoding: Encoding::Category { size: 4 },
        metadata: false,
    };
    let spec = |tokens: usize, name: &'static str| TokenSpec {
        kind: TokenKind::Patches { width: 2 },
        max_tokens: tokens,
        coordinates: vec![coordinate(name)],
    };
    let modalities =
        [("image", 576, "index"), ("spectrum", 273, "ln_wavelength"), ("lightcurve", 128, "time"), ("z", 1, "index")]
            .map(|(name, tokens, coordinate)| (name.to_owned(), spec(tokens, coordinate)));
    let names: Vec<String> = modalities.iter().map(|(name, _)| name.clone()).collect();
    let all = maskings();
    assert!(all.len() >= 5, "only {} found: did the page change its form?", all.len());
    for text in all {
        let read = || -> Result<Masking> {
            let table = Section::from_toml("", &text)?.require("head")?.require("masked")?.require("masking")?;
            Masking::read(&table, &modalities, &names)
        };
        if let Err(error) = read() {
            panic!("{error} in\n{text}");
        }
    }
}

#[test]
fn every_link_in_the_docs_leads_somewhere() {
    for (path, text) in pages() {
        let folder = path.parent().expect("a folder");
        for (at, _) in text.match_indices("](") {
            let rest = &text[at + 2..];
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{} links to {target}", path.display());
        }
    }
}

#[test]
fn the_commands_of_a_page_are_found_and_split_like_a_shell() {
    let page = "Run `panchroma check X` first.\n\n    cargo run --release -- train a.toml\n\n\
                ```sh\n$ panchroma probe r --set 'a=\"b c\"' | head # see\n```\n\n\
                ```rust\npanchroma no\n```\n";
    assert_eq!(
        commands(page),
        [
            "panchroma check X",
            "cargo run --release -- train a.toml",
            "panchroma probe r --set 'a=\"b c\"' | head # see"
        ]
    );
    assert_eq!(words("probe r --set 'a=\"b c\"' | head # see"), ["probe", "r", "--set", "a=\"b c\""]);
}
