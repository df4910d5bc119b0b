//! Signals: Ctrl-C ends with a checkpoint, a kill without one, and both runs can go on.
#![cfg(unix)]

use super::{Place, assert_same, checkpoint, losses};
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// So many steps that a signal comes before the last.
const LONG: [&str; 6] =
    ["--set", "train.max_steps=150", "--set", "train.evaluate_every=0", "--set", "train.checkpoint_every=10"];

/// Everything that an interrupted run says.
const SAID: [&str; 3] = [
    "training 15761 parameters on 129 objects for 150 steps",
    "stopping after this step; press Ctrl-C again to stop at once",
    "error: interrupted; the run can go on with `--resume`",
];

/// Starts a run and waits until it has logged `steps` steps.
fn started(place: &Place, run: &str, steps: usize) -> Child {
    let mut child = place.command(run, &LONG).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let log = place.run(run).join("log.jsonl");
    let start = Instant::now();
    while fs::read_to_string(&log).unwrap_or_default().lines().count() < steps {
        assert!(child.try_wait().expect("a state").is_none(), "ended before step {steps}");
        assert!(start.elapsed() < Duration::from_secs(120), "no step {steps} in two minutes");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status();
    assert!(sent.expect("sh").success());
}

/// What the command said, and how it ended.
fn end(mut child: Child) -> (String, std::process::ExitStatus) {
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    (text, child.wait().expect("an end"))
}

#[test]
fn control_c_writes_a_checkpoint_and_resuming_gives_the_same_bits() {
    let place = Place::new();
    place.train("whole", &LONG);
    for (run, name) in [("int", "INT"), ("term", "TERM")] {
        let child = started(&place, run, 3);
        signal(&child, name);
        let (text, status) = end(child);
        assert_eq!(status.code(), Some(130), "{text}");
        let said: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(said, SAID);
        let steps = losses(&place.run(run)).len();
        assert!((3..150).contains(&steps), "{steps}");
        let newest = checkpoint(&place.run(run));
        assert_eq!(newest.file_name().unwrap(), format!("step-{steps:06}").as_str());
        assert!(!place.run(run).join("results.json").exists());
        place.train(run, &[&LONG[..], &["--resume"]].concat());
        assert_same(&place.run("whole"), &place.run(run));
    }
}

#[test]
fn killing_loses_only_the_steps_since_the_checkpoint() {
    let place = Place::new();
    place.train("whole", &LONG);
    for (run, steps) in [("early", 1), ("late", 25)] {
        let child = started(&place, run, steps);
        signal(&child, "KILL");
        let (text, status) = end(child);
        assert_eq!(status.signal(), Some(9), "{text}");
        place.train(run, &[&LONG[..], &["--resume"]].concat());
        assert_same(&place.run("whole"), &place.run(run));
        assert_eq!(losses(&place.run(run)).len(), 150);
    }
}
