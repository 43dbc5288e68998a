//! Candidates whose documents were computed before, by id, beside those computed now, by text.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use tamis_data::term_store::{TermIdentity, TermPlace, TermStore};
use tamis_data::{Batch, DocumentPosition, TruncationReport, plan};

use super::term_cache::TermCache;
use super::{CORE_TOKENS, DEVICE_TOKENS, Reranker, is_cpu};
use crate::error::{Error, Result};

/// How many batches ahead of the one that is computed the system is told to read.
const AHEAD: usize = 4;

/// A candidate of a [`TermGroup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermCandidate<'a> {
    /// A document of the store.
    Id(&'a str),
    /// A document that is computed now; the last ones are kept in memory.
    Text(&'a str),
}

/// A query with its candidates.
#[derive(Debug, Clone)]
pub struct TermGroup<'a> {
    /// The query's text.
    pub query: &'a str,
    /// Its candidates.
    pub documents: Vec<TermCandidate<'a>>,
}

/// A store that a reranker reads, and what it computed itself.
#[derive(Debug)]
pub(super) struct Terms {
    store: Arc<TermStore>,
    cache: TermCache,
}

/// What is kept of a document below the split.
enum Kept {
    Stored(TermPlace),
    Computed(Arc<[f32]>),
}

impl Reranker {
    /// What the documents of a store must have been computed with so that this model can read them.
    ///
    /// # Errors
    /// When the model is not split, positions of documents depend on the query, or the model was not
    /// opened from a checkpoint.
    pub fn term_identity(&self) -> Result<TermIdentity> {
        let problem = |problem: &'static str| Error::NoTerms { problem };
        let Some(split) = self.split.filter(|split| split.join_layer > 0) else {
            return Err(problem("it reads query and document together from the first layer on"));
        };
        let Some(position) = self.encoder.document_position() else {
            let padded = DocumentPosition::PaddedQuery;
            debug_assert!(self.encoder.parts().is_none_or(|parts| parts.position == padded));
            return Err(problem(
                "the positions of its documents depend on the query; train with position = \"fixed:P\"",
            ));
        };
        let Some((model, tokenizer)) = self.hashes.clone() else {
            return Err(problem("it was not opened from a checkpoint"));
        };
        Ok(TermIdentity {
            model,
            tokenizer,
            join_layer: split.join_layer,
            position,
            max_document_tokens: self.encoder.room(0),
            width: split.compressor.map_or(self.hidden, |compressor| compressor.width),
            is_compressed: split.compressor.is_some(),
        })
    }

    /// Reads documents from a store. Documents that are given as texts are computed, and the last of
    /// them kept in `cache_bytes` of memory.
    ///
    /// # Errors
    /// When the store was made with another model, tokenizer or setting.
    pub fn with_terms(self, store: Arc<TermStore>, cache_bytes: usize) -> Result<Self> {
        if let Some(difference) = self.term_identity()?.difference(store.identity()) {
            return Err(Error::OtherTerms { difference });
        }
        Ok(Self { terms: Some(Terms { store, cache: TermCache::new(cache_bytes) }), ..self })
    }

    /// Computes the last layer for all tokens, as [`CrossEncoder::with_whole_last_layer`] does.
    ///
    /// [`CrossEncoder::with_whole_last_layer`]: crate::CrossEncoder::with_whole_last_layer
    #[must_use]
    pub fn with_whole_last_layer(self) -> Self {
        Self { model: self.model.with_whole_last_layer(), ..self }
    }

    /// The store that documents are read from.
    #[must_use]
    pub fn terms(&self) -> Option<&TermStore> {
        self.terms.as_ref().map(|terms| terms.store.as_ref())
    }

    /// What is kept of documents below the split, each with `width` values a token, and what was cut.
    ///
    /// # Errors
    /// As [`term_identity`](Self::term_identity), and when a text cannot be tokenised.
    pub fn compute_terms(&self, texts: &[&str]) -> Result<(Vec<Vec<f32>>, TruncationReport)> {
        self.term_identity()?;
        let ids = self.encoder.tokenize_many(texts)?;
        Ok(self.compute(&ids))
    }

    /// Scores candidates that are in the store or given as texts: raw logits in the order of the input,
    /// and what was cut of queries and texts.
    ///
    /// A query is computed once, whatever the number of its candidates. Without a store every candidate
    /// has to be a text.
    ///
    /// # Errors
    /// When a document is not in the store, a file of it is damaged, a text cannot be tokenised, or a
    /// score is not a number.
    pub fn score_terms(
        &self,
        groups: &[TermGroup<'_>],
    ) -> Result<(Vec<Vec<f32>>, TruncationReport)> {
        let width = self.term_identity()?.width;
        let (queries, mut report) = self.queries(groups)?;
        let (documents, cut) = self.documents(groups)?;
        report.merge(&cut);
        // Tokens of the two parts of every row, its group and its document.
        let mut rows = Vec::new();
        let mut flat = documents.iter();
        for (group, query) in groups.iter().zip(&queries) {
            for document in flat.by_ref().take(group.documents.len()) {
                let n_tokens = match document {
                    Kept::Stored(place) => self.store()?.n_tokens(*place)?,
                    Kept::Computed(values) => values.len() / width,
                };
                rows.push(((query.len() / width) as u32, n_tokens as u32, query, document));
            }
        }
        let lengths: Vec<usize> = rows.iter().map(|row| (row.0 + row.1) as usize).collect();
        let on_cpu = is_cpu(&self.device);
        let batches = plan(&lengths, if on_cpu { CORE_TOKENS } else { DEVICE_TOKENS });
        let score = |index: usize| -> Result<Vec<f32>> {
            for ahead in batches.iter().skip(index + 1).take(AHEAD).flatten() {
                if let Kept::Stored(place) = rows[*ahead].3 {
                    self.store()?.prefetch(*place)?;
                }
            }
            let own: Vec<_> = batches[index].iter().map(|&row| rows[row]).collect();
            let n_tokens: usize = batches[index].iter().map(|&row| lengths[row]).sum();
            let mut kept = Vec::with_capacity(n_tokens * width);
            for (_, _, query, document) in &own {
                kept.extend_from_slice(query);
                match document {
                    Kept::Stored(place) => self.store()?.read(*place, &mut kept)?,
                    Kept::Computed(values) => kept.extend_from_slice(values),
                }
            }
            let kept =
                Tensor::<2>::from_data(TensorData::new(kept, [n_tokens, width]), &self.device);
            let parts: Vec<(u32, u32)> = own.iter().map(|row| (row.0, row.1)).collect();
            Ok(numbers(self.model.upper(kept, &parts)))
        };
        let by_batch: Vec<Result<Vec<f32>>> = if on_cpu {
            self.workers.map(batches.len(), score)
        } else {
            (0..batches.len()).map(score).collect()
        };
        let mut flat = vec![0.0; rows.len()];
        for (batch, scores) in batches.iter().zip(by_batch) {
            for (&row, score) in batch.iter().zip(scores?) {
                flat[row] = score;
            }
        }
        let mut rest = flat.into_iter();
        let mut scores = Vec::with_capacity(groups.len());
        for (group_idx, group) in groups.iter().enumerate() {
            let own: Vec<f32> = rest.by_ref().take(group.documents.len()).collect();
            if let Some(document) = own.iter().position(|score| score.is_nan()) {
                return Err(Error::NotANumber { group: group_idx, document });
            }
            scores.push(own);
        }
        Ok((scores, report))
    }

    fn store(&self) -> Result<&TermStore> {
        self.terms().ok_or(Error::NoTerms { problem: "no store was given to it" })
    }

    /// What is kept of every query, and how many were cut.
    fn queries(&self, groups: &[TermGroup<'_>]) -> Result<(Vec<Vec<f32>>, TruncationReport)> {
        let texts: Vec<&str> = groups.iter().map(|group| group.query).collect();
        let mut report = TruncationReport::default();
        let mut batch = Batch::new();
        for (ids, group) in self.encoder.tokenize_many(&texts)?.iter().zip(groups) {
            self.encoder.encode_query(ids, &mut batch);
            let n_cut = ids.len().saturating_sub(self.settings.query_max_length) as u64;
            // As where they stand in rows: once for every candidate.
            let n_rows = group.documents.len() as u64;
            report.rows += n_rows;
            report.truncated_queries += n_rows * u64::from(n_cut > 0);
            report.dropped_tokens += n_rows * n_cut;
        }
        Ok((self.lower_rows(&batch), report))
    }

    /// Every candidate in the order of the groups.
    fn documents(&self, groups: &[TermGroup<'_>]) -> Result<(Vec<Kept>, TruncationReport)> {
        let candidates = || groups.iter().flat_map(|group| &group.documents);
        let texts: Vec<&str> = candidates()
            .filter_map(|candidate| match candidate {
                TermCandidate::Text(text) => Some(*text),
                TermCandidate::Id(_) => None,
            })
            .collect();
        let mut ids = self.encoder.tokenize_many(&texts)?;
        let room = self.encoder.room(0);
        let mut report = TruncationReport::default();
        for ids in &mut ids {
            let n_cut = ids.len().saturating_sub(room) as u64;
            report.truncated_rows += u64::from(n_cut > 0);
            report.dropped_tokens += n_cut;
            ids.truncate(room);
        }
        let cache = self.terms.as_ref().map(|terms| &terms.cache);
        let known: Vec<Option<Arc<[f32]>>> =
            ids.iter().map(|ids| cache.and_then(|cache| cache.get(ids))).collect();
        let mut wanted: Vec<Vec<u32>> = ids
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(ids, _)| ids.clone())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let computed: Vec<Arc<[f32]>> =
            self.compute(&wanted).0.into_iter().map(Arc::from).collect();
        if let Some(cache) = cache {
            for (ids, values) in wanted.iter().zip(&computed) {
                cache.put(ids, values);
            }
        }
        let mut texts = ids.iter().zip(known).map(|(ids, known)| {
            known.unwrap_or_else(|| {
                let place = wanted.binary_search(ids).expect("what was not known was computed");
                computed[place].clone()
            })
        });
        let kept = candidates()
            .map(|candidate| match candidate {
                TermCandidate::Id(id) => Ok(Kept::Stored(self.store()?.find(id)?)),
                TermCandidate::Text(_) => {
                    Ok(Kept::Computed(texts.next().expect("a document for every text")))
                }
            })
            .collect::<Result<_>>()?;
        Ok((kept, report))
    }

    /// What is kept of documents of these tokens.
    fn compute(&self, documents: &[Vec<u32>]) -> (Vec<Vec<f32>>, TruncationReport) {
        let mut report = TruncationReport::default();
        let mut batch = Batch::new();
        for ids in documents {
            self.encoder.encode_document(ids, &mut batch, &mut report);
        }
        (self.lower_rows(&batch), report)
    }

    /// What is kept of every row: those of like length share a pass.
    fn lower_rows(&self, rows: &Batch) -> Vec<Vec<f32>> {
        let lengths: Vec<usize> =
            rows.row_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
        let on_cpu = is_cpu(&self.device);
        let batches = plan(&lengths, if on_cpu { CORE_TOKENS } else { DEVICE_TOKENS });
        let lower = |index: usize| {
            let mut batch = Batch::new();
            batches[index].iter().for_each(|&row| batch.push_copy(rows, row));
            numbers(self.model.lower(&batch, &self.device))
        };
        let by_batch: Vec<Vec<f32>> = if on_cpu {
            self.workers.map(batches.len(), lower)
        } else {
            (0..batches.len()).map(lower).collect()
        };
        let mut kept = vec![Vec::new(); lengths.len()];
        for (batch, values) in batches.iter().zip(by_batch) {
            let n_tokens: usize = batch.iter().map(|&row| lengths[row]).sum();
            let width = values.len() / n_tokens.max(1);
            let mut rest = &values[..];
            for &row in batch {
                let (own, others) = rest.split_at(lengths[row] * width);
                kept[row] = own.to_vec();
                rest = others;
            }
        }
        kept
    }
}

fn numbers(values: Tensor<2>) -> Vec<f32> {
    values.into_data().convert::<f32>().try_into_vec().expect("the data was just made f32")
}
