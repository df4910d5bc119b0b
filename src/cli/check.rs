//! `panchroma check CONFIG`: everything that can be known before training.

use super::progress::{Counter, MOST_LEFT_OUT, left_out};
use super::{ConfigArgs, JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use panchroma_core::data::{Catalogue, Split};
use panchroma_core::model::BadRow;
use panchroma_core::reexport::candle_core::Device;
use panchroma_core::{Mode, Model, Plan, Registry, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Arguments of `check`.
#[derive(Args)]
#[command(after_help = "Exit code 0 means that `train` with the same arguments will start.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl CheckArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

/// What is in one split.
#[derive(Serialize)]
struct SplitCount {
    objects: usize,
    /// Objects with a modality, by its name.
    with: BTreeMap<String, usize>,
    /// Objects with two modalities at least.
    with_two: usize,
}

#[derive(Serialize)]
struct Checked {
    plan: Plan,
    files: usize,
    splits: BTreeMap<String, SplitCount>,
    steps: u64,
    epochs: f64,
    /// What will be left out, with `bad_rows = "absent"`.
    bad_rows: Vec<BadRow>,
}

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let registry = Registry::linked()?;
    let experiment = args.config.read(&registry)?;
    let mut model = Model::new(&experiment, &registry, &Device::Cpu)?;
    let columns = model.columns(&experiment.evaluate.columns(&experiment.probes));
    let catalogue = Catalogue::open(&experiment.data, &columns)?;
    let train = catalogue.split(Split::Train)?;
    model.fit(|| train.chunks(1024).map(|chunk| catalogue.read(chunk))).map_err(|e| catalogue.locate(e))?;
    let mut splits = BTreeMap::new();
    let mut counter = Counter::new(args.json(), "objects prepared");
    let mut before = 0;
    for split in Split::ALL {
        if let Ok(rows) = catalogue.split(split) {
            let found = count(&model, &catalogue, &rows, &mut |done| {
                counter.at((before + done) as u64, catalogue.len() as u64);
            });
            splits.insert(split.to_string(), found.map_err(|e| catalogue.locate(e))?);
            before += rows.len();
        }
    }
    counter.finish();
    let config = &experiment.train;
    let per_epoch = (train.len() / config.batch).max(1) as f64 / config.accumulate as f64;
    let checked = Checked {
        plan: model.plan(config.batch),
        files: catalogue.describe().files,
        splits,
        steps: config.max_steps,
        epochs: config.max_steps as f64 / per_epoch,
        bad_rows: model.new_bad_rows(),
    };
    if args.json() { print_json(&checked) } else { print(&show(&checked)) }
}

fn count(model: &Model, catalogue: &Catalogue, rows: &[u32], progress: &mut dyn FnMut(usize)) -> Result<SplitCount> {
    let mut with: BTreeMap<String, usize> = model.modalities().map(|m| (m.to_owned(), 0)).collect();
    let (mut with_two, mut done) = (0, 0);
    for chunk in rows.chunks(256) {
        let batch = model.prepare(catalogue.read(chunk)?, Mode::Evaluate, 0)?;
        for (name, tokens) in &batch.tokens {
            *with.entry(name.clone()).or_default() += tokens.present.iter().filter(|p| **p).count();
        }
        with_two += (0..batch.len()).filter(|i| batch.tokens.values().filter(|t| t.present[*i]).count() >= 2).count();
        done += batch.len();
        progress(done);
    }
    Ok(SplitCount { objects: rows.len(), with, with_two })
}

fn show(checked: &Checked) -> String {
    let plan = &checked.plan;
    let mut modalities = table(&["modality", "kind", "tokens", "values", "coordinates"], 0);
    for m in &plan.modalities {
        modalities.add_row([&m.name, &m.kind, &format!("<= {}", m.tokens), &m.values, &m.coordinates.join(", ")]);
    }
    let mut parameters = table(&["part", "parameters"], 1);
    for (part, count) in &plan.parameters {
        parameters.add_row([part, &count.to_string()]);
    }
    parameters.add_row(["all", &plan.parameters.values().sum::<usize>().to_string()]);
    let names: Vec<&str> = plan.modalities.iter().map(|m| m.name.as_str()).collect();
    let mut data = table(&[&["split", "objects"], names.as_slice(), &["two or more"]].concat(), 1);
    for (name, split) in &checked.splits {
        let mut row = vec![name.clone(), split.objects.to_string()];
        row.extend(names.iter().map(|m| split.with.get(*m).copied().unwrap_or(0).to_string()));
        row.push(split.with_two.to_string());
        data.add_row(row);
    }
    let heads: Vec<String> =
        plan.heads.iter().map(|h| format!("{} (weight {}, {} view)", h.name, h.weight, h.view)).collect();
    let bad = &checked.bad_rows;
    let mut left_out_lines: Vec<String> = bad.iter().take(MOST_LEFT_OUT).map(left_out).collect();
    if bad.len() > MOST_LEFT_OUT {
        left_out_lines.push(format!("and {} more; `--json` lists all", bad.len() - MOST_LEFT_OUT));
    }
    let verdict = if bad.is_empty() { "no problem found".into() } else { left_out_lines.join("\n") };
    format!(
        "{}\n\n{}\n\n{}\n\nheads: {}\n{} steps of {} objects, {:.1} epochs\n\
         at most {:.1} GFLOP per step, {:.0} MiB for parameters and moments, {:.0} MiB for activations (estimates)\n\
         {verdict}\n",
        modalities.trim_fmt(),
        parameters.trim_fmt(),
        data.trim_fmt(),
        heads.join(", "),
        checked.steps,
        plan.batch,
        checked.epochs,
        plan.flops_per_step / 1e9,
        plan.parameter_bytes / 1048576.0,
        plan.activation_bytes / 1048576.0,
    )
}

/// An empty table whose columns from `numbers` on are aligned to the right.
fn table(columns: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns);
    if numbers > 0 {
        for column in table.column_iter_mut().skip(numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
