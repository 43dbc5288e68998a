//! Pairs of texts into rows of token ids: special tokens, truncation, and a count of what was cut.

mod parts;
mod row_template;
mod template;
mod truncate;

use std::borrow::Cow;
use std::path::Path;

use rayon::prelude::*;
use tokenizers::Tokenizer;

use crate::batch::Batch;
use crate::error::{Error, ErrorKind, Result};
pub use parts::{DocumentPosition, MaskPlace, PairParts};
pub use row_template::{RowTemplate, Segment};
use template::Template;
pub use truncate::{Truncation, TruncationReport};

/// How long a pair may be and what gives way when it is longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairConfig {
    /// The most tokens of a row, special tokens included.
    pub max_length: usize,
    /// The most tokens of a query, without special tokens; what is beyond is cut off and counted.
    pub query_max_length: usize,
    /// Which side gives way when the pair is too long.
    pub truncation: Truncation,
}

/// A tokenizer with its special tokens and a length limit: pairs of texts into rows of a [`Batch`].
///
/// The special tokens are those of the tokenizer's own post-processor. A tokenizer without one (or whose
/// post-processor adds nothing, as with many decoders) is accepted: query and document then follow each
/// other without anything in between, which is what Hugging Face's tokenizers do; see
/// [`PairEncoder::n_specials`].
/// A special token written out in a text (`[SEP]`) becomes that token, as it does in Hugging Face's.
#[derive(Debug, Clone)]
pub struct PairEncoder {
    tokenizer: Tokenizer,
    template: Template,
    config: PairConfig,
    parts: Option<PairParts>,
    vocab_size: usize,
    pad_id: u32,
}

impl PairEncoder {
    /// Takes a tokenizer; its own truncation and padding are switched off.
    ///
    /// # Errors
    /// When the post-processor does not put the query before the document, each once, or when the lengths
    /// leave no room: a query of `query_max_length` tokens, the special tokens and one document token
    /// must fit into `max_length` ([`Truncation::LongestFirst`]: one token of each).
    pub fn new(tokenizer: Tokenizer, config: PairConfig) -> Result<Self> {
        Self::with_template(tokenizer, None, config)
    }

    /// The same with a template in the place of the post-processor's special tokens, if one is given.
    ///
    /// # Errors
    /// As [`PairEncoder::new`], and when the template has not one query before one document.
    pub fn with_template(
        mut tokenizer: Tokenizer,
        template: Option<&RowTemplate>,
        config: PairConfig,
    ) -> Result<Self> {
        let pad_id = pad_id(&tokenizer);
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| ErrorKind::Invalid(format!("the tokenizer: {error}")))?;
        let template = match template {
            Some(template) => Template::of_segments(template, &tokenizer)?,
            None => Template::probe(&tokenizer)?,
        };
        check_lengths(&config, &template)?;
        let largest = tokenizer.get_vocab(true).into_values().chain(template.special_ids()).max();
        let vocab_size = largest.map_or(0, |id| id as usize + 1);
        Ok(Self { tokenizer, template, config, parts: None, vocab_size, pad_id })
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is no tokenizer, and as [`PairEncoder::new`].
    pub fn open(path: &Path, config: PairConfig) -> Result<Self> {
        Self::open_with(path, None, config)
    }

    /// The same with a template, if one is given.
    ///
    /// # Errors
    /// As [`PairEncoder::open`] and [`PairEncoder::with_template`].
    pub fn open_with(
        path: &Path,
        template: Option<&RowTemplate>,
        config: PairConfig,
    ) -> Result<Self> {
        let tokenizer = read(path)?;
        Self::with_template(tokenizer, template, config)
            .map_err(|error| Error::file(path, ErrorKind::Invalid(error.to_string())))
    }

    /// The same for a model that reads the two parts of a row apart first: documents are cut at what
    /// remains beside the longest query, and do not otherwise depend on it.
    ///
    /// # Errors
    /// When the tokenizer has no mask token and queries get some, the lengths leave no room for them,
    /// documents would start inside the longest query, or the truncation is not
    /// [`Truncation::SecondOnly`].
    pub fn with_parts(self, parts: PairParts) -> Result<Self> {
        let invalid = |message: String| Err(ErrorKind::Invalid(message).into());
        if self.config.truncation != Truncation::SecondOnly {
            return invalid("truncation: where query and document are read apart, expected `second-only`, found `longest-first`".to_owned());
        }
        let mut template = Template::probe(&self.tokenizer)?;
        if parts.query_masks > 0 {
            let names = ["[MASK]", "<mask>"];
            let Some(id) = names.iter().find_map(|name| self.tokenizer.token_to_id(name)) else {
                return invalid(
                    "query_masks: the tokenizer has no `[MASK]` or `<mask>`".to_owned(),
                );
            };
            template = template.with_masks(id, parts.query_masks, parts.mask_place);
        }
        if parts.document_start {
            template = template.with_document_start();
        }
        check_lengths(&self.config, &template)?;
        let longest = template.n_query_specials() + self.config.query_max_length;
        if let DocumentPosition::Fixed(position) = parts.position
            && position < longest
            && !parts.document_start
        {
            return invalid(format!(
                "position `fixed:{position}` is inside the longest query, which has {longest} tokens with its special ones",
            ));
        }
        Ok(Self { template, parts: Some(parts), ..self })
    }

    /// How the parts of a row are kept apart, if they are.
    #[must_use]
    pub fn parts(&self) -> Option<PairParts> {
        self.parts
    }

    /// One more than the last position that a token can have.
    #[must_use]
    pub fn n_positions(&self) -> usize {
        let longest_query = self.template.n_query_specials() + self.config.query_max_length;
        match self.document_position() {
            None => self.config.max_length,
            Some(position) => {
                let document = position + self.config.max_length - longest_query;
                document.max(longest_query)
            }
        }
    }

    /// Tokens of a document that are kept beside a query of so many.
    #[must_use]
    pub fn room(&self, n_query: usize) -> usize {
        let longest = self.config.query_max_length;
        let n_query = if self.parts.is_some() { longest } else { n_query.min(longest) };
        self.config.max_length.saturating_sub(self.template.n_specials() + n_query)
    }

    /// Lets documents start where the longest query of a batch ends, where that is the rule.
    pub fn align(&self, batch: &mut Batch) {
        if self.parts.is_some_and(|parts| parts.position == DocumentPosition::PaddedQuery) {
            batch.align_documents();
        }
    }

    /// The token ids of one text, without special tokens and uncut.
    ///
    /// # Errors
    /// When the tokenizer fails (a text with an unknown token where the vocabulary has none for it).
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| ErrorKind::Invalid(format!("the tokenizer failed: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The token ids of a query's segment: the text with what its template puts around it.
    ///
    /// # Errors
    /// As [`PairEncoder::tokenize`].
    pub fn tokenize_query(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenize(&self.query_text(text))
    }

    /// The token ids of a document's segment.
    ///
    /// # Errors
    /// As [`PairEncoder::tokenize`].
    pub fn tokenize_document(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenize(&self.document_text(text))
    }

    /// A query with what its template puts around it.
    pub(crate) fn query_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.template.query_text(text)
    }

    /// A document with what its template puts before it.
    pub(crate) fn document_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.template.document_text(text)
    }

    /// [`PairEncoder::tokenize`] of many texts on all threads; the order is kept.
    ///
    /// # Errors
    /// As [`PairEncoder::tokenize`], for one of the texts that fail.
    pub fn tokenize_many<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>> {
        texts.par_iter().map(|text| self.tokenize(text.as_ref())).collect()
    }

    /// [`PairEncoder::tokenize_query`] of many texts on all threads; the order is kept.
    ///
    /// # Errors
    /// As [`PairEncoder::tokenize`], for one of the texts that fail.
    pub fn tokenize_queries(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.par_iter().map(|text| self.tokenize_query(text)).collect()
    }

    /// [`PairEncoder::tokenize_document`] of many texts on all threads; the order is kept.
    ///
    /// # Errors
    /// As [`PairEncoder::tokenize`], for one of the texts that fail.
    pub fn tokenize_documents(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        texts.par_iter().map(|text| self.tokenize_document(text)).collect()
    }

    /// Adds the row of one pair of tokenized texts: special tokens, truncation, type ids.
    ///
    /// What is cut is cut from the end and counted in `report`.
    pub fn encode_ids(
        &self,
        query: &[u32],
        document: &[u32],
        batch: &mut Batch,
        report: &mut TruncationReport,
    ) {
        let kept = self.kept(query.len(), document.len());
        let (kept, document) = truncate::cut(kept, query, document, report);
        let is_cut = kept.len() < query.len();
        let (ids, type_ids) = batch.open_row();
        self.template.write(kept, is_cut, document, ids, type_ids);
        let n_query = self.template.n_query_specials() + kept.len();
        batch.close_row(Some(n_query), self.document_position());
    }

    /// How many tokens of a query and of a document their row keeps.
    #[must_use]
    pub fn kept(&self, n_query: usize, n_document: usize) -> (usize, usize) {
        if self.parts.is_some() {
            return (n_query.min(self.config.query_max_length), n_document.min(self.room(0)));
        }
        let room = truncate::Room {
            fixed: self.template.n_specials(),
            document: self.template.document_max_length(),
        };
        truncate::pair(&self.config, room, n_query, n_document)
    }

    /// The first `n` tokens of a query, with the end that the template gives to queries that are cut. A
    /// template's end is kept even where `n` is less.
    #[must_use]
    pub fn shorten_query<'a>(&self, query: &'a [u32], n: usize) -> Cow<'a, [u32]> {
        let end = self.template.query_end();
        if query.len() <= n.max(end.len()) {
            return Cow::Borrowed(query);
        }
        let start = &query[..n.saturating_sub(end.len())];
        Cow::Owned([start, end].concat())
    }

    /// Adds the query's part of a row, alone.
    pub fn encode_query(&self, query: &[u32], batch: &mut Batch) {
        let query = &query[..query.len().min(self.config.query_max_length)];
        let (ids, type_ids) = batch.open_row();
        self.template.write_query(query, false, ids, type_ids);
        batch.close_row(None, None);
    }

    /// Adds the document's part of a row, alone: what [`encode_ids`](Self::encode_ids) puts behind every
    /// query. What is cut is counted in `report`.
    ///
    /// # Panics
    /// When the positions of documents depend on the query.
    pub fn encode_document(
        &self,
        document: &[u32],
        batch: &mut Batch,
        report: &mut TruncationReport,
    ) {
        let position = self.document_position().expect("documents have a position of their own");
        let kept = (0, document.len().min(self.room(0)));
        let (_, document) = truncate::cut(kept, &[], document, report);
        let (ids, type_ids) = batch.open_row();
        self.template.write_document(document, ids, type_ids);
        batch.close_row(Some(0), Some(position));
    }

    /// The position of the first token of every document, where that does not depend on the query.
    #[must_use]
    pub fn document_position(&self) -> Option<usize> {
        match self.parts?.position {
            DocumentPosition::Fixed(position) => Some(position),
            DocumentPosition::PaddedQuery => None,
        }
    }

    /// Adds the row of one pair of texts.
    ///
    /// # Errors
    /// As [`PairEncoder::tokenize`].
    pub fn encode(
        &self,
        query: &str,
        document: &str,
        batch: &mut Batch,
        report: &mut TruncationReport,
    ) -> Result<()> {
        let (query, document) = (self.tokenize_query(query)?, self.tokenize_document(document)?);
        self.encode_ids(&query, &document, batch, report);
        Ok(())
    }

    /// Checks that every id this encoder can produce is a row of the model's embedding table.
    ///
    /// # Errors
    /// When the tokenizer knows ids at or above `model_vocab_size`.
    pub fn check_vocabulary(&self, model_vocab_size: usize) -> Result<()> {
        if self.vocab_size > model_vocab_size {
            let message = format!(
                "the tokenizer does not fit the model: its ids go up to `{}`, the model's vocabulary has `{model_vocab_size}` rows",
                self.vocab_size - 1,
            );
            return Err(ErrorKind::Invalid(message).into());
        }
        Ok(())
    }

    /// One more than the largest token id: how many embeddings a model must have for this tokenizer.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id that fills padded places: the tokenizer's own, else that of `[PAD]` or `<pad>`, else 0.
    ///
    /// A model masks these places, so that the id shows only where positions are counted from it.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// How many special tokens a row has.
    #[must_use]
    pub fn n_specials(&self) -> usize {
        self.template.n_specials()
    }

    /// How many of them follow the document.
    #[must_use]
    pub fn n_after(&self) -> usize {
        self.template.n_after()
    }

    /// The lengths and the truncation in use.
    #[must_use]
    pub fn config(&self) -> &PairConfig {
        &self.config
    }

    /// The tokenizer, without truncation and padding.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

fn pad_id(tokenizer: &Tokenizer) -> u32 {
    let named = || ["[PAD]", "<pad>"].iter().find_map(|name| tokenizer.token_to_id(name));
    tokenizer.get_padding().map(|padding| padding.pad_id).or_else(named).unwrap_or(0)
}

/// The first token of a word, as the tokenizer of a checkpoint cuts it: the row of a language-model head
/// that stands for the word.
///
/// # Errors
/// When the file cannot be read, is no tokenizer, or makes no token of the word.
pub fn first_id(tokenizer: &Path, word: &str) -> Result<u32> {
    let invalid = |problem: String| Error::file(tokenizer, ErrorKind::Invalid(problem));
    let encoding = read(tokenizer)?
        .encode_fast(word, false)
        .map_err(|error| invalid(format!("the tokenizer failed: {error}")))?;
    let first = encoding.get_ids().first().copied();
    first.ok_or_else(|| invalid(format!("there is no token for the answer `{word}`")))
}

fn read(path: &Path) -> Result<Tokenizer> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    Tokenizer::from_bytes(bytes)
        .map_err(|error| Error::file(path, ErrorKind::Invalid(format!("not a tokenizer: {error}"))))
}

fn check_lengths(config: &PairConfig, template: &Template) -> Result<()> {
    let n_specials = template.n_specials();
    let n_end = template.query_end().len();
    if n_end >= config.query_max_length.max(1) && n_end > 0 {
        let message = format!(
            "query_max_length `{}` leaves no room for a query: the template's end of its segment has {n_end} tokens",
            config.query_max_length,
        );
        return Err(ErrorKind::Invalid(message).into());
    }
    let PairConfig { max_length, query_max_length, truncation } = *config;
    let room = max_length.saturating_sub(n_specials);
    let kept_query = match truncation {
        Truncation::SecondOnly => query_max_length,
        Truncation::LongestFirst => query_max_length.min(1),
    };
    if query_max_length == 0 || kept_query >= room {
        let message = format!(
            "query_max_length `{query_max_length}` and {n_specials} special tokens leave no room for a document within max_length `{max_length}`",
        );
        return Err(ErrorKind::Invalid(message).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{VocabularyConfig, train};

    fn encoder(
        max_length: usize,
        query_max_length: usize,
        truncation: Truncation,
    ) -> Result<PairEncoder> {
        let config = VocabularyConfig { size: 60, ..VocabularyConfig::default() };
        let tokenizer = train(["the cat sat on the mat", "a cat and a hat"].into_iter(), &config)?;
        PairEncoder::new(tokenizer, PairConfig { max_length, query_max_length, truncation })
    }

    #[test]
    fn lengths_that_leave_no_room_are_refused() {
        assert!(encoder(8, 4, Truncation::SecondOnly).is_ok());
        let error = encoder(8, 5, Truncation::SecondOnly).unwrap_err();
        assert_eq!(
            error.to_string(),
            "query_max_length `5` and 3 special tokens leave no room for a document within max_length `8`"
        );
        assert!(encoder(8, 8, Truncation::LongestFirst).is_ok());
        assert!(encoder(4, 1, Truncation::LongestFirst).is_err());
        assert!(encoder(8, 0, Truncation::LongestFirst).is_err());
    }

    #[test]
    fn the_vocabulary_must_fit_the_model() {
        let encoder = encoder(8, 4, Truncation::SecondOnly).unwrap();
        assert!(encoder.check_vocabulary(encoder.vocab_size()).is_ok());
        let error = encoder.check_vocabulary(encoder.vocab_size() - 1).unwrap_err();
        assert!(
            error.to_string().starts_with("the tokenizer does not fit the model: its ids go up to")
        );
    }

    #[test]
    fn an_over_long_query_is_cut_and_counted() {
        let encoder = encoder(8, 2, Truncation::SecondOnly).unwrap();
        let (mut batch, mut report) = (Batch::new(), TruncationReport::default());
        encoder.encode_ids(&[10, 11, 12], &[20, 21, 22, 23], &mut batch, &mut report);
        encoder.encode_ids(&[10], &[20], &mut batch, &mut report);
        assert_eq!(batch.row(0).0[1..3], [10, 11]);
        assert_eq!(batch.row(0).0[4..7], [20, 21, 22]);
        assert_eq!(batch.row(0).1, [0, 0, 0, 0, 1, 1, 1, 1]);
        let expected = TruncationReport {
            rows: 2,
            truncated_rows: 1,
            truncated_queries: 1,
            dropped_tokens: 2,
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, "{}").unwrap();
        let config =
            PairConfig { max_length: 8, query_max_length: 4, truncation: Truncation::SecondOnly };
        let error = PairEncoder::open(&path, config).unwrap_err();
        assert_eq!(error.path(), Some(path.as_path()));
        assert!(error.to_string().contains("not a tokenizer"), "{error}");
    }
}
