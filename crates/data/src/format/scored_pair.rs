//! Files of scored pairs: teachers' scores in two, three and five columns, and rerankers' score files.

use std::path::Path;

use super::lines::Lines;
use super::trec::is_comment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{self, DocId, QueryId};
use crate::run::{Run, ScoredDocument};

/// The columns that lines of scored pairs may have.
const EXPECTED: &str = "3 columns (query, document, score), 5 columns (score of the positive, of the \
                        negative, query, positive, negative), or 2 columns (score of the positive, \
                        of the negative) beside a file of triples";

/// A score, with or without brackets around it: some peers print a one-element list.
fn score(text: &str) -> std::result::Result<f64, ErrorKind> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.trim().parse::<f64>() {
        Ok(score) if score.is_finite() => Ok(score),
        _ => Err(ErrorKind::Value {
            field: "score",
            expected: "a finite number",
            found: text.to_owned(),
        }),
    }
}

/// Whether a line of three columns is of a score file, and not of an MS MARCO run: its third column
/// is a number, but no rank.
pub(crate) fn is_scored(line: &str) -> bool {
    let mut columns = line.split_ascii_whitespace();
    match (columns.next(), columns.next(), columns.next(), columns.next()) {
        (Some(_), Some(_), Some(third), None) => {
            third.parse::<u32>().is_err() && score(third).is_ok()
        }
        _ => false,
    }
}

/// Reads scored pairs one by one, in the order of the file. A line may have
///
/// - three columns: query, document, score (RetroMAE's teacher files, rerankers' score files);
/// - five: score of the positive, score of the negative, query, positive, negative (Margin-MSE's);
/// - two: score of the positive, score of the negative, for the line of the same number in `triples`,
///   a file of query, positive, negative (MS MARCO's).
///
/// All lines have as many columns as the first. Columns are apart by white space; scores may stand
/// in brackets.
///
/// # Errors
/// When a line has another number of columns, an id is bad, a score is not a finite number, the
/// files of scores and triples are not equally long, or `take` refuses a pair.
pub fn read_scored_pairs(
    path: &Path,
    triples: Option<&Path>,
    mut take: impl FnMut(&str, &str, f64) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    let mut triples = triples.map(Lines::open).transpose()?;
    let mut n_columns = None;
    Lines::open(path)?.for_each(|line| {
        if is_comment(line) {
            return Ok(());
        }
        let mut columns = line.split_ascii_whitespace();
        let row: [Option<&str>; 6] = std::array::from_fn(|_| columns.next());
        let found = line.split_ascii_whitespace().count();
        if *n_columns.get_or_insert(found) != found {
            return Err(ErrorKind::Columns { expected: "as many as in the first line", found });
        }
        let mut pair = |query: &str, document: &str, text: &str| {
            id::check(query)?;
            id::check(document)?;
            take(query, document, score(text)?)
        };
        match (row, &mut triples) {
            ([Some(query), Some(document), Some(score), None, ..], _) => {
                pair(query, document, score)
            }
            ([Some(high), Some(low), Some(query), Some(positive), Some(negative), None], _) => {
                pair(query, positive, high)?;
                pair(query, negative, low)
            }
            ([Some(high), Some(low), None, ..], Some(triples)) => {
                let missing = || ErrorKind::Invalid("the file of triples is shorter".to_owned());
                let triple = triples.next().map_err(Error::into_kind)?.ok_or_else(missing)?;
                let mut ids = triple.split_ascii_whitespace();
                match (ids.next(), ids.next(), ids.next(), ids.next()) {
                    (Some(query), Some(positive), Some(negative), None) => {
                        pair(query, positive, high)?;
                        pair(query, negative, low)
                    }
                    _ => Err(ErrorKind::Columns {
                        expected: "3 columns (query, positive, negative) in the file of triples",
                        found: triple.split_ascii_whitespace().count(),
                    }),
                }
            }
            _ => Err(ErrorKind::Columns { expected: EXPECTED, found }),
        }
    })?;
    match (n_columns, triples) {
        (None, _) => Err(Error::file(path, ErrorKind::Empty)),
        (Some(2), Some(mut triples)) => match triples.next()? {
            Some(_) => {
                let problem = "longer than the file of scores".to_owned();
                Err(Error::file(triples.path(), ErrorKind::Invalid(problem)))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Reads a score file (query, document, score) as a ranking. Of a pair that comes again the last
/// score counts, as in the teacher files of which such a file is often one.
///
/// # Errors
/// As [`read_scored_pairs`], and when the lines have another number of columns than three.
pub fn read_score_file(path: &Path, tag: &str) -> Result<Run> {
    let mut queries: indexmap::IndexMap<QueryId, indexmap::IndexMap<DocId, f64>> =
        indexmap::IndexMap::new();
    read_scored_pairs(path, None, |query, document, score| {
        let candidates = queries.entry(QueryId::new(query)?).or_default();
        candidates.insert(DocId::new(document)?, score);
        Ok(())
    })?;
    let mut run = Run::new(tag);
    for (query, candidates) in queries {
        let candidates = candidates
            .into_iter()
            .map(|(document, score)| ScoredDocument { document, score })
            .collect();
        run.insert(query, candidates)?;
    }
    Ok(run)
}

/// Reads which pairs are to be scored. A line may have
///
/// - two columns: query, document; every line is kept;
/// - three: query, document, rank (MS MARCO's runs); kept when the rank is at most `depth`;
/// - four: query, document, rank, score (dense retrievers'); kept by the same rule.
///
/// The result's scores only keep the order of lines or ranks.
///
/// # Errors
/// When a line has other columns, a rank is not an integer from 1 (as in a score file), an id is
/// bad, or a pair comes twice.
pub fn read_test_pairs(path: &Path, depth: Option<u32>) -> Result<Run> {
    let mut queries: indexmap::IndexMap<QueryId, Vec<ScoredDocument>> = indexmap::IndexMap::new();
    let mut any = false;
    Lines::open(path)?.for_each(|line| {
        if is_comment(line) {
            return Ok(());
        }
        any = true;
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (query, document, rank) = match columns[..] {
            [query, document] => (query, document, None),
            [query, document, rank] | [query, document, rank, _] => (query, document, Some(rank)),
            _ => {
                let expected = "2 to 4 columns (query, document; then rank; then score)";
                return Err(ErrorKind::Columns { expected, found: columns.len() });
            }
        };
        let candidates = queries.entry(QueryId::new(query)?).or_default();
        let rank = match rank {
            None => u32::try_from(candidates.len()).unwrap_or(u32::MAX),
            Some(text) => match text.parse::<u32>() {
                Ok(rank) if rank > 0 => rank,
                _ => {
                    return Err(ErrorKind::Value {
                        field: "rank",
                        expected: "an integer from 1 (a score file is no list of pairs)",
                        found: text.to_owned(),
                    });
                }
            },
        };
        if columns.len() == 2 || depth.is_none_or(|depth| rank <= depth) {
            let document = DocId::new(document)?;
            candidates.push(ScoredDocument { document, score: -f64::from(rank) });
        }
        Ok(())
    })?;
    if !any {
        return Err(Error::file(path, ErrorKind::Empty));
    }
    let mut run = Run::new("pairs");
    for (query, candidates) in queries {
        run.insert(query, candidates).map_err(|error| Error::file(path, error.into_kind()))?;
    }
    Ok(run)
}
