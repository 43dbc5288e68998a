//! One query's candidates in canonical order and its judgements, into the grades that measures read.

use std::collections::BTreeMap;

use tamis_data::{DocId, ScoredDocument};

/// What the judgements say of one ranked list.
///
/// A grade is `None` for a document that nobody judged. A negative grade means "in the pool, but
/// not judged": it is not relevant, and measures for incomplete judgements pass over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranking {
    grades: Vec<Option<i32>>,
    judged: Vec<i32>,
}

impl Ranking {
    /// Takes the grades of the retrieved documents in rank order, and every grade of the query.
    #[must_use]
    pub fn new(grades: Vec<Option<i32>>, mut judged: Vec<i32>) -> Self {
        judged.sort_unstable_by(|a, b| b.cmp(a));
        Self { grades, judged }
    }

    /// Looks up candidates, which are in canonical order, among a query's judgements.
    #[must_use]
    pub fn of(judged: &BTreeMap<DocId, i32>, candidates: &[ScoredDocument]) -> Self {
        let grades = candidates.iter().map(|c| judged.get(&c.document).copied()).collect();
        Self::new(grades, judged.values().copied().collect())
    }

    /// The grade of each retrieved document, best rank first.
    #[must_use]
    pub fn grades(&self) -> &[Option<i32>] {
        &self.grades
    }

    /// Every grade given to a document of this query, highest first, retrieved or not.
    #[must_use]
    pub fn judged(&self) -> &[i32] {
        &self.judged
    }

    /// The grades of the first `cutoff` documents, or of all.
    #[must_use]
    pub fn top(&self, cutoff: Option<usize>) -> &[Option<i32>] {
        &self.grades[..cutoff.unwrap_or(usize::MAX).min(self.grades.len())]
    }

    /// How many documents were retrieved.
    #[must_use]
    pub fn n_retrieved(&self) -> usize {
        self.grades.len()
    }

    /// How many documents of the query are relevant, retrieved or not.
    #[must_use]
    pub fn n_relevant(&self, level: i32) -> usize {
        let level = level.max(0);
        self.judged.partition_point(|&grade| grade >= level)
    }

    /// How many documents of the query were judged and found not relevant.
    #[must_use]
    pub fn n_nonrelevant(&self, level: i32) -> usize {
        self.judged.partition_point(|&grade| grade >= 0) - self.n_relevant(level)
    }

    /// How many of the first `cutoff` documents are relevant.
    #[must_use]
    pub fn n_relevant_retrieved(&self, level: i32, cutoff: Option<usize>) -> usize {
        self.top(cutoff).iter().filter(|&&grade| is_relevant(grade, level)).count()
    }

    /// The ranks, counted from 1, of the relevant documents among the first `cutoff`.
    pub fn relevant_ranks(
        &self,
        level: i32,
        cutoff: Option<usize>,
    ) -> impl DoubleEndedIterator<Item = usize> {
        let top = self.top(cutoff).iter().enumerate();
        top.filter(move |&(_, &grade)| is_relevant(grade, level)).map(|(index, _)| index + 1)
    }
}

/// Whether a grade counts as relevant.
///
/// Documents outside the pool rank as -1 and pooled ones without judgement as -2, which only a
/// level below zero can tell; trec_eval has it so.
#[must_use]
pub(crate) fn is_relevant(grade: Option<i32>, level: i32) -> bool {
    let value = match grade {
        None => -1,
        Some(grade) if grade < 0 => -2,
        Some(grade) => grade,
    };
    value >= level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_grades_are_neither_relevant_nor_nonrelevant() {
        let ranking = Ranking::new(vec![Some(-1), Some(0), None, Some(2)], vec![0, 2, -1, 1]);
        assert_eq!(ranking.judged(), [2, 1, 0, -1]);
        assert_eq!((ranking.n_relevant(1), ranking.n_relevant(2)), (2, 1));
        assert_eq!((ranking.n_nonrelevant(1), ranking.n_nonrelevant(2)), (1, 2));
        assert_eq!(ranking.relevant_ranks(1, None).collect::<Vec<_>>(), [4]);
        assert_eq!(ranking.n_relevant_retrieved(1, Some(3)), 0);
    }
}
