//! Run and qrels files straight into measures: memory-mapped, queries in parallel, nothing kept.

mod bytes;
mod group;
mod lookup;
#[cfg(feature = "parquet")]
mod parquet;
mod qrels;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use tamis_data::{ErrorKind, Qrels, QueryId};

pub use qrels::{parse_qrels, read_qrels};

use crate::error::{Error, Result};
use crate::evaluate::{Absence, Cohort, Evaluation, MissingQueries};
use crate::measure::Measure;
use bytes::{Chunks, Source};
use group::{Fault, Group};
use lookup::Lookup;

/// Evaluates a run file without keeping it: what [`crate::evaluate`] gives, faster and in less
/// memory.
///
/// Plain files are memory-mapped. `.gz`, `.zst`, pipes and `-`, which is standard input, are read a
/// few megabytes at a time; `.parquet` a row group at a time (with the feature `parquet`). Lines of
/// one query should stand together: where they do not, the file is read a second time. A pipe
/// cannot be, and is refused then if it is longer than 64 MiB.
///
/// # Errors
/// When the file cannot be read or a line is not as it should be (the message names file, line,
/// what was expected and what was found), and as [`crate::evaluate`].
pub fn evaluate_run_file(
    qrels: &Qrels,
    run: &Path,
    measures: &[Measure],
    missing: MissingQueries,
) -> Result<Evaluation> {
    let job = Job { path: run, lookup: Lookup::new(qrels), measures };
    if run.extension().is_some_and(|extension| extension == "parquet") {
        #[cfg(feature = "parquet")]
        if let Some(outcome) = job.parquet()? {
            return outcome.evaluation(qrels, measures, missing);
        }
        let run = tamis_data::format::read_run(run)?;
        return crate::evaluate(qrels, &run, measures, missing);
    }
    let outcome = match Source::open(run)? {
        Source::Whole(bytes) => job.whole(bytes.as_slice())?,
        Source::Stream(chunks) => job.stream(chunks)?,
    };
    outcome.evaluation(qrels, measures, missing)
}

type Checked<T> = std::result::Result<T, Fault>;

/// Evaluates the bytes of a run file; `name` only stands in messages.
///
/// # Errors
/// As [`evaluate_run_file`].
pub fn evaluate_run_bytes(
    qrels: &Qrels,
    name: &Path,
    bytes: &[u8],
    measures: &[Measure],
    missing: MissingQueries,
) -> Result<Evaluation> {
    let job = Job { path: name, lookup: Lookup::new(qrels), measures };
    job.whole(bytes)?.evaluation(qrels, measures, missing)
}

struct Job<'a> {
    path: &'a Path,
    lookup: Lookup<'a>,
    measures: &'a [Measure],
}

/// The values of each query of the run; `None` where nobody judged the query.
#[derive(Default)]
struct Outcome {
    tag: String,
    queries: BTreeMap<QueryId, Option<Vec<f64>>>,
}

impl Job<'_> {
    /// Evaluates bytes that hold the whole file.
    fn whole(&self, bytes: &[u8]) -> Result<Outcome> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut outcome = Outcome::default();
        if self.grouped(bytes, 0, &mut outcome)?.is_some() {
            outcome.queries.clear();
            self.scattered(bytes, &mut outcome)?;
        }
        self.not_empty(outcome)
    }

    /// Evaluates chunks of whole groups.
    fn stream(&self, mut chunks: Chunks) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut first_line = 0;
        while let Some(chunk) = chunks.next(group::last_group_start)? {
            let mark = chunk.strip_prefix(b"\xef\xbb\xbf").filter(|_| first_line == 0);
            let bytes = mark.unwrap_or(chunk);
            if let Some(query) = self.grouped(bytes, first_line, &mut outcome)? {
                let (path, query) = (self.path.to_owned(), query.to_string());
                let whole = chunks.whole()?.ok_or(Error::Scattered { path, query })?;
                return self.whole(&whole);
            }
            first_line += group::count_lines(chunk);
        }
        self.not_empty(outcome)
    }

    fn not_empty(&self, outcome: Outcome) -> Result<Outcome> {
        if outcome.queries.is_empty() {
            return Err(tamis_data::Error::file(self.path, ErrorKind::Empty).into());
        }
        Ok(outcome)
    }

    /// Works on bytes whose queries stand together; the value is a query that does not.
    fn grouped(
        &self,
        bytes: &[u8],
        first_line: u64,
        outcome: &mut Outcome,
    ) -> Result<Option<QueryId>> {
        let pieces = group::split(bytes, rayon::current_num_threads() * 8);
        let done: Vec<_> =
            pieces.par_iter().map(|&(start, end)| self.piece(bytes, start, end)).collect();
        for part in done {
            let part = part.map_err(|fault| fault.locate(self.path, bytes, first_line))?;
            if outcome.tag.is_empty() {
                outcome.tag = part.tag;
            }
            if let Some(query) = outcome.take(part.queries) {
                return Ok(Some(query));
            }
        }
        Ok(None)
    }

    fn piece(&self, bytes: &[u8], start: usize, end: usize) -> Checked<Part> {
        let text = group::text(bytes, start, end)?;
        let mut lines = group::Lines::new(text, start);
        let mut part = Part { tag: String::new(), queries: Vec::new() };
        let mut group = Group::default();
        let mut next = lines.next()?;
        while let Some(line) = next {
            group.clear();
            if part.tag.is_empty() {
                line.tag.clone_into(&mut part.tag);
            }
            let query = line.query;
            group.push(&line);
            loop {
                next = lines.next()?;
                match &next {
                    Some(line) if line.query == query => group.push(line),
                    _ => break,
                }
            }
            let id = QueryId::new(query).map_err(|why| Fault::new(group.start(), why.into()))?;
            part.queries.push((id, self.values(query, &mut group)?));
        }
        Ok(part)
    }

    /// Works on bytes in any order: lines are first gathered by query.
    fn scattered(&self, bytes: &[u8], outcome: &mut Outcome) -> Result<()> {
        let fault = |fault: Fault| Error::from(fault.locate(self.path, bytes, 0));
        let text = group::text(bytes, 0, bytes.len()).map_err(fault)?;
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut lines = group::Lines::new(text, 0);
        while let Some(line) = lines.next().map_err(fault)? {
            places.entry(line.query).or_default().push(line.start);
        }
        let places: Vec<_> = places.into_iter().collect();
        let done: Vec<Checked<Values>> = places
            .par_iter()
            .map(|(query, starts)| {
                let mut group = Group::default();
                for &start in starts {
                    let mut lines = group::Lines::new(&text[start..], start);
                    if let Some(line) = lines.next()? {
                        group.push(&line);
                    }
                }
                let id = QueryId::new(query).map_err(|why| Fault::new(starts[0], why.into()))?;
                Ok((id, self.values(query, &mut group)?))
            })
            .collect();
        for part in done {
            let (query, values) = part.map_err(fault)?;
            outcome.queries.insert(query, values);
        }
        Ok(())
    }

    fn values(&self, query: &str, group: &mut Group<'_>) -> Checked<Option<Vec<f64>>> {
        group.refuse_duplicates(query)?;
        let Some(judged) = self.lookup.query(query) else { return Ok(None) };
        let ranking = group.ranking(judged);
        Ok(Some(self.measures.iter().map(|measure| measure.compute(&ranking)).collect()))
    }
}

/// A query with its values; `None` where nobody judged it.
type Values = (QueryId, Option<Vec<f64>>);

struct Part {
    tag: String,
    queries: Vec<Values>,
}

impl Outcome {
    /// Adds queries until one comes that is already there: that one is the value.
    fn take(&mut self, queries: Vec<Values>) -> Option<QueryId> {
        for (query, values) in queries {
            match self.queries.entry(query) {
                Entry::Vacant(place) => drop(place.insert(values)),
                Entry::Occupied(place) => return Some(place.key().clone()),
            }
        }
        None
    }

    fn evaluation(
        self,
        qrels: &Qrels,
        measures: &[Measure],
        missing: MissingQueries,
    ) -> Result<Evaluation> {
        let judged = qrels.iter().map(|(query, _)| query);
        let absent: Vec<QueryId> =
            judged.filter(|query| !self.queries.contains_key(*query)).cloned().collect();
        let unjudged = self.queries.iter().filter(|(_, values)| values.is_none());
        let unjudged = unjudged.map(|(query, _)| query.clone()).collect();
        let n_run = self.queries.len();
        let cohort = Cohort { tag: &self.tag, n_run, n_judged: qrels.n_queries() };
        cohort.check(&absent, missing)?;
        let mut rows: BTreeMap<QueryId, Vec<f64>> =
            self.queries.into_iter().filter_map(|(query, values)| Some((query, values?))).collect();
        if missing == MissingQueries::Zero {
            for query in &absent {
                let judged = qrels.query(query.as_str()).into_iter().flat_map(|j| j.values());
                let ranking = crate::Ranking::new(Vec::new(), judged.copied().collect());
                let values = measures.iter().map(|measure| measure.compute(&ranking)).collect();
                rows.insert(query.clone(), values);
            }
        }
        let (queries, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let absence = Absence { missing, absent, unjudged };
        Ok(Evaluation::new(&self.tag, measures, queries, &rows, absence))
    }
}
