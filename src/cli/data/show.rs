//! `panchroma data show`: a look at one object.

use super::CatalogueArgs;
use crate::cli::print;
use crate::report::{ObjectPage, Picture};
use clap::Args;
use panchroma_builder::describe::{Table, find};
use panchroma_core::Result;
use std::path::PathBuf;

/// Arguments of `panchroma data show`.
#[derive(Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Name of the object
    object: String,
    /// Column of the objects' names
    #[arg(long, default_value = "object_id")]
    id: String,
    /// Where to write: a name that ends in `.png` or `.html`; default OBJECT.png
    #[arg(long, short)]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ShowArgs) -> Result<()> {
    let table = Table::open(&args.catalogue.catalogue)?;
    let object = find(&table, &args.id, &args.object)?;
    let (measured, facts) = object.measured();
    // A name may hold characters that no file name can.
    let plain: String =
        object.id.chars().map(|c| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' }).collect();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{plain}.png")));
    let page = ObjectPage::new(&object.id, &measured, facts);
    let written = match out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("html")) {
        true => page.write(&out, Picture::Html),
        false => page.write(&out, Picture::Png),
    };
    written?;
    print(&format!("{}\n", out.display()))
}
