//! The section `[data]` of a recipe: what a training learns from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tamis_data::{Curriculum, Mixing, Positives, Shortage, Truncation};

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// A prepared dataset, or a list of several.
    pub train: Folders,
    /// How several share an epoch: `proportional`, `round-robin`, or `{ temperature = 2.0 }`.
    #[serde(default)]
    pub mixing: Mixing,
    /// The longest row in tokens, special tokens included.
    #[serde(default = "max_length")]
    pub max_length: usize,
    /// The longest query in tokens.
    #[serde(default = "query_max_length")]
    pub query_max_length: usize,
    /// Which side loses tokens when a pair is too long: `second-only` or `longest-first`.
    #[serde(default = "truncation")]
    pub truncation: Truncation,
    /// Candidates of a training group.
    #[serde(default = "group_size")]
    pub group_size: usize,
    /// Negatives are drawn from this many of the first stage's best; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negatives_depth: Option<usize>,
    /// The same as a depth that changes from the first step to the last: `{ from = 10, to = 100 }`
    /// begins with hard negatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curriculum: Option<Curriculum>,
    /// Documents of other queries of the batch that are added to every group as negatives.
    #[serde(default)]
    pub in_batch_negatives: usize,
    /// Which positives a group takes: `one`, `all`, or `any`, where candidates are drawn whatever
    /// their labels.
    #[serde(default)]
    pub positives: Positives,
    /// What happens where negatives are too few: `repeat`, `keep` or `skip`.
    #[serde(default)]
    pub shortage: Shortage,
    /// The part of documents of more than 100 characters that are cut into three parts and joined in
    /// a random order, drawn anew in every epoch.
    #[serde(default)]
    pub shuffle_documents: f64,
}

/// One folder, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a folder or a list of folders")]
pub enum Folders {
    /// One.
    One(PathBuf),
    /// Several.
    Several(Vec<PathBuf>),
}

impl Folders {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[PathBuf] {
        match self {
            Self::One(folder) => std::slice::from_ref(folder),
            Self::Several(folders) => folders,
        }
    }

    /// The same folders inside another one.
    #[must_use]
    pub fn inside(&self, base: &Path) -> Self {
        match self {
            Self::One(folder) => Self::One(base.join(folder)),
            Self::Several(folders) => {
                Self::Several(folders.iter().map(|folder| base.join(folder)).collect())
            }
        }
    }
}

impl DataRecipe {
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { curriculum, negatives_depth, shuffle_documents, .. } = self;
        let conditions = [
            (!self.train.as_slice().is_empty(), "train: expected at least one folder".into()),
            (self.group_size > 0, "group_size: expected above 0".into()),
            (
                curriculum.is_none() || negatives_depth.is_none(),
                "curriculum: it says how deep negatives are drawn, expected no negatives_depth"
                    .into(),
            ),
            (
                curriculum.is_none_or(|depths| depths.from > 0 && depths.to > 0),
                "curriculum: expected depths above 0".into(),
            ),
            (
                (0.0..=1.0).contains(shuffle_documents),
                format!("shuffle_documents: expected 0 to 1, found `{shuffle_documents}`"),
            ),
            (
                !matches!(self.mixing, Mixing::Temperature(t) if !(t.is_finite() && t > 0.0)),
                "mixing: expected a temperature above 0".into(),
            ),
        ];
        match conditions.into_iter().find(|(holds, _)| !holds) {
            Some((_, problem)) => Err(format!("data.{problem}")),
            None => Ok(()),
        }
    }
}

fn max_length() -> usize {
    128
}
fn query_max_length() -> usize {
    64
}
fn truncation() -> Truncation {
    Truncation::SecondOnly
}
fn group_size() -> usize {
    8
}
