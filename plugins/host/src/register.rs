//! What plugins offer, as entries of the registry that compiled-in ones are in.

use crate::call::{Caller, Function};
use crate::codec::{self, ForeignCodec};
use crate::head::ForeignHead;
use crate::instance::{Chosen, Request};
use crate::isolate::{self, Made, Outside};
use crate::library::{About, Kind, Loaded, load, same_as};
use crate::modality::{self, ForeignModality};
use crate::schema::ConfigSchema;
use crate::search::{Candidate, candidates};
use crate::tokenizer::ForeignTokenizer;
use crate::unloadable;
use panchroma_core::plugins::Isolate;
use panchroma_core::reexport::{schemars, serde_json};
use panchroma_core::registry::{Build, Entry};
use panchroma_core::{Error, Head, Library, Modality, PluginsConfig, Registry, Result, Section, Tokenizer};
use std::path::Path;
use std::sync::Arc;

/// Adds the plugins that `config` and the environment name to `registry`.
///
/// # Errors
/// If one can't be loaded, isn't allowed, or has a name that is taken.
pub fn add(registry: &mut Registry, config: &PluginsConfig) -> Result<()> {
    add_found(registry, config, &candidates(config)?).map(|_| ())
}

/// Adds plugins that were found.
///
/// # Errors
/// As [`add`].
pub fn add_found(registry: &mut Registry, config: &PluginsConfig, found: &[Candidate]) -> Result<Vec<Arc<Library>>> {
    let mut libraries: Vec<Arc<Library>> = Vec::new();
    for candidate in found {
        let path = &candidate.library;
        let sha256 = crate::facts(path)?.sha256;
        allowed_hash(config, path, &sha256)?;
        if config.isolate != Isolate::All(false) {
            // What it is called decides whether it is isolated, and no code of it may run here before that is known.
            let (library, components) = isolate::describe(path, &sha256, config.limit())?;
            same_as(candidate.manifest.as_ref(), &library)?;
            allowed_name(config, &library)?;
            if config.isolate.has(&library.name) {
                let library = Arc::new(library);
                one_of_its_name(&libraries, &library)?;
                components.iter().try_for_each(|about| outside(registry, &library, about, config))?;
                libraries.push(library);
                continue;
            }
        }
        let loaded = load(path, &sha256, candidate.manifest.as_ref())?;
        allowed_name(config, &loaded.library)?;
        one_of_its_name(&libraries, &loaded.library)?;
        for number in 0..loaded.components.len() {
            if let Some(chosen) = Chosen::new(&loaded, number) {
                local(registry, &loaded, &chosen, config)?;
            }
        }
        libraries.push(Arc::clone(&loaded.library));
    }
    if let Isolate::Only(names) = &config.isolate
        && let Some(name) = names.iter().find(|name| !libraries.iter().any(|library| library.name == **name))
    {
        let known = libraries.iter().map(|library| library.name.clone()).collect();
        return Err(Error::UnknownName { what: "plugin of `plugins.isolate`", name: name.clone(), known });
    }
    Ok(libraries)
}

/// Refuses a second library of one name: checkpoints know libraries by their names.
fn one_of_its_name(before: &[Arc<Library>], library: &Library) -> Result<()> {
    match before.iter().find(|other| other.name == library.name) {
        None => Ok(()),
        Some(other) => {
            let reason = format!("`{}` is a plugin called `{}`, too", other.path.display(), library.name);
            Err(unloadable(&library.path, reason, Some("leave one of the two out of `plugins.paths`".into())))
        }
    }
}

/// Whether the allow-list has a file: by its hash alone, as what it is called is known only after it is loaded.
fn allowed_hash(config: &PluginsConfig, path: &Path, sha256: &str) -> Result<()> {
    if config.allow.is_empty() || config.allow.iter().any(|allowed| allowed.sha256.eq_ignore_ascii_case(sha256)) {
        return Ok(());
    }
    let hint = format!("if you trust it, add `{{ name = \"NAME\", sha256 = \"{sha256}\" }}` to `plugins.allow`");
    Err(unloadable(path, "its sha256 is not in `plugins.allow`", Some(hint)))
}

/// Whether the allow-list has that file under that name.
fn allowed_name(config: &PluginsConfig, library: &Library) -> Result<()> {
    let Library { name, sha256, path, .. } = library;
    let mut same = config.allow.iter().filter(|allowed| allowed.sha256.eq_ignore_ascii_case(sha256));
    if config.allow.is_empty() || same.any(|allowed| allowed.name == *name) {
        return Ok(());
    }
    let reason = format!("`plugins.allow` has its sha256 under another name than `{name}`");
    Err(unloadable(path, reason, Some("correct the name in `plugins.allow`".into())))
}

/// An entry of a component; what it builds is left to `build`.
fn entry<T: panchroma_core::Kind + ?Sized>(library: &Arc<Library>, about: &About, build: Build<T>) -> Result<Entry<T>> {
    let schema: serde_json::Value = serde_json::from_str(&about.schema).unwrap_or_default();
    let schema = schemars::Schema::try_from(schema)
        .map_err(|error| unloadable(&library.path, format!("the schema of `{}`: {error}", about.name), None))?;
    Ok(Entry {
        summary: about.summary.clone(),
        origin: format!("{} {}", library.name, library.version),
        example: about.example.clone(),
        schema,
        library: Some(Arc::clone(library)),
        build,
    })
}

/// Adds a component that runs in this process.
fn local(registry: &mut Registry, loaded: &Arc<Loaded>, chosen: &Chosen, config: &PluginsConfig) -> Result<()> {
    let (library, about) = (&loaded.library, &chosen.component().about);
    let (name, own, not_finite) = (about.name.clone(), chosen.clone(), config.not_finite);
    match about.kind {
        Kind::Modality => {
            let build: Build<dyn Modality> = Arc::new(move |section, context| {
                let config = own.component().schema.read(section)?;
                let request = Request { config: &config, name: context.name, arrays: None, modalities: &[], width: 0 };
                let caller = own.caller();
                let (runs, described) =
                    modality::Local::new(own.clone(), &request).map_err(|f| refused(section, &caller, f))?;
                Ok(Box::new(ForeignModality::new(context.name, Box::new(runs), described, caller, not_finite)))
            });
            registry.modalities.add(&name, entry::<dyn Modality>(library, about, build)?)
        }
        Kind::Codec => {
            let build: Build<dyn Tokenizer> = Arc::new(move |section, context| {
                let config = own.component().schema.read(section)?;
                let caller = own.caller();
                let arrays = codec::arrays_of(context, &caller)?;
                let request = Request {
                    config: &config,
                    name: context.modality,
                    arrays: Some(&arrays),
                    modalities: &[],
                    width: 0,
                };
                let made = codec::Local::new(own.clone(), &request, &arrays);
                let (runs, described) = made.map_err(|f| refused(section, &caller, f))?;
                Ok(Box::new(ForeignCodec::new(Box::new(runs), described, caller)))
            });
            registry.tokenizers.add(&name, entry::<dyn Tokenizer>(library, about, build)?)
        }
        Kind::Tokenizer => {
            let build: Build<dyn Tokenizer> = Arc::new(move |section, context| {
                let config = own.component().schema.read(section)?;
                let arrays = codec::arrays_of(context, &own.caller())?;
                let request = Request {
                    config: &config,
                    name: context.modality,
                    arrays: Some(&arrays),
                    modalities: &[],
                    width: 0,
                };
                let made = ForeignTokenizer::new(own.clone(), &request, &arrays, context.parameters)?;
                Ok(Box::new(made))
            });
            registry.tokenizers.add(&name, entry::<dyn Tokenizer>(library, about, build)?)
        }
        Kind::Head => {
            let build: Build<dyn Head> = Arc::new(move |section, context| {
                let config = own.component().schema.read(section)?;
                let (modalities, width) = (context.modalities, context.width);
                let request = Request { config: &config, name: context.name, arrays: None, modalities, width };
                Ok(Box::new(ForeignHead::new(own.clone(), &request, context)?))
            });
            registry.heads.add(&name, entry::<dyn Head>(library, about, build)?)
        }
    }
}

/// Adds a component that runs in child processes.
fn outside(registry: &mut Registry, library: &Arc<Library>, about: &About, config: &PluginsConfig) -> Result<()> {
    let caller = Caller { plugin: library.name.clone(), kind: about.kind.word(), component: about.name.clone() };
    let schema = ConfigSchema::parse(&about.schema).map_err(|reason| unloadable(&library.path, reason, None))?;
    let (name, own, file) = (about.name.clone(), about.clone(), Arc::clone(library));
    let (not_finite, limit) = (config.not_finite, config.limit());
    match about.kind {
        Kind::Modality => {
            let build: Build<dyn Modality> = Arc::new(move |section, context| {
                let made = Outside::new(&file, &own, schema.read(section)?, context.name, None, limit);
                match made.map_err(|fault| refused(section, &caller, fault))? {
                    (runs, Made::Modality(described)) => {
                        let runs = Box::new(runs);
                        Ok(Box::new(ForeignModality::new(context.name, runs, described, caller.clone(), not_finite)))
                    }
                    _ => Err(wrong_kind(&caller)),
                }
            });
            registry.modalities.add(&name, entry::<dyn Modality>(library, about, build)?)
        }
        Kind::Codec => {
            let build: Build<dyn Tokenizer> = Arc::new(move |section, context| {
                let arrays = codec::arrays_of(context, &caller)?;
                let config = schema.read(section)?;
                let made = Outside::new(&file, &own, config, context.modality, Some(arrays), limit);
                match made.map_err(|fault| refused(section, &caller, fault))? {
                    (runs, Made::Codec(described)) => {
                        Ok(Box::new(ForeignCodec::new(Box::new(runs), described, caller.clone())))
                    }
                    _ => Err(wrong_kind(&caller)),
                }
            });
            registry.tokenizers.add(&name, entry::<dyn Tokenizer>(library, about, build)?)
        }
        Kind::Tokenizer => {
            let build: Build<dyn Tokenizer> = Arc::new(move |section, _| Err(not_isolated(section, &caller)));
            registry.tokenizers.add(&name, entry::<dyn Tokenizer>(library, about, build)?)
        }
        Kind::Head => {
            let build: Build<dyn Head> = Arc::new(move |section, _| Err(not_isolated(section, &caller)));
            registry.heads.add(&name, entry::<dyn Head>(library, about, build)?)
        }
    }
}

fn wrong_kind(caller: &Caller) -> Error {
    caller.error(Function::Describe.fault("its process made something of another kind"), &[])
}

/// The error where something that learns with the model is asked to run in a child process.
fn not_isolated(section: &Section, caller: &Caller) -> Error {
    let reason = format!(
        "of the plugin `{}` learns with the model and can't run in a child process: leave the plugin out of `plugins.isolate`",
        caller.plugin
    );
    section.reject("kind", reason)
}

/// A config that a plugin refused is an error at its table; anything else is the plugin's fault.
pub(crate) fn refused(section: &panchroma_core::Section, caller: &Caller, fault: crate::call::Fault) -> Error {
    let refused = fault.function == Function::Create && !fault.crash;
    match refused {
        true => section.reject(
            "",
            format!("plugin `{}`, {} `{}`: {}", caller.plugin, caller.kind, caller.component, fault.reason),
        ),
        false => caller.error(fault, &[]),
    }
}
