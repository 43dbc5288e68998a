//! `cargo xtask tidy`: the taste of the workspace as checks, each of which says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::progress::say;

/// Check what the compiler does not: edges between crates, file headers, sizes and names.
#[derive(clap::Args)]
pub struct TidyArgs {}

/// Which crates of the workspace a crate may depend on: the table of docs/architecture.md.
const EDGES: [(&str, &[&str]); 8] = [
    ("tamis-data", &[]),
    ("tamis-eval", &["tamis-data"]),
    ("tamis-loss", &[]),
    ("tamis-ops", &[]),
    ("tamis-model", &["tamis-data", "tamis-ops"]),
    ("tamis-train", &["tamis-data", "tamis-eval", "tamis-loss", "tamis-model"]),
    ("tamis-serve", &["tamis-data", "tamis-model"]),
    (
        "xtask",
        &["tamis-data", "tamis-eval", "tamis-loss", "tamis-model", "tamis-serve", "tamis-train"],
    ),
];

/// Packages that crates must not reach with their default features, told by how their names begin:
/// no tensors below the model, and nothing for evaluation that takes long to build.
const OUT_OF_REACH: [(&str, &[&str]); 2] = [
    ("tamis-data", &["burn"]),
    ("tamis-eval", &["arrow", "burn", "parquet", "tantivy", "tokenizers"]),
];

/// Lines of code (before the tests at the foot of a file) and of a whole file.
const MOST_CODE: usize = 600;
const MOST_LINES: usize = 1000;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["utils", "util", "common", "helpers", "base", "core", "misc", "manager"];

pub fn tidy(_: &TidyArgs) -> Result<ExitCode> {
    let problems = problems(&workspace_root()?)?;
    problems.iter().for_each(|problem| say(problem));
    Ok(if problems.is_empty() {
        say("tidy passed");
        ExitCode::SUCCESS
    } else {
        say(&format!("tidy found {} problems", problems.len()));
        ExitCode::FAILURE
    })
}

/// The folder of the workspace that the current folder is in.
pub fn workspace_root() -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .context("cargo metadata failed; run this inside the workspace")?;
    Ok(metadata.workspace_root.into_std_path_buf())
}

/// Everything that is not as it should be, one line each.
pub fn problems(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed")?;
    let mut problems = edges(root, &metadata)?;
    for file in rust_files(root)? {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{} could not be read", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        problems.extend(source(name, &text));
    }
    for file in ["README.md", "CHANGELOG.md", "docs/architecture.md", "docs/glossary.md"] {
        if !root.join(file).exists() {
            problems.push(format!("{file}: expected to exist"));
        }
    }
    Ok(problems)
}

fn edges(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let members = metadata.workspace_packages();
    let names: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    for package in &members {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            problems.push(format!(
                "{}: a new crate; add it to EDGES in xtask/src/tidy.rs and to docs/architecture.md",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let inside = names.contains(name) && dependency.kind == DependencyKind::Normal;
            if inside && !allowed.contains(&name) {
                problems.push(format!(
                    "{}: may not depend on {name}; see docs/architecture.md",
                    package.name
                ));
            }
        }
        let barred = OUT_OF_REACH.iter().find(|(name, _)| *name == package.name.as_str());
        if let Some((name, barred)) = barred {
            let reached = reachable(root, name)?;
            let is_barred = |other: &&String| barred.iter().any(|start| other.starts_with(start));
            if let Some(other) = reached.iter().find(is_barred) {
                problems.push(format!("{name}: may not reach {other} with its default features"));
            }
        }
    }
    Ok(problems)
}

/// The names of all packages that a package needs to be built here.
fn reachable(root: &Path, package: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .current_dir(root)
        .output()
        .context("cargo tree could not be started")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> =
        ["crates", "xtask", "benches", "fuzz"].iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("{}", folder.display()))?.path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The problems of one source file.
fn source(name: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut say = |problem: String| problems.push(format!("{}: {problem}", name.display()));
    let header = text.starts_with("//!") || text.starts_with("#![doc = include_str!(");
    if !header {
        say("expected to start with `//!`: one sentence, what it turns into what".to_owned());
    }
    let n_lines = text.lines().count();
    let n_code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text).lines().count();
    if n_code > MOST_CODE || n_lines > MOST_LINES {
        say(format!(
            "{n_code} lines of code and {n_lines} in all, expected at most {MOST_CODE} and \
             {MOST_LINES}; split it by noun"
        ));
    }
    let stem = name.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if stem == "mod" {
        say("expected `name.rs` beside `name/` instead of `mod.rs`".to_owned());
    }
    if EMPTY_NAMES.contains(&stem) {
        say(format!("`{stem}` says nothing; name the file for what is inside"));
    }
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        // Built from parts, so that this file passes its own checks.
        let attribute = |name: &str| trimmed.starts_with(&format!("#[{name}"));
        if attribute("ignore") || attribute("should_panic") {
            say(format!(
                "line {}: a test that does not run or only panics; skip by module name, or return \
                 an error",
                index + 1
            ));
        }
        if trimmed.starts_with("//") && trimmed.contains("#[test]") && !trimmed.starts_with("///") {
            say(format!("line {}: a dead test in a comment; delete it", index + 1));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_finds_its_problem() {
        let found = |name: &str, text: &str| source(Path::new(name), text).join("\n");
        assert_eq!(found("a.rs", "//! Fine.\n"), "");
        assert!(found("a.rs", "fn x() {}\n").contains("expected to start with `//!`"));
        assert!(found("a/mod.rs", "//! x\n").contains("instead of `mod.rs`"));
        assert!(found("utils.rs", "//! x\n").contains("says nothing"));
        assert!(found("a.rs", &format!("//! x\n{}", "\n".repeat(700))).contains("split it"));
        let ignored = format!("//! x\n#[{}]\nfn x() {{}}\n", "ignore");
        assert!(found("a.rs", &ignored).contains("line 2: a test that does not run"));
        let dead = format!("//! x\n// #[{}]\n", "test");
        assert!(found("a.rs", &dead).contains("line 2: a dead test"));
    }

    #[test]
    fn the_workspace_is_tidy() {
        let problems = problems(&workspace_root().unwrap()).unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
