//! A run in parts equals one in a whole.

use super::{Place, assert_same, checkpoint, losses};
use std::fs;

/// Trains in a whole, and in parts that end at `stops`, both with `set`; both must end the same.
fn assert_parts_equal_whole(set: &[&str], stops: &[&str]) {
    let place = Place::new();
    let set: Vec<&str> = set.iter().flat_map(|s| ["--set", s]).collect();
    place.train("whole", &set);
    for (number, stop) in stops.iter().enumerate() {
        let resume: &[&str] = if number == 0 { &[] } else { &["--resume"] };
        place.train("parts", &[&set, resume, &["--max-steps", stop]].concat());
        assert_eq!(checkpoint(&place.run("parts")).file_name().expect("a name"), format!("step-{stop:0>6}").as_str());
    }
    place.train("parts", &[&set, ["--resume"].as_slice()].concat());
    assert_same(&place.run("whole"), &place.run("parts"));
    let steps: Vec<u64> = losses(&place.run("parts")).into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn in_the_middle_of_an_epoch() {
    assert_parts_equal_whole(&[], &["3"]);
}

#[test]
fn at_the_end_of_an_epoch() {
    assert_parts_equal_whole(&[], &["4"]);
}

#[test]
fn after_every_step() {
    assert_parts_equal_whole(&[], &["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn with_a_moving_average() {
    assert_parts_equal_whole(&["train.ema=0.9"], &["2", "5"]);
}

#[test]
fn with_accumulation() {
    assert_parts_equal_whole(&["train.accumulate=2"], &["3"]);
}

#[test]
fn with_a_fused_trunk_and_a_frozen_part() {
    let group = "train.group=[{ prefix = \"embed.host\", learning_rate = 0.0 }]";
    assert_parts_equal_whole(&["trunk.kind=\"fused\"", group, "train.schedule=\"wsd\""], &["3"]);
}

#[test]
fn a_finished_run_stays_as_it_is() {
    let place = Place::new();
    place.train("once", &[]);
    place.train("twice", &[]);
    place.train("twice", &["--resume"]);
    assert_same(&place.run("once"), &place.run("twice"));
}

#[test]
fn a_run_may_be_made_longer_and_moved() {
    let place = Place::new();
    let constant = ["--set", "train.schedule=\"constant\""];
    place.train("whole", &constant);
    place.train("parts", &[&constant[..], &["--set", "train.max_steps=4"]].concat());
    fs::rename(place.run("parts"), place.run("moved")).expect("moved");
    fs::rename(place.run("data"), place.run("elsewhere")).expect("moved");
    let data = format!("data.path={:?}", place.run("elsewhere"));
    place.train("moved", &[&constant[..], &["--resume", "--set", &data]].concat());
    assert_same(&place.run("whole"), &place.run("moved"));
}

#[test]
fn what_was_logged_after_the_checkpoint_is_taken_again_once() {
    let place = Place::new();
    place.train("whole", &[]);
    place.train("killed", &[]);
    let run = place.run("killed");
    // As if it had been killed after step 6, while it wrote its line, with the checkpoint of step 4.
    fs::remove_dir_all(run.join("checkpoints/step-000006")).expect("removed");
    fs::create_dir(run.join("checkpoints/.step-000006.partial")).expect("created");
    fs::write(run.join("checkpoints/.step-000006.partial/model.safetensors"), "half").expect("written");
    fs::write(run.join("checkpoints/latest"), "step-000004").expect("written");
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    fs::write(run.join("log.jsonl"), log.trim_end().strip_suffix('}').expect("a line")).expect("written");
    place.train("killed", &["--resume"]);
    assert_same(&place.run("whole"), &run);
    assert!(!run.join("checkpoints/.step-000006.partial").exists());
}

#[test]
fn a_run_without_a_checkpoint_begins_again() {
    let place = Place::new();
    place.train("whole", &[]);
    place.train("killed", &["--max-steps", "1"]);
    fs::remove_dir_all(place.run("killed").join("checkpoints")).expect("removed");
    place.train("killed", &["--resume"]);
    assert_same(&place.run("whole"), &place.run("killed"));
}

#[test]
fn overwriting_leaves_nothing_of_the_old_run_and_nothing_else_goes() {
    let place = Place::new();
    place.train("fresh", &[]);
    place.train("run", &["--set", "run.seed=2", "--set", "train.max_steps=8"]);
    fs::write(place.run("run").join("notes.txt"), "mine").expect("written");
    place.train("run", &["--overwrite"]);
    assert_same(&place.run("fresh"), &place.run("run"));
    assert_eq!(fs::read_to_string(place.run("run").join("notes.txt")).expect("still there"), "mine");
    let names = |run: &str| -> usize { fs::read_dir(place.run(run)).expect("a run").count() };
    assert_eq!(names("run"), names("fresh") + 1);
}
