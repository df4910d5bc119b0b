//! `panchroma data validate`: whether a catalogue is sound.

use super::CatalogueArgs;
use crate::cli::progress::Counter;
use crate::cli::{JsonArgs, print, print_json};
use clap::Args;
use panchroma_builder::describe::{Checks, Finding, validate};
use panchroma_core::Result;
use panchroma_core::data::DataError;

/// Arguments of `panchroma data validate`.
#[derive(Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Column of the objects' names
    #[arg(long, default_value = "object_id")]
    id: String,
    #[command(flatten)]
    pub(super) json: JsonArgs,
}

pub(super) fn run(args: &ValidateArgs) -> Result<()> {
    let path = &args.catalogue.catalogue;
    let mut counter = Counter::new(args.json.json, "files checked");
    let found = validate(path, &Checks { id: args.id.clone() }, &mut |done, total| counter.at(done, total))?;
    counter.finish();
    if args.json.json {
        print_json(&found)?;
    } else {
        found.iter().try_for_each(|finding| print(&line(finding)))?;
    }
    let errors = found.iter().filter(|f| f.error).count();
    if errors > 0 {
        return Err(DataError::Unsound { path: path.clone(), errors }.into());
    }
    if !args.json.json {
        print(&format!("`{}` is sound\n", path.display()))?;
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let Finding { error, file, column, problem, objects, first } = finding;
    let kind = if *error { "error" } else { "odd" };
    let column = if column.is_empty() { String::new() } else { format!("`{column}` ") };
    let first = first.as_ref().map(|o| format!(", first `{o}`")).unwrap_or_default();
    let objects = match objects {
        0 => String::new(),
        1 => format!(" (1 object{first})"),
        many => format!(" ({many} objects{first})"),
    };
    format!("{kind}: {file}: {column}{problem}{objects}\n")
}
