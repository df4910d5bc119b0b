//! What a training shows while it runs: a bar on a terminal, a line now and then in a file.

use indicatif::{ProgressBar, ProgressStyle};
use panchroma_core::model::BadRow;
use panchroma_core::train::{Event, Observer};
use serde_json::Value;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shows a training on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    terminal: bool,
    last_line: Instant,
    steps: u64,
    smooth: Option<f64>,
    held_out: String,
    /// Measurements that made no sense.
    left_out: usize,
}

/// Time between lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// So many measurements that were left out are shown.
pub(super) const MOST_LEFT_OUT: usize = 5;

/// What is said of a measurement that was left out.
pub(super) fn left_out(bad: &BadRow) -> String {
    format!("left out: {} of `{}`, {}", bad.modality, bad.object, bad.reason)
}

impl Progress {
    /// `quiet` shows nothing, for `--json`.
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            bar: None,
            quiet,
            terminal: std::io::stderr().is_terminal(),
            last_line: Instant::now(),
            steps: 0,
            smooth: None,
            held_out: String::new(),
            left_out: 0,
        }
    }

    fn bar(&mut self, total: u64, at: u64, template: &str) {
        self.finish();
        if self.terminal && !self.quiet {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = Some(ProgressBar::new(total).with_position(at).with_style(style));
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A line every ten seconds where there is no bar.
    fn line(&mut self, now: bool, text: impl FnOnce() -> String) {
        if !self.quiet && !self.terminal && (now || self.last_line.elapsed() >= EVERY) {
            self.last_line = Instant::now();
            eprintln!("{}", text());
        }
    }
}

impl Observer for Progress {
    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Fitting { done, total } => {
                if self.bar.is_none() {
                    self.bar(total as u64, 0, "{bar:30} {pos}/{len} objects read for scalers");
                }
                if let Some(bar) = &self.bar {
                    bar.set_position(done as u64);
                }
                self.line(false, || format!("read {done}/{total} objects for scalers"));
            }
            Event::Untried(parameters) => {
                if !self.quiet {
                    let (first, more) =
                        (parameters.first().map_or("", String::as_str), parameters.len().saturating_sub(1));
                    let more = if more > 0 { format!(" and {more} more (see log.jsonl)") } else { String::new() };
                    eprintln!("note: no object looked at shows what `{first}`{more} reads; it learns once one does");
                }
            }
            Event::Ready { parameters, objects, step, steps } => {
                self.steps = steps;
                if !self.quiet {
                    let from = if step > 0 { format!(", from step {step}") } else { String::new() };
                    eprintln!("training {parameters} parameters on {objects} objects for {steps} steps{from}");
                }
                self.bar(steps, step, "{bar:30} {pos}/{len} steps  {msg}  {elapsed} of {duration}");
            }
            Event::Step { step, loss, seconds } => {
                let smooth = self.smooth.map_or(loss, |s| 0.95 * s + 0.05 * loss);
                self.smooth = Some(smooth);
                let held_out = self.held_out.clone();
                if let Some(bar) = &self.bar {
                    bar.set_position(step);
                    bar.set_message(format!("loss {smooth:.3}{held_out}"));
                }
                let steps = self.steps;
                self.line(step == steps, || {
                    format!("step {step}/{steps}  loss {smooth:.3}  {seconds:.2} s/step{held_out}")
                });
            }
            Event::Evaluated { values, .. } => {
                let top10: Vec<f64> = values
                    .iter()
                    .filter(|(name, _)| name.starts_with("evaluation.top10"))
                    .filter_map(|(_, v)| v.as_f64())
                    .collect();
                // Probes in between come as an event of their own, for the log.
                if let Some(loss) = values.get("evaluation.loss").and_then(Value::as_f64) {
                    self.held_out = format!("  held-out loss {loss:.3}");
                }
                if !top10.is_empty() {
                    let mean = 100.0 * top10.iter().sum::<f64>() / top10.len() as f64;
                    self.held_out += &format!("  top 10 {mean:.0} %");
                }
            }
            Event::BadRow(bad) => {
                self.left_out += 1;
                // The log has all of them.
                if !self.quiet && self.left_out <= MOST_LEFT_OUT {
                    let more = if self.steps > 0 { "; of more see log.jsonl" } else { "; more are not shown" };
                    let last = if self.left_out == MOST_LEFT_OUT { more } else { "" };
                    let line = format!("{}{last}", left_out(&bad));
                    match &self.bar {
                        Some(bar) => bar.println(line),
                        None => eprintln!("{line}"),
                    }
                }
            }
            Event::Checkpoint { .. } => {}
            Event::Evaluating { done, total } => {
                if self.bar.as_ref().is_none_or(|b| b.length() != Some(total as u64)) {
                    self.bar(total as u64, 0, "{bar:30} {pos}/{len} objects evaluated");
                }
                if let Some(bar) = &self.bar {
                    bar.set_position(done as u64);
                }
                self.line(done == total, || format!("evaluated {done}/{total} objects"));
            }
        }
    }
}

/// Shows how far a command is that counts something.
pub(super) struct Counter {
    bar: Option<ProgressBar>,
    last_line: Instant,
    quiet: bool,
    what: &'static str,
}

impl Counter {
    /// `quiet` shows nothing; `what` is counted, for example `objects read`.
    pub(super) fn new(quiet: bool, what: &'static str) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {elapsed} of {duration}");
            ProgressBar::new(0).with_message(what).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, last_line: Instant::now(), quiet, what }
    }

    /// Says that `done` of `total` are done.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if !self.quiet && self.last_line.elapsed() >= EVERY {
            self.last_line = Instant::now();
            eprintln!("{done}/{total} {}", self.what);
        }
    }

    /// Removes the bar.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
