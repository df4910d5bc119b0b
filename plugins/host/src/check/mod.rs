//! The conformance suite: what a plugin promises, tried on rows that are made up for it.
//!
//! Every step is one promise of the interface. Steps come out one by one, so that a plugin that takes the process with it is known by
//! the step that never came: [`crate::check`] is meant to run in a process of its own.

mod codec;
mod heap;
mod learning;
mod made_up;
mod modality;

use crate::call::Fault;
use crate::instance::Chosen;
use crate::library::{Kind, Loaded, load};
use crate::manifest;
use panchroma_core::{Library, Registry, Result, Section};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// One promise, tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Kind and name of the component; empty for the library itself.
    pub component: String,
    /// What was tried.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It begins: what is said before something that may end the process.
    Begun,
    /// The promise is kept; perhaps with a number.
    Passed(String),
    /// It is broken.
    Failed(String),
    /// It can't be tried.
    Skipped(String),
}

/// Where steps go.
pub(crate) struct Steps<'a> {
    component: String,
    tell: &'a mut dyn FnMut(Step),
}

impl Steps<'_> {
    /// Tries one promise: `Ok` with a remark, or what is broken.
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<String, String>) -> bool {
        self.say(name, Outcome::Begun);
        let outcome = run();
        let passed = outcome.is_ok();
        self.say(name, outcome.map_or_else(Outcome::Failed, Outcome::Passed));
        passed
    }

    fn say(&mut self, name: &str, outcome: Outcome) {
        (self.tell)(Step { component: self.component.clone(), name: name.into(), outcome });
    }
}

/// Tries the library at `path`; every step is told as it begins and ends.
///
/// # Errors
/// If the library can't be loaded: then nothing else can be tried.
pub fn check(path: &Path, tell: &mut dyn FnMut(Step)) -> Result<Library> {
    crate::exit::leave_to_parent();
    let mut steps = Steps { component: String::new(), tell };
    steps.say("load", Outcome::Begun);
    let manifest = manifest::beside(path)?;
    let loaded = load(path, &crate::facts(path)?.sha256, manifest.as_ref())?;
    let Library { name, version, license, .. } = &*loaded.library;
    steps.say("load", Outcome::Passed(format!("{name} {version}, {license}, interface {}", loaded.interface)));
    match &manifest {
        None => steps.say("manifest", Outcome::Skipped("there is none beside it".into())),
        Some(manifest) => {
            steps.step("manifest", || offered(manifest, &loaded));
        }
    }
    let built_in = Registry::linked()?;
    for (number, component) in loaded.components.iter().enumerate() {
        let Some(chosen) = Chosen::new(&loaded, number) else { continue };
        let about = &component.about;
        steps.component = format!("{} {}", about.kind.word(), about.name);
        steps.step("name", || match (about.kind, about.name.as_str()) {
            (Kind::Modality, name) if built_in.modalities.get(name).is_some() => Err(taken(name)),
            (Kind::Codec | Kind::Tokenizer, name) if built_in.tokenizers.get(name).is_some() => Err(taken(name)),
            (Kind::Head, name) if built_in.heads.get(name).is_some() => Err(taken(name)),
            _ => Ok(String::new()),
        });
        let mut config = None;
        let read = |config: &mut Option<Value>| {
            let (found, remark) = example(&chosen)?;
            *config = Some(found);
            Ok(remark)
        };
        steps.step("schema", || read(&mut config));
        let Some(config) = config else { continue };
        match about.kind {
            Kind::Modality => modality::check(&mut steps, &chosen, &config),
            Kind::Codec => codec::check(&mut steps, &chosen, &config, &loaded),
            Kind::Tokenizer => learning::check_tokenizer(&mut steps, &chosen, &config, &loaded),
            Kind::Head => learning::check_head(&mut steps, &chosen, &config),
        }
    }
    Ok((*loaded.library).clone())
}

fn taken(name: &str) -> String {
    format!("`{name}` is compiled into Panchroma: a library can't have that name")
}

/// Whether the manifest lists what the library has.
fn offered(manifest: &crate::Manifest, loaded: &Loaded) -> Result<String, String> {
    let own: Vec<(String, &String)> =
        (loaded.components.iter()).map(|c| (format!("{:?}", c.about.kind).to_lowercase(), &c.about.name)).collect();
    for offer in &manifest.components {
        if !own.iter().any(|(kind, name)| *kind == offer.kind && **name == offer.name) {
            return Err(format!("it lists the {} `{}`, which the library does not have", offer.kind, offer.name));
        }
    }
    if manifest.abi != loaded.interface {
        return Err(format!("it says interface {}, the library was compiled for {}", manifest.abi, loaded.interface));
    }
    for (kind, name) in &own {
        if !manifest.components.iter().any(|offer| (&offer.kind, &offer.name) == (kind, *name)) {
            return Err(format!("it does not list the {kind} `{name}`, which `plugins list` would not show"));
        }
    }
    Ok(format!("{} components", own.len()))
}

/// The config of a component's example, if it fits the schema, and the schema minds misspelt keys.
fn example(chosen: &Chosen) -> Result<(Value, String), String> {
    let component = chosen.component();
    let section = |text: &str| Section::from_toml("example", text).map_err(|e| format!("its example: {e}"));
    let config = component.schema.read(&section(&component.about.example)?).map_err(|e| format!("its example: {e}"))?;
    let wrong = format!("{}\nno_such_key_at_all = 1\n", component.about.example);
    // An example that ends in a table of its own takes the key into that table.
    if component.schema.read(&section(&wrong)?).is_ok() {
        return Err("it lets unknown keys pass, so that a misspelt one would go unnoticed: \
                    write `\"additionalProperties\": false`"
            .into());
    }
    let keys = config.as_object().map_or(0, serde_json::Map::len);
    let keys = match keys {
        0 => "all keys have defaults".into(),
        1 => "example with 1 key".into(),
        keys => format!("example with {keys} keys"),
    };
    Ok((config, keys))
}

/// What a call said, for a step.
fn said(fault: Fault) -> String {
    match fault.row {
        Some(row) => format!("row {row}: {}", fault.reason),
        None => fault.reason,
    }
}

/// Makes the request for an instance and hands it on.
fn request<'a>(config: &'a Value, arrays: Option<&'a crate::arrays::Spec>) -> crate::instance::Request<'a> {
    crate::instance::Request { config, name: "check", arrays, modalities: &[], width: 0 }
}

/// The modalities of the library that can be made from their examples, for what reads arrays.
fn modalities(loaded: &Arc<Loaded>) -> Vec<(crate::modality::Local, crate::modality::Described)> {
    let of = |number: usize| {
        let chosen = Chosen::new(loaded, number)?;
        let (config, _) = example(&chosen).ok()?;
        crate::modality::Local::new(chosen, &request(&config, None)).ok()
    };
    let modalities = loaded.components.iter().enumerate().filter(|(_, c)| c.about.kind == Kind::Modality);
    modalities.filter_map(|(number, _)| of(number)).collect()
}

/// Runs `call` on many threads at once, many times each; all must give what `expected` is, if that is given.
fn on_threads<T: PartialEq + Send + Sync>(
    expected: Option<&T>,
    call: impl Fn() -> Result<T, String> + Sync,
) -> Result<String, String> {
    const THREADS: usize = 8;
    const CALLS: usize = 25;
    let one = || {
        for _ in 0..CALLS {
            let found = call()?;
            if expected.is_some_and(|expected| *expected != found) {
                return Err("a call gave something else while others were under way".to_owned());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread ended".into())));
        ended.collect::<Result<Vec<()>, String>>()
    })?;
    Ok(format!("{THREADS} threads, {} calls", THREADS * CALLS))
}

/// How many objects `call` does in a second, given how many one call does.
fn throughput(objects: usize, call: impl Fn() -> Result<(), String>) -> Result<String, String> {
    const AT_LEAST: std::time::Duration = std::time::Duration::from_millis(300);
    let started = std::time::Instant::now();
    let mut calls = 0;
    while started.elapsed() < AT_LEAST || calls < 3 {
        call()?;
        calls += 1;
    }
    let each = started.elapsed().as_secs_f64() / (calls * objects.max(1)) as f64;
    Ok(format!("{:.3} microseconds per object, {:.0} objects per second", 1e6 * each, 1.0 / each))
}
