//! Requests with `documents`: Cohere v1 and v2, Jina, vLLM, infinity, Voyage, Pinecone, and our own options.
//!
//! They are one family. What they send differs in names that do not collide, and one answer suits all but
//! three of them: Voyage and Pinecone look for `data`, and infinity wants documents as bare strings.
//!
//! # Source
//! The schemas and the code of the published clients: cohere 5.21 and 7.3, vLLM 0.11, infinity 0.0.77, voyageai
//! 0.5, Jina's and Pinecone's public descriptions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{documents, keeps_end, limit, long_documents, text::TextInput};
use crate::failure::Failure;
use crate::request::{Answer, Document, Group, Options, Request};

/// The name that infinity's client sends when it was given none.
const NO_MODEL: &str = "default/not-specified";

/// A query and documents, in the words of any of the family.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DocumentsRequest {
    /// The query.
    pub query: TextInput,
    /// The documents.
    pub documents: Vec<TextInput>,
    /// A model's name; the first model when absent.
    pub model: Option<String>,
    /// The best so many are returned; all when null or 0.
    pub top_n: Option<i64>,
    /// The same in Voyage's words.
    pub top_k: Option<i64>,
    /// Repeats each document beside its score.
    pub return_documents: Option<bool>,
    /// The fields of objects that are read (Cohere v1).
    pub rank_fields: Option<Vec<String>>,
    /// The most tokens of a document.
    pub max_tokens_per_doc: Option<i64>,
    /// The most tokens of the query (vLLM).
    pub max_tokens_per_query: Option<i64>,
    /// `false` refuses documents that do not fit (Voyage).
    pub truncation: Option<bool>,
    /// Which side of a document is cut: `right` (the default) or `left` (vLLM).
    pub truncation_side: Option<String>,
    /// vLLM's limit of a whole row; expected -1 (the model's).
    pub truncate_prompt_tokens: Option<i64>,
    /// Logits, whatever the checkpoint's activation (infinity, and ours).
    pub raw_scores: Option<bool>,
    /// `false` returns logits (vLLM).
    pub use_activation: Option<bool>,
    /// Spans of a document (Cohere v2); not computed, which a warning says.
    #[schema(value_type = Object)]
    pub relevant_spans: Option<serde_json::Value>,
    /// An instruction (vLLM); only templates of checkpoints have those, which a warning says.
    pub instruction: Option<String>,
    /// Lower ones are served first; 0 when absent.
    pub priority: Option<i32>,
    /// How long the client waits, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// What becomes of documents that do not fit: `first`, `max`, `mean`, `sum`, `top3-mean`.
    pub long_documents: Option<String>,
    /// Tokens of a window.
    pub window: Option<usize>,
    /// Tokens that neighbouring windows share.
    pub overlap: Option<usize>,
    /// The depth that gives scores, of models with several.
    pub exit: Option<usize>,
    /// So many tokens of a document become one, of models that can.
    pub ratio: Option<usize>,
}

/// Which of the family reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Cohere v1, Jina, vLLM, and our own.
    Results,
    /// Cohere v2: the same, and says so.
    CohereV2,
    /// infinity: documents as bare strings.
    Infinity,
    /// Voyage: `data`, documents as bare strings.
    Voyage,
    /// Pinecone: `data` with `score`.
    Pinecone,
}

/// What an answer needs to know of its request.
#[derive(Debug)]
pub struct DocumentsShape {
    dialect: Dialect,
    raw: bool,
    top_n: Option<usize>,
    ids: Vec<Option<String>>,
    texts: Option<Vec<Document>>,
    warnings: Vec<String>,
}

impl DocumentsRequest {
    /// The request, and the shape of its answer.
    ///
    /// # Errors
    /// When a value is not what is expected.
    pub fn into_request(self, dialect: Dialect) -> Result<(Request, DocumentsShape), Failure> {
        let query = self.query.query().map_err(|e| Failure::Invalid(format!("query: {e}")))?;
        let documents = documents(self.documents, "documents", self.rank_fields.as_deref())?;
        if let Some(n) = self.truncate_prompt_tokens.filter(|&n| n != -1) {
            return Err(Failure::Invalid(format!(
                "truncate_prompt_tokens: expected -1, found `{n}`; use max_tokens_per_doc"
            )));
        }
        let mut warnings = Vec::new();
        if self.relevant_spans.as_ref().is_some_and(|spans| spans["mode"] == "enabled") {
            warnings.push("relevant_spans: not computed".to_owned());
        }
        if self.instruction.is_some() {
            warnings.push("instruction: ignored; the checkpoint's template has its own".to_owned());
        }
        let options = Options {
            refuses_truncation: self.truncation == Some(false),
            keeps_end: keeps_end(self.truncation_side.as_deref(), "truncation_side")?,
            query_max_length: limit(self.max_tokens_per_query, "max_tokens_per_query")?,
            document_max_length: limit(self.max_tokens_per_doc, "max_tokens_per_doc")?,
            long_documents: long_documents(
                self.long_documents.as_deref(),
                self.window,
                self.overlap,
            )?,
            exit: self.exit,
            ratio: self.ratio,
            priority: self.priority.unwrap_or(0),
            timeout: self.timeout_ms.map(std::time::Duration::from_millis),
        };
        let top_n = match dialect {
            Dialect::Voyage => limit(self.top_k.or(self.top_n), "top_k")?,
            _ => limit(self.top_n.or(self.top_k), "top_n")?,
        };
        let raw = self.raw_scores.unwrap_or(false) || self.use_activation == Some(false);
        let shape = DocumentsShape {
            dialect,
            raw,
            top_n,
            ids: documents.iter().map(|document| document.id.clone()).collect(),
            texts: self.return_documents.unwrap_or(false).then(|| documents.clone()),
            warnings,
        };
        let model = self.model.filter(|name| name != NO_MODEL);
        let groups = vec![Group { query, documents }];
        Ok((Request { model, groups, options }, shape))
    }
}

/// A document as an answer repeats it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ReturnedDocument {
    /// As most read it.
    Object {
        /// The text.
        text: String,
    },
    /// As infinity and Voyage read it.
    Text(String),
}

/// One document of the ranking.
#[derive(Debug, Serialize, ToSchema)]
pub struct RankedDocument {
    /// Its place in the request.
    pub index: usize,
    /// Its id, if the request gave it one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relevance_score: Option<f32>,
    /// The same where Pinecone reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Its text, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<ReturnedDocument>,
}

/// Tokens that the model read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// Of all rows, special tokens included.
    pub prompt_tokens: usize,
    /// The same: nothing is generated.
    pub total_tokens: usize,
    /// Requests, where Pinecone reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_units: Option<usize>,
}

/// Where the time of a request went, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimingMs {
    /// Reading its texts into tokens.
    pub tokenization: f64,
    /// Waiting for its turn.
    pub queue: f64,
    /// From its first row to its last score.
    pub inference: f64,
    /// From its body to its answer.
    pub total: f64,
}

/// What else there is to say about an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Meta {
    /// Cohere's: which version answers.
    #[schema(value_type = Object)]
    pub api_version: serde_json::Value,
    /// Cohere's: what the request costs there.
    #[schema(value_type = Object)]
    pub billed_units: serde_json::Value,
    /// Cohere's count of tokens.
    #[schema(value_type = Object)]
    pub tokens: serde_json::Value,
    /// What was asked for and not done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Documents that were cut: their places in the request.
    pub truncated_documents: Vec<usize>,
    /// Whether the query was cut.
    pub truncated_query: bool,
    /// Tokens that were cut, over all rows.
    pub dropped_tokens: u64,
    /// Where the time went.
    pub timing_ms: TimingMs,
}

/// A ranking, the best document first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DocumentsAnswer {
    /// The request's own name.
    pub id: String,
    /// `rerank`; `list` for Voyage.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that scored.
    pub model: String,
    /// The ranking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<RankedDocument>>,
    /// The same where Voyage and Pinecone read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<RankedDocument>>,
    /// Tokens that the model read.
    pub usage: Usage,
    /// What else there is to say.
    pub meta: Meta,
}

impl DocumentsShape {
    /// The answer to a request of that id, made now (seconds since 1970).
    #[must_use]
    pub fn answer(mut self, answer: &Answer, id: String, created: u64) -> DocumentsAnswer {
        let dialect = self.dialect;
        let mut text = |index: usize| self.texts.as_mut()?.get_mut(index)?.text.take();
        let mut ids = self.ids;
        let mut ranked = |(index, logit): (usize, f32)| {
            let score = answer.shown(logit, self.raw);
            RankedDocument {
                index,
                id: ids.get_mut(index).and_then(Option::take),
                relevance_score: (dialect != Dialect::Pinecone).then_some(score),
                score: (dialect == Dialect::Pinecone).then_some(score),
                document: text(index).map(|text| match dialect {
                    Dialect::Infinity | Dialect::Voyage => ReturnedDocument::Text(text),
                    _ => ReturnedDocument::Object { text },
                }),
            }
        };
        let ranking: Vec<RankedDocument> =
            answer.ranking(0, self.top_n).into_iter().map(&mut ranked).collect();
        let version = if dialect == Dialect::CohereV2 { "2" } else { "1" };
        let in_data = matches!(dialect, Dialect::Voyage | Dialect::Pinecone);
        let (results, data) = if in_data { (None, Some(ranking)) } else { (Some(ranking), None) };
        let mut warnings = self.warnings;
        if !answer.cut.is_empty() {
            warnings.push(format!("{} documents were truncated", answer.cut.len()));
        }
        DocumentsAnswer {
            id,
            object: if dialect == Dialect::Voyage { "list" } else { "rerank" },
            created,
            model: answer.model.name().to_owned(),
            results,
            data,
            usage: usage(answer, dialect == Dialect::Pinecone),
            meta: meta(answer, version, warnings),
        }
    }
}

pub(super) fn usage(answer: &Answer, in_units: bool) -> Usage {
    let n = answer.n_tokens;
    Usage { prompt_tokens: n, total_tokens: n, rerank_units: in_units.then_some(1) }
}

fn meta(answer: &Answer, version: &str, warnings: Vec<String>) -> Meta {
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
    let timing = &answer.timing;
    Meta {
        api_version: serde_json::json!({ "version": version }),
        billed_units: serde_json::json!({ "search_units": 1 }),
        tokens: serde_json::json!({ "input_tokens": answer.n_tokens, "output_tokens": 0 }),
        warnings,
        truncated_documents: answer.cut.clone(),
        truncated_query: answer.truncation.truncated_queries > 0,
        dropped_tokens: answer.truncation.dropped_tokens,
        timing_ms: TimingMs {
            tokenization: ms(timing.tokenization),
            queue: ms(timing.queue),
            inference: ms(timing.inference),
            total: ms(timing.total),
        },
    }
}
