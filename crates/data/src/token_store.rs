//! The texts of a dataset as token ids: tokenised once per tokenizer, then memory-mapped.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{ListArray, RecordBatch, UInt32Array};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema};
use indexmap::IndexMap;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::arrow_file::{ArrowFile, BATCH_ROWS, Columns};
use crate::arrow_writer::{ArrowWriter, WrittenFile};
use crate::dataset::Dataset;
use crate::encode::PairEncoder;
use crate::error::{Error, ErrorKind, Result};
use crate::output::OutputFolder;

/// Token ids of every query and document of a dataset, without special tokens.
///
/// It lies in the dataset's folder as `tokens-HASH`, with the first 16 digits of the hash.
#[derive(Debug)]
pub struct TokenStore {
    corpus: ArrowFile<TokenColumns>,
    queries: ArrowFile<TokenColumns>,
    header: Header,
    max_tokens: usize,
}

/// `tokens.json` of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    tokenizer: String,
    max_tokens: usize,
    cut_documents: u64,
    cut_queries: u64,
    files: IndexMap<String, WrittenFile>,
}

/// The version of the store that is written and read.
const VERSION: u32 = 1;

/// More tokens of one text than this could overflow the 32-bit offsets of a batch.
const MOST_TOKENS: usize = i32::MAX as usize / BATCH_ROWS;

#[derive(Debug)]
struct TokenColumns {
    offsets: OffsetBuffer<i32>,
    tokens: UInt32Array,
}

fn item() -> Field {
    Field::new("item", DataType::UInt32, false)
}

impl Columns for TokenColumns {
    fn schema() -> Schema {
        Schema::new(vec![Field::new("tokens", DataType::List(Arc::new(item())), false)])
    }

    fn from_batch(batch: &RecordBatch) -> Self {
        let list = batch.column(0).as_list::<i32>();
        let tokens = list.values().as_primitive::<UInt32Type>().clone();
        Self { offsets: list.offsets().clone(), tokens }
    }
}

impl TokenStore {
    /// Opens the store of a tokenizer, building it when there is none, or one of fewer tokens.
    ///
    /// `tokenizer_hash` is the SHA-256 of `tokenizer.json` in hexadecimal. The tokenizer's own
    /// truncation and padding play no part. `progress` is told how many texts are done, and of how many.
    ///
    /// # Errors
    /// When the store is damaged, the tokenizer fails on a text, `max_tokens` is 0 or above 262,143,
    /// or the folder cannot be written to.
    pub fn open_or_build(
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        tokenizer_hash: &str,
        max_tokens: usize,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        let plain =
            Segments { query: &|text| Cow::Borrowed(text), document: &|text| Cow::Borrowed(text) };
        Self::open_or_build_of(dataset, tokenizer, plain, tokenizer_hash, max_tokens, progress)
    }

    /// The same for an encoder, whose template may put something around the texts. Then the hash must
    /// tell the template too.
    ///
    /// # Errors
    /// As [`TokenStore::open_or_build`].
    pub fn open_or_build_for(
        dataset: &Dataset,
        encoder: &PairEncoder,
        hash: &str,
        max_tokens: usize,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        let segments = Segments {
            query: &|text| encoder.query_text(text),
            document: &|text| encoder.document_text(text),
        };
        Self::open_or_build_of(dataset, encoder.tokenizer(), segments, hash, max_tokens, progress)
    }

    fn open_or_build_of(
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        segments: Segments<'_>,
        tokenizer_hash: &str,
        max_tokens: usize,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        if !(1..=MOST_TOKENS).contains(&max_tokens) {
            let problem = format!("max_tokens: expected 1 to {MOST_TOKENS}, found {max_tokens}");
            return Err(ErrorKind::Invalid(problem).into());
        }
        let folder = folder_of(dataset, tokenizer_hash)?;
        if folder.exists() {
            let store = Self::open(dataset, tokenizer_hash, max_tokens)?;
            // Texts that were cut shorter than is asked for now must be tokenised again.
            if store.header.max_tokens >= max_tokens {
                return Ok(store);
            }
        }
        build(dataset, tokenizer, segments, tokenizer_hash, max_tokens, &folder, progress)?;
        Self::open(dataset, tokenizer_hash, max_tokens)
    }

    fn open(dataset: &Dataset, tokenizer_hash: &str, max_tokens: usize) -> Result<Self> {
        let folder = folder_of(dataset, tokenizer_hash)?;
        let path = folder.join("tokens.json");
        let text = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
        let header: Header = serde_json::from_slice(&text)
            .map_err(|error| Error::line(&path, error.line() as u64, error))?;
        if (header.version, header.tokenizer.as_str()) != (VERSION, tokenizer_hash) {
            return Err(Error::file(
                &path,
                ErrorKind::Value {
                    field: "version and tokenizer",
                    expected: "those of this program; delete the folder to build it again",
                    found: format!("{} {}", header.version, header.tokenizer),
                },
            ));
        }
        let corpus = open_file(&folder, "corpus.arrow", dataset.corpus().len())?;
        let queries = open_file(&folder, "queries.arrow", dataset.queries().len())?;
        Ok(Self { corpus, queries, header, max_tokens })
    }

    /// Token ids of a query.
    ///
    /// # Panics
    /// When there is no such row, or the file was damaged after it was written.
    #[must_use]
    pub fn query(&self, row: u32) -> &[u32] {
        self.get(&self.queries, row)
    }

    /// Token ids of a document.
    ///
    /// # Panics
    /// When there is no such row, or the file was damaged after it was written.
    #[must_use]
    pub fn document(&self, row: u32) -> &[u32] {
        self.get(&self.corpus, row)
    }

    fn get<'a>(&self, file: &'a ArrowFile<TokenColumns>, row: u32) -> &'a [u32] {
        let (columns, i) = file.locate(row as usize);
        let (start, stop) = (columns.offsets[i] as usize, columns.offsets[i + 1] as usize);
        &columns.tokens.values()[start..stop.min(start + self.max_tokens)]
    }

    /// The most tokens a text has here.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// How many documents were cut when the store was built, to the limit it was built with.
    #[must_use]
    pub fn cut_documents(&self) -> u64 {
        self.header.cut_documents
    }

    /// How many queries were cut when the store was built, to the limit it was built with.
    #[must_use]
    pub fn cut_queries(&self) -> u64 {
        self.header.cut_queries
    }
}

fn folder_of(dataset: &Dataset, hash: &str) -> Result<PathBuf> {
    match hash.get(..16) {
        Some(start) if start.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(dataset.path().join(format!("tokens-{start}")))
        }
        _ => Err(ErrorKind::Value {
            field: "tokenizer_hash",
            expected: "a SHA-256 in hexadecimal",
            found: hash.to_owned(),
        }
        .into()),
    }
}

fn open_file(folder: &Path, name: &str, rows: usize) -> Result<ArrowFile<TokenColumns>> {
    let path = folder.join(name);
    let file = ArrowFile::open(&path)?;
    if file.rows() != rows {
        let problem = format!("{} rows, the dataset has {rows}", file.rows());
        return Err(Error::file(&path, ErrorKind::Arrow { problem }));
    }
    Ok(file)
}

fn build(
    dataset: &Dataset,
    tokenizer: &Tokenizer,
    segments: Segments<'_>,
    hash: &str,
    max_tokens: usize,
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .map_err(|error| Error::from(ErrorKind::Invalid(error.to_string())))?;
    let output = OutputFolder::create(folder, true)?;
    let (corpus, queries) = (dataset.corpus(), dataset.queries());
    let total = (corpus.len() + queries.len()) as u64;
    let mut files = IndexMap::new();
    let mut cut = [0; 2];
    let mut done = 0;
    type Text<'a> = &'a (dyn Fn(u32) -> &'a str + Sync);
    let tables: [(&str, usize, Text<'_>, Text<'_>, Segment<'_>); 2] = [
        (
            "corpus.arrow",
            corpus.len(),
            &|row| corpus.id(row),
            &|row| corpus.text(row),
            segments.document,
        ),
        (
            "queries.arrow",
            queries.len(),
            &|row| queries.id(row),
            &|row| queries.text(row),
            segments.query,
        ),
    ];
    for ((name, rows, id, text, segment), cut) in tables.into_iter().zip(&mut cut) {
        let mut out = ArrowWriter::create(&output.path().join(name), TokenColumns::schema())?;
        for start in (0..rows).step_by(BATCH_ROWS) {
            let stop = rows.min(start + BATCH_ROWS);
            let encoded: std::result::Result<Vec<(Vec<u32>, bool)>, ErrorKind> = (start as u32
                ..stop as u32)
                .into_par_iter()
                .map(|row| tokens(&tokenizer, id(row), &segment(text(row)), max_tokens))
                .collect();
            let encoded = encoded?;
            *cut += encoded.iter().filter(|(_, was_cut)| *was_cut).count() as u64;
            let offsets =
                OffsetBuffer::from_lengths(encoded.iter().map(|(tokens, _)| tokens.len()));
            let flat: Vec<u32> = encoded.into_iter().flat_map(|(tokens, _)| tokens).collect();
            let values = UInt32Array::new(ScalarBuffer::from(flat), None);
            let list = ListArray::new(Arc::new(item()), offsets, Arc::new(values), None);
            out.write(vec![Arc::new(list)])?;
            done += (stop - start) as u64;
            progress(done, total);
        }
        files.insert(name.to_owned(), out.finish()?);
    }
    let header = Header {
        version: VERSION,
        tokenizer: hash.to_owned(),
        max_tokens,
        cut_documents: cut[0],
        cut_queries: cut[1],
        files,
    };
    crate::output::write_file(&output.path().join("tokens.json"), |out| {
        serde_json::to_writer_pretty(&mut *out, &header)?;
        writeln!(out)
    })?;
    output.commit()
}

/// What is tokenised of a text: the text, or all of its segment in a template.
type Segment<'a> = &'a (dyn Fn(&str) -> Cow<'_, str> + Sync);

/// The segments of the two kinds of texts.
#[derive(Clone, Copy)]
struct Segments<'a> {
    query: Segment<'a>,
    document: Segment<'a>,
}

/// The token ids of a text, and whether there were more.
fn tokens(
    tokenizer: &Tokenizer,
    id: &str,
    text: &str,
    max_tokens: usize,
) -> std::result::Result<(Vec<u32>, bool), ErrorKind> {
    let encoding = tokenizer
        .encode_fast(text, false)
        .map_err(|error| ErrorKind::Invalid(format!("tokenizing `{id}`: {error}")))?;
    let ids = encoding.get_ids();
    Ok((ids[..ids.len().min(max_tokens)].to_vec(), ids.len() > max_tokens))
}
