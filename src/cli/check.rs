//! `panchroma check CONFIG`: everything that can be known before training.

use super::progress::{Counter, MOST_LEFT_OUT, left_out};
use super::{ConfigArgs, JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use panchroma_core::data::{Catalogue, Split};
use panchroma_core::model::BadRow;
use panchroma_core::reexport::candle_core::{DType, Device};
use panchroma_core::{Batch, Mode, Model, Plan, Result};
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

/// How many tokens of a modality a head's masks give and ask for, per object that has it.
#[derive(Default, Serialize)]
struct MaskCount {
    /// Objects that have the modality.
    objects: usize,
    /// Means over them.
    tokens: f64,
    given: f64,
    asked: f64,
}

/// By head and modality.
type MaskCounts = BTreeMap<String, BTreeMap<String, MaskCount>>;

#[derive(Serialize)]
struct Checked {
    plan: Plan,
    /// Modalities whose codecs are trained.
    codecs: Vec<String>,
    files: usize,
    splits: BTreeMap<String, SplitCount>,
    steps: u64,
    epochs: f64,
    /// Of heads that mask tokens, with the masks of one epoch.
    masks: MaskCounts,
    /// What will be left out, with `bad_rows = "absent"`.
    bad_rows: Vec<BadRow>,
}

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let (registry, experiment) = args.config.read()?;
    let mut model = Model::new(&experiment, &registry, &Device::Cpu)?;
    let columns = model.columns(&experiment.evaluate.columns(&experiment.probes));
    let catalogue = Catalogue::open(&experiment.data, &columns)?;
    let train = catalogue.split(Split::Train)?;
    model.fit(|| train.chunks(1024).map(|chunk| catalogue.read(chunk))).map_err(|e| catalogue.locate(e))?;
    let mut splits = BTreeMap::new();
    let mut counter = Counter::new(args.json(), "objects prepared");
    let mut before = 0;
    let mut masks = MaskCounts::new();
    for split in Split::ALL {
        if let Ok(rows) = catalogue.split(split) {
            let found = count(&model, &catalogue, &rows, &mut masks, &mut |done| {
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
        codecs: model.learning().map(str::to_owned).collect(),
        files: catalogue.describe().files,
        splits,
        steps: config.max_steps,
        epochs: config.max_steps as f64 / per_epoch,
        masks: means(masks),
        bad_rows: model.new_bad_rows(),
    };
    if args.json() { print_json(&checked) } else { print(&show(&checked)) }
}

fn count(
    model: &Model,
    catalogue: &Catalogue,
    rows: &[u32],
    masks: &mut MaskCounts,
    progress: &mut dyn FnMut(usize),
) -> Result<SplitCount> {
    let mut with: BTreeMap<String, usize> = model.modalities().map(|m| (m.to_owned(), 0)).collect();
    let (mut with_two, mut done) = (0, 0);
    for chunk in rows.chunks(256) {
        let batch = model.prepare(catalogue.read(chunk)?, Mode::Evaluate, 0)?;
        // Not its tokens: of a codec that is still to learn there are none.
        for (name, arrays) in &batch.arrays {
            *with.entry(name.clone()).or_default() += arrays.present.iter().filter(|p| **p).count();
        }
        add_masks(&batch, masks)?;
        with_two += (0..batch.len()).filter(|i| batch.arrays.values().filter(|a| a.present[*i]).count() >= 2).count();
        done += batch.len();
        progress(done);
    }
    Ok(SplitCount { objects: rows.len(), with, with_two })
}

/// Adds what the masks of a batch give and ask for, as sums.
fn add_masks(batch: &Batch, sums: &mut MaskCounts) -> Result<()> {
    let on = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f64;
    for (head, masks) in &batch.masks {
        let sums = sums.entry(head.clone()).or_default();
        for (modality, tokens) in &batch.tokens {
            let sum = sums.entry(modality.clone()).or_default();
            sum.objects += tokens.present.iter().filter(|present| **present).count();
            sum.tokens += f64::from(tokens.valid.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?);
            if let Some(mask) = masks.modality.get(modality) {
                sum.given += on(&mask.input);
                sum.asked += on(&mask.target);
            }
        }
    }
    Ok(())
}

fn means(mut sums: MaskCounts) -> MaskCounts {
    for sum in sums.values_mut().flat_map(BTreeMap::values_mut) {
        let objects = sum.objects.max(1) as f64;
        for value in [&mut sum.tokens, &mut sum.given, &mut sum.asked] {
            *value /= objects;
        }
    }
    sums
}

/// A table per head that masks tokens.
fn show_masks(masks: &MaskCounts) -> String {
    let mut text = String::new();
    for (head, counts) in masks {
        let name = format!("[head.{head}], per object");
        let mut table = table(&[&name, "tokens", "given", "asked for"], 1);
        for (modality, count) in counts {
            let numbers = [count.tokens, count.given, count.asked].map(|mean| format!("{mean:.1}"));
            table.add_row([std::slice::from_ref(modality), numbers.as_slice()].concat());
        }
        text += &format!("{}\n\n", table.trim_fmt());
    }
    text
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
    let learns = match checked.codecs.as_slice() {
        [] => format!("heads: {}", heads.join(", ")),
        codecs => format!("trains the codec of {}; no heads", codecs.join(", ")),
    };
    let activations = format!(
        "at most {:.1} GFLOP per step, {:.0} MiB for parameters and moments, {:.0} MiB for activations (estimates)",
        plan.flops_per_step / 1e9,
        plan.parameter_bytes / 1048576.0,
        plan.activation_bytes / 1048576.0,
    );
    // What a codec computes, only its tokenizer knows.
    let cost = match checked.codecs.is_empty() {
        true => activations,
        false => format!("{:.0} MiB for parameters and moments (estimate)", plan.parameter_bytes / 1048576.0),
    };
    format!(
        "{}\n\n{}\n\n{}\n\n{}{learns}\n{} steps of {} objects, {:.1} epochs\n{cost}\n{verdict}\n",
        modalities.trim_fmt(),
        parameters.trim_fmt(),
        data.trim_fmt(),
        show_masks(&checked.masks),
        checked.steps,
        plan.batch,
        checked.epochs,
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
