//! A model's folder or its name on the hub into a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tamis_model::hub::{self, DownloadProgress, HubConfig, ModelName};

use crate::progress::{Progress, say};

/// The folder of a model; one that is named `ORG/NAME` or `ORG/NAME@REVISION` is fetched first.
pub fn locate(model: &Path) -> Result<PathBuf> {
    if model.is_dir() {
        return Ok(model.to_owned());
    }
    let config = HubConfig::from_variables(|name| std::env::var(name).ok())?;
    let mut files = Files::default();
    let folder = hub::locate(model, &config, &mut files)?;
    if files.n_files > 0 {
        say(&format!("fetched {} files into {}", files.n_files, folder.display()));
    }
    Ok(folder)
}

/// Whether a model is named as the hub names it, and there is no such folder here.
pub fn is_name(model: &Path) -> bool {
    !model.is_dir() && model.to_str().is_some_and(|text| text.parse::<ModelName>().is_ok())
}

/// One bar a file.
#[derive(Default)]
struct Files {
    bar: Option<Progress>,
    name: String,
    n_bytes: u64,
    n_files: usize,
}

impl DownloadProgress for Files {
    fn start(&mut self, file: &str, n_bytes: u64) {
        file.clone_into(&mut self.name);
        self.n_bytes = 0;
        self.bar = Some(Progress::new("fetching", "kB", 0, n_bytes / 1000));
    }

    fn advance(&mut self, n_bytes: u64) {
        self.n_bytes += n_bytes;
        if let Some(bar) = &mut self.bar {
            bar.set(self.n_bytes / 1000, &format!("kB {}", self.name));
        }
    }

    fn finish(&mut self) {
        self.n_files += 1;
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_names() {
        assert!(is_name(Path::new("org/model@v2")));
        assert!(!is_name(Path::new("src")));
        assert!(!is_name(Path::new("/tmp/gone/model")));
        let missing = locate(Path::new("/tmp/gone/model")).unwrap_err().to_string();
        assert!(missing.contains("expected a folder, or ORG/NAME"), "{missing}");
    }
}
