//! A thread that computes on one device, and outlives whatever a model does on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tamis_data::Batch;
use tokio::sync::mpsc::UnboundedSender;

use super::queue::{Pass, Piece};
use super::task::Command;
use super::{RowScores, Scorer, Work};
use crate::failure::Failure;

/// Between two tries of a worker that fails.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to a worker's thread.
pub(super) struct Worker {
    passes: Sender<Pass>,
}

impl Worker {
    /// Gives an idle worker something to do.
    pub(super) fn give(&self, pass: Pass) {
        // The thread ends only when this end is dropped.
        let _ = self.passes.send(pass);
    }
}

/// Starts the thread of a worker.
pub(super) fn start(index: usize, commands: UnboundedSender<Command>) -> std::io::Result<Worker> {
    let (passes, inbox) = channel();
    thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || work(index, &inbox, &commands))?;
    Ok(Worker { passes })
}

fn work(worker: usize, inbox: &Receiver<Pass>, commands: &UnboundedSender<Command>) {
    while let Ok(pass) = inbox.recv() {
        let start = Instant::now();
        let mut panicked = false;
        let scores = score(worker, &pass, &mut panicked);
        let took = start.elapsed();
        let scorer = pass.scorer.clone();
        // Answers go out before the worker is looked after.
        if commands.send(Command::Done { worker, pass, scores, took, panicked }).is_err() {
            return;
        }
        if panicked {
            mend(worker, scorer.as_ref(), commands);
            if commands.send(Command::Mended { worker }).is_err() {
                return;
            }
        }
    }
}

/// Tries until the model computes again, or nobody waits for it any more.
fn mend(worker: usize, scorer: &dyn Scorer, commands: &UnboundedSender<Command>) {
    let works = || {
        let warm = catch_unwind(AssertUnwindSafe(|| scorer.warm_up(worker)));
        matches!(warm, Ok(Ok(())))
    };
    while !works() && !commands.is_closed() {
        thread::sleep(PAUSE);
    }
}

/// The scores of every piece. Where a pass of several fails, each is computed alone, so that only the one
/// that is to blame fails.
fn score(worker: usize, pass: &Pass, panicked: &mut bool) -> Vec<Result<RowScores, Failure>> {
    let mut attempt = |pieces: &[Piece]| {
        let result = catch_unwind(AssertUnwindSafe(|| compute(worker, pass, pieces)));
        result.unwrap_or_else(|payload| {
            *panicked = true;
            let text = message(payload.as_ref());
            tracing::error!(worker, panic = text, "the model panicked");
            Err(Failure::Backend(format!("the model failed: {text}")))
        })
    };
    match attempt(&pass.pieces) {
        Ok(scores) => scores.into_iter().map(Ok).collect(),
        Err(failure) if pass.pieces.len() == 1 => vec![Err(failure)],
        Err(_) => {
            let alone = |piece: &Piece| {
                let scores = attempt(std::slice::from_ref(piece))?;
                let none = || Failure::Internal("a pass gave no scores".to_owned());
                scores.into_iter().next().ok_or_else(none)
            };
            pass.pieces.iter().map(alone).collect()
        }
    }
}

fn compute(worker: usize, pass: &Pass, pieces: &[Piece]) -> Result<Vec<RowScores>, Failure> {
    let mut batch = Batch::new();
    for piece in pieces {
        if let Work::Rows(rows) = piece.work.as_ref() {
            rows.copy_into(piece.rows.clone(), &mut batch);
        }
    }
    let mut exits = Vec::new();
    if batch.n_rows() > 0 {
        exits = pass.scorer.score_rows(worker, &batch, &pass.effort)?;
        if exits.iter().any(|(_, scores)| scores.len() != batch.n_rows()) {
            return Err(Failure::Internal("a pass gave another number of scores".to_owned()));
        }
    }
    let mut start = 0;
    let mut all = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let scores = match piece.work.as_ref() {
            Work::Rows(_) => {
                let own = |(depth, scores): &(usize, Vec<f32>)| {
                    let rows = scores.iter().skip(start).take(piece.rows.len());
                    (*depth, rows.copied().collect())
                };
                let scores = exits.iter().map(own).collect();
                start += piece.rows.len();
                scores
            }
            Work::Terms { query, candidates, .. } => {
                let own = candidates.get(piece.rows.clone()).unwrap_or_default();
                vec![(0, pass.scorer.score_terms(worker, query, own)?)]
            }
        };
        all.push(scores);
    }
    Ok(all)
}

/// What a panic said.
fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
