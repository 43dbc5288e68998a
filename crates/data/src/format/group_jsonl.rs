//! Grouped text, one JSON object a line: `query`, `pos`, `neg`, `pos_scores`, `neg_scores`.
//!
//! Three forms are read: that one (FlagEmbedding, RAG-Retrieval); `query` with `hits`, a list of
//! `content` and `label` (RAG-Retrieval's grouped form); and `query` with one `content` and its
//! `score` or `label`, where lines of one query that follow each other make one group (RAG-Retrieval's
//! teacher output). Other keys are passed over. Texts with scores of the last two forms become `pos` with `pos_scores`.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::error::{ErrorKind, Result};

/// A query with texts that answer it and texts that do not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GroupLine {
    /// The query's text.
    pub query: String,
    /// Texts that answer it.
    #[serde(rename = "pos")]
    pub positives: Vec<String>,
    /// Texts that do not.
    #[serde(rename = "neg")]
    pub negatives: Vec<String>,
    /// One score for each positive.
    #[serde(rename = "pos_scores", skip_serializing_if = "Option::is_none")]
    pub positive_scores: Option<Vec<f32>>,
    /// One score for each negative.
    #[serde(rename = "neg_scores", skip_serializing_if = "Option::is_none")]
    pub negative_scores: Option<Vec<f32>>,
}

/// A line as it may stand in a file.
#[derive(Deserialize)]
struct RawLine {
    query: String,
    pos: Option<Vec<String>>,
    neg: Option<Vec<String>>,
    #[serde(alias = "scores")]
    pos_scores: Option<Vec<f32>>,
    neg_scores: Option<Vec<f32>>,
    hits: Option<Vec<Hit>>,
    content: Option<String>,
    score: Option<f32>,
    label: Option<f32>,
}

#[derive(Deserialize)]
struct Hit {
    content: String,
    #[serde(alias = "score", default)]
    label: f32,
}

/// Whether a parsed line is a group, or one candidate of a group.
enum Parsed {
    Group(GroupLine),
    Candidate(GroupLine),
}

impl GroupLine {
    /// Refuses what no group can be.
    pub(crate) fn check(&self) -> std::result::Result<(), ErrorKind> {
        if self.query.trim().is_empty() {
            return Err(ErrorKind::Invalid("`query` is empty".into()));
        }
        check_scores("pos", &self.positives, self.positive_scores.as_deref())?;
        check_scores("neg", &self.negatives, self.negative_scores.as_deref())?;
        if self.positives.is_empty() && self.negatives.is_empty() {
            return Err(ErrorKind::Invalid("neither `pos` nor `neg` has a text".into()));
        }
        Ok(())
    }
}

fn check_scores(
    name: &str,
    texts: &[String],
    scores: Option<&[f32]>,
) -> std::result::Result<(), ErrorKind> {
    let Some(scores) = scores else { return Ok(()) };
    let (n, m) = (texts.len(), scores.len());
    if n != m {
        return Err(ErrorKind::Invalid(format!("`{name}` has {n} texts and {m} scores")));
    }
    match scores.iter().find(|score| !score.is_finite()) {
        Some(score) => Err(ErrorKind::Value {
            field: "score",
            expected: "a finite number",
            found: score.to_string(),
        }),
        None => Ok(()),
    }
}

fn parse(line: &str) -> std::result::Result<Parsed, ErrorKind> {
    let raw: RawLine = serde_json::from_str(line)?;
    let scored = |positives: Vec<String>, scores: Vec<f32>, query: String| GroupLine {
        query,
        positives,
        positive_scores: Some(scores),
        ..GroupLine::default()
    };
    let (parsed, candidate) = match raw {
        RawLine { content: Some(content), query, score, label, .. } => {
            let score = score.or(label).unwrap_or(0.0);
            (scored(vec![content], vec![score], query), true)
        }
        RawLine { hits: Some(hits), query, .. } => {
            let scores = hits.iter().map(|hit| hit.label).collect();
            (scored(hits.into_iter().map(|hit| hit.content).collect(), scores, query), false)
        }
        RawLine { query, pos: Some(positives), neg, pos_scores, neg_scores, .. } => {
            let group = GroupLine {
                query,
                positives,
                negatives: neg.unwrap_or_default(),
                positive_scores: pos_scores,
                negative_scores: neg_scores,
            };
            (group, false)
        }
        _ => return Err(ErrorKind::Invalid("missing field `pos`".into())),
    };
    parsed.check()?;
    Ok(if candidate { Parsed::Candidate(parsed) } else { Parsed::Group(parsed) })
}

/// Reads groups one by one.
///
/// # Errors
/// When a line is not JSON of one of the forms, a score is missing or not finite, a group has no
/// text, or `take` refuses it.
pub fn read_groups(
    path: &Path,
    mut take: impl FnMut(GroupLine) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    let mut lines = Lines::open(path)?;
    let mut pending: Option<GroupLine> = None;
    loop {
        let parsed = match lines.next()? {
            None => break,
            Some(line) if line.trim_ascii().is_empty() => continue,
            Some(line) => parse(line),
        };
        let step = parsed.and_then(|parsed| match (parsed, &mut pending) {
            (Parsed::Candidate(line), Some(group)) if group.query == line.query => {
                group.positives.extend(line.positives);
                group
                    .positive_scores
                    .get_or_insert_default()
                    .extend(line.positive_scores.unwrap_or_default());
                Ok(())
            }
            (Parsed::Candidate(line), pending) => match pending.replace(line) {
                Some(done) => take(done),
                None => Ok(()),
            },
            (Parsed::Group(line), pending) => {
                if let Some(done) = pending.take() {
                    take(done)?;
                }
                take(line)
            }
        });
        step.map_err(|kind| lines.error(kind))?;
    }
    match pending {
        Some(group) => take(group).map_err(|kind| lines.error(kind)),
        None => Ok(()),
    }
}

/// Writes one group in the first form.
///
/// # Errors
/// When writing fails.
pub fn write_group(group: &GroupLine, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, group)?;
    writeln!(out)
}
