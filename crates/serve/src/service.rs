//! One request after the other from texts to scores: limits, admission, tokens, the queue, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tamis_model::Effort;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::encode::{self, Encoded};
use crate::engine::{Engine, Job, Work};
use crate::failure::Failure;
use crate::model::Model;
use crate::models::Models;
use crate::request::{Answer, Options, Request, Timing};

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
        let n_characters = encode::n_characters(&request.groups);
        let priority = request.options.priority;
        let estimate = encode::estimate(&model, &request);
        let mut share = self.engine.admit(estimate, priority, deadline).await?;
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
            Work::Terms { .. } => split(&rows, &group_sizes),
        };
        all_finite(&scores)?;
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
        let encoded = tokio::task::spawn_blocking(move || encode::encode(&model, request)).await;
        encoded.map_err(|error| Failure::Internal(format!("tokenisation failed: {error}")))?
    }
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

/// The scores of each group.
fn split(scores: &[f32], group_sizes: &[usize]) -> Vec<Vec<f32>> {
    let mut rest = scores.iter().copied();
    group_sizes.iter().map(|&n| rest.by_ref().take(n).collect()).collect()
}

/// A score that overflowed ranks nothing, and JSON cannot say it.
fn all_finite(scores: &[Vec<f32>]) -> Result<(), Failure> {
    let position = scores.iter().flatten().position(|score| !score.is_finite());
    position.map_or(Ok(()), |document| {
        Err(Failure::Backend(format!("the score of document {document} is not a finite number")))
    })
}
