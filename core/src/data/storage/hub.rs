//! Data sets of the Hugging Face Hub: `hf://datasets/OWNER/NAME[@REVISION]/FOLDER`, as the Hub's own tools write it.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LINK};
use std::path::PathBuf;

/// Why the Hub can't be asked, or what it answered.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One revision of a data set.
#[derive(Debug)]
pub(super) struct Hub {
    endpoint: String,
    name: String,
    revision: String,
    headers: HeaderMap,
    client: reqwest::Client,
}

/// One line of a listing.
#[derive(serde::Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
}

/// Parts `datasets/OWNER/NAME@REVISION/FOLDER` into data set and folder.
pub(super) fn split(address: &str) -> Result<(String, &str), &'static str> {
    const USAGE: &str = "an address of the Hub is hf://datasets/OWNER/NAME[@REVISION]/FOLDER";
    let rest = address.strip_prefix("datasets/").ok_or(USAGE)?;
    let (owner, rest) = rest.split_once('/').ok_or(USAGE)?;
    let (mut base, mut folder) = rest.split_once('/').unwrap_or((rest, ""));
    // Some revisions have slashes: refs/convert/parquet, refs/pr/1.
    if base.ends_with("@refs") {
        let end = rest.match_indices('/').nth(2).map_or(rest.len(), |(at, _)| at);
        base = rest.get(..end).unwrap_or(rest);
        folder = rest.get(end + 1..).unwrap_or("");
    }
    if owner.is_empty() || base.is_empty() || base.starts_with('@') {
        return Err(USAGE);
    }
    Ok((format!("{owner}/{base}"), folder))
}

impl Hub {
    /// A data set as [`split`] names it. `HF_ENDPOINT` is another server, `HF_TOKEN` or the file that
    /// `hf auth login` wrote opens what is private.
    pub(super) fn new(base: &str) -> Result<Self, Failure> {
        let (name, revision) = base.split_once('@').unwrap_or((base, "main"));
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".into());
        let mut headers = HeaderMap::new();
        if let Some(token) = token() {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            name: name.into(),
            revision: revision.replace('/', "%2F"),
            client: reqwest::Client::builder().default_headers(headers.clone()).build()?,
            headers,
        })
    }

    /// Where the files are.
    pub(super) fn files(&self) -> String {
        format!("{}/datasets/{}/resolve/{}", self.endpoint, self.name, self.revision)
    }

    /// What each request carries.
    pub(super) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    /// Names, from the root of the data set, and sizes of all files below a folder.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, Failure> {
        let at = if folder.is_empty() { String::new() } else { format!("/{folder}") };
        let mut next =
            Some(format!("{}/api/datasets/{}/tree/{}{at}?recursive=true", self.endpoint, self.name, self.revision));
        let mut found = Vec::new();
        while let Some(page) = next {
            let answer = self.client.get(&page).send().await?.error_for_status()?;
            next = answer.headers().get(LINK).and_then(|link| following(link.to_str().ok()?));
            let entries: Vec<Entry> = serde_json::from_str(&answer.text().await?)?;
            found.extend(entries.into_iter().filter(|e| e.kind == "file").map(|e| (e.path, e.size)));
        }
        Ok(found)
    }
}

/// The address of the next page: `<https://...>; rel="next"`.
fn following(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_owned())
}

fn token() -> Option<String> {
    let file = || {
        let home = std::env::var_os("HF_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/huggingface")))?;
        std::fs::read_to_string(home.join("token")).ok()
    };
    let token = std::env::var("HF_TOKEN").ok().or_else(file)?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}
