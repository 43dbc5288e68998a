//! Parquet files: texts (`id`, `title`, `text`), groups (`query`, `pos`, `neg`, scores) and runs.
//!
//! Column names of other tools are read too (`_id`, `docid`, `q_id`, ...). Written: Zstandard, one
//! row group for 65,536 rows.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::column::{self, Numbers, Strings};
use super::group_jsonl::GroupLine;
use super::run_builder::RunBuilder;
use crate::error::{Error, ErrorKind, Result};
use crate::run::Run;

/// Rows that are decoded, or written, at a time.
const BATCH: usize = 8192;

/// Rows of a row group.
const ROW_GROUP: usize = 65_536;

/// Reads texts row by row: `take` gets id, title (empty where there is none) and text.
///
/// # Errors
/// When the file is not Parquet, a column is missing or has another type, or `take` refuses a row.
pub fn read_texts(
    path: &Path,
    mut take: impl FnMut(&str, &str, &str) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    for_each_batch(path, |batch| {
        let ids = Strings::of(batch, &["id", "_id", "docid", "pid", "qid", "query_id"])?;
        let titles = Strings::optional(batch, &["title"])?;
        let texts = Strings::of(batch, &["text", "contents", "passage", "query"])?;
        for i in 0..batch.num_rows() {
            let title = titles.as_ref().map(|titles| titles.get(i)).transpose()?;
            take(&ids.get(i)?, title.as_deref().unwrap_or(""), &texts.get(i)?)?;
        }
        Ok(())
    })
}

/// Writes texts as `id`, `text`.
///
/// # Errors
/// When writing fails.
pub fn write_texts<'a>(
    rows: impl IntoIterator<Item = (&'a str, &'a str)>,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let field = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![field("id"), field("text")]));
    let mut out = writer(schema.clone(), out)?;
    let mut rows = rows.into_iter();
    loop {
        let (ids, texts): (Vec<&str>, Vec<&str>) = rows.by_ref().take(BATCH).unzip();
        if ids.is_empty() {
            break;
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(ids)), Arc::new(StringArray::from(texts))];
        write_batch(&mut out, &schema, columns)?;
    }
    out.close().map(drop).map_err(std::io::Error::other)
}

/// Reads groups row by row; null lists are read as absent.
///
/// # Errors
/// As [`group_jsonl::read_groups`](super::group_jsonl::read_groups), and when a column is missing or
/// has another type.
pub fn read_groups(
    path: &Path,
    mut take: impl FnMut(GroupLine) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    for_each_batch(path, |batch| {
        let queries = Strings::of(batch, &["query"])?;
        let positives = column::text_lists(batch, "pos")?;
        let negatives = column::text_lists(batch, "neg")?;
        let positive_scores = column::number_lists(batch, "pos_scores")?;
        let negative_scores = column::number_lists(batch, "neg_scores")?;
        for i in 0..batch.num_rows() {
            let group = GroupLine {
                query: queries.get(i)?.into_owned(),
                positives: positives.get(i)?.unwrap_or_default(),
                negatives: negatives.get(i)?.unwrap_or_default(),
                positive_scores: positive_scores.get(i)?,
                negative_scores: negative_scores.get(i)?,
            };
            group.check()?;
            take(group)?;
        }
        Ok(())
    })
}

/// Writes groups.
///
/// # Errors
/// When writing fails.
pub fn write_groups<'a>(
    groups: impl IntoIterator<Item = &'a GroupLine>,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let list = |name, item: DataType| {
        let item = Arc::new(Field::new("item", item, true));
        Field::new(name, DataType::List(item), true)
    };
    let schema = Arc::new(Schema::new(vec![
        Field::new("query", DataType::Utf8, false),
        list("pos", DataType::Utf8),
        list("neg", DataType::Utf8),
        list("pos_scores", DataType::Float32),
        list("neg_scores", DataType::Float32),
    ]));
    let mut out = writer(schema.clone(), out)?;
    let mut groups = groups.into_iter().peekable();
    while groups.peek().is_some() {
        let mut queries = StringBuilder::new();
        let mut texts: [ListBuilder<StringBuilder>; 2] =
            [ListBuilder::new(StringBuilder::new()), ListBuilder::new(StringBuilder::new())];
        let mut scores: [ListBuilder<Float32Builder>; 2] =
            [ListBuilder::new(Float32Builder::new()), ListBuilder::new(Float32Builder::new())];
        for group in groups.by_ref().take(BATCH) {
            queries.append_value(&group.query);
            for (column, list) in texts.iter_mut().zip([&group.positives, &group.negatives]) {
                column.append_value(list.iter().map(Some));
            }
            let lists = [&group.positive_scores, &group.negative_scores];
            for (column, list) in scores.iter_mut().zip(lists) {
                column.append_option(list.as_ref().map(|list| list.iter().copied().map(Some)));
            }
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(queries.finish())];
        columns.extend(texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(scores.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        write_batch(&mut out, &schema, columns)?;
    }
    out.close().map(drop).map_err(std::io::Error::other)
}

/// Reads a run from columns `query`, `document`, `score` and, where there is one, `tag`.
///
/// # Errors
/// When a column is missing or has another type, a score is NaN, or a document comes twice for one
/// query.
pub fn read_run(path: &Path) -> Result<Run> {
    let mut first_tag: Option<String> = None;
    let mut builder = RunBuilder::default();
    read_candidates(path, |query, document, score, tag| {
        if let (None, Some(tag)) = (&first_tag, tag) {
            first_tag = Some(tag.to_owned());
        }
        builder.push(query, document, score)
    })?;
    let tag = first_tag.as_deref().unwrap_or("parquet");
    let run = builder.finish(tag).map_err(|(query, document)| {
        let id = format!("{document} of query {query}");
        Error::file(path, ErrorKind::Duplicate { what: "document", id })
    })?;
    if run.n_queries() == 0 { Err(Error::file(path, ErrorKind::Empty)) } else { Ok(run) }
}

/// Reads the rows of a run one by one, a row group at a time in memory: `take` gets query, document,
/// score and tag. Neither ids nor that a document comes once is checked.
///
/// # Errors
/// When the file is not Parquet, a column is missing or has another type, a score is null or NaN, or
/// `take` refuses a row.
pub fn read_candidates(
    path: &Path,
    mut take: impl FnMut(&str, &str, f64, Option<&str>) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    for_each_batch(path, |batch| {
        let queries = Strings::of(batch, &["query", "query_id", "q_id", "qid"])?;
        let documents = Strings::of(batch, &["document", "doc_id", "docid", "docno", "pid"])?;
        let scores = Numbers::of(batch, "score")?;
        let tags = Strings::optional(batch, &["tag"])?;
        for i in 0..batch.num_rows() {
            let (document, score) = (documents.get(i)?, scores.get(i)?);
            if score.is_nan() {
                return Err(ErrorKind::NotANumber { document: document.into_owned() });
            }
            let tag = tags.as_ref().map(|tags| tags.get(i)).transpose()?;
            take(&queries.get(i)?, &document, score, tag.as_deref())?;
        }
        Ok(())
    })
}

/// Writes a run in canonical order: `query`, `document`, `rank`, `score`, `tag`.
///
/// # Errors
/// When writing fails.
pub fn write_run(run: &Run, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("query", DataType::Utf8, false),
        Field::new("document", DataType::Utf8, false),
        Field::new("rank", DataType::UInt32, false),
        Field::new("score", DataType::Float64, false),
        Field::new("tag", DataType::Utf8, false),
    ]));
    let mut out = writer(schema.clone(), out)?;
    for (query, candidates) in run.iter() {
        let n = candidates.len();
        let documents = candidates.iter().map(|candidate| candidate.document.as_str());
        let ranks = (1_u32..).take(n);
        let scores = candidates.iter().map(|candidate| candidate.score);
        let same = |text| StringArray::from_iter_values(std::iter::repeat_n(text, n));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(same(query.as_str())),
            Arc::new(StringArray::from_iter_values(documents)),
            Arc::new(UInt32Array::from_iter_values(ranks)),
            Arc::new(Float64Array::from_iter_values(scores)),
            Arc::new(same(run.tag())),
        ];
        write_batch(&mut out, &schema, columns)?;
    }
    out.close().map(drop).map_err(std::io::Error::other)
}

fn failed(path: &Path, error: impl ToString) -> Error {
    Error::file(path, ErrorKind::Parquet { problem: error.to_string() })
}

/// Hands over every batch; `take` returning an error ends it with the path.
fn for_each_batch(
    path: &Path,
    mut take: impl FnMut(&RecordBatch) -> std::result::Result<(), ErrorKind>,
) -> Result<()> {
    let file = File::open(path).map_err(|error| Error::file(path, error))?;
    let reader = |file| -> std::result::Result<ParquetRecordBatchReader, ParquetError> {
        ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH).build()
    };
    for batch in reader(file).map_err(|error| failed(path, error))? {
        let batch = batch.map_err(|error| failed(path, error))?;
        take(&batch).map_err(|kind| Error::file(path, kind))?;
    }
    Ok(())
}

type Writer<'a> = ArrowWriter<&'a mut (dyn Write + Send)>;

fn writer<'a>(schema: SchemaRef, out: &'a mut (dyn Write + Send)) -> std::io::Result<Writer<'a>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .build();
    ArrowWriter::try_new(out, schema, Some(properties)).map_err(std::io::Error::other)
}

fn write_batch(
    out: &mut Writer<'_>,
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
) -> std::io::Result<()> {
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(std::io::Error::other)?;
    out.write(&batch).map_err(std::io::Error::other)
}
