//! Documents as an encoder left them half way: computed once, read by id for every query.
//!
//! A store is a folder. `store.json` names the model that the documents were computed with, the shards
//! that hold them and the index that finds them; it is replaced at once when documents are added,
//! replaced or deleted. Shards and indices are never changed: they are memory-mapped, and every 64 KiB
//! have a checksum that is compared when they are first read.
//!
//! # Source
//! MacAvaney et al. 2020, "Efficient Document Re-Ranking for Transformers by Precomputing Term
//! Representations", section 3.4, says what is kept of a document. The format is our own.

mod block_file;
mod builder;
mod compact;
mod element;
mod identity;
mod index;
mod living;
mod shard;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
pub use builder::{BuildPlan, TermStoreBuilder, delete};
pub use compact::{Compacted, compact};
pub use element::Element;
pub use identity::TermIdentity;
use index::Index;
pub use index::TermPlace;
use shard::Shard;
pub use shard::ShardWriter;

/// The version of the format that is written.
const FORMAT: u32 = 1;

/// `store.json`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    identity: TermIdentity,
    element: Element,
    /// How often the store was changed.
    generation: u64,
    /// Names of files, the oldest first.
    shards: Vec<String>,
    index: String,
}

/// A store, open for reading.
#[derive(Debug)]
pub struct TermStore {
    path: PathBuf,
    manifest: Manifest,
    shards: Vec<Shard>,
    index: Index,
}

/// How large a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TermStat {
    /// Documents that can be found.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Values of a token.
    pub width: usize,
    /// Bytes of a token's values.
    pub token_bytes: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of values of documents that were replaced or deleted.
    pub dead_bytes: u64,
    /// Files of documents.
    pub shards: usize,
}

impl TermStore {
    /// Opens a store: its files are mapped, no document is read.
    ///
    /// # Errors
    /// When a file is missing, cut short or damaged, or the store was never finished.
    pub fn open(path: &Path) -> Result<Self> {
        let manifest = Manifest::read(path)?;
        let shards = manifest.open_shards(path)?;
        let index = Index::open(&path.join(&manifest.index))?;
        Ok(Self { path: path.to_owned(), manifest, shards, index })
    }

    /// The same for a model that will read it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the store was made with another model, tokenizer or setting.
    pub fn open_for(path: &Path, identity: &TermIdentity) -> Result<Self> {
        let store = Self::open(path)?;
        match identity.difference(&store.manifest.identity) {
            None => Ok(store),
            Some(difference) => {
                let message = format!("{difference}; index the documents with this model");
                Err(Error::file(path, ErrorKind::Invalid(message)))
            }
        }
    }

    /// What the documents were computed with.
    #[must_use]
    pub fn identity(&self) -> &TermIdentity {
        &self.manifest.identity
    }

    /// The type in which values are stored.
    #[must_use]
    pub fn element(&self) -> Element {
        self.manifest.element
    }

    /// Documents that can be found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of a document, or `None` where there is none of that id.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn get(&self, id: &str) -> Result<Option<TermPlace>> {
        self.index.find(id, &self.shards)
    }

    /// The place of a document.
    ///
    /// # Errors
    /// When the store has no document of that id, or a file is damaged.
    pub fn find(&self, id: &str) -> Result<TermPlace> {
        let unknown = || ErrorKind::Unknown { what: "document", id: id.to_owned() };
        self.get(id)?.ok_or_else(|| Error::file(&self.path, unknown()))
    }

    /// Tokens of a document.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn n_tokens(&self, place: TermPlace) -> Result<usize> {
        self.shards[place.shard as usize].document_tokens(place.row as usize)
    }

    /// Appends the values of a document's tokens to `out`, one token after the other.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn read(&self, place: TermPlace, out: &mut Vec<f32>) -> Result<()> {
        self.shards[place.shard as usize].read(place.row as usize, out)
    }

    /// Tells the system that a document will be read soon.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn prefetch(&self, place: TermPlace) -> Result<()> {
        self.shards[place.shard as usize].prefetch(place.row as usize)
    }

    /// The ids of all documents, in the order of their hashes.
    ///
    /// # Errors
    /// Each id, when a file is damaged.
    pub fn ids(&self) -> impl Iterator<Item = Result<&str>> {
        (0..self.len()).map(|entry| {
            let (_, place) = self.index.entry(entry)?;
            self.shards[place.shard as usize].id(place.row as usize)
        })
    }

    /// Compares every checksum and every id with its place. `progress` is told shards done, of how many.
    ///
    /// # Errors
    /// For a file that is damaged.
    pub fn verify(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        let done = std::sync::atomic::AtomicUsize::new(0);
        self.shards.par_iter().try_for_each(|shard| {
            shard.verify()?;
            let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            progress(done, self.shards.len());
            Ok::<(), Error>(())
        })?;
        self.index.verify(&self.shards)
    }

    /// How large it is.
    #[must_use]
    pub fn stat(&self) -> TermStat {
        let width = self.manifest.identity.width;
        let token_bytes = self.manifest.element.row_bytes(width);
        let tokens = self.index.n_tokens();
        let all: u64 = self.shards.iter().map(Shard::n_tokens).sum();
        TermStat {
            documents: self.len() as u64,
            tokens,
            width,
            token_bytes,
            bytes: self.shards.iter().map(Shard::file_length).sum::<u64>()
                + self.index.file_length(),
            dead_bytes: all.saturating_sub(tokens) * token_bytes as u64,
            shards: self.shards.len(),
        }
    }
}

impl TermStat {
    /// Bytes of a document, with its share of ids and index.
    #[must_use]
    pub fn bytes_per_document(&self) -> f64 {
        (self.bytes - self.dead_bytes) as f64 / (self.documents.max(1)) as f64
    }

    /// Bytes of a store with so many documents like these.
    #[must_use]
    pub fn projected(&self, documents: u64) -> f64 {
        self.bytes_per_document() * documents as f64
    }
}

impl Manifest {
    fn new(identity: TermIdentity, element: Element, generation: u64, shards: Vec<String>) -> Self {
        let index = format!("index-{generation:06}.ids");
        Self { format: FORMAT, identity, element, generation, shards, index }
    }

    fn read(path: &Path) -> Result<Self> {
        Self::read_if_there(path)?.ok_or_else(|| {
            let begun = std::fs::read_dir(path).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| {
                        let path = entry.path();
                        path.extension().is_some_and(|end| end == "terms" || end == "part")
                    })
                })
            });
            let message = if begun {
                "not finished: index the documents again, what is there is kept"
            } else {
                "not a term store: it has no store.json"
            };
            Error::file(path, ErrorKind::Invalid(message.to_owned()))
        })
    }

    fn read_if_there(path: &Path) -> Result<Option<Self>> {
        let path = manifest_path(path);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&path, error)),
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let json = |error: serde_json::Error| Error::file(&path, ErrorKind::Json(error));
        let Version { format } = serde_json::from_str(&text).map_err(json)?;
        if format != FORMAT {
            let (field, found) = ("format", format.to_string());
            return Err(Error::file(&path, ErrorKind::Value { field, expected: "`1`", found }));
        }
        let manifest: Self = serde_json::from_str(&text).map_err(json)?;
        let names = manifest.shards.iter().chain([&manifest.index]);
        for name in names {
            if Path::new(name).file_name().is_none_or(|plain| plain != name.as_str()) {
                let (expected, found) = ("names of files", name.clone());
                return Err(Error::file(
                    &path,
                    ErrorKind::Value { field: "shards", expected, found },
                ));
            }
        }
        Ok(Some(manifest))
    }

    /// Opens the shards, and checks that they are of this store.
    fn open_shards(&self, path: &Path) -> Result<Vec<Shard>> {
        let open = |name: &String| {
            let path = path.join(name);
            let shard = Shard::open(&path)?;
            let header = shard.header();
            if header.identity != self.identity || header.element != self.element {
                let difference = self.identity.difference(&header.identity);
                let message = difference.unwrap_or_else(|| "its type is another".to_owned());
                return Err(Error::file(&path, ErrorKind::Invalid(message)));
            }
            Ok(shard)
        };
        self.shards.iter().map(open).collect()
    }
}

fn manifest_path(path: &Path) -> PathBuf {
    path.join("store.json")
}
