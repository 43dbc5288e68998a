//! The section `[dev]` of a recipe: what tells the best checkpoint.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tamis_eval::Measure;

/// `[dev]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevRecipe {
    /// A prepared dataset; to be reranked, its candidates need first-stage scores.
    pub dataset: PathBuf,
    /// Steps between two evaluations; 0 evaluates only at the end.
    #[serde(default)]
    pub every: u64,
    /// Training ends after this many evaluations without a new best; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Candidates of each query that are reranked.
    #[serde(default = "depth")]
    pub depth: usize,
    /// The first queries only; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queries: Option<usize>,
    /// Whether the loss of the recipe is measured too, on groups drawn once from the seed. Without
    /// measures it tells the best checkpoint.
    #[serde(default)]
    pub loss: bool,
    /// What is measured after reranking; the first one tells the best checkpoint.
    #[serde(default = "measures")]
    pub measures: Vec<String>,
}

impl DevRecipe {
    pub(super) fn check(&self) -> Result<(), String> {
        let conditions = [
            (self.patience != Some(0), "patience: expected above 0"),
            (self.depth > 0, "depth: expected above 0"),
            (
                self.loss || !self.measures.is_empty(),
                "measures: expected at least one, or loss = true",
            ),
        ];
        if let Some((_, problem)) = conditions.into_iter().find(|(holds, _)| !holds) {
            return Err(format!("dev.{problem}"));
        }
        self.parsed_measures().map(|_| ())
    }

    /// The measures, parsed.
    ///
    /// # Errors
    /// When a name is not a measure.
    pub fn parsed_measures(&self) -> Result<Vec<Measure>, String> {
        let names = self.measures.iter();
        names.map(|name| name.parse().map_err(|error| format!("dev.measures: {error}"))).collect()
    }
}

fn depth() -> usize {
    100
}
fn measures() -> Vec<String> {
    vec!["nDCG@10".to_owned(), "RR@10".to_owned()]
}
