//! What a training does when it is told to stop.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::task::{Task, names};

/// The steps of a run's log without their times.
fn steps(task: &Task, run: &str) -> Vec<String> {
    let text = task.read(&format!("{run}/train.jsonl"));
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line.get("loss").is_some())
        .map(|line| format!("{} {} {}", line["step"], line["loss"], line["grad_norm"]))
        .collect()
}

/// Waits until a run has taken some steps.
fn wait_for_steps(task: &Task, run: &str, child: &mut Child) {
    let start = Instant::now();
    let log = task.path(&format!("{run}/train.jsonl"));
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 3 {
        assert!(child.try_wait().unwrap().is_none(), "the training ended by itself");
        assert!(start.elapsed() < Duration::from_secs(120), "no step was taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_saves_the_state_and_the_run_goes_on_as_if_nothing_had_been() {
    let task = Task::new();
    task.prepare();
    let long = "--set train.steps=400 --set train.save_every=0";
    task.run(&format!("train recipe.toml {long} --out whole"));
    for signal in ["TERM", "INT"] {
        let run = format!("stopped-{signal}");
        let mut command = task.command(&format!("train recipe.toml {long} --out {run}"));
        let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_for_steps(&task, &run, &mut child);
        let mut kill = Command::new("kill");
        kill.args([format!("-{signal}"), child.id().to_string()]);
        assert!(kill.status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "SIG{signal}");
        let taken = steps(&task, &run).len();
        assert!(taken < 400, "it stopped before the end");
        let state = format!("state-{taken:08}");
        assert!(names(&task.path(&run)).contains(&state), "no {state}");
        let (_, told) = task.run(&format!("train --resume {run}"));
        assert!(told.contains(&format!("going on after step {taken}")), "{told}");
        assert_eq!(steps(&task, &run), steps(&task, "whole"), "SIG{signal}");
    }
}
