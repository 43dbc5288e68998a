//! Queries with their candidates into rows that wait to be scored, and scores of rows into those of documents.
//!
//! [`Reranker::score`] does it all in one call. A server takes the steps apart: requests are encoded as
//! they come, rows of several of them share a batch, and each request gets the scores of its own.

use std::borrow::Cow;
use std::ops::Range;

use tamis_data::{Batch, TextGroup, TruncationReport};

use super::{IdGroup, Reranker};
use crate::error::{Error, Result};
use crate::long_document::{LongDocuments, WindowPooling};

/// How the texts of one request become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowOptions {
    /// What becomes of documents that do not fit; the reranker's own treatment when absent.
    pub long_documents: Option<LongDocuments>,
    /// The most tokens of a query, if fewer than the reranker's.
    pub query_max_length: Option<usize>,
    /// The most tokens of a document, before it is cut into windows.
    pub document_max_length: Option<usize>,
    /// Keeps the end of a document that is cut, not its start.
    pub keeps_end: bool,
}

/// The rows of some groups: special tokens, windows and truncation done.
#[derive(Debug, Clone)]
pub struct Rows {
    pairs: Batch,
    group_sizes: Vec<usize>,
    /// Of every document, group after group.
    n_windows: Vec<usize>,
    /// Whether tokens of a document are in none of its rows.
    cut: Vec<bool>,
    long_documents: LongDocuments,
    report: TruncationReport,
}

impl Rows {
    /// The rows, gathered in the groups of the request.
    #[must_use]
    pub fn pairs(&self) -> &Batch {
        &self.pairs
    }

    /// What was cut.
    #[must_use]
    pub fn truncation(&self) -> TruncationReport {
        self.report
    }

    /// The documents that lost tokens: places in the order of the input, group after group.
    pub fn cut_documents(&self) -> impl Iterator<Item = usize> {
        self.cut.iter().enumerate().filter(|(_, is_cut)| **is_cut).map(|(place, _)| place)
    }

    /// Adds some of the rows to a batch, those of each group as a group of its own.
    ///
    /// # Panics
    /// When there are no such rows.
    pub fn copy_into(&self, rows: Range<usize>, batch: &mut Batch) {
        for bounds in self.pairs.group_offsets().windows(2) {
            let start = rows.start.max(bounds[0] as usize);
            let end = rows.end.min(bounds[1] as usize);
            if start < end {
                (start..end).for_each(|row| batch.push_copy(&self.pairs, row));
                batch.end_group();
            }
        }
    }

    /// The scores of documents, group after group, from those of all rows.
    ///
    /// # Errors
    /// When a score is not a number.
    ///
    /// # Panics
    /// When there are not as many scores as rows.
    pub fn pool(&self, scores: &[f32]) -> Result<Vec<Vec<f32>>> {
        assert_eq!(scores.len(), self.pairs.n_rows(), "a score for every row");
        let (mut rest, mut n_windows) = (scores, self.n_windows.iter());
        let mut groups = Vec::with_capacity(self.group_sizes.len());
        for (group_idx, &group_size) in self.group_sizes.iter().enumerate() {
            let mut own = Vec::with_capacity(group_size);
            for &n in n_windows.by_ref().take(group_size) {
                let (windows, others) = rest.split_at(n);
                own.push(self.long_documents.pool(windows));
                rest = others;
            }
            if let Some(document) = own.iter().position(|score| score.is_nan()) {
                return Err(Error::NotANumber { group: group_idx, document });
            }
            groups.push(own);
        }
        Ok(groups)
    }
}

impl Reranker {
    /// Tokenises the texts of a request, each once, and lays out its rows.
    ///
    /// # Errors
    /// When a text cannot be tokenised, windows would overlap by as much as they are long, or a row would
    /// be empty.
    pub fn encode(&self, groups: &[TextGroup<'_>], options: &RowOptions) -> Result<Rows> {
        let queries: Vec<&str> = groups.iter().map(|group| group.query).collect();
        let documents: Vec<&str> =
            groups.iter().flat_map(|group| group.documents.iter().copied()).collect();
        let queries = self.encoder.tokenize_queries(&queries)?;
        let documents = self.encoder.tokenize_documents(&documents)?;
        let mut rest = documents.iter().map(Vec::as_slice);
        let groups: Vec<IdGroup<'_>> = groups
            .iter()
            .zip(&queries)
            .map(|(group, query)| IdGroup {
                query,
                documents: rest.by_ref().take(group.documents.len()).collect(),
            })
            .collect();
        self.encode_ids(&groups, options)
    }

    /// The same for texts that are tokenised already.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_ids(&self, groups: &[IdGroup<'_>], options: &RowOptions) -> Result<Rows> {
        let long_documents = options.long_documents.unwrap_or(self.long_documents);
        self.check_windows(long_documents)?;
        let mut rows = Rows {
            pairs: Batch::new(),
            group_sizes: groups.iter().map(|group| group.documents.len()).collect(),
            n_windows: Vec::new(),
            cut: Vec::new(),
            long_documents,
            report: TruncationReport::default(),
        };
        for group in groups {
            let query = match options.query_max_length {
                Some(n) => self.encoder.shorten_query(group.query, n),
                None => Cow::Borrowed(group.query),
            };
            let n_cut = group.query.len() - query.len();
            for document in &group.documents {
                self.encode_document(&query, document, options, &mut rows);
            }
            // As what the encoder cuts: once for every row.
            let n_rows = group.documents.len() as u64;
            if n_cut > 0 {
                rows.report.truncated_queries += n_rows;
                rows.report.dropped_tokens += n_rows * n_cut as u64;
            }
            rows.pairs.end_group();
        }
        if rows.pairs.row_offsets().windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::EmptyRow);
        }
        Ok(rows)
    }

    fn encode_document(
        &self,
        query: &[u32],
        document: &[u32],
        options: &RowOptions,
        rows: &mut Rows,
    ) {
        let is_first = rows.long_documents.pooling == WindowPooling::First;
        let mut most = options.document_max_length.unwrap_or(usize::MAX).min(document.len());
        if is_first && options.keeps_end {
            most = self.encoder.kept(query.len(), most).1;
        }
        let kept = match options.keeps_end {
            true => &document[document.len() - most..],
            false => &document[..most],
        };
        let n_cut = (document.len() - kept.len()) as u64;
        let windows = rows.long_documents.windows(kept.len(), self.encoder.room(query.len()));
        rows.n_windows.push(windows.len());
        let before = rows.report.truncated_rows;
        for window in windows {
            let (pairs, report) = (&mut rows.pairs, &mut rows.report);
            self.encoder.encode_ids(query, &kept[window], pairs, report);
        }
        rows.report.dropped_tokens += n_cut;
        rows.report.truncated_rows += u64::from(n_cut > 0 && rows.report.truncated_rows == before);
        let is_cut = is_first && self.encoder.kept(query.len(), kept.len()).1 < kept.len();
        rows.cut.push(n_cut > 0 || is_cut);
    }

    /// Refuses windows that would never get on.
    pub(super) fn check_windows(&self, long_documents: LongDocuments) -> Result<()> {
        let least = self.encoder.room(self.settings.query_max_length);
        let window = long_documents.window.map_or(least, |window| window.min(least));
        if long_documents.overlap >= window {
            return Err(Error::Overlap { overlap: long_documents.overlap, window });
        }
        Ok(())
    }
}
