//! What preparing is told, and what it tells.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::teacher::{TeacherOptions, TeacherSources};

/// The files that a dataset is made from. Empty lists are files that there are none of.
///
/// Either `corpus` and `queries` (with `qrels` and `runs` for the groups), or `groups`, or
/// `top1000` (with `qrels`): the last two bring their own queries and documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Documents: `.jsonl` (BEIR), `.tsv` (MS MARCO) or `.parquet`.
    pub corpus: Vec<PathBuf>,
    /// Queries, in the same formats.
    pub queries: Vec<PathBuf>,
    /// Judgements: BEIR (with its header line) or TREC.
    pub qrels: Vec<PathBuf>,
    /// First-stage runs: TREC, MS MARCO or `.parquet`. A query may be in one of them only.
    pub runs: Vec<PathBuf>,
    /// Grouped text: JSON lines of `query`, `pos`, `neg`, `pos_scores`, `neg_scores`, or `.parquet`.
    pub groups: Vec<PathBuf>,
    /// MS MARCO top-1000 files: `query id, document id, query, document` with tabs between.
    pub top1000: Vec<PathBuf>,
    /// Teachers' scores of the candidates.
    pub teachers: TeacherSources,
}

/// How the files are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareOptions {
    /// How many candidates of the run a group takes, from the top; `None` takes all.
    pub depth: Option<usize>,
    /// Whether judged positives that the run missed are added behind the candidates.
    pub add_positives: bool,
    /// Whether queries without a candidate labelled above 0 are left out, as for training.
    pub require_positive: bool,
    /// Whether judgements and candidates with unknown ids are left out and counted, not refused.
    pub skip_unknown: bool,
    /// Whether documents without text are kept and counted, not refused.
    pub allow_empty: bool,
    /// What the scores of grouped text are.
    pub group_scores: GroupScores,
    /// How teachers' scores join the groups.
    #[serde(default)]
    pub teacher: TeacherOptions,
    /// Whether an existing dataset is replaced.
    #[serde(skip)]
    pub replace: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            depth: None,
            add_positives: true,
            require_positive: false,
            skip_unknown: false,
            allow_empty: false,
            group_scores: GroupScores::Teacher,
            teacher: TeacherOptions::default(),
            replace: false,
        }
    }
}

/// What `pos_scores` and `neg_scores` of grouped text mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GroupScores {
    /// Scores of a teacher; labels are 1 for `pos` and 0 for `neg` (FlagEmbedding).
    #[default]
    Teacher,
    /// Labels, scaled from `min..=max` to `0..=1` (RAG-Retrieval). A list without scores is
    /// labelled 1 for `pos` and 0 for `neg`.
    Label {
        /// The label that becomes 0.
        min: f32,
        /// The label that becomes 1.
        max: f32,
    },
}

/// What was read, joined, left out and added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareReport {
    /// Documents written.
    pub documents: u64,
    /// Documents without text, kept.
    pub empty_documents: u64,
    /// Queries without text, kept.
    pub empty_queries: u64,
    /// Documents met again in grouped text or top-1000 files, and stored once.
    pub repeated_documents: u64,
    /// Queries written.
    pub queries: u64,
    /// Queries met again in grouped text, and stored once.
    pub repeated_queries: u64,
    /// Judgements read.
    pub judgements: u64,
    /// Groups written.
    pub groups: u64,
    /// Candidates of all groups.
    pub candidates: u64,
    /// Candidates with a label above 0.
    pub positives: u64,
    /// Candidates with a label.
    pub labelled: u64,
    /// Candidates that nobody judged.
    pub unjudged: u64,
    /// Candidates that a teacher scored.
    #[serde(default)]
    pub with_teacher: u64,
    /// Candidates that no teacher scored, kept or left out as the options say.
    #[serde(default)]
    pub without_teacher: u64,
    /// Judged positives that the run missed, added.
    pub added_positives: u64,
    /// Judged positives that the run missed, left out.
    pub missed_positives: u64,
    /// Candidates of the run below the depth, left out.
    pub below_depth: u64,
    /// Documents that came twice in a group of grouped text, kept once.
    pub repeated_candidates: u64,
    /// Groups without a positive, kept.
    pub without_positive: u64,
    /// Groups without a positive, left out.
    pub dropped_without_positive: u64,
    /// Judged queries that the run has no candidates for, left out.
    pub judged_without_candidates: u64,
    /// Lines of run and qrels whose query the queries lack, left out.
    pub unknown_queries: u64,
    /// Lines of run and qrels whose document the corpus lacks, left out.
    pub unknown_documents: u64,
}

impl fmt::Display for PrepareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let always = [
            ("documents", self.documents),
            ("queries", self.queries),
            ("judgements", self.judgements),
            ("groups", self.groups),
            ("candidates", self.candidates),
            ("  labelled", self.labelled),
            ("  of them positive", self.positives),
            ("  unjudged", self.unjudged),
        ];
        let where_any = [
            ("empty documents, kept", self.empty_documents),
            ("empty queries, kept", self.empty_queries),
            ("repeated documents, stored once", self.repeated_documents),
            ("repeated queries, stored once", self.repeated_queries),
            ("candidates with a teacher score", self.with_teacher),
            ("candidates without a teacher score", self.without_teacher),
            ("positives missed by the run, added", self.added_positives),
            ("positives missed by the run, left out", self.missed_positives),
            ("candidates below the depth, left out", self.below_depth),
            ("repeated candidates, kept once", self.repeated_candidates),
            ("groups without a positive, kept", self.without_positive),
            ("groups without a positive, left out", self.dropped_without_positive),
            ("judged queries without candidates, left out", self.judged_without_candidates),
            ("lines with an unknown query, left out", self.unknown_queries),
            ("lines with an unknown document, left out", self.unknown_documents),
        ];
        let rows = always.into_iter().chain(where_any.into_iter().filter(|row| row.1 > 0));
        for (name, count) in rows {
            writeln!(f, "{name:<44} {count:>12}")?;
        }
        Ok(())
    }
}
