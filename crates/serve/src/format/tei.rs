//! Text Embeddings Inference: `POST /rerank` with `texts`.
//!
//! # Source
//! text-embeddings-inference 1.9, `router/src/http`. Where we differ: equal scores keep the order of the
//! input (there they are reversed), and the activation is the checkpoint's (there always a sigmoid).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{documents, keeps_end, text::TextInput};
use crate::failure::Failure;
use crate::request::{Answer, Document, Group, Options, Request};

/// What TEI's clients send.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TeiRequest {
    /// The query.
    pub query: TextInput,
    /// The documents.
    pub texts: Vec<TextInput>,
    /// `false` refuses texts that do not fit.
    pub truncate: Option<bool>,
    /// Which end of a text is cut: `right` (the default) or `left`.
    pub truncation_direction: Option<String>,
    /// Logits, whatever the checkpoint's activation.
    pub raw_scores: Option<bool>,
    /// Repeats each text beside its score.
    pub return_text: Option<bool>,
    /// A model's name; one that is not known is ignored, as TEI ignores the field.
    pub model: Option<String>,
}

/// One document of the ranking.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeiRank {
    /// Its place in the request.
    pub index: usize,
    /// Its score.
    pub score: f32,
    /// Its text, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What an answer needs to know of its request.
#[derive(Debug)]
pub struct TeiShape {
    raw: bool,
    texts: Option<Vec<Document>>,
}

impl TeiRequest {
    /// The request, and the shape of its answer.
    ///
    /// # Errors
    /// When a value is not what is expected.
    pub fn into_request(
        self,
        auto_truncate: bool,
        known: impl Fn(&str) -> bool,
    ) -> Result<(Request, TeiShape), Failure> {
        let query = self.query.query().map_err(|e| Failure::Invalid(format!("query: {e}")))?;
        let documents = documents(self.texts, "texts", None)?;
        let texts = self.return_text.unwrap_or(false).then(|| documents.clone());
        let options = Options {
            refuses_truncation: !self.truncate.unwrap_or(auto_truncate),
            keeps_end: keeps_end(self.truncation_direction.as_deref(), "truncation_direction")?,
            ..Options::default()
        };
        let model = self.model.filter(|name| known(name));
        let groups = vec![Group { query, documents }];
        let shape = TeiShape { raw: self.raw_scores.unwrap_or(false), texts };
        Ok((Request { model, groups, options }, shape))
    }
}

impl TeiShape {
    /// The ranking.
    #[must_use]
    pub fn ranks(mut self, answer: &Answer) -> Vec<TeiRank> {
        let mut text = |index: usize| self.texts.as_mut()?.get_mut(index)?.text.take();
        let rank = |(index, logit)| TeiRank {
            index,
            score: answer.shown(logit, self.raw),
            text: text(index),
        };
        answer.ranking(0, None).into_iter().map(rank).collect()
    }
}
