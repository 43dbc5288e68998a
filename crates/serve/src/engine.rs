//! Requests of any size into batches of one size, and scores back to whom they belong.
//!
//! One task owns the queue; nobody else touches it. Workers, one thread a device, ask it for a batch, compute,
//! and hand the scores back. A batch takes rows from as many requests as fit, so that small requests share
//! a forward pass and a large one does not hold up the rest.

mod queue;
mod task;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tamis_data::Batch;
use tamis_model::{Effort, Rows};
use tokio::sync::{mpsc, oneshot};

use crate::budget::{Budget, Share};
use crate::failure::Failure;

/// The soonest that a refused client is told to come back.
const LEAST_RETRY: Duration = Duration::from_millis(500);

/// The scores of some rows: for every exit its depth and a list.
pub type RowScores = Vec<(usize, Vec<f32>)>;

/// What workers compute with: a model, opened on the device of each.
pub trait Scorer: Send + Sync + 'static {
    /// The scores of the rows of a batch on a worker's device.
    ///
    /// # Errors
    /// When the model fails.
    fn score_rows(
        &self,
        worker: usize,
        pairs: &Batch,
        effort: &Effort,
    ) -> tamis_model::Result<RowScores>;

    /// The scores of candidates some of which are in the model's store.
    ///
    /// # Errors
    /// When the model has no store, or fails.
    fn score_terms(
        &self,
        worker: usize,
        query: &str,
        candidates: &[Candidate],
    ) -> tamis_model::Result<Vec<f32>>;

    /// Computes a little of everything: before the first request, and after a panic.
    ///
    /// # Errors
    /// When the model fails.
    fn warm_up(&self, worker: usize) -> tamis_model::Result<()>;
}

/// A candidate of a request to a model with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A document of the store.
    Stored(String),
    /// A document that is computed now.
    Text(String),
}

/// What is to be scored.
#[derive(Debug)]
pub enum Work {
    /// Rows of token ids.
    Rows(Rows),
    /// Candidates of one query, with the tokens of each.
    Terms {
        /// The query's text.
        query: String,
        /// Its candidates.
        candidates: Vec<Candidate>,
        /// Tokens of each, with the query's; estimated where it is a text.
        n_tokens: Vec<usize>,
    },
}

/// A request that was admitted.
pub(crate) struct Job {
    pub(crate) scorer: Arc<dyn Scorer>,
    pub(crate) effort: Effort,
    pub(crate) work: Work,
    pub(crate) priority: i32,
    pub(crate) deadline: Instant,
    pub(crate) share: Share,
}

/// The scores of all rows of a request, and where its time went.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) work: Arc<Work>,
    pub(crate) exits: RowScores,
    /// Until its first row was taken.
    pub(crate) queue: Duration,
    /// From then to its last score.
    pub(crate) inference: Duration,
}

/// How the engine is run.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Workers, each with a device of its own.
    pub n_workers: usize,
    /// Tokens of one batch.
    pub max_batch_tokens: usize,
    /// Tokens of all requests that wait or are computed.
    pub max_queue_tokens: usize,
    /// The longest that a request should have to wait for its turn.
    pub max_queue_delay: Duration,
}

/// The door to the queue.
#[derive(Clone)]
pub struct Engine {
    commands: mpsc::UnboundedSender<task::Command>,
    budget: Arc<Budget>,
    state: Arc<State>,
    config: EngineConfig,
}

/// What the queue's owner tells everybody.
#[derive(Debug, Default)]
struct State {
    /// Tokens a second, as bits of a float; 0 before the first batch.
    speed: AtomicU64,
    /// Workers that fail.
    n_broken: AtomicUsize,
    stopped: AtomicBool,
}

impl State {
    fn speed(&self) -> f64 {
        f64::from_bits(self.speed.load(Ordering::Relaxed))
    }
}

impl Engine {
    /// Starts the workers and the owner of the queue, within a tokio runtime.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(config: EngineConfig) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let state = Arc::new(State::default());
        let workers = (0..config.n_workers)
            .map(|index| worker::start(index, commands.clone()))
            .collect::<std::io::Result<Vec<_>>>()?;
        let queue = queue::Queue::new(config.max_batch_tokens);
        tokio::spawn(task::own(queue, workers, inbox, state.clone()));
        let budget = Budget::new(config.max_queue_tokens);
        Ok(Self { commands, budget, state, config })
    }

    /// How the engine is run.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Lets a request of about so many tokens in, or refuses it: now, and not after half of it was computed.
    pub(crate) async fn admit(
        &self,
        n_tokens: usize,
        priority: i32,
        deadline: Instant,
    ) -> Result<Share, Failure> {
        let (reply, answer) = oneshot::channel();
        let ask = task::Command::Ask { priority, n_tokens, reply };
        self.commands.send(ask).map_err(|_| stopped())?;
        let ahead = answer.await.map_err(|_| stopped())?;
        // Those that were let in and are being tokenised may come before it.
        let on_the_way = self.budget.used().saturating_sub(ahead.queued);
        let wait = self.time_of(ahead.tokens + on_the_way);
        let limit = self.config.max_queue_delay;
        let is_late = Instant::now() + wait >= deadline;
        let refused = !wait.is_zero() && (wait > limit || is_late);
        let share = if refused { None } else { self.budget.take(n_tokens) };
        // When what is before it is done there is room, also for the others who were told to come back.
        share.ok_or(Failure::Overloaded { retry_after: wait.max(LEAST_RETRY) })
    }

    /// Tokens of all requests that wait or are computed.
    pub(crate) fn queued_tokens(&self) -> usize {
        self.budget.used()
    }

    /// How long all that was let in takes.
    pub(crate) fn wait(&self) -> Duration {
        self.time_of(self.budget.used())
    }

    /// How long so many tokens take, as it was lately; no time before the first batch.
    fn time_of(&self, n_tokens: usize) -> Duration {
        let speed = self.state.speed();
        if speed <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(n_tokens as f64 / speed).unwrap_or(Duration::MAX)
    }

    /// The scores of a request's rows.
    ///
    /// When the future is dropped, rows that were not taken yet are never computed.
    pub(crate) async fn score(&self, job: Job) -> Result<Scored, Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(task::Command::Submit(Box::new(job), reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Lets every worker compute a little with a model.
    pub(crate) async fn warm_up(&self, scorer: Arc<dyn Scorer>) -> Result<(), Failure> {
        let n_workers = self.config.n_workers;
        let warm = move || (0..n_workers).try_for_each(|worker| scorer.warm_up(worker));
        let done = tokio::task::spawn_blocking(warm).await;
        done.map_err(|error| Failure::Internal(format!("the warm-up failed: {error}")))?
            .map_err(|error| Failure::Backend(error.to_string()))
    }

    /// Whether there is a worker that computes.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let broken = self.state.n_broken.load(Ordering::Relaxed);
        broken < self.config.n_workers && !self.state.stopped.load(Ordering::Relaxed)
    }
}

fn stopped() -> Failure {
    Failure::Unavailable("the server is stopping".to_owned())
}
