//! Documents into a store: shard by shard on any number of threads, each shard kept through a kill, and
//! everything published at once.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::element::Element;
use super::identity::TermIdentity;
use super::index::Index;
use super::living::Living;
use super::shard::{Shard, ShardWriter};
use super::{FORMAT, Manifest, TermStore, manifest_path};
use crate::error::{Error, ErrorKind, Result};
use crate::output;

/// What is to be put into a store.
#[derive(Debug, Clone)]
pub struct BuildPlan {
    /// What the documents are computed with.
    pub identity: TermIdentity,
    /// The type in which values are stored.
    pub element: Element,
    /// What tells these documents from others, such as the hash of their file. A build with the same
    /// source goes on where an earlier one stopped.
    pub source: String,
    /// Documents in all.
    pub n_documents: u64,
    /// Documents of a shard: what is lost at most when a build is killed, for each thread.
    pub shard_documents: u64,
}

/// A store that is being written to. Only one process can.
#[derive(Debug)]
pub struct TermStoreBuilder {
    path: PathBuf,
    plan: BuildPlan,
    /// What the names of the plan's shards begin with.
    prefix: String,
    published: Option<Manifest>,
    /// Held until the builder is dropped.
    _lock: File,
}

impl TermStoreBuilder {
    /// Opens a folder for writing: a new one, one whose build was stopped, or a store that is to have
    /// more documents.
    ///
    /// # Errors
    /// When another process writes to it, or the store was made with another model or type.
    ///
    /// # Panics
    /// When a shard has no documents.
    pub fn open(path: &Path, plan: BuildPlan) -> Result<Self> {
        assert!(plan.shard_documents > 0, "a shard has documents");
        fs::create_dir_all(path).map_err(|error| Error::file(path, error))?;
        let lock = lock(path)?;
        let published = Manifest::read_if_there(path)?;
        if let Some(manifest) = &published {
            let types = manifest.element != plan.element;
            let difference = plan.identity.difference(&manifest.identity).or_else(|| {
                types.then(|| format!("the store has {}, not {}", manifest.element, plan.element))
            });
            if let Some(difference) = difference {
                let message = format!("{difference}; make a new store");
                return Err(Error::file(path, ErrorKind::Invalid(message)));
            }
        }
        let mut hash = Sha256::new();
        hash.update(plan.source.as_bytes());
        hash.update(plan.shard_documents.to_le_bytes());
        let prefix = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), plan, prefix, published, _lock: lock })
    }

    /// The documents of every shard that is not there yet, with its number.
    ///
    /// # Errors
    /// When a file cannot be removed that an earlier build left with other documents.
    pub fn pending(&self) -> Result<Vec<(u64, Range<u64>)>> {
        let mut pending = Vec::new();
        for number in 0..self.n_shards() {
            let documents = self.documents(number);
            let path = self.path.join(self.name(number));
            if !path.exists() {
                pending.push((number, documents));
                continue;
            }
            let is_right = Shard::open(&path).is_ok_and(|shard| {
                let header = shard.header();
                header.identity == self.plan.identity
                    && header.element == self.plan.element
                    && header.source == self.plan.source
                    && header.documents == documents
            });
            if !is_right {
                self.refuse_published(number)?;
                fs::remove_file(&path).map_err(|error| Error::file(&path, error))?;
                pending.push((number, documents));
            }
        }
        Ok(pending)
    }

    /// Starts a shard. Different shards may be written by different threads.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn shard(&self, number: u64) -> Result<ShardWriter> {
        let plan = &self.plan;
        ShardWriter::create(
            &self.path.join(self.name(number)),
            plan.identity.clone(),
            plan.element,
            plan.source.clone(),
            self.documents(number),
        )
    }

    /// Makes the documents of all shards those of the store, beside those that it has; of one id the new
    /// document counts. Until then readers see the store as it was.
    ///
    /// # Errors
    /// When a shard is missing, an id is twice among the new documents, or there is no space left; the
    /// store is then as it was.
    pub fn publish(self) -> Result<TermStore> {
        let mut names = self.published.as_ref().map(|m| m.shards.clone()).unwrap_or_default();
        let known: BTreeSet<String> = names.iter().cloned().collect();
        let n_published = names.len();
        names.extend((0..self.n_shards()).map(|n| self.name(n)).filter(|n| !known.contains(n)));
        if self.published.is_some() && names.len() == n_published {
            return TermStore::open(&self.path);
        }
        let BuildPlan { identity, element, .. } = self.plan.clone();
        let (generation, before) = match &self.published {
            None => (0, Living::none()),
            Some(manifest) => (manifest.generation + 1, Living::of(&TermStore::open(&self.path)?)?),
        };
        let manifest = Manifest::new(identity, element, generation, names);
        write(&self.path, &manifest, &before)?;
        TermStore::open(&self.path)
    }

    fn n_shards(&self) -> u64 {
        self.plan.n_documents.div_ceil(self.plan.shard_documents)
    }

    fn documents(&self, number: u64) -> Range<u64> {
        let start = number * self.plan.shard_documents;
        start..(start + self.plan.shard_documents).min(self.plan.n_documents)
    }

    fn name(&self, number: u64) -> String {
        format!("{}-{number:06}.terms", self.prefix)
    }

    /// A shard that readers use is not written again.
    fn refuse_published(&self, number: u64) -> Result<()> {
        let name = self.name(number);
        if self.published.as_ref().is_some_and(|manifest| manifest.shards.contains(&name)) {
            let message = "damaged, and part of the store; run verify, and make a new store";
            return Err(Error::file(&self.path.join(name), ErrorKind::Invalid(message.to_owned())));
        }
        Ok(())
    }
}

/// Takes documents out of a store: their ids are unknown from then on.
///
/// # Errors
/// When an id is not in the store, another process writes to it, or there is no space left; the store is
/// then as it was.
pub fn delete(path: &Path, ids: &BTreeSet<String>) -> Result<()> {
    let _lock = lock(path)?;
    let store = TermStore::open(path)?;
    let mut living = Living::of(&store)?;
    for id in ids {
        living.remove(store.find(id)?);
    }
    let mut manifest = Manifest::read(path)?;
    manifest = Manifest::new(
        manifest.identity,
        manifest.element,
        manifest.generation + 1,
        manifest.shards,
    );
    write(path, &manifest, &living)
}

/// Writes the index of a manifest's shards and then the manifest, and removes what is no longer used.
///
/// `before` has the documents that could be found in the first of those shards.
pub(super) fn write(path: &Path, manifest: &Manifest, before: &Living) -> Result<()> {
    debug_assert_eq!(manifest.format, FORMAT, "only the present format is written");
    let shards = manifest.open_shards(path)?;
    Index::write(&path.join(&manifest.index), &shards, before)
        .map_err(|error| if error.path().is_some() { error } else { at(path, error) })?;
    let text = serde_json::to_string_pretty(manifest).expect("a manifest serialises");
    output::write_file(&manifest_path(path), |out| writeln!(out, "{text}"))?;
    sweep(path, manifest)
}

/// Removes files that no reader looks for: those of earlier states, and of builds that were killed.
pub(super) fn sweep(path: &Path, manifest: &Manifest) -> Result<()> {
    let used: BTreeSet<&str> =
        manifest.shards.iter().map(String::as_str).chain([manifest.index.as_str()]).collect();
    let entries = fs::read_dir(path).map_err(|error| Error::file(path, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_ours = [".terms", ".part", ".ids"].iter().any(|end| name.ends_with(end))
            || name.starts_with(output::TEMPORARY);
        if is_ours && !used.contains(name) {
            // Best effort: readers that still use it keep it, and the next writer tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn at(path: &Path, error: Error) -> Error {
    Error::file(path, error.into_kind())
}

/// The lock that writers hold.
pub(super) fn lock(path: &Path) -> Result<File> {
    let path = path.join("lock");
    let failed = |error: std::io::Error| Error::file(&path, error);
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = "another process is writing to this store".to_owned();
            Err(Error::file(&path, ErrorKind::Invalid(message)))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
