//! `panchroma parity DIR`: our numbers beside the Python package's.

use super::{DeviceArgs, JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use panchroma_aion::parity::{Comparison, compare};
use panchroma_core::{Error, Result};
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `parity`.
#[derive(Args)]
#[command(after_help = "\
The folder holds weights as AION-1 is published (`config.json`, `model.safetensors`, `codecs/NAME/`), and with them \
`inputs.safetensors`, `expected.safetensors` (what the Python package computes) and `fixture.json` (how far off a tensor may \
be). Every expected tensor is compared; one that nothing computes fails. Where the reference differs from what is right, \
its way is compared, and the last column says so; see docs/aion.md.

Exit code 1 means that a tensor is not within its tolerance.

Example: panchroma parity plugins/aion/fixtures/aion-swiglu")]
pub(super) struct ParityArgs {
    /// Folder of the fixture
    folder: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl ParityArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

pub(super) fn run(args: &ParityArgs) -> Result<()> {
    let device = args.device.open(&args.json)?;
    let rows = compare(&args.folder, &device)?;
    let failed = rows.iter().filter(|row| !row.pass).count();
    if args.json() {
        print_json(&json!({ "folder": args.folder, "pass": failed == 0, "tensors": rows }))?;
    } else {
        print(&table(&rows))?;
        print(&format!("{} of {} tensors within their tolerances\n", rows.len() - failed, rows.len()))?;
    }
    if failed == 0 {
        return Ok(());
    }
    let reason = format!("{failed} of {} tensors are not within their tolerances", rows.len());
    Err(Error::Plugin { kind: "fixture", name: args.folder.display().to_string(), reason })
}

fn table(rows: &[Comparison]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["tensor", "shape", "max diff", "mean diff", "measure", "value", "limit", "", "note"]);
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2e}"));
    for row in rows {
        let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
        // Shares are near 1, where an exponent would hide them.
        let (value, limit) = if row.counts() {
            (row.value.map_or_else(|| "-".into(), |value| format!("{value:.5}")), format!("{:.5}", row.limit))
        } else {
            (number(row.value), number(Some(row.limit)))
        };
        table.add_row([
            row.name.clone(),
            shape.join(" x "),
            number(row.max),
            number(row.mean),
            row.measure().into(),
            value,
            limit,
            if row.pass { "PASS" } else { "FAIL" }.into(),
            row.note.clone(),
        ]);
    }
    for column in table.column_iter_mut() {
        if [2, 3, 5, 6].contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}
