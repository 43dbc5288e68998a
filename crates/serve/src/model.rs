//! A checkpoint, opened on every device, under the name that requests call it by.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use burn::tensor::Device;
use tamis_data::term_store::TermStore;
use tamis_data::{Batch, TextGroup};
use tamis_model::{
    Activation, Effort, Error, OpenOptions, Precision, Reranker, Result, RowOptions, Rows,
    TermCandidate, TermGroup,
};

use crate::engine::{Candidate, RowScores, Scorer};

/// Where a model is, and what it is called: `NAME=FOLDER`, or `FOLDER` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// What requests call it.
    pub name: String,
    /// A checkpoint folder, or a name on the hub.
    pub place: PathBuf,
}

impl FromStr for ModelSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (name, place) = match text.split_once('=') {
            Some((name, place)) => (name, place),
            // `ORG/NAME@REVISION` and `/models/NAME/` are both called NAME.
            None => {
                let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or(text);
                (last.split('@').next().unwrap_or(last), text)
            }
        };
        if name.is_empty() || place.is_empty() {
            return Err(format!("expected FOLDER or NAME=FOLDER, found `{text}`"));
        }
        Ok(Self { name: name.to_owned(), place: PathBuf::from(place) })
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.place.display())
    }
}

/// How models are opened.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// One replica on each.
    pub devices: Vec<Device>,
    /// The numbers that linear maps multiply.
    pub precision: Precision,
    /// What is applied to scores, where the checkpoint's own word does not count.
    pub activation: Option<Activation>,
    /// Memory of each replica for documents that are not in its store.
    pub term_cache_bytes: usize,
}

/// A model that is served.
pub struct Model {
    name: String,
    directory: PathBuf,
    terms: Option<PathBuf>,
    replicas: Arc<Replicas>,
    scorer: Arc<dyn Scorer>,
    activation: Activation,
    precision: Precision,
    stamp: Stamp,
}

/// One reranker a device.
struct Replicas(Vec<Reranker>);

/// What tells whether the files of a model are still those that were read.
pub(crate) type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl Model {
    /// Opens a checkpoint folder on every device, and the store of its documents if there is one.
    ///
    /// # Errors
    /// When the checkpoint or the store cannot be read, or do not belong together.
    pub fn open(
        name: &str,
        directory: &Path,
        terms: Option<&Path>,
        options: &ModelOptions,
    ) -> Result<Self> {
        let stamp = stamp(directory, terms);
        let open = OpenOptions { precision: options.precision, new_head: None };
        let replica = |device| -> Result<Reranker> {
            let reranker = Reranker::open_with(directory, device, open)?;
            let Some(path) = terms else { return Ok(reranker) };
            let store = TermStore::open_for(path, &reranker.term_identity()?)?;
            reranker.with_terms(Arc::new(store), options.term_cache_bytes)
        };
        let replicas = options.devices.iter().map(replica).collect::<Result<Vec<_>>>()?;
        let Some(first) = replicas.first() else {
            let problem = "a model needs one at least".to_owned();
            return Err(Error::Device { name: "none".to_owned(), problem });
        };
        let activation = options.activation.unwrap_or(first.settings().activation);
        let replicas = Arc::new(Replicas(replicas));
        Ok(Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            terms: terms.map(Path::to_owned),
            scorer: replicas.clone(),
            replicas,
            activation,
            precision: options.precision,
            stamp,
        })
    }

    /// Computes with something else than the checkpoint alone: what tests break on purpose.
    #[must_use]
    pub fn with_scorer(self, wrap: impl FnOnce(Arc<dyn Scorer>) -> Arc<dyn Scorer>) -> Self {
        let scorer = wrap(self.scorer.clone());
        Self { scorer, ..self }
    }

    /// What requests call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that it was read from.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of its store, if it has one.
    #[must_use]
    pub fn terms(&self) -> Option<&Path> {
        self.terms.as_deref()
    }

    /// What is applied to its scores.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The numbers that its linear maps multiply.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The reranker of the first device: settings, depths, store.
    #[must_use]
    pub fn reranker(&self) -> &Reranker {
        // There is one at least: `open` refuses none.
        &self.replicas.0[0]
    }

    pub(crate) fn scorer(&self) -> Arc<dyn Scorer> {
        self.scorer.clone()
    }

    /// Tokenises the texts of a request.
    pub(crate) fn encode(&self, groups: &[TextGroup<'_>], options: &RowOptions) -> Result<Rows> {
        self.reranker().encode(groups, options)
    }

    /// Whether its files have changed since they were read.
    pub(crate) fn is_stale(&self) -> bool {
        stamp(&self.directory, self.terms.as_deref()) != self.stamp
    }
}

/// Names, sizes and times of the files that make a model.
fn stamp(directory: &Path, terms: Option<&Path>) -> Stamp {
    let mut stamp = Vec::new();
    for folder in [Some(directory), terms].into_iter().flatten() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            // Of what a link leads to: a publisher swaps links.
            let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
            stamp.push((entry.path(), metadata.len(), metadata.modified().ok()));
        }
    }
    stamp.sort();
    stamp
}

impl Replicas {
    fn get(&self, worker: usize) -> Result<&Reranker> {
        let none = || Error::Device {
            name: worker.to_string(),
            problem: "this model was not opened for that worker".to_owned(),
        };
        self.0.get(worker).ok_or_else(none)
    }
}

impl Scorer for Replicas {
    fn score_rows(&self, worker: usize, pairs: &Batch, effort: &Effort) -> Result<RowScores> {
        self.get(worker)?.score_rows(pairs, effort)
    }

    fn score_terms(
        &self,
        worker: usize,
        query: &str,
        candidates: &[Candidate],
    ) -> Result<Vec<f32>> {
        let documents = candidates
            .iter()
            .map(|candidate| match candidate {
                Candidate::Stored(id) => TermCandidate::Id(id),
                Candidate::Text(text) => TermCandidate::Text(text),
            })
            .collect();
        let (scores, _) = self.get(worker)?.score_terms(&[TermGroup { query, documents }])?;
        Ok(scores.into_iter().flatten().collect())
    }

    fn warm_up(&self, worker: usize) -> Result<()> {
        let reranker = self.get(worker)?;
        let long = "warm ".repeat(2 * reranker.settings().max_length);
        // One short row, which all cores share, and enough rows that each has some of its own.
        let one = TextGroup { query: "warm", documents: vec!["up"] };
        let many = TextGroup { query: "warm", documents: vec![&long; 8] };
        for group in [one, many] {
            reranker.score(&[group])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_the_last_part_of_their_place() {
        for (text, name, place) in [
            ("/models/mini/", "mini", "/models/mini/"),
            ("mini", "mini", "mini"),
            ("org/mini@v2", "mini", "org/mini@v2"),
            ("fast=/models/mini", "fast", "/models/mini"),
        ] {
            let spec: ModelSpec = text.parse().unwrap();
            assert_eq!((spec.name.as_str(), spec.place.as_path()), (name, Path::new(place)));
        }
        for bad in ["", "=x", "x=", "/"] {
            let problem = bad.parse::<ModelSpec>().unwrap_err();
            assert!(problem.contains("expected FOLDER or NAME=FOLDER"), "{problem}");
        }
    }
}
