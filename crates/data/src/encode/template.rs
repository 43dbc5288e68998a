//! A tokenizer's post-processor into the special tokens before, between and after the two texts.

use std::borrow::Cow;

use tokenizers::{Encoding, Token, Tokenizer};

use super::parts::MaskPlace;
use super::row_template::{RowTemplate, Segment};
use crate::error::{ErrorKind, Result};

/// Where the two texts of a pair go and which special tokens surround them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    before: Vec<Special>,
    query_type: u32,
    between: Vec<Special>,
    document_type: u32,
    after: Vec<Special>,
    /// How many of those between belong to the query, where types do not say so.
    n_between_query: Option<usize>,
    /// What stands around the two texts in their own segments.
    query: Affixes,
    document: Affixes,
    /// The tokens of what follows the query in its segment: they stay when the query is cut.
    query_end: Vec<u32>,
    strip: bool,
    document_max_length: Option<usize>,
}

/// What stands before and after a text that is tokenised with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Affixes {
    before: String,
    after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Special {
    id: u32,
    type_id: u32,
}

// Ids that no vocabulary reaches stand for the two texts while the post-processor is asked.
const QUERY: u32 = u32::MAX - 1;
const DOCUMENT: u32 = u32::MAX;

impl Template {
    /// Asks the post-processor once, with two texts of one token each.
    ///
    /// # Errors
    /// When the query does not come before the document, each exactly once.
    pub(super) fn probe(tokenizer: &Tokenizer) -> Result<Self> {
        let text = |id, type_id| {
            Encoding::from_tokens(vec![Token::new(id, "x".to_owned(), (0, 1))], type_id)
        };
        let row = tokenizer
            .post_process(text(QUERY, 0), Some(text(DOCUMENT, 1)), true)
            .map_err(|error| ErrorKind::Invalid(format!("the post-processor failed: {error}")))?;
        let tokens: Vec<Special> = row
            .get_ids()
            .iter()
            .zip(row.get_type_ids())
            .map(|(&id, &type_id)| Special { id, type_id })
            .collect();
        let places = |id| -> Vec<usize> {
            (0..tokens.len()).filter(|&place| tokens[place].id == id).collect()
        };
        match (places(QUERY).as_slice(), places(DOCUMENT).as_slice()) {
            (&[query], &[document]) if query < document => Ok(Self {
                before: tokens[..query].to_vec(),
                query_type: tokens[query].type_id,
                between: tokens[query + 1..document].to_vec(),
                document_type: tokens[document].type_id,
                after: tokens[document + 1..].to_vec(),
                query: Affixes::default(),
                document: Affixes::default(),
                query_end: Vec::new(),
                strip: false,
                document_max_length: None,
                n_between_query: None,
            }),
            (queries, documents) => Err(ErrorKind::Invalid(format!(
                "expected a post-processor that puts the first text once before the second, found the first {} times and the second {} times",
                queries.len(),
                documents.len(),
            ))
            .into()),
        }
    }

    /// The same with tokens that are added to every query, around the special tokens that end it.
    pub(super) fn with_masks(mut self, id: u32, n: usize, place: MaskPlace) -> Self {
        let masks = std::iter::repeat_n(Special { id, type_id: self.query_type }, n);
        let n_ending = self.n_ending_query();
        let place = match place {
            MaskPlace::BeforeSeparator => 0,
            MaskPlace::AfterSeparator => n_ending,
        };
        self.between.splice(place..place, masks);
        self.n_between_query = Some(n_ending + n);
        self
    }

    /// The same with the document as it is alone: the first special tokens before it too, and the types of
    /// a first text.
    pub(super) fn with_document_start(mut self) -> Self {
        let n_query = self.n_ending_query();
        self.between.truncate(n_query);
        self.between.extend_from_slice(&self.before);
        self.n_between_query = Some(n_query);
        self.document_type = self.query_type;
        self.after.iter_mut().for_each(|special| special.type_id = self.query_type);
        self
    }

    /// Tokens of the query's part beside the query itself.
    pub(super) fn n_query_specials(&self) -> usize {
        self.before.len() + self.n_ending_query()
    }

    /// How many of the special tokens between the texts belong to the query: those with another type
    /// than the document's, or of equal types the first half (RoBERTa ends a text and begins another).
    fn n_ending_query(&self) -> usize {
        if let Some(n) = self.n_between_query {
            return n;
        }
        if self.query_type == self.document_type {
            return self.between.len().div_ceil(2);
        }
        self.between.iter().take_while(|special| special.type_id != self.document_type).count()
    }

    /// The segments of a template, tokenised. The document's tokens alone have type 1.
    ///
    /// # Errors
    /// When the template has not one query before one document, or the tokenizer fails.
    pub(super) fn of_segments(template: &RowTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let split = template.split()?;
        let ids = |text: &str| -> Result<Vec<u32>> {
            let encoding = tokenizer
                .encode_fast(text, false)
                .map_err(|error| ErrorKind::Invalid(format!("the tokenizer failed: {error}")))?;
            Ok(encoding.get_ids().to_vec())
        };
        let begin = begin(tokenizer)?;
        let specials = |segments: &[Segment]| -> Result<Vec<Special>> {
            let mut all = Vec::new();
            for segment in segments {
                let ids = match segment {
                    Segment::Begin => begin.clone(),
                    Segment::Text(text) => ids(text)?,
                };
                all.extend(ids.into_iter().map(|id| Special { id, type_id: 0 }));
            }
            Ok(all)
        };
        let affixes = |format: super::row_template::Format<'_>| Affixes {
            before: format.before.to_owned(),
            after: format.after.to_owned(),
        };
        Ok(Self {
            before: specials(split.before)?,
            query_type: 0,
            between: specials(split.between)?,
            document_type: 1,
            after: specials(split.after)?,
            query_end: match split.query.after {
                "" => Vec::new(),
                after => ids(after)?,
            },
            query: affixes(split.query),
            document: affixes(split.document),
            strip: template.strip,
            document_max_length: template.document_max_length,
            n_between_query: None,
        })
    }

    /// The whole text of the query's segment.
    pub(super) fn query_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.query.around(if self.strip { text.trim() } else { text })
    }

    /// The whole text of the document's segment.
    pub(super) fn document_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.document.around(if self.strip { text.trim() } else { text })
    }

    /// The most tokens of a document's segment.
    pub(super) fn document_max_length(&self) -> usize {
        self.document_max_length.unwrap_or(usize::MAX)
    }

    /// Tokens at the end of the query's segment that stay when the query is cut.
    pub(super) fn query_end(&self) -> &[u32] {
        &self.query_end
    }

    /// How many special tokens a pair has.
    pub(super) fn n_specials(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// How many special tokens follow the document.
    pub(super) fn n_after(&self) -> usize {
        self.after.len()
    }

    /// The ids of the special tokens, in their order.
    pub(super) fn special_ids(&self) -> impl Iterator<Item = u32> {
        self.before.iter().chain(&self.between).chain(&self.after).map(|special| special.id)
    }

    /// Appends the whole row of a pair. Of a query that was cut, the end of its segment replaces as many
    /// tokens as it has.
    pub(super) fn write(
        &self,
        query: &[u32],
        is_cut: bool,
        document: &[u32],
        ids: &mut Vec<u32>,
        type_ids: &mut Vec<u32>,
    ) {
        self.write_query(query, is_cut, ids, type_ids);
        self.write_document(document, ids, type_ids);
    }

    /// Appends the query's part of a row.
    pub(super) fn write_query(
        &self,
        query: &[u32],
        is_cut: bool,
        ids: &mut Vec<u32>,
        type_ids: &mut Vec<u32>,
    ) {
        extend(&self.before, ids, type_ids);
        let end: &[u32] = if is_cut { &self.query_end } else { &[] };
        ids.extend_from_slice(&query[..query.len() - end.len()]);
        ids.extend_from_slice(end);
        type_ids.extend(std::iter::repeat_n(self.query_type, query.len()));
        extend(&self.between[..self.n_ending_query()], ids, type_ids);
    }

    /// Appends the document's part of a row.
    pub(super) fn write_document(
        &self,
        document: &[u32],
        ids: &mut Vec<u32>,
        type_ids: &mut Vec<u32>,
    ) {
        extend(&self.between[self.n_ending_query()..], ids, type_ids);
        ids.extend_from_slice(document);
        type_ids.extend(std::iter::repeat_n(self.document_type, document.len()));
        extend(&self.after, ids, type_ids);
    }
}

impl Affixes {
    fn around<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.before.is_empty() && self.after.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned([self.before.as_str(), text, self.after.as_str()].concat())
    }
}

/// What a tokenizer puts before a text of its own accord.
fn begin(tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let text = Encoding::from_tokens(vec![Token::new(QUERY, "x".to_owned(), (0, 1))], 0);
    let row = tokenizer
        .post_process(text, None, true)
        .map_err(|error| ErrorKind::Invalid(format!("the post-processor failed: {error}")))?;
    Ok(row.get_ids().iter().copied().take_while(|&id| id != QUERY).collect())
}

fn extend(specials: &[Special], ids: &mut Vec<u32>, type_ids: &mut Vec<u32>) {
    ids.extend(specials.iter().map(|special| special.id));
    type_ids.extend(specials.iter().map(|special| special.type_id));
}
