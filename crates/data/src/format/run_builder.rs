//! Lines of a run, in any order, into a [`Run`].

use std::collections::BTreeMap;
use std::path::Path;

use super::lines::Lines;
use crate::error::{Error, ErrorKind};
use crate::id::{DocId, QueryId};
use crate::run::{Run, ScoredDocument};

/// Collects the candidates of each query. Files mostly keep a query's lines together, so the last
/// query is looked at before the map.
#[derive(Default)]
pub(crate) struct RunBuilder {
    queries: BTreeMap<QueryId, Vec<ScoredDocument>>,
    last: Option<(QueryId, Vec<ScoredDocument>)>,
}

impl RunBuilder {
    pub(crate) fn push(
        &mut self,
        query: &str,
        document: &str,
        score: f64,
    ) -> Result<(), ErrorKind> {
        let candidate = ScoredDocument { document: DocId::new(document)?, score };
        match &mut self.last {
            Some((last, candidates)) if last.as_str() == query => candidates.push(candidate),
            _ => {
                self.put_back();
                let (query, mut candidates) = match self.queries.remove_entry(query) {
                    Some(entry) => entry,
                    None => (QueryId::new(query)?, Vec::new()),
                };
                candidates.push(candidate);
                self.last = Some((query, candidates));
            }
        }
        Ok(())
    }

    fn put_back(&mut self) {
        self.queries.extend(self.last.take());
    }

    /// The run.
    ///
    /// # Errors
    /// The first query, in byte order, that has a document twice, and the document.
    pub(crate) fn finish(mut self, tag: &str) -> Result<Run, (QueryId, DocId)> {
        self.put_back();
        let mut run = Run::new(tag);
        for (query, candidates) in self.queries {
            if let Some(document) = crate::run::repeated(&candidates) {
                return Err((query, document.clone()));
            }
            run.insert(query, candidates).expect("queries and documents differ, no score is NaN");
        }
        Ok(run)
    }
}

/// Finds query and document of a line, as a run's or a qrels file's parser does.
type Pair<'a> = Result<Option<(&'a str, &'a str)>, ErrorKind>;

/// The error for a document that a query has twice, at its second line. Lines are not kept while
/// reading: only now is the file read again to find them.
pub(crate) fn duplicate(
    path: &Path,
    query: &QueryId,
    document: &DocId,
    parse: impl Fn(&str) -> Pair<'_>,
) -> Error {
    let id = format!("{document} of query {query}");
    let mut seen = false;
    let found = Lines::open(path).and_then(|lines| {
        lines.for_each(|line| {
            let is_it = parse(line)? == Some((query.as_str(), document.as_str()));
            if is_it && std::mem::replace(&mut seen, true) {
                return Err(ErrorKind::Duplicate { what: "document", id: id.clone() });
            }
            Ok(())
        })
    });
    match found {
        Err(error) => error,
        Ok(()) => Error::file(path, ErrorKind::Duplicate { what: "document", id }),
    }
}
