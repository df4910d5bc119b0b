//! "Did you mean": the known names that are close to a name that is not known.

use std::path::{Path, PathBuf};

/// At most this many names are suggested.
const MOST: usize = 3;

/// Longer lists of known names are not printed.
const LISTED: usize = 8;

/// The known names that `name` was perhaps meant to be: nearest first, at most three, often none.
///
/// A name is near if a third of its characters or fewer, or one, are wrong (Damerau-Levenshtein, upper
/// and lower case alike), if one is the start of the other, as `batch` is of `batch_size`, or if it is
/// the last part of a dotted name, as `flux` is of `lightcurve.flux`.
#[must_use]
pub fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let length = wanted.chars().count();
    let mut near: Vec<(usize, String)> = Vec::new();
    for candidate in known {
        let candidate = candidate.as_ref();
        let lower = candidate.to_lowercase();
        let shorter = length.min(lower.chars().count());
        let longer = length.max(lower.chars().count());
        let allowed = (longer / 3).max(1);
        let distance = if shorter == 0 || candidate == name {
            continue;
        } else if last_part(&lower) == last_part(&wanted) {
            usize::from(lower != wanted)
        } else if shorter >= 3 && (lower.starts_with(&wanted) || wanted.starts_with(&lower)) {
            allowed.min(longer - shorter).min(shorter - 1)
        } else if longer - shorter > allowed {
            continue;
        } else {
            strsim::damerau_levenshtein(&lower, &wanted)
        };
        // Every name of one character is one error away from every other.
        if distance <= allowed && distance < shorter {
            near.push((distance, candidate.to_owned()));
        }
    }
    near.sort();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, name)| name).collect()
}

/// What to tell a user who wrote `name`: the nearest names, else all of them where they are few.
///
/// `what` is the plural of what the names are, for example `keys`.
#[must_use]
pub fn suggestion<S: AsRef<str>>(name: &str, what: &str, known: &[S]) -> Option<String> {
    if let Some(near) = did_you_mean(&nearest(name, known)) {
        return Some(near);
    }
    match known.len() {
        0 => None,
        1..=LISTED => Some(format!("known {what}: {}", joined(known, ", "))),
        _ => None,
    }
}

/// `did you mean ...?`, if there is something to offer.
pub(crate) fn did_you_mean<S: AsRef<str>>(near: &[S]) -> Option<String> {
    (!near.is_empty()).then(|| format!("did you mean {}?", joined(near, " or ")))
}

/// Paths beside `path` whose names are like its own; none where the folder can't be read.
///
/// Only what has the same ending: it would make short names look alike.
pub(crate) fn nearest_paths(path: &Path) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Vec::new(),
    };
    let (Some(name), Ok(entries)) = (stem(path), std::fs::read_dir(folder)) else { return Vec::new() };
    let others = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
    let mut stems: Vec<String> =
        others.filter(|other| other.extension() == path.extension()).filter_map(|other| stem(&other)).collect();
    stems.sort();
    let whole = |near: String| {
        let mut other = path.with_file_name(near).into_os_string();
        if let Some(ending) = path.extension() {
            other.push(".");
            other.push(ending);
        }
        PathBuf::from(other).display().to_string()
    };
    nearest(&name, stems).into_iter().map(whole).collect()
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `a`, `b` or `c`.
fn joined<S: AsRef<str>>(names: &[S], last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{}`", n.as_ref())).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, start)) => format!("{}{last}{end}", start.join(", ")),
        None => String::new(),
    }
}
