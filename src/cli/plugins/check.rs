//! `panchroma plugins check`: the conformance suite, in a process of its own, so that a plugin that takes its process with it is named.

use crate::cli::{JsonArgs, print, print_json};
use clap::Args;
use panchroma_core::{Error, PluginError, Result};
use panchroma_host::{Outcome, Step};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Arguments of `plugins check`.
#[derive(Args)]
#[command(
    after_help = "Tries: loading and versions, the manifest, schema and example, rows that are plain, missing, empty, not finite, \
extreme or too long, no rows at all, rows on their own, the same rows twice, many threads, errors, memory that is not freed, gradients against finite \
differences, and how fast it is. Exit code 0 if every promise is kept, 1 if one is broken.

Examples:
  panchroma plugins check target/release/libmy_instrument.so
  panchroma plugins check my-plugin/            # a folder with a manifest"
)]
pub(in crate::cli) struct CheckArgs {
    /// A shared library, its manifest, or the folder of one
    file: PathBuf,
    /// Seconds that one step may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    time_limit: f64,
    #[command(flatten)]
    json: JsonArgs,
    /// Run in this process and print steps as lines of JSON
    #[arg(long, hide = true)]
    here: bool,
}

impl CheckArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    passed: usize,
    failed: usize,
    skipped: usize,
    steps: Vec<Step>,
}

/// What the process that runs the suite prints, one per line.
#[derive(Serialize, Deserialize)]
enum Line {
    Step(Step),
    /// The library can't be loaded.
    Refused(String),
    Done,
}

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let path = args.file.canonicalize().map_err(Error::io("read", &args.file))?;
    if args.here {
        return here(&path);
    }
    let found = panchroma_host::at(&path)?;
    if found.is_empty() {
        let reason = "the folder holds neither a shared library nor a manifest".into();
        return Err(PluginError::Load { path, reason, hint: Some("build it first".into()) }.into());
    }
    let checked = found.iter().map(|candidate| one(args, &candidate.library)).collect::<Result<Vec<_>>>()?;
    let failed = checked.iter().map(|c| c.failed).sum::<usize>();
    if args.json() {
        print_json(&checked)?;
    } else {
        for Checked { file, passed, failed, skipped, .. } in &checked {
            let skipped = if *skipped > 0 { format!(", {skipped} can't be tried") } else { String::new() };
            print(&format!("\n{}: {passed} promises kept, {failed} broken{skipped}\n", file.display()))?;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Error::Plugin {
        kind: "plugin",
        name: path.display().to_string(),
        reason: format!("breaks {failed} of its promises"),
    })
}

/// The suite in this process.
fn here(path: &Path) -> Result<()> {
    // What a plugin prints goes to standard error, and never among the lines that are read.
    let mut lines = panchroma_host::own_output().map_err(Error::io("write to", Path::new("standard output")))?;
    let mut say = |line: &Line| {
        let text = serde_json::to_string(line).unwrap_or_default();
        if writeln!(lines, "{text}").is_err() {
            // Whoever reads this is the parent; if it is gone, so is the reason to go on.
            std::process::exit(1);
        }
    };
    let checked = panchroma_host::check(path, &mut |step| say(&Line::Step(step)));
    match checked {
        Ok(_) => say(&Line::Done),
        Err(Error::Foreign(error)) => match *error {
            PluginError::Load { reason, .. } => say(&Line::Refused(reason)),
            other => say(&Line::Refused(other.to_string())),
        },
        Err(error) => say(&Line::Refused(error.to_string())),
    }
    Ok(())
}

/// The suite in a child process; steps are printed as they end.
fn one(args: &CheckArgs, library: &Path) -> Result<Checked> {
    let program = panchroma_host::own_program().map_err(Error::io("find", Path::new("this program")))?;
    let mut child = Command::new(program)
        .args(["plugins", "check", "--here"])
        .arg(library)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .map_err(Error::io("start", library))?;
    let lines = lines(&mut child);
    let limit = Duration::from_secs_f64(args.time_limit.clamp(0.1, 86_400.0));
    let mut checked = Checked { file: library.to_path_buf(), passed: 0, failed: 0, skipped: 0, steps: Vec::new() };
    let mut component = String::new();
    let mut under_way: Option<Step> = None;
    let mut done = false;
    loop {
        let step = match lines.recv_timeout(limit) {
            Ok(Line::Done) => {
                done = true;
                break;
            }
            Ok(Line::Refused(reason)) => {
                let _ = child.wait();
                return Err(PluginError::Load { path: library.to_path_buf(), reason, hint: None }.into());
            }
            Ok(Line::Step(step)) if step.outcome == Outcome::Begun => {
                under_way = Some(step);
                continue;
            }
            Ok(Line::Step(step)) => {
                under_way = None;
                step
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let step = broken(under_way.take(), format!("it took longer than {} s", limit.as_secs_f64()));
                record(args, &mut checked, &mut component, step)?;
                break;
            }
            // The process is gone.
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        record(args, &mut checked, &mut component, step)?;
    }
    let status = child.wait().map_err(Error::io("wait for", library))?;
    if !done && checked.failed == 0 || under_way.is_some() {
        let step = broken(under_way, format!("it ended the process: {status}"));
        record(args, &mut checked, &mut component, step)?;
    }
    Ok(checked)
}

fn broken(step: Option<Step>, reason: String) -> Step {
    let (component, name) = step.map_or_else(|| (String::new(), "suite".into()), |step| (step.component, step.name));
    Step { component, name, outcome: Outcome::Failed(reason) }
}

/// Counts a step, and shows it to people.
fn record(args: &CheckArgs, checked: &mut Checked, component: &mut String, step: Step) -> Result<()> {
    let (mark, remark) = match &step.outcome {
        Outcome::Passed(remark) => {
            checked.passed += 1;
            ("ok  ", remark)
        }
        Outcome::Failed(reason) => {
            checked.failed += 1;
            ("FAIL", reason)
        }
        Outcome::Skipped(reason) => {
            checked.skipped += 1;
            ("-   ", reason)
        }
        Outcome::Begun => return Ok(()),
    };
    if !args.json() {
        if *component != step.component {
            component.clone_from(&step.component);
            print(&format!("\n{component}\n"))?;
        }
        print(&format!("  {mark} {:28} {remark}\n", step.name))?;
    }
    checked.steps.push(step);
    Ok(())
}

/// Lines of the child, read by a thread of their own, so that waiting for one may end.
fn lines(child: &mut Child) -> mpsc::Receiver<Line> {
    let (send, receive) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            // What a plugin prints itself is no line of ours.
            let lines = BufReader::new(out).lines().map_while(std::io::Result::ok);
            for line in lines.filter_map(|line| serde_json::from_str::<Line>(&line).ok()) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receive
}
