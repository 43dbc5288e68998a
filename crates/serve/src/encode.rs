//! The texts of a request into rows of tokens, or into candidates of a store.

use tamis_data::{TextGroup, TruncationReport};
use tamis_model::RowOptions;

use crate::engine::{Candidate, Work};
use crate::failure::Failure;
use crate::model::Model;
use crate::request::{Group, Request};

/// Bytes of text that make a token, about: what a request is taken for until it is tokenised.
const BYTES_PER_TOKEN: usize = 4;

/// A request without its texts: what the engine computes, and what was cut.
pub(crate) struct Encoded {
    pub(crate) work: Work,
    /// Documents of each query.
    pub(crate) group_sizes: Vec<usize>,
    pub(crate) truncation: TruncationReport,
    /// Documents of which tokens were cut.
    pub(crate) cut: Vec<usize>,
}

/// Tokenises a request. This takes a while: not on a thread that answers others.
pub(crate) fn encode(model: &Model, request: Request) -> Result<Encoded, Failure> {
    let group_sizes: Vec<usize> =
        request.groups.iter().map(|group| group.documents.len()).collect();
    let documents = || request.groups.iter().flat_map(|group| &group.documents);
    if documents().any(|document| document.text.is_none()) {
        let work = terms(model, request)?;
        let (truncation, cut) = (TruncationReport::default(), Vec::new());
        return Ok(Encoded { work, group_sizes, truncation, cut });
    }
    let options = RowOptions {
        long_documents: request.options.long_documents,
        query_max_length: request.options.query_max_length,
        document_max_length: request.options.document_max_length,
        keeps_end: request.options.keeps_end,
    };
    let groups: Vec<TextGroup<'_>> = request
        .groups
        .iter()
        .map(|group| TextGroup {
            query: &group.query,
            documents: group.documents.iter().filter_map(|d| d.text.as_deref()).collect(),
        })
        .collect();
    let rows = model.encode(&groups, &options)?;
    let (truncation, cut) = (rows.truncation(), rows.cut_documents().collect::<Vec<_>>());
    if request.options.refuses_truncation && truncation.truncated_rows > 0 {
        let settings = model.reranker().settings();
        return Err(Failure::Invalid(format!(
            "{} documents do not fit beside their query: a row has at most {} tokens, a query {}; \
             allow truncation, or ask for long_documents",
            cut.len().max(1),
            settings.max_length,
            settings.query_max_length,
        )));
    }
    Ok(Encoded { work: Work::Rows(rows), group_sizes, truncation, cut })
}

/// Candidates some of which are read from the model's store.
fn terms(model: &Model, request: Request) -> Result<Work, Failure> {
    let invalid = |problem: String| Err(Failure::Invalid(problem));
    let Some(store) = model.reranker().terms() else {
        return invalid(format!(
            "documents: one has no text, and model `{}` has no store to read it from",
            model.name()
        ));
    };
    let mut groups = request.groups;
    let (Some(group), true) = (groups.pop(), groups.is_empty()) else {
        return invalid("documents by id: expected one query".to_owned());
    };
    if request.options.long_documents.is_some() || request.options.document_max_length.is_some() {
        return invalid("documents by id are stored whole: no long_documents, no limit".to_owned());
    }
    let n_query = tokens_of(&group.query);
    let mut n_tokens = Vec::with_capacity(group.documents.len());
    let mut candidates = Vec::with_capacity(group.documents.len());
    for (place, document) in group.documents.into_iter().enumerate() {
        match (document.text, document.id) {
            (Some(text), _) => {
                n_tokens.push(n_query + tokens_of(&text));
                candidates.push(Candidate::Text(text));
            }
            (None, Some(id)) => {
                let found = store.find(&id).and_then(|place| store.n_tokens(place));
                n_tokens
                    .push(n_query + found.map_err(|error| Failure::Invalid(error.to_string()))?);
                candidates.push(Candidate::Stored(id));
            }
            (None, None) => {
                return invalid(format!("documents[{place}]: expected a text or an id"));
            }
        }
    }
    Ok(Work::Terms { query: group.query, candidates, n_tokens })
}

/// About how many tokens a request has, without looking at its words.
pub(crate) fn estimate(model: &Model, request: &Request) -> usize {
    let settings = model.reranker().settings();
    let is_cut = request.options.long_documents.is_none();
    let row = |n: usize| if is_cut { n.min(settings.max_length) } else { n };
    let of_group = |group: &Group| -> usize {
        let n_query = tokens_of(&group.query).min(settings.query_max_length) + 3;
        let texts = group.documents.iter().map(|document| document.text.as_deref());
        texts.map(|text| row(n_query + text.map_or(0, tokens_of))).sum()
    };
    request.groups.iter().map(of_group).sum()
}

fn tokens_of(text: &str) -> usize {
    text.len() / BYTES_PER_TOKEN + 1
}

/// Characters of all queries and documents.
pub(crate) fn n_characters(groups: &[Group]) -> usize {
    let of_group = |group: &Group| -> usize {
        let texts = group.documents.iter().filter_map(|document| document.text.as_ref());
        group.query.chars().count() + texts.map(|text| text.chars().count()).sum::<usize>()
    };
    groups.iter().map(of_group).sum()
}
