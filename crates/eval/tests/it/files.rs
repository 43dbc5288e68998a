//! Names of environment variables into folders of reference files.

use std::path::PathBuf;

/// The folder that an environment variable names.
///
/// # Panics
/// When the variable is not set: the runner should have left the test out.
pub(crate) fn folder(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(folder) => PathBuf::from(folder),
        None => panic!("{variable} is not set: it must name the folder with the reference files"),
    }
}

/// A JSON file, parsed.
pub(crate) fn json(path: &std::path::Path) -> serde_json::Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
