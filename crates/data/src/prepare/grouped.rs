//! Files that bring their own texts: grouped text and top-1000 files. Each text is stored once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::texts::{Kind, Texts};
use super::{GroupScores, PrepareOptions, PrepareReport};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{self, group_jsonl::GroupLine, msmarco};
use crate::group::{Candidate, Group};
use crate::groups::GroupWriter;
use crate::join::{RunRow, keep};

/// Rows by text or id. The key is the start of a SHA-256: at a hundred million texts the odds that
/// two of them share 96 bits are one in ten trillion. An entry takes 16 bytes.
#[derive(Default)]
struct Known(HashMap<[u8; 12], u32>);

impl Known {
    /// The row of a text, and whether it was there before; `add` stores a new one.
    fn row(&mut self, text: &str, add: impl FnOnce() -> Result<u32>) -> Result<(u32, bool)> {
        let digest = Sha256::digest(text.as_bytes());
        let mut key = [0; 12];
        key.copy_from_slice(&digest[..12]);
        if let Some(&row) = self.0.get(&key) {
            return Ok((row, true));
        }
        let row = add()?;
        self.0.insert(key, row);
        Ok((row, false))
    }
}

/// Queries and documents that come with the groups.
pub(super) struct Own {
    pub(super) queries: Texts,
    pub(super) documents: Texts,
    known_queries: Known,
    known_documents: Known,
}

impl Own {
    pub(super) fn create(folder: &Path, options: &PrepareOptions) -> Result<Self> {
        Ok(Self {
            queries: Texts::create(folder, Kind::Query, options.allow_empty)?,
            documents: Texts::create(folder, Kind::Document, options.allow_empty)?,
            known_queries: Known::default(),
            known_documents: Known::default(),
        })
    }

    /// Adds the groups of grouped text. Queries become `q0`, `q1`, ..., documents `d0`, `d1`, ...
    pub(super) fn read_groups(
        &mut self,
        path: &Path,
        options: &PrepareOptions,
        report: &mut PrepareReport,
        out: &mut GroupWriter,
    ) -> Result<()> {
        let mut any = false;
        format::read_groups(path, |line| {
            any = true;
            let group = self.group(&line, options, report)?;
            if keep(&group, options, report) {
                out.push(&group).map_err(Error::into_kind)?;
            }
            Ok(())
        })?;
        if any { Ok(()) } else { Err(Error::file(path, ErrorKind::Empty)) }
    }

    fn group(
        &mut self,
        line: &GroupLine,
        options: &PrepareOptions,
        report: &mut PrepareReport,
    ) -> std::result::Result<Group, ErrorKind> {
        let Self { queries, documents, known_queries, known_documents } = self;
        let id = format!("q{}", queries.len());
        let query = known_queries.row(&line.query, || queries.push(&id, &line.query));
        let (query, repeated) = query.map_err(Error::into_kind)?;
        report.repeated_queries += u64::from(repeated);
        let mut group = Group { query, candidates: Vec::new() };
        let lists = [
            (&line.positives, &line.positive_scores, 1.0),
            (&line.negatives, &line.negative_scores, 0.0),
        ];
        for (texts, scores, label) in lists {
            for (i, text) in texts.iter().enumerate() {
                let id = format!("d{}", documents.len());
                if text.trim().is_empty() && !options.allow_empty {
                    return Err(ErrorKind::EmptyText { what: "document", id });
                }
                let row = known_documents.row(text, || documents.push(&id, text));
                let (document, repeated) = row.map_err(Error::into_kind)?;
                report.repeated_documents += u64::from(repeated);
                if repeated && group.candidates.iter().any(|c| c.document == document) {
                    report.repeated_candidates += 1;
                    continue;
                }
                let score = scores.as_ref().map(|scores| scores[i]);
                let (label, teacher_score) = match options.group_scores {
                    GroupScores::Teacher => (label, score),
                    GroupScores::Label { min, max } => match score {
                        Some(score) => (scaled(score, min, max)?, None),
                        None => (label, None),
                    },
                };
                group.candidates.push(Candidate {
                    document,
                    label: Some(label),
                    teacher_score,
                    first_stage: None,
                });
            }
        }
        Ok(group)
    }

    /// Adds the candidates of a top-1000 file, in the order of its lines.
    pub(super) fn read_top1000(
        &mut self,
        path: &Path,
        options: &PrepareOptions,
        report: &mut PrepareReport,
        candidates: &mut Vec<RunRow>,
    ) -> Result<()> {
        let before = candidates.len();
        let Self { queries, documents, known_queries, known_documents } = self;
        msmarco::read_top1000(path, |line| {
            let checks = [
                ("query", line.query_id, line.query),
                ("document", line.document_id, line.document),
            ];
            for (what, id, text) in checks {
                if text.trim().is_empty() && !options.allow_empty {
                    return Err(ErrorKind::EmptyText { what, id: id.to_owned() });
                }
            }
            let query =
                known_queries.row(line.query_id, || queries.push(line.query_id, line.query));
            let (query, _) = query.map_err(Error::into_kind)?;
            let row = known_documents
                .row(line.document_id, || documents.push(line.document_id, line.document));
            let (document, repeated) = row.map_err(Error::into_kind)?;
            report.repeated_documents += u64::from(repeated);
            let score = -(candidates.len() as f64);
            candidates.push(RunRow { query, document, score });
            Ok(())
        })?;
        if candidates.len() == before { Err(Error::file(path, ErrorKind::Empty)) } else { Ok(()) }
    }

    /// Completes both tables.
    pub(super) fn finish(self) -> Result<[(String, crate::WrittenFile); 4]> {
        // The ids are new by construction: there is no file to look for repeated ones in.
        let none: &[PathBuf] = &[];
        let [a, b] = self.documents.finish(none)?;
        let [c, d] = self.queries.finish(none)?;
        Ok([a, b, c, d])
    }
}

fn scaled(score: f32, min: f32, max: f32) -> std::result::Result<f32, ErrorKind> {
    if score < min || score > max {
        return Err(ErrorKind::Invalid(format!(
            "label: expected a number from {min} to {max}, found `{score}`"
        )));
    }
    Ok((score - min) / (max - min))
}
