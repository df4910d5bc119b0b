//! `panchroma data match`: catalogues joined on the sky.

use crate::cli::progress::Counter;
use crate::cli::{Cli, JsonArgs, print, print_json};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};
use panchroma_builder::sky::{InputSettings, Keep, MatchReport, MatchSettings, Rule, match_catalogues};
use panchroma_core::Result;
use std::path::PathBuf;

const NOTES: &str = "\
Each other catalogue is matched with the first, and not with the others: with `--keep outer`, objects of two of these \
that are at one place stay two rows. No pair is lost at borders of pixels, at the poles or across RA 0. The result is a \
HATS catalogue with the columns of all and their units; where two have one name, `_CATALOGUE` is put behind it, and a \
number if that is taken too. `ra` and `dec` are mean positions, in degrees. In it, match.json is the report, and \
not_kept.csv lists every pair within the radius that is not in it, and why.

Positions are those that a HATS catalogue states, or `ra` and `dec`, or RAJ2000 and DEJ2000, RA_ICRS and DE_ICRS, _RA and _DE, RADEG and DECDEG (or DEDEG), \
ALPHA_J2000 and DELTA_J2000, in any case, in the unit that the file says (degrees, hours, radians) or in degrees.

Examples:
  panchroma data match sdss data/supernovae --radius 1 --dry-run
  panchroma data match sdss data/supernovae --radius 1 --out both";

/// Arguments of `panchroma data match`.
#[derive(Args)]
#[command(after_help = NOTES)]
pub(crate) struct MatchArgs {
    /// Two or more: HATS catalogues, folders of Parquet files, or tables as Parquet, FITS, HDF5, CSV or ECSV
    #[arg(required = true, num_args = 2..)]
    catalogues: Vec<PathBuf>,
    /// Folder of the new catalogue
    #[arg(long, short, required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Only say how many objects would be in it, and how complete it would be, for example to find the radius
    #[arg(long, conflicts_with = "out")]
    dry_run: bool,
    /// Largest angle between counterparts, in arcseconds
    #[arg(long, default_value_t = 1.0, value_parser = radius)]
    radius: f64,
    /// Which pairs are kept
    #[arg(long, value_enum, default_value_t = Mode::Mutual)]
    mode: Mode,
    /// Which objects are kept
    #[arg(long, value_enum, default_value_t = Kept::Inner)]
    keep: Kept,
    /// Column of the objects' names: once for all catalogues, or once for each in their order
    #[arg(long, default_value = "object_id")]
    id: Vec<String>,
    /// Column of right ascension, if it has another name than usual: once for all catalogues, or once for each
    #[arg(long, requires = "dec")]
    ra: Vec<String>,
    /// Column of declination, likewise
    #[arg(long, requires = "ra")]
    dec: Vec<String>,
    /// Leave out objects whose position is missing or none, and count them; otherwise they are an error
    #[arg(long)]
    drop_bad: bool,
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
    let settings =
        MatchSettings { radius_arcsec: args.radius, rule, keep, inputs: inputs(args), dry_run: args.dry_run };
    // Without a catalogue, a place for what is converted on the way.
    let aside = || std::env::temp_dir().join(format!("panchroma-match-{}", std::process::id()));
    let out = args.out.clone().unwrap_or_else(aside);
    let mut counter = Counter::new(args.json.json, "objects written");
    let report = match_catalogues(&args.catalogues, &settings, &out, &mut |done, total| counter.at(done, total));
    counter.finish();
    let report = report?;
    if args.json.json {
        return print_json(&report);
    }
    print(&text(&report, args))
}

/// How each catalogue is read. What was given neither once nor for each ends the command.
fn inputs(args: &MatchArgs) -> Vec<InputSettings> {
    let catalogues = args.catalogues.len();
    for (option, given) in [("--id", &args.id), ("--ra", &args.ra), ("--dec", &args.dec)] {
        if given.len() > 1 && given.len() != catalogues {
            let count = given.len();
            let said =
                format!("expected `{option}` once for all catalogues, or once for each of {catalogues}, got {count}");
            Cli::command().error(ErrorKind::WrongNumberOfValues, said).exit();
        }
    }
    let of = |given: &[String], number: usize| given.get(number).or(given.first()).cloned();
    let input = |number| InputSettings {
        id: of(&args.id, number).unwrap_or_default(),
        position: of(&args.ra, number).zip(of(&args.dec, number)).map(|(ra, dec)| [ra, dec]),
        drop_bad: args.drop_bad,
    };
    (0..catalogues).map(input).collect()
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
        // With two catalogues the share says it.
        if pair.left_out > 0 && report.pairs.len() > 1 {
            text += &format!("  {} objects of {first} are left out: no counterpart in {other}\n", pair.left_out);
        }
    }
    for (name, count) in &report.without_position {
        text += &format!("{count} objects of {name} are left out: no position\n");
    }
    match &args.out {
        Some(out) => text + &format!("{} objects in `{}`\n", report.objects, out.display()),
        None => text + &format!("{} objects; nothing was written\n", report.objects),
    }
}
