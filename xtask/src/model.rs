//! A model's folder or its name on the hub into a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tamis_model::hub::{self, DownloadProgress, HubConfig};

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
