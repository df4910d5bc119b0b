//! `panchroma data stats`: what a catalogue holds.

use super::CatalogueArgs;
use crate::cli::progress::Counter;
use crate::cli::{JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table as Lines, presets};
use panchroma_builder::describe::{ColumnStats, DISTINCT, Stats, Table, stats};
use panchroma_core::Result;

/// Arguments of `panchroma data stats`.
#[derive(Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    pub(super) json: JsonArgs,
}

pub(super) fn run(args: &StatsArgs) -> Result<()> {
    let table = Table::open(&args.catalogue.catalogue)?;
    let mut counter = Counter::new(args.json.json, "objects read");
    let found = stats(&table, &mut |done, total| counter.at(done, total))?;
    counter.finish();
    if args.json.json {
        return print_json(&found);
    }
    // None if nobody looks at a terminal: a file or a program takes lines of any length.
    print(&text(&found, Lines::new().width()))
}

/// Percentiles in words, and which of them are shown where a line is too short for all.
const PERCENTILES: [&str; 7] = ["smallest", "1 %", "16 %", "50 %", "84 %", "99 %", "largest"];
const SHOWN: [&[usize]; 3] = [&[0, 1, 2, 3, 4, 5, 6], &[0, 2, 3, 4, 6], &[0, 3, 6]];

/// `width` is that of a line, in letters.
fn text(stats: &Stats, width: Option<u16>) -> String {
    let lines = |header: &[&str]| lines(header, width);
    let mut text = format!("{} objects in {} files\n", stats.objects, stats.files);
    if !stats.modalities.is_empty() {
        let names: Vec<&str> = stats.modalities.iter().map(|m| m.name.as_str()).collect();
        let mut table = lines(&[&["objects with"], names.as_slice()].concat());
        for (i, one) in stats.modalities.iter().enumerate() {
            let both = |j: usize| match i == j {
                true => one.objects.to_string(),
                false => {
                    let is = |name: &String| *name == names[i] || *name == names[j];
                    let found = stats.overlap.iter().find(|o| o.modalities.iter().all(is));
                    found.map_or(0, |o| o.objects).to_string()
                }
            };
            table.add_row(std::iter::once(one.name.clone()).chain((0..names.len()).map(both)));
        }
        align(&mut table);
        text += &format!("\nModalities and how they overlap\n{table}\n");
    }
    let columns: Vec<&ColumnStats> = stats.columns.iter().filter(|c| !is_pixel(&c.column)).collect();
    let room = usize::from(width.unwrap_or(u16::MAX));
    let fits = |table: &Lines| table.lines().all(|line| line.chars().count() <= room);
    let [.., fewest] = SHOWN;
    let mut tables = SHOWN.into_iter().map(|shown| numbers(&columns, stats.objects, shown, None));
    let table = tables.find(fits).unwrap_or_else(|| numbers(&columns, stats.objects, fewest, width));
    text += &format!("\nNumbers (lengths of lists: shortest · median · longest)\n{table}\n");
    let mut table = lines(&["column", "missing", "different", "most frequent"]);
    for column in columns.iter().filter(|c| c.distinct.is_some()) {
        let frequent: Vec<String> = column.frequent.iter().map(|(text, n)| format!("{} {n}", short(text))).collect();
        let distinct = match column.distinct.unwrap_or(0) {
            DISTINCT => format!("{DISTINCT}+"),
            fewer => fewer.to_string(),
        };
        table.add_row([column.column.clone(), share(column, stats.objects), distinct, frequent.join(", ")]);
    }
    if table.row_count() > 0 {
        text += &format!("\nTexts\n{table}\n");
    }
    text
}

/// Columns that say in which pixel of the sky an object is: their percentiles say nothing.
fn is_pixel(column: &str) -> bool {
    column.starts_with("_healpix_") || ["Norder", "Dir", "Npix"].contains(&column)
}

/// One line per column of numbers, with some of the percentiles and without what no column has.
fn numbers(columns: &[&ColumnStats], objects: u64, shown: &[usize], width: Option<u16>) -> Lines {
    let header = ["column", "missing", "lengths", "not finite", "mean"];
    let header: Vec<&str> =
        header.into_iter().chain(shown.iter().filter_map(|i| PERCENTILES.get(*i).copied())).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for column in columns.iter().filter(|c| c.distinct.is_none()) {
        let mut row = vec![
            column.column.clone(),
            share(column, objects),
            column.lengths.map_or(String::new(), |l| l.map(|v| format!("{v:.0}")).join(" · ")),
            if column.not_finite == 0 { String::new() } else { column.not_finite.to_string() },
            column.mean.map_or(String::new(), number),
        ];
        let percentile =
            |i: &usize| column.percentiles.and_then(|all| all.get(*i).copied()).map_or(String::new(), number);
        row.extend(shown.iter().map(percentile));
        rows.push(row);
    }
    let known = |i: &usize| *i == 0 || rows.iter().any(|row| row.get(*i).is_some_and(|cell| !cell.is_empty()));
    let known: Vec<usize> = (0..header.len()).filter(known).collect();
    let mut table = lines(&known.iter().filter_map(|i| header.get(*i).copied()).collect::<Vec<_>>(), width);
    for row in &rows {
        table.add_row(known.iter().filter_map(|i| row.get(*i)));
    }
    align(&mut table);
    table
}

/// What fits into a line.
fn short(text: &str) -> String {
    const MOST: usize = 32;
    if text.chars().count() <= MOST { text.into() } else { text.chars().take(MOST).chain(['…']).collect() }
}

fn lines(header: &[&str], width: Option<u16>) -> Lines {
    let mut table = Lines::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

fn align(table: &mut Lines) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn share(column: &ColumnStats, objects: u64) -> String {
    match column.missing {
        0 => String::new(),
        missing => format!("{:.1} %", 100.0 * missing as f64 / objects.max(1) as f64),
    }
}

/// Four significant digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.3e}")
    } else {
        let digits = usize::try_from(3 - size.log10().floor() as i32).unwrap_or(0);
        format!("{value:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats_of(columns: Vec<ColumnStats>) -> Stats {
        Stats { objects: 20_000, files: 1, modalities: Vec::new(), overlap: Vec::new(), columns }
    }

    fn column(name: &str, percentiles: Option<[f64; 7]>, distinct: Option<usize>) -> ColumnStats {
        ColumnStats {
            column: name.into(),
            depth: 0,
            present: 20_000,
            missing: 0,
            values: 20_000,
            not_finite: 0,
            lengths: None,
            mean: percentiles.map(|p| p[3]),
            percentiles,
            distinct,
            frequent: Vec::new(),
        }
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_percentiles() {
        let stats = stats_of(vec![column("redshift", Some([0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17]), None)]);
        let widest =
            |width| text(&stats, width).lines().filter(|l| l.starts_with('─')).map(|l| l.chars().count()).max();
        // A cell is as wide as its name or number and two blanks, and between two is one: 10, 8, 10, 8, 8, 8, 8, 8, 9
        // (redshift, mean, smallest, five shares, largest) and 8 between make 85.
        assert_eq!([widest(None), widest(Some(85))], [Some(85); 2]);
        // Without 1 % and 99 %, and one between each, 18 less; with the median alone, another 18.
        assert_eq!([widest(Some(84)), widest(Some(67)), widest(Some(66))], [Some(67), Some(67), Some(49)]);
        let said = text(&stats, Some(60));
        assert!(!said.contains("84 %") && said.contains("0.1400") && said.contains("largest"), "{said}");
    }

    #[test]
    fn pixels_of_the_sky_are_no_quantity_and_columns_that_nothing_fills_are_left_out() {
        let stats = stats_of(vec![column("_healpix_29", Some([1.0; 7]), None), column("ra", Some([1.0; 7]), None)]);
        let said = text(&stats, None);
        assert!(said.contains("ra") && !said.contains("_healpix_29") && !said.contains("not finite"), "{said}");
    }

    #[test]
    fn where_counting_stopped_there_may_be_more() {
        let said =
            text(&stats_of(vec![column("object_id", None, Some(DISTINCT)), column("type", None, Some(9))]), None);
        assert!(said.contains(" 10000+ ") && said.contains(" 9 "), "{said}");
    }
}
