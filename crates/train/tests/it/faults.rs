//! A kill at any moment and a disk that is full: the run goes on as if nothing had been.
//!
//! The trainings run in children, which are this test binary with a variable set.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::tensor::Device;
use tamis_train::{Recipe, RunDirectory, train};

use crate::runs::{recipe, run, steps, task};

/// The run directory that a child is to train in.
const RUN: &str = "TAMIS_TEST_RUN";

/// What a child does; in the parent's run of the tests, nothing.
#[test]
#[expect(clippy::print_stderr, reason = "the parent reads it")]
fn child() {
    let Some(path) = std::env::var_os(RUN).map(PathBuf::from) else { return };
    let directory = RunDirectory::open(&path).unwrap();
    let recipe = Recipe::read(&directory.recipe_path(), &[]).unwrap();
    let stop = AtomicBool::new(false);
    if let Err(error) = train(&recipe, &directory, &Device::flex(), &stop, &mut |_| {}) {
        eprintln!("TRAINING FAILED: {error}");
        std::process::exit(7);
    }
}

fn command(run: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::child", "--nocapture"]).env(RUN, run);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A run that saves after every step, so that a kill falls into saving as often as not.
fn busy(folder: &Path) -> Recipe {
    let changes = ["train.save_every=1", "train.keep_last=1", "dev.every=1"];
    recipe(folder, 12, &changes)
}

#[test]
fn a_kill_at_any_time_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = busy(folder.path());
    let whole = RunDirectory::create(&folder.path().join("whole"), &recipe).unwrap();
    run(&recipe, &whole, None);

    let killed = RunDirectory::create(&folder.path().join("killed"), &recipe).unwrap();
    let (mut n_kills, mut wait) = (0, 60);
    loop {
        let mut child = command(killed.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        // Different moments, and in the end enough time to get there.
        wait = 60 + (wait * 7 + 13) % 190 + n_kills * 15;
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child ends well");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        n_kills += 1;
        assert!(n_kills < 200, "the run comes to an end");
    }
    assert!(n_kills > 0, "at least one kill came in time");
    assert_eq!(steps(&whole), steps(&killed));
    let file = |run: &RunDirectory| {
        std::fs::read(run.checkpoint_path().join("model.safetensors")).unwrap()
    };
    assert!(file(&whole) == file(&killed), "the checkpoints are the same");
    let names: Vec<String> = std::fs::read_dir(killed.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tamis-") || name.starts_with("state-"))
        .collect();
    assert_eq!(names, ["state-00000012"], "nothing half written is left");
}

#[test]
#[cfg(unix)]
fn a_full_disk_while_saving_leaves_the_last_state() {
    let folder = tempfile::tempdir().unwrap();
    task(folder.path());
    let recipe = busy(folder.path());
    let directory = RunDirectory::create(&folder.path().join("run"), &recipe).unwrap();
    assert!(matches!(
        run(&recipe, &directory, Some(4)),
        tamis_train::Outcome::Interrupted { step: 4 }
    ));
    // A limit on the size of files stands for the disk: writing past it fails, as on a full one.
    let child = command(directory.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"]);
    shell.arg(child.get_program()).args(child.get_args()).env(RUN, directory.path());
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("TRAINING FAILED: ") && text.contains("run"), "{text}");
    // There is room again.
    run(&recipe, &directory, None);
    let whole = RunDirectory::create(&folder.path().join("whole"), &recipe).unwrap();
    run(&recipe, &whole, None);
    assert_eq!(steps(&whole), steps(&directory));
}
