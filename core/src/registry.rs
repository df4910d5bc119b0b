//! Named plugins of each kind: those linked in, plus those that a host adds at run time.
//!
//! A plugin is a [`Descriptor`]: a name, one line, an example, the JSON schema of its config, and
//! a function that builds it. `panchroma plugins list`, `panchroma docs` and `panchroma schema`
//! print the same descriptors that training uses, so they can't drift apart.

use crate::config::ConfigError;
use crate::{
    Error, Head, HeadContext, Library, Modality, ModalityContext, Probe, ProbeContext, Result, Section, Tokenizer,
    TokenizerContext, Trunk, TrunkContext,
};
use schemars::Schema;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A trait whose implementations can be named in TOML.
pub trait Kind: Send + Sync + 'static {
    /// The word users know: `modality`, `tokenizer`, `trunk`, `head`, `probe`.
    const KIND: &'static str;
    /// What a build function gets besides the config.
    type Context<'a>;
    /// The compiled-in plugins of this kind.
    fn linked() -> Vec<&'static Descriptor<Self>>;
}

/// One compiled-in plugin. Submit it with `inventory::submit!` beside the type that it builds.
pub struct Descriptor<T: Kind + ?Sized> {
    /// What users write after `kind =`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The crate that it comes from: write `env!("CARGO_PKG_NAME")`.
    pub origin: &'static str,
    /// The body of a complete table, without its header and `kind`; a test parses and builds it.
    pub example: &'static str,
    /// JSON schema of the config: write `|| schemars::schema_for!(MyConfig)`.
    pub schema: fn() -> Schema,
    /// Builds it from its table.
    pub build: for<'a> fn(&Section, &T::Context<'a>) -> Result<Box<T>>,
}

macro_rules! kinds { ($($t:ty => $name:literal, $context:ident);* $(;)?) => { $(
    inventory::collect!(Descriptor<$t>);
    impl Kind for $t {
        const KIND: &'static str = $name;
        type Context<'a> = $context<'a>;
        fn linked() -> Vec<&'static Descriptor<Self>> {
            inventory::iter::<Descriptor<$t>>.into_iter().collect()
        }
    }
)* } }
kinds! {
    dyn Modality => "modality", ModalityContext;
    dyn Tokenizer => "tokenizer", TokenizerContext;
    dyn Trunk => "trunk", TrunkContext;
    dyn Head => "head", HeadContext;
    dyn Probe => "probe", ProbeContext;
}

/// What builds a plugin from its table.
pub type Build<T> = Arc<dyn for<'a> Fn(&Section, &<T as Kind>::Context<'a>) -> Result<Box<T>> + Send + Sync>;

/// One entry of a [`Catalogue`].
pub struct Entry<T: Kind + ?Sized> {
    /// One line for lists.
    pub summary: String,
    /// Crate or library that it comes from.
    pub origin: String,
    /// TOML without header.
    pub example: String,
    /// JSON schema of its config.
    pub schema: Schema,
    /// The shared library that it comes from, if it does.
    pub library: Option<Arc<Library>>,
    /// Builds it from its table.
    pub build: Build<T>,
}

/// The plugins of one kind, by name.
pub struct Catalogue<T: Kind + ?Sized> {
    entries: BTreeMap<String, Entry<T>>,
}

impl<T: Kind + ?Sized> Catalogue<T> {
    fn linked() -> Result<Self> {
        let mut this = Self { entries: BTreeMap::new() };
        for d in T::linked() {
            let build = d.build;
            let entry = Entry {
                summary: d.summary.into(),
                origin: d.origin.into(),
                example: d.example.into(),
                schema: (d.schema)(),
                library: None,
                build: Arc::new(move |section: &Section, context: &T::Context<'_>| build(section, context)),
            };
            this.add(d.name, entry)?;
        }
        Ok(this)
    }

    /// Adds a plugin; this is what a plugin host calls.
    ///
    /// # Errors
    /// [`Error::DuplicatePlugin`] if the name is taken.
    pub fn add(&mut self, name: &str, entry: Entry<T>) -> Result<()> {
        if let Some(first) = self.entries.get(name) {
            return Err(Error::DuplicatePlugin {
                kind: T::KIND,
                name: name.into(),
                first: first.origin.clone(),
                second: entry.origin,
            });
        }
        self.entries.insert(name.into(), entry);
        Ok(())
    }

    /// All entries in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry<T>)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The entry called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry<T>> {
        self.entries.get(name)
    }

    /// Builds the plugin that the table's `kind` names.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKind`] with the nearest names, or what the build says.
    pub fn build(&self, section: &Section, context: &T::Context<'_>) -> Result<Box<T>> {
        let name = section.kind()?;
        let Some(entry) = self.entries.get(&name) else {
            return Err(ConfigError::UnknownKind {
                kind: T::KIND,
                name,
                table: section.path().into(),
                known: self.entries.keys().cloned().collect(),
                place: section.place_of("kind"),
            }
            .into());
        };
        (entry.build)(section, context)
    }
}

/// All plugins: a value, not a global, so that two experiments in one process may differ.
pub struct Registry {
    /// Kinds of measurement.
    pub modalities: Catalogue<dyn Modality>,
    /// Arrays to tokens.
    pub tokenizers: Catalogue<dyn Tokenizer>,
    /// Transformers.
    pub trunks: Catalogue<dyn Trunk>,
    /// Losses.
    pub heads: Catalogue<dyn Head>,
    /// Measures of an embedding.
    pub probes: Catalogue<dyn Probe>,
}

impl Registry {
    /// The shared libraries that plugins of it come from, by name.
    #[must_use]
    pub fn libraries(&self) -> BTreeMap<&str, &Library> {
        fn of<T: Kind + ?Sized>(catalogue: &Catalogue<T>) -> impl Iterator<Item = &Library> {
            catalogue.iter().filter_map(|(_, entry)| entry.library.as_deref())
        }
        let all = of(&self.modalities).chain(of(&self.tokenizers)).chain(of(&self.heads));
        all.map(|library| (library.name.as_str(), library)).collect()
    }

    /// The compiled-in plugins.
    ///
    /// # Errors
    /// [`Error::DuplicatePlugin`] if two claim one name.
    pub fn linked() -> Result<Self> {
        Ok(Self {
            modalities: Catalogue::linked()?,
            tokenizers: Catalogue::linked()?,
            trunks: Catalogue::linked()?,
            heads: Catalogue::linked()?,
            probes: Catalogue::linked()?,
        })
    }
}
