//! `panchroma bench CONFIG`: how fast a config trains and embeds on this machine.

use super::progress::Counter;
use super::{ConfigArgs, DeviceArgs, JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use panchroma_core::Result;
use panchroma_core::train::{MeasureStage, Measured, measure};
use serde::Serialize;

/// Arguments of `bench`.
#[derive(Args)]
#[command(
    after_help = "Takes real training steps on the config's data and throws the result away. The share of matrix \
products says how near a step comes to what this machine gives on products alone: the rest is reading, attention and all \
that stands between products.

Examples:
  panchroma bench configs/quickstart.toml
  panchroma bench configs/quickstart.toml --set train.batch=256 --steps 50
  panchroma bench configs/quickstart.toml --set trunk.recompute=true"
)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
    /// Training steps to measure
    #[arg(long, value_name = "STEPS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
}

impl BenchArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

/// What is printed for machines.
#[derive(Serialize)]
struct Output<'a> {
    processor: &'a str,
    threads: usize,
    #[serde(flatten)]
    measured: &'a Measured,
}

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let (registry, experiment) = args.config.read()?;
    let mut counter = Counter::new(args.json(), "steps and batches measured");
    let measured = measure(
        &experiment,
        &registry,
        &args.device.open(&args.json)?,
        args.steps as usize,
        &mut |stage, done, total| {
            // Fitting has no end that could be shown.
            if stage != MeasureStage::Fitting {
                counter.at(done as u64, total as u64);
            }
        },
    );
    counter.finish();
    let (measured, processor) = (measured?, processor());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if args.json() {
        return print_json(&Output { processor: &processor, threads, measured: &measured });
    }
    print(&show(&measured, &processor, threads))
}

fn show(measured: &Measured, processor: &str, threads: usize) -> String {
    let Measured { seconds, .. } = measured;
    let mut parts = table(&["part of a step", "ms", "share"]);
    for (name, time) in [
        ("waiting for data", seconds.wait),
        ("forward", seconds.forward),
        ("backward", seconds.backward),
        ("optimizer", seconds.optimizer),
        ("all", seconds.step),
    ] {
        parts.add_row([name.into(), format!("{:.1}", 1e3 * time), format!("{:.0} %", 100.0 * time / seconds.step)]);
    }
    let mut rates = table(&["", "objects/s", "tokens/s"]);
    let row =
        |name: &str, objects: f64, tokens: f64| [name.to_owned(), format!("{objects:.0}"), format!("{tokens:.0}")];
    rates.add_row(row("training", measured.objects / seconds.step, measured.tokens_per_second));
    rates.add_row(row(
        if measured.codec { "tokenizing" } else { "embedding" },
        measured.embed_objects_per_second,
        measured.embed_tokens_per_second,
    ));
    let memory = measured.peak_memory_bytes.map_or_else(String::new, |bytes| {
        format!("{:.0} MiB of memory at the peak, data and program included\n", bytes as f64 / 1048576.0)
    });
    // What a codec computes, only its tokenizer knows.
    let work = match measured.codec {
        true => String::new(),
        false => format!(
            "{:.1} GFLOP a step (estimate): {:.1} GFLOP/s, {:.0} % of the {:.0} GFLOP/s of matrix products alone\n",
            measured.flops / 1e9,
            measured.flops_per_second / 1e9,
            100.0 * measured.share_of_products,
            measured.product_flops_per_second / 1e9,
        ),
    };
    format!(
        "{processor}, {threads} threads\n{} parameters, {:.0} objects and {:.0} tokens a step; medians of {} steps\n\n{}\n\n{}\n\n\
         {work}{memory}",
        measured.parameters,
        measured.objects,
        measured.tokens,
        measured.steps,
        parts.trim_fmt(),
        rates.trim_fmt(),
    )
}

/// The processor's name, as far as the system tells.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
