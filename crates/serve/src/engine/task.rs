//! The owner of the queue: takes requests and scores as they come, and keeps every worker busy.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::queue::{Pass, Queue, Reply};
use super::worker::Worker;
use super::{Job, RowScores, State};
use crate::failure::Failure;

/// How much the last batch counts in the measured speed.
const SMOOTHING: f64 = 0.2;

/// The least time between two looks at the deadlines.
const TICK: Duration = Duration::from_millis(5);

/// What the owner of the queue is told.
pub(super) enum Command {
    /// A request asks how much would be served before it.
    Ask { priority: i32, n_tokens: usize, reply: oneshot::Sender<Ahead> },
    /// A request came.
    Submit(Box<Job>, Reply),
    /// A worker is done with a pass: the scores of each piece, or why there are none. After a panic it is out
    /// until it is mended.
    Done {
        worker: usize,
        pass: Pass,
        scores: Vec<Result<RowScores, Failure>>,
        took: Duration,
        panicked: bool,
    },
    /// A worker that panicked works again.
    Mended { worker: usize },
}

/// What stands before a request that is not in the queue yet.
pub(super) struct Ahead {
    /// Tokens that would be served before its last row.
    pub(super) tokens: usize,
    /// Tokens of all requests in the queue.
    pub(super) queued: usize,
}

/// Owns the queue until every door to it is closed.
pub(super) async fn own(
    mut queue: Queue,
    workers: Vec<Worker>,
    mut inbox: UnboundedReceiver<Command>,
    state: Arc<State>,
) {
    let mut idle: Vec<usize> = (0..workers.len()).collect();
    loop {
        let command = match queue.next_deadline() {
            None => inbox.recv().await,
            Some(deadline) => {
                let wake = deadline.max(Instant::now() + TICK);
                match timeout_at(wake.into(), inbox.recv()).await {
                    Ok(command) => command,
                    Err(_) => {
                        queue.expire(Instant::now());
                        continue;
                    }
                }
            }
        };
        let Some(command) = command else { break };
        let now = Instant::now();
        match command {
            Command::Ask { priority, n_tokens, reply } => {
                let tokens = queue.ahead(priority, n_tokens);
                // Who asked may have gone.
                let _ = reply.send(Ahead { tokens, queued: queue.n_tokens() });
                continue;
            }
            Command::Submit(job, reply) => queue.push(*job, reply, now),
            Command::Mended { worker } => {
                state.n_broken.fetch_sub(1, Ordering::Relaxed);
                idle.push(worker);
            }
            Command::Done { worker, pass, scores, took, panicked } => {
                if panicked {
                    // Before the answers, so that who has one sees the server as it is.
                    state.n_broken.fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("tamis_worker_panics_total").increment(1);
                } else {
                    idle.push(worker);
                }
                measure(&state, &pass, took, (workers.len(), queue.max_batch_tokens()));
                for (piece, scores) in pass.pieces.iter().zip(scores) {
                    match scores {
                        Ok(exits) => queue.scored(piece, exits, now),
                        Err(failure) => queue.fail(piece.request, failure),
                    }
                }
            }
        }
        // The longest idle first, so that heat and caches are shared evenly.
        while let Some(&worker) = idle.first() {
            let Some(pass) = queue.next_pass(now) else { break };
            idle.remove(0);
            if let Some(worker) = workers.get(worker) {
                worker.give(pass);
            }
        }
        metrics::gauge!("tamis_queue_requests").set(queue.len() as f64);
    }
    state.stopped.store(true, Ordering::Relaxed);
}

/// Keeps the speed of all workers together.
fn measure(state: &State, pass: &Pass, took: Duration, (n_workers, max_tokens): (usize, usize)) {
    let fill = pass.n_tokens as f64 / max_tokens as f64;
    metrics::histogram!("tamis_batch_fill").record(fill.min(1.0));
    metrics::histogram!("tamis_batch_tokens").record(pass.n_tokens as f64);
    metrics::histogram!("tamis_batch_requests").record(pass.pieces.len() as f64);
    let speed = pass.n_tokens as f64 * n_workers as f64 / took.as_secs_f64().max(1e-6);
    let before = state.speed();
    let smooth = if before > 0.0 { before + SMOOTHING * (speed - before) } else { speed };
    state.speed.store(smooth.to_bits(), Ordering::Relaxed);
}
