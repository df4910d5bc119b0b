//! `panchroma data stats`: what a catalogue holds.

use super::CatalogueArgs;
use crate::cli::progress::Counter;
use crate::cli::{JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{CellAlignment, Table as Lines, presets};
use panchroma_builder::describe::{ColumnStats, Stats, Table, stats};
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
    print(&text(&found))
}

fn text(stats: &Stats) -> String {
    let mut text = format!("{} objects in {} files\n", stats.objects, stats.files);
    if !stats.modalities.is_empty() {
        let names: Vec<&str> = stats.modalities.iter().map(|m| m.name.as_str()).collect();
        let mut table = lines(["objects with"].into_iter().chain(names.iter().copied()));
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
    let mut table = lines([
        "column",
        "missing",
        "lengths",
        "not finite",
        "mean",
        "smallest",
        "1 %",
        "16 %",
        "50 %",
        "84 %",
        "99 %",
        "largest",
    ]);
    for column in stats.columns.iter().filter(|c| c.distinct.is_none()) {
        let percentiles = match column.percentiles {
            Some(values) => values.map(number).to_vec(),
            None => vec![String::new(); 7],
        };
        let lengths = column.lengths.map_or(String::new(), |l| l.map(|v| format!("{v:.0}")).join(" · "));
        let first = [
            column.column.clone(),
            share(column, stats.objects),
            lengths,
            if column.not_finite == 0 { String::new() } else { column.not_finite.to_string() },
            column.mean.map_or(String::new(), number),
        ];
        table.add_row(first.into_iter().chain(percentiles));
    }
    align(&mut table);
    text += &format!("\nNumbers (lengths of lists: shortest · median · longest)\n{table}\n");
    let mut table = lines(["column", "missing", "different", "most frequent"]);
    for column in stats.columns.iter().filter(|c| c.distinct.is_some()) {
        let frequent: Vec<String> = column.frequent.iter().map(|(text, n)| format!("{} {n}", short(text))).collect();
        let distinct = column.distinct.unwrap_or(0).to_string();
        table.add_row([column.column.clone(), share(column, stats.objects), distinct, frequent.join(", ")]);
    }
    if table.row_count() > 0 {
        text += &format!("\nTexts\n{table}\n");
    }
    text
}

/// What fits into a line.
fn short(text: &str) -> String {
    const MOST: usize = 32;
    if text.chars().count() <= MOST { text.into() } else { text.chars().take(MOST).chain(['…']).collect() }
}

fn lines<'a>(header: impl IntoIterator<Item = &'a str>) -> Lines {
    let mut table = Lines::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
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
