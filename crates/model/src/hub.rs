//! A model's name on the Hugging Face hub into a directory of its cache.

mod config;
mod files;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
pub use config::HubConfig;

/// `ORG/NAME`, or `ORG/NAME@REVISION` for a branch, a tag or a commit other than `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    repository: String,
    revision: String,
}

/// Hears how a download goes.
pub trait DownloadProgress {
    /// A file of so many bytes begins, or begins again after an interruption.
    fn start(&mut self, file: &str, n_bytes: u64);
    /// So many bytes more are there; those of an earlier attempt count.
    fn advance(&mut self, n_bytes: u64);
    /// The file is complete.
    fn finish(&mut self);
}

/// Nobody listens.
impl DownloadProgress for () {
    fn start(&mut self, _file: &str, _n_bytes: u64) {}
    fn advance(&mut self, _n_bytes: u64) {}
    fn finish(&mut self) {}
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        let is_word = |word: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !word.is_empty() && !word.starts_with('.') && word.chars().all(allowed)
        };
        let words: Vec<&str> = repository.split('/').collect();
        let revision_parts = revision.split('/').all(is_word);
        if words.len() != 2 || !words.into_iter().all(is_word) || !revision_parts {
            let problem = "expected a folder, or ORG/NAME or ORG/NAME@REVISION of the hub";
            return Err(Error::hub(text, problem));
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.to_owned() })
    }
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.revision)
    }
}

/// The directory of a model: the path itself where there is a folder, otherwise [`fetch`].
///
/// # Errors
/// When there is no such folder and the path is no name of the hub, and as [`fetch`].
pub fn locate(
    model: &Path,
    config: &HubConfig,
    progress: &mut dyn DownloadProgress,
) -> Result<PathBuf> {
    if model.is_dir() {
        return Ok(model.to_owned());
    }
    let name: ModelName = model.to_string_lossy().parse()?;
    fetch(&name, config, progress)
}

/// Downloads what is not in the cache yet and returns the directory of the model's files.
///
/// The cache has the layout of the Hugging Face libraries, which share it. An interrupted download
/// goes on where it stopped. Files whose sha256 the hub states are checked against it. Offline, the
/// revision must have been fetched before.
///
/// # Errors
/// When the hub does not answer or refuses, has no such model or revision, or has no safetensors;
/// when a download is damaged; when the cache cannot be written.
pub fn fetch(
    name: &ModelName,
    config: &HubConfig,
    progress: &mut dyn DownloadProgress,
) -> Result<PathBuf> {
    let hub = Hub { name, cache: Cache::new(config.cache.clone()) };
    if config.offline {
        return hub.cached();
    }
    let api = ApiBuilder::from_cache(hub.cache.clone())
        .with_token(config.token.clone())
        .with_endpoint(config.endpoint.trim_end_matches('/').to_owned())
        .with_progress(false)
        .with_retries(config.retries)
        .build()
        .map_err(|error| hub.error(&error))?;
    let info = api.repo(hub.repo(&name.revision)).info().map_err(|error| hub.error(&error))?;
    let listed: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let directory = hub.cache.repo(hub.repo(&info.sha)).pointer_path(&info.sha);

    let mut fetch = |file: &str| hub.fetch_file(&api, &info.sha, &directory, file, progress);
    for file in files::of_model(&listed) {
        fetch(file)?;
    }
    let weights = files::of_weights(&listed)
        .ok_or_else(|| Error::hub(&name.to_string(), files::NO_SAFETENSORS))?;
    fetch(weights)?;
    for file in files::named_in(&directory, weights, &listed)? {
        fetch(&file)?;
    }
    // The name stands for the commit only once all of it is there.
    hub.cache
        .repo(hub.repo(&name.revision))
        .create_ref(&info.sha)
        .map_err(|error| Error::io(&directory, error))?;
    Ok(directory)
}

struct Hub<'a> {
    name: &'a ModelName,
    cache: Cache,
}

impl Hub<'_> {
    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.name.repository.clone(), RepoType::Model, revision.to_owned())
    }

    /// The directory of the revision in the cache.
    fn cached(&self) -> Result<PathBuf> {
        let repo = self.cache.repo(self.repo(&self.name.revision));
        // A commit stands for itself.
        let commit = repo.pointer_path(&self.name.revision);
        let config = repo.get("config.json").unwrap_or_else(|| commit.join("config.json"));
        match config.parent() {
            Some(directory) if config.exists() => Ok(directory.to_owned()),
            _ => {
                let problem = format!(
                    "not in the cache {}, and the hub is not asked because it is switched off \
                     (HF_HUB_OFFLINE)",
                    self.cache.path().display()
                );
                Err(Error::hub(&self.name.to_string(), problem))
            }
        }
    }

    fn fetch_file(
        &self,
        api: &Api,
        commit: &str,
        directory: &Path,
        file: &str,
        progress: &mut dyn DownloadProgress,
    ) -> Result<()> {
        if directory.join(file).exists() {
            return Ok(());
        }
        let path = api
            .repo(self.repo(commit))
            .download_with_progress(file, Listener(progress))
            .map_err(|error| self.error(&error))?;
        // In the cache a file is a link to a blob, named by the hub's checksum.
        let blob = path.canonicalize().map_err(|error| Error::io(&path, error))?;
        let expected = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_sha256 = expected.len() == 64 && expected.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_sha256 {
            return Ok(());
        }
        let found = sha256(&blob)?;
        if found == expected {
            return Ok(());
        }
        for damaged in [&path, &blob] {
            fs::remove_file(damaged).map_err(|error| Error::io(damaged, error))?;
        }
        let problem = format!(
            "{file} arrived damaged and was removed: expected sha256 {expected}, found {found}"
        );
        Err(Error::hub(&self.name.to_string(), problem))
    }

    fn error(&self, error: &ApiError) -> Error {
        let name = self.name.to_string();
        if let ApiError::RequestError(request) = error
            && let ureq_status @ (401 | 403 | 404) = status(&request.to_string())
        {
            let problem = format!(
                "the hub answers {ureq_status}: no such model or revision, or one that needs \
                 another HF_TOKEN"
            );
            return Error::hub(&name, problem);
        }
        Error::hub(&name, error.to_string())
    }
}

/// The HTTP status at the end of the client's message, or 0.
fn status(message: &str) -> u16 {
    message.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

struct Listener<'a>(&'a mut dyn DownloadProgress);

impl hf_hub::api::Progress for Listener<'_> {
    fn init(&mut self, size: usize, filename: &str) {
        self.0.start(filename, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.advance(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish();
    }
}

fn sha256(path: &Path) -> Result<String> {
    let failed = |error| Error::io(path, error);
    let mut hash = Sha256::new();
    std::io::copy(&mut fs::File::open(path).map_err(failed)?, &mut hash).map_err(failed)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_everything_else() {
        let name = |text: &str| text.parse::<ModelName>().map(|name| name.to_string());
        assert_eq!(name("org/model").unwrap(), "org/model@main");
        assert_eq!(name("Org-1/m.o_d@refs/pr/3").unwrap(), "Org-1/m.o_d@refs/pr/3");
        let bad = ["", "model", "a/b/c", "../x", "a/..", "a/b@", "a/b@../c", "/a", "a b/c", "./a"];
        for bad in bad {
            let error = name(bad).unwrap_err().to_string();
            assert!(error.contains("expected a folder, or ORG/NAME"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_status_is_the_last_word() {
        assert_eq!(status("http status: 404"), 404);
        assert_eq!(status("io: broken pipe"), 0);
    }
}
