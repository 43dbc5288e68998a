//! One request after the other from texts to scores: limits, admission, tokens, the queue, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tamis_data::{TextGroup, TruncationReport};
use tamis_model::{Effort, RowOptions};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::engine::{Candidate, Engine, Job, Work};
use crate::failure::Failure;
use crate::model::Model;
use crate::models::Models;
use crate::request::{Answer, Group, Options, Request, Timing};

/// Bytes of text that make a token, about: what a request is taken for until it is tokenised.
const BYTES_PER_TOKEN: usize = 4;

/// What one request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Documents of a request.
    pub max_documents: usize,
    /// Bytes of a body.
    pub max_body_bytes: usize,
    /// Bytes of all bodies that are being read or served.
    pub max_bodies_bytes: usize,
    /// How long a request may take when it does not say.
    pub timeout: Duration,
    /// The longest that it may say.
    pub max_timeout: Duration,
    /// Threads that tokenise.
    pub n_tokenizers: usize,
}

/// Models, the engine and the limits: everything between a wire format and a score.
pub struct Service {
    models: Arc<Models>,
    engine: Engine,
    limits: Limits,
    tokenizers: Semaphore,
    is_warm: AtomicBool,
    is_draining: AtomicBool,
}

impl Service {
    /// Puts them together. It takes requests after [`warm_up`](Self::warm_up).
    #[must_use]
    pub fn new(models: Arc<Models>, engine: Engine, limits: Limits) -> Self {
        let tokenizers = Semaphore::new(limits.n_tokenizers.max(1));
        let (is_warm, is_draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { models, engine, limits, tokenizers, is_warm, is_draining }
    }

    /// The models.
    #[must_use]
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What one request may ask for.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Computes a little with every model; after it the service is ready.
    ///
    /// # Errors
    /// When a model fails.
    pub async fn warm_up(&self) -> Result<(), Failure> {
        for model in self.models.list().iter() {
            self.engine.warm_up(model.scorer()).await?;
        }
        self.is_warm.store(true, Ordering::Release);
        Ok(())
    }

    /// Says to whoever asks that there will be no more requests soon.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Why the service should get no requests now, if it should not.
    ///
    /// # Errors
    /// While it starts, when it stops, and when no worker computes.
    pub fn readiness(&self) -> Result<(), Failure> {
        let unavailable = |problem: &str| Err(Failure::Unavailable(problem.to_owned()));
        if self.is_draining.load(Ordering::Acquire) {
            return unavailable("the server is stopping");
        }
        if !self.is_warm.load(Ordering::Acquire) {
            return unavailable("the server is starting");
        }
        if !self.engine.is_healthy() {
            return unavailable("the model fails; the server tries to recover");
        }
        Ok(())
    }

    /// Scores a request.
    ///
    /// # Errors
    /// When it asks for what there is not, the queue is full, its time runs out, or the model fails.
    pub async fn score(&self, request: Request) -> Result<Answer, Failure> {
        let start = Instant::now();
        if !self.is_warm.load(Ordering::Acquire) {
            return Err(Failure::Unavailable("the server is starting".to_owned()));
        }
        self.check(&request)?;
        let model = self.models.get(request.model.as_deref())?;
        let effort = effort(&model, &request.options)?;
        let timeout = request.options.timeout.unwrap_or(self.limits.timeout);
        let timeout = timeout.min(self.limits.max_timeout);
        let deadline = start + timeout;
        let n_characters = n_characters(&request.groups);
        let priority = request.options.priority;
        let mut share = self.engine.admit(estimate(&model, &request), priority, deadline).await?;
        let encode = self.encode(&model, request).instrument(tracing::info_span!("tokenize"));
        let encoded = tokio::time::timeout_at(deadline.into(), encode).await;
        let encoded = encoded.map_err(|_| Failure::Timeout(timeout))??;
        let n_tokens = encoded.work.n_tokens();
        share.correct(n_tokens);
        let tokenization = start.elapsed();
        metrics::histogram!("tamis_tokenization_seconds").record(tokenization);
        let group_sizes = encoded.group_sizes;
        let (work, scorer) = (encoded.work, model.scorer());
        let job = Job { scorer, effort, work, priority, deadline, share };
        let span = tracing::info_span!("score", model = model.name(), tokens = n_tokens);
        let scored =
            self.engine.score(job).instrument(span).await.map_err(|failure| match failure {
                Failure::Timeout(_) => Failure::Timeout(timeout),
                other => other,
            })?;
        let rows = scored.exits.into_iter().next_back().map(|exit| exit.1).unwrap_or_default();
        let scores = match scored.work.as_ref() {
            Work::Rows(encoded) => encoded.pool(&rows)?,
            Work::Terms { .. } => split(&rows, &group_sizes)?,
        };
        let (truncation, cut) = (encoded.truncation, encoded.cut);
        let (queue, inference) = (scored.queue, scored.inference);
        let labels = [("model", model.name().to_owned())];
        metrics::histogram!("tamis_queue_seconds").record(queue);
        metrics::histogram!("tamis_inference_seconds", &labels).record(inference);
        let n_documents: usize = group_sizes.iter().sum();
        metrics::counter!("tamis_documents_total", &labels).increment(n_documents as u64);
        metrics::counter!("tamis_tokens_total", &labels).increment(n_tokens as u64);
        let timing = Timing { tokenization, queue, inference, total: start.elapsed() };
        Ok(Answer { model, scores, n_tokens, n_characters, truncation, cut, timing })
    }

    fn check(&self, request: &Request) -> Result<(), Failure> {
        let n_documents: usize = request.groups.iter().map(|group| group.documents.len()).sum();
        if n_documents == 0 {
            return Err(Failure::Empty("there are no documents to rank".to_owned()));
        }
        let limit = self.limits.max_documents;
        if n_documents > limit {
            return Err(Failure::Invalid(format!(
                "documents: at most {limit} a request, found {n_documents}; split the request"
            )));
        }
        Ok(())
    }

    /// Texts into rows, on a thread that may take its time.
    async fn encode(&self, model: &Arc<Model>, request: Request) -> Result<Encoded, Failure> {
        let stopped = |_| Failure::Unavailable("the server is stopping".to_owned());
        let _permit = self.tokenizers.acquire().await.map_err(stopped)?;
        let model = model.clone();
        let encoded = tokio::task::spawn_blocking(move || encode(&model, request)).await;
        encoded.map_err(|error| Failure::Internal(format!("tokenisation failed: {error}")))?
    }
}

struct Encoded {
    work: Work,
    group_sizes: Vec<usize>,
    truncation: TruncationReport,
    cut: Vec<usize>,
}

fn encode(model: &Model, request: Request) -> Result<Encoded, Failure> {
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

/// What a request's options make of the model's effort.
fn effort(model: &Model, options: &Options) -> Result<Effort, Failure> {
    let reranker = model.reranker();
    let mut effort = reranker.settings().effort.clone();
    if let Some(exit) = options.exit {
        effort.exits = vec![exit];
    }
    if let Some(ratio) = options.ratio {
        if ratio > 1 && effort.compress_layers.is_empty() {
            return Err(Failure::Invalid(format!(
                "ratio: model `{}` does not shorten documents; leave it out, or send 1",
                model.name()
            )));
        }
        effort.ratio = ratio;
    }
    reranker.check_effort(&effort)?;
    Ok(effort)
}

/// About how many tokens a request has, without looking at its words.
fn estimate(model: &Model, request: &Request) -> usize {
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

fn n_characters(groups: &[Group]) -> usize {
    let of_group = |group: &Group| -> usize {
        let texts = group.documents.iter().filter_map(|document| document.text.as_ref());
        group.query.chars().count() + texts.map(|text| text.chars().count()).sum::<usize>()
    };
    groups.iter().map(of_group).sum()
}

/// The scores of each group, of which none may be NaN.
fn split(scores: &[f32], group_sizes: &[usize]) -> Result<Vec<Vec<f32>>, Failure> {
    if let Some(document) = scores.iter().position(|score| score.is_nan()) {
        return Err(Failure::Backend(format!("the score of document {document} is not a number")));
    }
    let mut rest = scores.iter().copied();
    Ok(group_sizes.iter().map(|&n| rest.by_ref().take(n).collect()).collect())
}
