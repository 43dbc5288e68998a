//! `cargo xtask test`: every test of the workspace, and what was skipped.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::progress::say;
use crate::tidy;

/// Run every test: tidy, unit and integration tests, and the examples of the documentation.
///
/// Tests against golden values and real collections are run when TAMIS_FIXTURES, TAMIS_DATA and
/// TAMIS_MODELS name their folders, and skipped otherwise.
#[derive(clap::Args)]
pub struct TestArgs {
    /// Passed on to the test runner, such as a part of a test's name
    #[arg(trailing_var_arg = true)]
    arguments: Vec<String>,
}

/// Environment variables, and the modules of the tests that need them.
const OUTSIDE: [(&str, &str); 3] = [
    ("TAMIS_FIXTURES", "with_fixtures"),
    ("TAMIS_DATA", "with_data"),
    ("TAMIS_MODELS", "with_models"),
];

/// What is off by default and tested all the same.
const FEATURES: [&str; 2] = ["--features", "tamis-serve/grpc,tamis-serve/otel,tamis-serve/tls"];

pub fn test(args: &TestArgs) -> Result<ExitCode> {
    let root = tidy::workspace_root()?;
    let problems = tidy::problems(&root)?;
    if !problems.is_empty() {
        problems.iter().for_each(|problem| say(problem));
        say("tidy failed");
        return Ok(ExitCode::FAILURE);
    }
    say("tidy passed");

    let skipped: Vec<(&str, &str)> =
        OUTSIDE.into_iter().filter(|(variable, _)| std::env::var_os(variable).is_none()).collect();
    for (variable, module) in &skipped {
        say(&format!("skipping tests in modules `{module}`: {variable} is not set"));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Examples first, so that the test runner's summary is what is seen last.
    let doc = Command::new(&cargo)
        .args(["test", "--quiet", "--doc", "--workspace"])
        .args(FEATURES)
        .current_dir(&root)
        .status()
        .context("cargo test --doc could not be started")?;
    if !doc.success() {
        say("examples of the documentation failed");
        return Ok(ExitCode::FAILURE);
    }
    let has_nextest = Command::new(&cargo)
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    let mut tests = Command::new(&cargo);
    tests.current_dir(&root);
    if has_nextest {
        tests.args(["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"]);
        tests.args(FEATURES);
        let filter: Vec<String> =
            skipped.iter().map(|(_, module)| format!("not test(/{module}::/)")).collect();
        if !filter.is_empty() {
            tests.args(["-E", &filter.join(" and ")]);
        }
        tests.args(&args.arguments);
    } else {
        tests.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
        tests.args(FEATURES).arg("--");
        for (_, module) in &skipped {
            tests.args(["--skip", &format!("{module}::")]);
        }
        tests.args(&args.arguments);
    }
    let passed = tests.status().context("the test runner could not be started")?.success();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
