//! A run and judgements, as rows, into groups: who is a candidate, and with what label.

use rayon::slice::ParallelSliceMut;

use crate::corpus::Corpus;
use crate::error::{ErrorKind, Result};
use crate::group::{Candidate, Group};
use crate::prepare::{PrepareOptions, PrepareReport};
use crate::queries::Queries;

/// A candidate of a run: 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunRow {
    pub(crate) query: u32,
    pub(crate) document: u32,
    /// Orders the candidates.
    pub(crate) score: f64,
}

/// A judgement: 12 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JudgedRow {
    pub(crate) query: u32,
    pub(crate) document: u32,
    pub(crate) relevance: i32,
}

/// Where the candidates come from.
pub(crate) enum FirstStage {
    /// A run whose scores are kept.
    Scored(Vec<RunRow>),
    /// Candidates whose scores only tell their order.
    Ordered(Vec<RunRow>),
    /// There is none: the judged documents are the candidates.
    Judged,
}

/// Joins, in the order of the queries' rows. `complete` may change a group before it is counted.
///
/// # Errors
/// When a pair comes twice among the candidates or the judgements, or `push` fails.
pub(crate) fn join(
    first_stage: FirstStage,
    mut judged: Vec<JudgedRow>,
    (queries, corpus): (&Queries, &Corpus),
    options: &PrepareOptions,
    report: &mut PrepareReport,
    mut complete: impl FnMut(&mut Group),
    mut push: impl FnMut(&Group) -> Result<()>,
) -> Result<()> {
    let (mut run, keep_scores, judged_only) = match first_stage {
        FirstStage::Scored(rows) => (rows, true, false),
        FirstStage::Ordered(rows) => (rows, false, false),
        FirstStage::Judged => (Vec::new(), false, true),
    };
    run.par_sort_unstable_by(|a, b| {
        let by_score = || (b.score + 0.0).total_cmp(&(a.score + 0.0));
        let by_id = || corpus.id(b.document).cmp(corpus.id(a.document));
        a.query.cmp(&b.query).then_with(by_score).then_with(by_id)
    });
    judged.par_sort_unstable_by_key(|row| (row.query, row.document));
    let name = |query, document| format!("{} of query {}", corpus.id(document), queries.id(query));
    if let Some([row, _]) = judged.array_windows().find(|[a, b]| a.pair() == b.pair()) {
        let id = name(row.query, row.document);
        return Err(ErrorKind::Duplicate { what: "judgement of document", id }.into());
    }

    let (mut run, mut judged) = (run.as_slice(), judged.as_slice());
    while let Some(query) =
        run.first().map(|r| r.query).into_iter().chain(judged.first().map(|r| r.query)).min()
    {
        let (candidates, rest) = run.split_at(run.partition_point(|row| row.query == query));
        run = rest;
        let (known, rest) = judged.split_at(judged.partition_point(|row| row.query == query));
        judged = rest;
        if candidates.is_empty() && !judged_only {
            report.judged_without_candidates += 1;
            continue;
        }
        let mut rows: Vec<(u32, f64)> = candidates.iter().map(|c| (c.document, c.score)).collect();
        rows.sort_unstable_by_key(|row| row.0);
        if let Some([(document, _), _]) = rows.array_windows().find(|[a, b]| a.0 == b.0) {
            let id = name(query, *document);
            return Err(ErrorKind::Duplicate { what: "document", id }.into());
        }
        let depth = options.depth.unwrap_or(usize::MAX).min(candidates.len());
        report.below_depth += (candidates.len() - depth) as u64;
        let mut taken: Vec<u32> = candidates[..depth].iter().map(|c| c.document).collect();
        let score_of = |document: u32| {
            let i = rows.binary_search_by_key(&document, |row| row.0).ok()?;
            keep_scores.then_some(rows[i].1 as f32)
        };
        let relevance_of = |document: u32| {
            let i = known.binary_search_by_key(&document, |row| row.document).ok()?;
            Some(known[i].relevance as f32)
        };
        let candidate = |document: u32| Candidate {
            document,
            label: relevance_of(document),
            teacher_score: None,
            first_stage: score_of(document),
        };
        let mut group = Group { query, candidates: taken.iter().map(|&d| candidate(d)).collect() };
        taken.sort_unstable();
        for row in known {
            if taken.binary_search(&row.document).is_ok() {
                continue;
            }
            if judged_only {
                group.candidates.push(candidate(row.document));
            } else if row.relevance > 0 && options.add_positives {
                group.candidates.push(candidate(row.document));
                report.added_positives += 1;
            } else if row.relevance > 0 {
                report.missed_positives += 1;
            }
        }
        complete(&mut group);
        if keep(&group, options, report) {
            push(&group)?;
        }
    }
    Ok(())
}

impl JudgedRow {
    fn pair(&self) -> (u32, u32) {
        (self.query, self.document)
    }
}

/// Counts a group, and tells whether it stays.
pub(crate) fn keep(group: &Group, options: &PrepareOptions, report: &mut PrepareReport) -> bool {
    let count = |is: fn(&Candidate) -> bool| {
        group.candidates.iter().filter(|candidate| is(candidate)).count() as u64
    };
    let positives = count(|candidate| candidate.label.is_some_and(|label| label > 0.0));
    if positives == 0 {
        if options.require_positive {
            report.dropped_without_positive += 1;
            return false;
        }
        report.without_positive += 1;
    }
    let labelled = count(|candidate| candidate.label.is_some());
    report.groups += 1;
    report.candidates += group.candidates.len() as u64;
    report.positives += positives;
    report.labelled += labelled;
    report.unjudged += group.candidates.len() as u64 - labelled;
    true
}
