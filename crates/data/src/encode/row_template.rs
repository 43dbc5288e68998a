//! What stands around the two texts of a row, as data: segments that are tokenised one by one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Result};

/// How a query and a document become one row, for models that have no pair format of their own.
///
/// Every segment is tokenised alone and without special tokens, as the systems do that trained such
/// models: a segment's tokens never depend on its neighbours. Only the query and the document are ever
/// cut, at their ends; everything else is always there.
///
/// ```
/// use tamis_data::RowTemplate;
///
/// let template: RowTemplate = serde_json::from_str(
///     r#"{"segments": ["begin", {"text": "A: {query}"}, {"text": "\n"}, {"text": "B: {document}"}]}"#,
/// )?;
/// assert_eq!(template.segments.len(), 4);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowTemplate {
    /// What a row is made of, in order.
    pub segments: Vec<Segment>,
    /// Whether white space around a query and a document is dropped.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strip: bool,
    /// The most tokens of a document's segment, however much room there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_max_length: Option<usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A part of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Segment {
    /// What the tokenizer puts before a text of its own accord: often one token, with some none.
    Begin,
    /// A text; `{query}` and `{document}` stand for the two texts. Special tokens may be written out.
    Text(String),
}

/// The place of a query.
const QUERY: &str = "{query}";
/// The place of a document.
const DOCUMENT: &str = "{document}";

/// The instruction of BGE's rerankers on Gemma and MiniCPM.
const YES_OR_NO: &str = "Given a query A and a passage B, determine whether the passage contains an \
                         answer to the query by providing a prediction of either 'Yes' or 'No'.";
/// That of Matroyshka and of BGE's lightweight reranker.
const PREDICT: &str = "Predict whether passage B contains an answer to query A.";

impl RowTemplate {
    /// The templates that have a name.
    ///
    /// `bge` and `bge-predict` are those of BGE's LLM rerankers and of Matroyshka, `qwen3-reranker` is
    /// the chat of the model cards, `rag-retrieval` is RAG-Retrieval's with its default formats and
    /// Qwen's end of text.
    #[must_use]
    pub fn named() -> BTreeMap<&'static str, Self> {
        BTreeMap::from([
            ("bge", Self::bge(YES_OR_NO)),
            ("bge-predict", Self::bge(PREDICT)),
            (
                "qwen3-reranker",
                Self::qwen3(
                    "Given a web search query, retrieve relevant passages that answer the query",
                ),
            ),
            (
                "rag-retrieval",
                Self::rag_retrieval(
                    "query: {query}",
                    "document: {document}",
                    "\n",
                    "<|endoftext|>",
                ),
            ),
        ])
    }

    /// `A: query`, `B: document` and a prompt, with new lines between, as FlagEmbedding builds it.
    #[must_use]
    pub fn bge(prompt: &str) -> Self {
        Self::of_texts(true, &["A: {query}", "\n", "B: {document}", "\n", prompt])
    }

    /// RAG-Retrieval's: the formats of the two texts, what is between them, and the last tokens.
    #[must_use]
    pub fn rag_retrieval(query: &str, document: &str, between: &str, last: &str) -> Self {
        let texts: Vec<&str> =
            [query, between, document, last].into_iter().filter(|text| !text.is_empty()).collect();
        Self { strip: true, ..Self::of_texts(false, &texts) }
    }

    /// The chat of Qwen3-Reranker, which asks for `yes` or `no`.
    #[must_use]
    pub fn qwen3(instruction: &str) -> Self {
        let system = "<|im_start|>system\nJudge whether the Document meets the requirements based on \
                      the Query and the Instruct provided. Note that the answer can only be \"yes\" or \
                      \"no\".<|im_end|>\n<|im_start|>user\n";
        let query = format!("<Instruct>: {instruction}\n<Query>: {QUERY}\n<Document>:");
        let last = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
        Self::of_texts(false, &[system, &query, " {document}", last])
    }

    fn of_texts(begin: bool, texts: &[&str]) -> Self {
        let begin = begin.then_some(Segment::Begin);
        let texts = texts.iter().map(|&text| Segment::Text(text.to_owned()));
        Self {
            segments: begin.into_iter().chain(texts).collect(),
            strip: false,
            document_max_length: None,
        }
    }

    /// The segments before the query's, between, and after the document's, with the formats of the two.
    ///
    /// # Errors
    /// When there is not one query and after it, in another segment, one document.
    pub(super) fn split(&self) -> Result<Split<'_>> {
        let place = |name: &str| -> Result<(usize, Format<'_>)> {
            let found: Vec<(usize, &str)> = self
                .segments
                .iter()
                .enumerate()
                .filter_map(|(place, segment)| match segment {
                    Segment::Text(text) if text.contains(name) => Some((place, text.as_str())),
                    _ => None,
                })
                .collect();
            let bad = |problem: &str| ErrorKind::Invalid(format!("template: {problem} `{name}`"));
            let &[(place, text)] = found.as_slice() else {
                return Err(bad("expected one segment with").into());
            };
            let (before, after) = text.split_once(name).unwrap_or_default();
            if after.contains(name) {
                return Err(bad("expected one segment with one").into());
            }
            Ok((place, Format { before, after }))
        };
        let ((query_place, query), (document_place, document)) = (place(QUERY)?, place(DOCUMENT)?);
        if query_place >= document_place {
            let problem = "template: expected the query in a segment before the document's";
            return Err(ErrorKind::Invalid(problem.to_owned()).into());
        }
        if !document.after.is_empty() {
            let problem = "template: expected nothing after `{document}` in its segment, so that it is \
                           never cut; put it into the next one";
            return Err(ErrorKind::Invalid(problem.to_owned()).into());
        }
        Ok(Split {
            before: &self.segments[..query_place],
            query,
            between: &self.segments[query_place + 1..document_place],
            document,
            after: &self.segments[document_place + 1..],
        })
    }
}

/// A template cut at its two texts.
pub(super) struct Split<'a> {
    pub(super) before: &'a [Segment],
    pub(super) query: Format<'a>,
    pub(super) between: &'a [Segment],
    pub(super) document: Format<'a>,
    pub(super) after: &'a [Segment],
}

/// What stands around a text in its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format<'a> {
    pub(super) before: &'a str,
    pub(super) after: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(texts: &[&str]) -> RowTemplate {
        RowTemplate::of_texts(false, texts)
    }

    #[test]
    fn a_template_has_one_query_before_one_document() {
        for template in RowTemplate::named().values() {
            template.split().unwrap();
        }
        for (texts, problem) in [
            (&["{query}"][..], "expected one segment with `{document}`"),
            (&["{query} {document}"], "expected the query in a segment before the document's"),
            (&["{document}", "{query}"], "expected the query in a segment before the document's"),
            (&["{query}{query}", "{document}"], "expected one segment with one `{query}`"),
            (&["{query}", "{document}", "{document}"], "expected one segment with `{document}`"),
            (&["{query}", "{document}?"], "put it into the next one"),
        ] {
            let error = template(texts).split().err().unwrap().to_string();
            assert!(error.contains(problem), "{texts:?}: {error}");
        }
    }
}
