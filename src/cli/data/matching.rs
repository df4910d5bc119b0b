//! `panchroma data match`: catalogues joined on the sky.

use crate::cli::progress::Counter;
use crate::cli::{JsonArgs, print, print_json};
use clap::{Args, ValueEnum};
use panchroma_builder::sky::{Keep, MatchReport, MatchSettings, Rule, match_catalogues};
use panchroma_core::Result;
use std::path::PathBuf;

const NOTES: &str =
    "Each other catalogue is matched with the first. No pair is lost at borders of pixels, at the poles or
across RA 0. The result is a HATS catalogue with the columns of all; where two have one name, `_CATALOGUE` is put
behind it. `ra` and `dec` are mean positions. In it, match.json is the report, and not_kept.csv lists every
pair within the radius that was not kept, and why.";

/// Arguments of `panchroma data match`.
#[derive(Args)]
#[command(after_help = NOTES)]
pub(crate) struct MatchArgs {
    /// Two or more: HATS catalogues, folders of Parquet files, or tables as Parquet, FITS, HDF5, CSV or ECSV
    #[arg(required = true, num_args = 2..)]
    catalogues: Vec<PathBuf>,
    /// Folder of the new catalogue
    #[arg(long, short)]
    out: PathBuf,
    /// Largest angle between counterparts, in arcseconds
    #[arg(long, default_value_t = 1.0, value_parser = radius)]
    radius: f64,
    /// Which pairs are kept
    #[arg(long, value_enum, default_value_t = Mode::Mutual)]
    mode: Mode,
    /// Which objects are kept
    #[arg(long, value_enum, default_value_t = Kept::Inner)]
    keep: Kept,
    /// Column of the objects' names, in every catalogue
    #[arg(long, default_value = "object_id")]
    id: String,
    #[command(flatten)]
    pub(super) json: JsonArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Each is the other's nearest
    Mutual,
    /// The nearest for each object of the first catalogue
    Nearest,
    /// All within the radius
    All,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kept {
    /// Objects of the first catalogue with a counterpart in every other
    Inner,
    /// All objects of the first catalogue
    Left,
    /// All objects of all catalogues
    Outer,
}

/// An angle in arcseconds.
pub(super) fn radius(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 3600.0 * 180.0 => Ok(value),
        _ => Err("expected arcseconds above 0, up to 648000".into()),
    }
}

pub(super) fn run(args: &MatchArgs) -> Result<()> {
    let rule = match args.mode {
        Mode::Mutual => Rule::Mutual,
        Mode::Nearest => Rule::Nearest,
        Mode::All => Rule::All,
    };
    let keep = match args.keep {
        Kept::Inner => Keep::Inner,
        Kept::Left => Keep::Left,
        Kept::Outer => Keep::Outer,
    };
    let settings = MatchSettings { radius_arcsec: args.radius, rule, keep, id: args.id.clone() };
    let mut counter = Counter::new(args.json.json, "objects written");
    let report = match_catalogues(&args.catalogues, &settings, &args.out, &mut |done, total| counter.at(done, total));
    counter.finish();
    let report = report?;
    if args.json.json {
        return print_json(&report);
    }
    print(&text(&report, args))
}

fn text(report: &MatchReport, args: &MatchArgs) -> String {
    let mut text = String::new();
    for pair in &report.pairs {
        let [first, other] = &pair.catalogues;
        let dropped: Vec<String> =
            pair.dropped.iter().map(|(reason, count)| format!("{count} {}", reason.replace('_', " "))).collect();
        let dropped = if dropped.is_empty() { String::new() } else { format!(" ({} left out)", dropped.join(", ")) };
        let median = pair.median_arcsec.map(|m| format!(", {m:.3} arcsec apart in the median")).unwrap_or_default();
        text += &format!(
            "{first} x {other}: {} of {} pairs within {} arcsec{dropped}{median}\n  {:.1} % of {first} and {:.1} % of {other} have a counterpart\n",
            pair.kept,
            pair.within_radius,
            report.radius_arcsec,
            100.0 * pair.completeness,
            100.0 * pair.completeness_other,
        );
    }
    text + &format!("{} objects in `{}`\n", report.objects, args.out.display())
}
