//! What plugins offer, as entries of the registry that compiled-in ones are in.

use crate::call::Caller;
use crate::codec::{self, ForeignCodec};
use crate::head::ForeignHead;
use crate::instance::{Chosen, Request};
use crate::library::{Kind, Loaded, load};
use crate::modality::{self, ForeignModality};
use crate::search::{Candidate, candidates};
use crate::tokenizer::ForeignTokenizer;
use crate::unloadable;
use panchroma_core::reexport::{schemars, serde_json};
use panchroma_core::registry::{Build, Entry};
use panchroma_core::{Head, Library, Modality, PluginsConfig, Registry, Result, Tokenizer};
use std::sync::Arc;

/// Adds the plugins that `config` and the environment name to `registry`.
///
/// # Errors
/// If one can't be loaded, isn't allowed, or has a name that is taken.
pub fn add(registry: &mut Registry, config: &PluginsConfig) -> Result<()> {
    for candidate in candidates(config)? {
        let loaded = open(&candidate, config)?;
        for number in 0..loaded.components.len() {
            if let Some(chosen) = Chosen::new(&loaded, number) {
                local(registry, &loaded, &chosen, config)?;
            }
        }
    }
    Ok(())
}

/// Loads one plugin, if the allow-list lets it in.
fn open(candidate: &Candidate, config: &PluginsConfig) -> Result<Arc<Loaded>> {
    let path = &candidate.library;
    if !config.allow.is_empty() {
        // By its hash alone: what it is called is known only after it is loaded.
        let sha256 = crate::facts(path)?.sha256;
        if !config.allow.iter().any(|allowed| allowed.sha256.eq_ignore_ascii_case(&sha256)) {
            let hint =
                format!("if you trust it, add `{{ name = \"NAME\", sha256 = \"{sha256}\" }}` to `plugins.allow`");
            return Err(unloadable(path, "its sha256 is not in `plugins.allow`", Some(hint)));
        }
    }
    let loaded = load(path, candidate.manifest.as_ref())?;
    let Library { name, sha256, .. } = &*loaded.library;
    let mut allowed = config.allow.iter().filter(|allowed| allowed.sha256.eq_ignore_ascii_case(sha256));
    if !config.allow.is_empty() && !allowed.any(|allowed| allowed.name == *name) {
        let reason = format!("`plugins.allow` has its sha256 under another name than `{name}`");
        return Err(unloadable(path, reason, Some("correct the name in `plugins.allow`".into())));
    }
    Ok(loaded)
}

/// An entry of a component; what it builds is left to `build`.
fn entry<T: panchroma_core::Kind + ?Sized>(
    library: &Arc<Library>,
    about: &crate::library::About,
    build: Build<T>,
) -> Result<Entry<T>> {
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
                Ok(Box::new(ForeignModality::new(Box::new(runs), described, caller, not_finite)))
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

/// A config that a plugin refused is an error at its table; anything else is the plugin's fault.
pub(crate) fn refused(
    section: &panchroma_core::Section,
    caller: &Caller,
    fault: crate::call::Fault,
) -> panchroma_core::Error {
    let refused = fault.function == crate::call::Function::Create && !fault.crash;
    match refused {
        true => section.reject(
            "",
            format!("plugin `{}`, {} `{}`: {}", caller.plugin, caller.kind, caller.component, fault.reason),
        ),
        false => caller.error(fault, &[]),
    }
}
