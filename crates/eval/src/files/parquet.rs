//! Rows of a Parquet run into the values of their queries, some tens of thousands at a time.

use std::ops::Range;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use tamis_data::format::parquet::read_candidates;
use tamis_data::{DocId, ErrorKind, QueryId};

use super::group::{Fault, Group, Line};
use super::{Checked, Job, Outcome, Values};
use crate::error::Result;

/// How many rows are gathered, to the end of their query, before they are worked on.
const ROWS: usize = 1 << 16;

impl Job<'_> {
    /// Evaluates a Parquet file; `None` when a query comes back after others.
    pub(super) fn parquet(&self) -> Result<Option<Outcome>> {
        let mut outcome = Outcome::default();
        let mut rows = Rows::default();
        let mut together = true;
        let read = read_candidates(self.path, |query, document, score, tag| {
            if outcome.tag.is_empty() {
                tag.unwrap_or("parquet").clone_into(&mut outcome.tag);
            }
            if rows.rows.len() >= ROWS && rows.is_new(query) {
                let done = rows.values(self).map_err(Fault::into_kind)?;
                together = outcome.take(done).is_none();
                rows.clear();
            }
            if !together {
                // Ends the reading; the caller reads the file in another way.
                return Err(ErrorKind::Invalid(String::new()));
            }
            rows.push(query, document, score)
        });
        if !together {
            return Ok(None);
        }
        read?;
        let done = rows.values(self);
        let done = done.map_err(|fault| tamis_data::Error::file(self.path, fault.into_kind()))?;
        if outcome.take(done).is_some() {
            return Ok(None);
        }
        self.not_empty(outcome).map(Some)
    }
}

/// Rows in the order of the file, with the ids of all documents laid end to end.
#[derive(Default)]
struct Rows {
    ids: String,
    rows: Vec<(Range<usize>, f64)>,
    /// Each query with the number of its first row.
    queries: Vec<(String, usize)>,
}

impl Rows {
    fn is_new(&self, query: &str) -> bool {
        self.queries.last().is_none_or(|(last, _)| last != query)
    }

    fn push(
        &mut self,
        query: &str,
        document: &str,
        score: f64,
    ) -> std::result::Result<(), ErrorKind> {
        if document.is_empty() || document.contains(char::is_whitespace) {
            DocId::new(document)?;
        }
        if self.is_new(query) {
            self.queries.push((query.to_owned(), self.rows.len()));
        }
        let start = self.ids.len();
        self.ids.push_str(document);
        // Makes -0 equal to 0, as comparing does.
        self.rows.push((start..self.ids.len(), score + 0.0));
        Ok(())
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.rows.clear();
        self.queries.clear();
    }

    fn values(&self, job: &Job<'_>) -> Checked<Vec<Values>> {
        let ends = self.queries.iter().skip(1).map(|&(_, start)| start);
        let ends = ends.chain(std::iter::once(self.rows.len()));
        let groups: Vec<(&str, Range<usize>)> =
            self.queries.iter().zip(ends).map(|((id, start), end)| (&**id, *start..end)).collect();
        let values = groups.par_iter().map(|(query, range)| {
            let mut group = Group::default();
            for row in range.clone() {
                let (id, score) = &self.rows[row];
                let document = &self.ids[id.clone()];
                group.push(&Line { start: row, query, document, score: *score, tag: "" });
            }
            let id = QueryId::new(query).map_err(|why| Fault::new(range.start, why.into()))?;
            Ok((id, job.values(query, &mut group)?))
        });
        values.collect()
    }
}
