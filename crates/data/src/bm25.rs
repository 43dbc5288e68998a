//! Documents into an inverted index, and queries into a first-stage run by BM25.

mod analyzer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use tantivy::columnar::StrColumn;
use tantivy::indexer::NoMergePolicy;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, TextAnalyzer, Token};
use tantivy::{Index, InvertedIndexReader, TantivyDocument, Term};

use crate::error::{Error, ErrorKind, Result};
use crate::id::{DocId, QueryId};
use crate::run::{Run, ScoredDocument};
pub use analyzer::Analyzer;

/// How texts become terms and how terms are weighed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bm25Options {
    /// What a term is, in documents and queries alike.
    pub analyzer: Analyzer,
    /// How fast a repeated term stops counting; 0: at once.
    pub k1: f64,
    /// How much long documents are discounted, from 0 (not) to 1 (in proportion).
    pub b: f64,
}

impl Default for Bm25Options {
    /// English, with Anserini's `k1` 0.9 and `b` 0.4.
    fn default() -> Self {
        Self { analyzer: Analyzer::English, k1: 0.9, b: 0.4 }
    }
}

/// An index of documents that answers queries.
///
/// Analysis, dictionary and postings are tantivy's; the score is computed here, in f64 and from exact
/// document lengths, because tantivy fixes `k1` and `b`, rounds lengths to a byte and sums in f32.
/// Scores and ties therefore do not depend on the number of threads.
///
/// # Formula
/// ```text
/// score = Σ over the query's terms t, repeated ones as often as they occur, of
///         ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) · tf / (tf + k1 · (1 - b + b · length / mean length))
/// ```
///
/// # Source
/// Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; the idf and the
/// missing factor `k1 + 1` as in Lucene 8 and later.
///
/// ```
/// use tamis_data::bm25::{Bm25, Bm25Options};
/// use tamis_data::DocId;
///
/// let texts = [("d1", "a drum sieve"), ("d2", "what passes the sieve is fine"), ("d3", "snow")];
/// let id = |id| DocId::new(id).expect("no white space in it");
/// let documents = texts.map(|(name, text)| Ok((id(name), text.to_owned())));
/// let index = Bm25::in_ram(documents.into_iter(), Bm25Options::default())?;
/// let found: Vec<_> = index.search("Sieves?", 10)?.iter().map(|d| d.document.to_string()).collect();
/// assert_eq!(found, ["d1", "d2"]);
/// # Ok::<(), tamis_data::Error>(())
/// ```
pub struct Bm25 {
    options: Bm25Options,
    analyzer: TextAnalyzer,
    postings: Arc<InvertedIndexReader>,
    text: Field,
    ids: StrColumn,
    // Rank of each document's id among all ids, in byte order: settles ties without reading ids.
    id_ranks: Vec<u32>,
    lengths: Vec<u32>,
    mean_length: f64,
}

const OPTIONS_FILE: &str = "bm25.json";
const TEXT: &str = "text";
const ID: &str = "id";
const LENGTH: &str = "length";
const WRITER_BYTES: usize = 256 << 20;
const DOCUMENTS_AT_ONCE: usize = 2048;

impl Bm25 {
    /// Indexes documents in memory.
    ///
    /// # Errors
    /// When there is no document, an id occurs twice, an option is out of range, or the iterator fails.
    pub fn in_ram(
        documents: impl Iterator<Item = Result<(DocId, String)>>,
        options: Bm25Options,
    ) -> Result<Self> {
        let index = Index::create_in_ram(schema().0);
        fill(&index, documents, &options)?;
        Self::read(&index, options)
    }

    /// Indexes documents into a folder that must not exist; it appears once it is complete.
    ///
    /// # Errors
    /// As [`Bm25::in_ram`], and when the folder exists or cannot be written.
    pub fn create(
        folder: &Path,
        documents: impl Iterator<Item = Result<(DocId, String)>>,
        options: Bm25Options,
    ) -> Result<Self> {
        let io = |error| Error::file(folder, ErrorKind::Io(error));
        if folder.exists() {
            return Err(Error::file(folder, ErrorKind::Invalid("already exists".to_owned())));
        }
        let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
        let unfinished = tempfile::Builder::new()
            .prefix(".bm25-")
            .tempdir_in(parent.unwrap_or(Path::new(".")))
            .map_err(io)?;
        let index = Index::create_in_dir(unfinished.path(), schema().0)
            .map_err(|error| failed_at(folder, &error))?;
        fill(&index, documents, &options)?;
        drop(index);
        let json = serde_json::to_vec_pretty(&options).map_err(ErrorKind::Json)?;
        std::fs::write(unfinished.path().join(OPTIONS_FILE), json).map_err(io)?;
        std::fs::rename(unfinished.path(), folder).map_err(io)?;
        // Nothing is left under the temporary name to be removed.
        let _ = unfinished.keep();
        Self::open(folder)
    }

    /// Opens an index made by [`Bm25::create`].
    ///
    /// # Errors
    /// When the folder is not such an index.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(OPTIONS_FILE);
        let json = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
        let options: Bm25Options =
            serde_json::from_slice(&json).map_err(|error| Error::file(&path, error))?;
        let index = Index::open_in_dir(folder).map_err(|error| failed_at(folder, &error))?;
        Self::read(&index, options)
    }

    /// How many documents the index holds.
    #[must_use]
    pub fn n_documents(&self) -> usize {
        self.lengths.len()
    }

    /// How texts become terms and how terms are weighed.
    #[must_use]
    pub fn options(&self) -> &Bm25Options {
        &self.options
    }

    /// The `k` best documents for a text, in canonical order; those without any of its terms are left out.
    ///
    /// Every text is a valid query: there is no query syntax.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn search(&self, query: &str, k: usize) -> Result<Vec<ScoredDocument>> {
        self.top(&mut Accumulator::new(self.n_documents()), query, k)
    }

    /// A run over many queries, on all threads; queries without any candidate are left out.
    ///
    /// # Errors
    /// When the index cannot be read or a query id occurs twice.
    pub fn run(&self, queries: &[(QueryId, &str)], k: usize, tag: &str) -> Result<Run> {
        let found: Vec<Vec<ScoredDocument>> = queries
            .par_iter()
            .map_init(
                || Accumulator::new(self.n_documents()),
                |accumulator, (_, text)| self.top(accumulator, text, k),
            )
            .collect::<Result<_>>()?;
        let mut run = Run::new(tag);
        for ((query, _), candidates) in queries.iter().zip(found) {
            if !candidates.is_empty() {
                run.insert(query.clone(), candidates)?;
            }
        }
        Ok(run)
    }

    fn read(index: &Index, options: Bm25Options) -> Result<Self> {
        let searcher = index.reader().map_err(|error| failed(&error))?.searcher();
        let [segment] = searcher.segment_readers() else {
            let n = searcher.segment_readers().len();
            let message = format!("expected an index of one segment, found `{n}`");
            return Err(ErrorKind::Invalid(message).into());
        };
        let text = index.schema().get_field(TEXT).map_err(|error| failed(&error))?;
        let postings = segment.inverted_index(text).map_err(|error| failed(&error))?;
        let columns = segment.fast_fields();
        let missing = || ErrorKind::Invalid(format!("the index has no column `{ID}`"));
        let ids = columns.str(ID).map_err(|error| failed(&error))?.ok_or_else(missing)?;
        let documents = 0..segment.max_doc();
        let id_ranks: Vec<u32> = documents
            .clone()
            .map(|document| ids.ords().first(document).map(|rank| rank as u32))
            .collect::<Option<_>>()
            .ok_or_else(missing)?;
        refuse_duplicates(&ids, &id_ranks)?;
        let column = columns.u64(LENGTH).map_err(|error| failed(&error))?;
        let lengths: Vec<u32> =
            documents.map(|document| column.first(document).unwrap_or(0) as u32).collect();
        let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let mean_length = (total as f64 / lengths.len() as f64).max(f64::MIN_POSITIVE);
        let analyzer = options.analyzer.build();
        Ok(Self { options, analyzer, postings, text, ids, id_ranks, lengths, mean_length })
    }

    fn top(
        &self,
        accumulator: &mut Accumulator,
        query: &str,
        k: usize,
    ) -> Result<Vec<ScoredDocument>> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for token in terms(&mut self.analyzer.clone(), query) {
            *counts.entry(token.text).or_default() += 1;
        }
        for (term, count) in counts {
            self.add_term(accumulator, &Term::from_field_text(self.text, &term), count)?;
        }
        let mut found = accumulator.take();
        // Canonical order; ranks of ids stand for the ids themselves.
        let order = |a: &(u32, f64), b: &(u32, f64)| {
            let ranks = (self.id_ranks[a.0 as usize], self.id_ranks[b.0 as usize]);
            b.1.total_cmp(&a.1).then_with(|| ranks.1.cmp(&ranks.0))
        };
        if k < found.len() {
            found.select_nth_unstable_by(k, order);
            found.truncate(k);
        }
        found.sort_unstable_by(order);
        found
            .into_iter()
            .map(|(document, score)| Ok(ScoredDocument { document: self.id(document)?, score }))
            .collect()
    }

    fn add_term(&self, accumulator: &mut Accumulator, term: &Term, count: u32) -> Result<()> {
        let Some(mut block) = self
            .postings
            .read_block_postings(term, IndexRecordOption::WithFreqs)
            .map_err(ErrorKind::Io)?
        else {
            return Ok(());
        };
        let Bm25Options { k1, b, .. } = self.options;
        let n_documents = self.lengths.len() as f64;
        let frequency = f64::from(block.doc_freq());
        let idf = (1.0 + (n_documents - frequency + 0.5) / (frequency + 0.5)).ln();
        let weight = f64::from(count) * idf;
        let (flat, slope) = (k1 * (1.0 - b), k1 * b / self.mean_length);
        while block.block_len() > 0 {
            for (&document, &occurrences) in block.docs().iter().zip(block.freqs()) {
                let tf = f64::from(occurrences);
                let norm = flat + slope * f64::from(self.lengths[document as usize]);
                accumulator.add(document, weight * tf / (tf + norm));
            }
            block.advance();
        }
        Ok(())
    }

    fn id(&self, document: u32) -> Result<DocId> {
        id_of_rank(&self.ids, self.id_ranks[document as usize])
    }
}

/// A score per document, and which documents have one.
struct Accumulator {
    scores: Vec<f64>,
    touched: Vec<u32>,
}

impl Accumulator {
    fn new(n_documents: usize) -> Self {
        Self { scores: vec![0.0; n_documents], touched: Vec::new() }
    }

    fn add(&mut self, document: u32, part: f64) {
        let score = &mut self.scores[document as usize];
        // Every part is above zero, so that a zero means that the document is new.
        if *score == 0.0 {
            self.touched.push(document);
        }
        *score += part;
    }

    fn take(&mut self) -> Vec<(u32, f64)> {
        let scores = &mut self.scores;
        let take = |document: u32| (document, std::mem::take(&mut scores[document as usize]));
        self.touched.drain(..).map(take).collect()
    }
}

fn schema() -> (Schema, Field, Field, Field) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqs);
    let text = schema.add_text_field(TEXT, TextOptions::default().set_indexing_options(indexing));
    let id = schema.add_text_field(ID, TextOptions::default().set_fast("raw"));
    let length = schema.add_u64_field(LENGTH, FAST);
    (schema.build(), text, id, length)
}

fn fill(
    index: &Index,
    mut documents: impl Iterator<Item = Result<(DocId, String)>>,
    options: &Bm25Options,
) -> Result<()> {
    let Bm25Options { k1, b, .. } = *options;
    if !(k1 >= 0.0 && k1.is_finite() && (0.0..=1.0).contains(&b)) {
        let message = format!("expected k1 >= 0 and 0 <= b <= 1, found k1 `{k1}` and b `{b}`");
        return Err(ErrorKind::Invalid(message).into());
    }
    let (_, text, id, length) = schema();
    let analyzer = options.analyzer.build();
    let mut writer = index
        .writer_with_num_threads::<TantivyDocument>(1, WRITER_BYTES)
        .map_err(|error| failed(&error))?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    let mut n_documents = 0;
    loop {
        let some: Vec<(DocId, String)> =
            documents.by_ref().take(DOCUMENTS_AT_ONCE).collect::<Result<_>>()?;
        if some.is_empty() {
            break;
        }
        n_documents += some.len();
        let analyzed: Vec<TantivyDocument> = some
            .par_iter()
            .map_init(
                || analyzer.clone(),
                |analyzer, (name, content)| {
                    let tokens = terms(analyzer, content);
                    let mut document = TantivyDocument::default();
                    document.add_text(id, name.as_str());
                    document.add_u64(length, tokens.len() as u64);
                    let tokens = PreTokenizedString { text: String::new(), tokens };
                    document.add_pre_tokenized_text(text, tokens);
                    document
                },
            )
            .collect();
        for document in analyzed {
            writer.add_document(document).map_err(|error| failed(&error))?;
        }
    }
    if n_documents == 0 {
        return Err(ErrorKind::Invalid("no document to index".to_owned()).into());
    }
    writer.commit().map_err(|error| failed(&error))?;
    let segments = index.searchable_segment_ids().map_err(|error| failed(&error))?;
    if segments.len() > 1 {
        writer.merge(&segments).wait().map_err(|error| failed(&error))?;
        writer.garbage_collect_files().wait().map_err(|error| failed(&error))?;
    }
    writer.wait_merging_threads().map_err(|error| failed(&error))
}

fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    analyzer.token_stream(text).process(&mut |token| tokens.push(token.clone()));
    tokens
}

fn refuse_duplicates(ids: &StrColumn, id_ranks: &[u32]) -> Result<()> {
    let mut seen = vec![false; ids.num_terms()];
    for &rank in id_ranks {
        if std::mem::replace(&mut seen[rank as usize], true) {
            let id = id_of_rank(ids, rank)?.to_string();
            return Err(ErrorKind::Duplicate { what: "document", id }.into());
        }
    }
    Ok(())
}

fn id_of_rank(ids: &StrColumn, rank: u32) -> Result<DocId> {
    let mut id = String::new();
    ids.ord_to_str(u64::from(rank), &mut id).map_err(ErrorKind::Io)?;
    Ok(DocId::new(&id).map_err(ErrorKind::Id)?)
}

fn failed(error: &tantivy::TantivyError) -> Error {
    ErrorKind::Invalid(format!("index: {error}")).into()
}

fn failed_at(folder: &Path, error: &tantivy::TantivyError) -> Error {
    Error::file(folder, ErrorKind::Invalid(format!("index: {error}")))
}

#[cfg(test)]
mod tests;
