//! The lock file into the crates that were compiled here, with the folders of their sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{CargoOpt, MetadataCommand};

/// A crate and where its source lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CrateSource {
    pub(super) name: String,
    pub(super) root: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// By name, then version.
    pub(super) crates: Vec<CrateSource>,
    pub(super) without_source: usize,
}

/// Finds the crates that `xtask` itself is made of: their sources are there, or it would not run.
///
/// What more cargo has downloaded (for tests, for other platforms) would make the data depend on what was
/// done on the machine before. Of several versions of a crate only the newest is taken: they repeat each
/// other.
///
/// # Errors
/// When cargo cannot be run, or finds the lock file out of date.
pub(super) fn find(workspace_root: &Path) -> Result<Found> {
    let workspace_root = &std::fs::canonicalize(workspace_root)
        .with_context(|| format!("finding {}", workspace_root.display()))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = host(&cargo)?;
    let mut command = Command::new(&cargo);
    command.current_dir(workspace_root).args(["tree", "--offline", "--locked", "--quiet"]);
    command.args(["--package", "xtask", "--edges", "normal,build", "--target", &host]);
    command.args(["--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    let listing = run(command)?;
    let mut newest: BTreeMap<&str, (Vec<u64>, &str)> = BTreeMap::new();
    for line in listing.lines() {
        // `name v1.2.3`, and a path in brackets for the workspace's own crates.
        let mut fields = line.split(' ');
        let (Some(name), Some(version)) = (fields.next(), fields.next()) else { continue };
        let Some(version) = version.strip_prefix('v') else { continue };
        if line.contains(&format!("({}", workspace_root.display())) {
            continue;
        }
        let entry = newest.entry(name).or_default();
        *entry = std::cmp::max(std::mem::take(entry), (numbers(version), version));
    }
    if newest.is_empty() {
        bail!("`cargo tree` lists no crate outside the workspace");
    }
    let roots = roots(workspace_root, &cargo, &host);
    let registries = registries();
    let mut found = Found { crates: Vec::new(), without_source: 0 };
    for (name, (_, version)) in newest {
        let folder = format!("{name}-{version}");
        let unpacked = || registries.iter().map(|r| r.join(&folder)).find(|root| root.is_dir());
        let root = roots.get(&(name.to_owned(), version.to_owned())).cloned().or_else(unpacked);
        match root {
            Some(root) => found.crates.push(CrateSource { name: name.to_owned(), root }),
            None => found.without_source += 1,
        }
    }
    Ok(found)
}

/// Where `cargo metadata` says that crates lie: the registry's cache, or a vendored copy.
///
/// Without the network it fails where crates that only tests need were never downloaded; then
/// [`registries`] must do.
fn roots(
    workspace_root: &Path,
    cargo: &std::ffi::OsStr,
    host: &str,
) -> BTreeMap<(String, String), PathBuf> {
    let options = ["--offline", "--locked", "--filter-platform", host].map(str::to_owned);
    let metadata = MetadataCommand::new()
        .cargo_path(cargo)
        .current_dir(workspace_root)
        .features(CargoOpt::SomeFeatures(Vec::new()))
        .other_options(options)
        .exec();
    let packages = metadata.map(|metadata| metadata.packages).unwrap_or_default();
    packages
        .into_iter()
        .filter_map(|package| {
            let root = package.manifest_path.parent()?.to_path_buf().into_std_path_buf();
            root.is_dir().then(|| ((package.name.to_string(), package.version.to_string()), root))
        })
        .collect()
}

/// The folders in which cargo unpacks crates, in order of their names.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let entries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    let mut folders: Vec<PathBuf> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

fn host(cargo: &std::ffi::OsStr) -> Result<String> {
    let mut command = Command::new(cargo);
    command.arg("-vV");
    let text = run(command)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo -vV` does not name the host")?.to_owned())
}

fn run(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The numbers of a version before any `-` or `+`, to compare by.
fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}
