//! `panchroma import aion DIR --out MODEL`.

use super::{JsonArgs, print, print_json};
use clap::{Args, Subcommand};
use panchroma_aion::import::{ImportOptions, import};
use panchroma_core::{Registry, Result};
use std::path::PathBuf;

/// What `import` knows.
#[derive(Subcommand)]
pub(super) enum ImportCommand {
    /// AION-1, as published: transformer and codecs
    Aion(AionArgs),
}

/// Arguments of `import aion`.
#[derive(Args)]
#[command(after_help = "\
The folder is what is published: `config.json` and `model.safetensors` of the transformer, and for each modality \
`codecs/NAME/config.json` and `model.safetensors`. Out comes a run folder as `train` leaves one, with a run for each codec \
that is a network in `codecs`: `embed`, `generate` and `probe` take it, `tokenize` its codecs, and `train` goes on from it with \
`from = \"MODEL\"` in [train]. Columns in its config.toml are those of the Multimodal Universe; see docs/aion.md.

Example: panchroma import aion downloads/aion-base --out models/aion-base --data catalogues/legacysurvey")]
pub(super) struct AionArgs {
    /// Folder with the published files
    folder: PathBuf,
    /// Run folder to make
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Catalogue that the run's config names
    #[arg(long, value_name = "FOLDER", default_value = "catalogue")]
    data: PathBuf,
    /// Leave out modalities whose codec is missing
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl ImportCommand {
    pub(super) fn json(&self) -> bool {
        let Self::Aion(args) = self;
        args.json.json
    }
}

pub(super) fn run(command: &ImportCommand) -> Result<()> {
    let ImportCommand::Aion(args) = command;
    let options = ImportOptions {
        from: args.folder.clone(),
        out: args.out.clone(),
        data: args.data.clone(),
        partial: args.partial,
    };
    let imported = import(&options, &Registry::linked()?)?;
    if args.json.json {
        return print_json(&imported);
    }
    let mut text = format!(
        "{}: {} modalities, {} numbers\n{}\n",
        imported.run.display(),
        imported.modalities.len(),
        imported.parameters,
        imported.modalities.join(", ")
    );
    for left in &imported.left_out {
        text.push_str(&format!("left out: `{}` {}\n", left.modality, left.reason));
    }
    print(&text)
}
