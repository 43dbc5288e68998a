//! Files of teachers' scores into the teacher scores of groups, and what has none.

use std::path::PathBuf;

use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::corpus::Corpus;
use crate::error::{Error, ErrorKind, Result};
use crate::format;
use crate::group::Group;
use crate::queries::Queries;

/// Scores of one or several teachers to distil from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeacherSources {
    /// Score files (2, 3 or 5 columns), TREC runs or Parquet.
    pub scores: Vec<PathBuf>,
    /// Triples that files of two columns belong to.
    pub triples: Option<PathBuf>,
}

/// How teachers' scores join the groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeacherOptions {
    /// What several files do for one pair.
    pub merge: TeacherMerge,
    /// What becomes of candidates that no file scores.
    pub missing: MissingTeacher,
}

/// What several files do for one pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherMerge {
    /// A later file overrides an earlier one (RetroMAE: a file of positives, then one of candidates).
    #[default]
    Last,
    /// An ensemble: the mean over the files that score the pair.
    Mean,
}

/// What becomes of candidates without a teacher score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingTeacher {
    /// They are counted, and the dataset is refused.
    #[default]
    Refuse,
    /// They are counted and stay, without a score.
    Keep,
    /// They are counted and left out of their groups.
    Drop,
}

/// A score by query and document: 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Row {
    query: u32,
    document: u32,
    /// Of which file; within a file the later line counts.
    file: u32,
    score: f32,
}

/// Teachers' scores by the rows of a dataset, sorted.
pub(crate) struct TeacherScores {
    rows: Vec<Row>,
    options: TeacherOptions,
    /// Candidates that were joined, and those without a score.
    pub(crate) joined: u64,
    pub(crate) missing: u64,
    first_missing: Option<(u32, u32)>,
}

impl TeacherScores {
    /// Reads all files. Pairs of queries or documents that the dataset lacks are passed over:
    /// teachers score more than one dataset takes.
    pub(crate) fn read(
        sources: &TeacherSources,
        options: TeacherOptions,
        (queries, corpus): (&Queries, &Corpus),
    ) -> Result<Self> {
        let mut rows = Vec::new();
        for (file, path) in (0..).zip(&sources.scores) {
            format::read_teacher_scores(
                path,
                sources.triples.as_deref(),
                |query, document, score| {
                    if let (Some(query), Some(document)) =
                        (queries.row_of(query), corpus.row_of(document))
                    {
                        rows.push(Row { query, document, file, score: score as f32 });
                    }
                    Ok(())
                },
            )?;
        }
        // Stable: of equal pairs of one file the later line stays behind.
        rows.par_sort_by_key(|row| (row.query, row.document, row.file));
        let merged = merge(&rows, options.merge);
        Ok(Self { rows: merged, options, joined: 0, missing: 0, first_missing: None })
    }

    /// Gives every candidate its score.
    pub(crate) fn join(&mut self, group: &mut Group) {
        let query = group.query;
        for candidate in &mut group.candidates {
            let key = (query, candidate.document);
            let found = self.rows.binary_search_by_key(&key, |row| (row.query, row.document));
            match found {
                Ok(place) => {
                    candidate.teacher_score = Some(self.rows[place].score);
                    self.joined += 1;
                }
                Err(_) => {
                    self.missing += 1;
                    self.first_missing.get_or_insert(key);
                }
            }
        }
        if self.options.missing == MissingTeacher::Drop {
            group.candidates.retain(|candidate| candidate.teacher_score.is_some());
        }
    }

    /// Refuses what is missing, if that is to be refused.
    pub(crate) fn check(&self, (queries, corpus): (&Queries, &Corpus)) -> Result<()> {
        match (self.options.missing, self.first_missing) {
            (MissingTeacher::Refuse, Some((query, document))) => {
                let problem = format!(
                    "{} of {} candidates have no teacher score, the first is document `{}` of \
                     query `{}`",
                    self.missing,
                    self.missing + self.joined,
                    corpus.id(document),
                    queries.id(query),
                );
                Err(Error::from(ErrorKind::Invalid(problem)))
            }
            _ => Ok(()),
        }
    }
}

/// One row per pair: `rows` are sorted by pair, then file, then line.
fn merge(rows: &[Row], merge: TeacherMerge) -> Vec<Row> {
    rows.chunk_by(|a, b| (a.query, a.document) == (b.query, b.document))
        .map(|same| {
            let last = same[same.len() - 1];
            match merge {
                TeacherMerge::Last => last,
                TeacherMerge::Mean => {
                    let files = same.chunk_by(|a, b| a.file == b.file);
                    let of_file = files.map(|lines| f64::from(lines[lines.len() - 1].score));
                    let scores: Vec<f64> = of_file.collect();
                    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                    Row { score: mean as f32, ..last }
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_override_or_are_averaged() {
        let row = |document, file, score| Row { query: 1, document, file, score };
        let rows = [row(0, 0, 1.0), row(0, 0, 2.0), row(0, 1, 4.0), row(3, 1, 7.0), row(3, 1, 9.0)];
        let scores = |how| merge(&rows, how).iter().map(|r| r.score).collect::<Vec<_>>();
        assert_eq!(scores(TeacherMerge::Last), [4.0, 9.0]);
        assert_eq!(scores(TeacherMerge::Mean), [3.0, 9.0]);
    }
}
