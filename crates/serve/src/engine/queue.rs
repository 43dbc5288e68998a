//! Requests that wait, in the order in which they are served, and batches made of their rows.
//!
//! Lower numbers of priority come first, as Cohere and vLLM have it. Within one, a request's place is that of
//! its *finish tag*: the tokens that had been served when it came, plus its own (self-clocked fair queueing,
//! Golestani 1994, with every request as a flow of its own). Requests of one size are served as they came;
//! one of a hundred thousand documents is overtaken by small ones, but by no more of them than it is long.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tamis_model::Effort;
use tokio::sync::oneshot;

use super::{Job, RowScores, Scored, Scorer, Work};
use crate::budget::Share;
use crate::failure::Failure;

/// Where the answer to a request goes.
pub(super) type Reply = oneshot::Sender<Result<Scored, Failure>>;

/// Some rows of one request.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) request: u64,
    pub(super) work: Arc<Work>,
    pub(super) rows: Range<usize>,
}

/// What a worker computes in one go: rows of one model at one effort.
pub(super) struct Pass {
    pub(super) scorer: Arc<dyn Scorer>,
    pub(super) effort: Effort,
    pub(super) pieces: Vec<Piece>,
    pub(super) n_tokens: usize,
}

type Place = (i32, u64, u64);

struct Waiting {
    scorer: Arc<dyn Scorer>,
    effort: Effort,
    work: Arc<Work>,
    place: Place,
    deadline: Instant,
    came: Instant,
    /// When its first rows were taken.
    started: Option<Instant>,
    n_rows: usize,
    next_row: usize,
    n_scored: usize,
    /// Tokens of all rows, of those that were taken, and of those that have a score.
    n_tokens: usize,
    taken_tokens: usize,
    scored_tokens: usize,
    exits: RowScores,
    reply: Reply,
    _share: Share,
}

/// The requests that wait or are computed.
pub(super) struct Queue {
    max_batch_tokens: usize,
    waiting: HashMap<u64, Waiting>,
    /// Those that have rows to be taken.
    places: BTreeSet<Place>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Tokens served so far: the clock of the finish tags.
    served: u64,
    next: u64,
}

impl Queue {
    pub(super) fn new(max_batch_tokens: usize) -> Self {
        Self {
            max_batch_tokens,
            waiting: HashMap::new(),
            places: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            served: 0,
            next: 0,
        }
    }

    /// Tokens of a full batch.
    pub(super) fn max_batch_tokens(&self) -> usize {
        self.max_batch_tokens
    }

    /// Requests that are not answered yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Tokens that would be served before the last row of a request that came now.
    pub(super) fn ahead(&self, priority: i32, n_tokens: usize) -> usize {
        let place = (priority, self.served.saturating_add(n_tokens as u64));
        let of_one = |waiting: &Waiting| {
            let is_before = (waiting.place.0, waiting.place.1) <= place;
            let left = if is_before { waiting.n_tokens } else { waiting.taken_tokens };
            left.saturating_sub(waiting.scored_tokens)
        };
        self.waiting.values().map(of_one).sum()
    }

    /// Tokens of all requests that are not answered yet.
    pub(super) fn n_tokens(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.n_tokens).sum()
    }

    /// Lets a request wait for its turn.
    pub(super) fn push(&mut self, job: Job, reply: Reply, now: Instant) {
        let (n_rows, n_tokens) = (job.work.n_rows(), job.work.n_tokens());
        let request = self.next;
        self.next += 1;
        let place = (job.priority, self.served.saturating_add(n_tokens as u64), request);
        let waiting = Waiting {
            scorer: job.scorer,
            effort: job.effort,
            work: Arc::new(job.work),
            place,
            deadline: job.deadline,
            came: now,
            started: None,
            n_rows,
            next_row: 0,
            n_scored: 0,
            n_tokens,
            taken_tokens: 0,
            scored_tokens: 0,
            exits: Vec::new(),
            reply,
            _share: job.share,
        };
        if n_rows == 0 {
            waiting.answer(now);
            return;
        }
        self.places.insert(place);
        self.deadlines.insert((waiting.deadline, request));
        self.waiting.insert(request, waiting);
    }

    /// The next rows in order, of one model and one effort, up to a batch full of tokens.
    pub(super) fn next_pass(&mut self, now: Instant) -> Option<Pass> {
        self.expire(now);
        let mut pass: Option<Pass> = None;
        let (mut gone, mut taken) = (Vec::new(), Vec::new());
        for &place in &self.places {
            let request = place.2;
            let Some(waiting) = self.waiting.get_mut(&request) else { continue };
            if waiting.reply.is_closed() {
                gone.push(request);
                continue;
            }
            let pass = pass.get_or_insert_with(|| Pass {
                scorer: waiting.scorer.clone(),
                effort: waiting.effort.clone(),
                pieces: Vec::new(),
                n_tokens: 0,
            });
            if !Arc::ptr_eq(&pass.scorer, &waiting.scorer) || pass.effort != waiting.effort {
                continue;
            }
            let start = waiting.next_row;
            while waiting.next_row < waiting.n_rows {
                let n_tokens = waiting.work.row_tokens(waiting.next_row);
                if pass.n_tokens > 0 && pass.n_tokens + n_tokens > self.max_batch_tokens {
                    break;
                }
                pass.n_tokens += n_tokens;
                waiting.taken_tokens += n_tokens;
                waiting.next_row += 1;
            }
            if waiting.next_row > start {
                waiting.started.get_or_insert(now);
                let rows = start..waiting.next_row;
                pass.pieces.push(Piece { request, work: waiting.work.clone(), rows });
            }
            if waiting.next_row == waiting.n_rows {
                taken.push(place);
            } else {
                // It did not fit whole, so the batch is full.
                break;
            }
        }
        taken.iter().for_each(|place| {
            self.places.remove(place);
        });
        for request in gone {
            self.remove(request);
            metrics::counter!("tamis_cancelled_total").increment(1);
        }
        let pass = pass.filter(|pass| !pass.pieces.is_empty())?;
        self.served += pass.n_tokens as u64;
        Some(pass)
    }

    /// Takes the scores of some rows of a request, and answers it when they were the last.
    pub(super) fn scored(&mut self, piece: &Piece, exits: RowScores, now: Instant) {
        let Some(waiting) = self.waiting.get_mut(&piece.request) else { return };
        if waiting.exits.is_empty() {
            let n_rows = waiting.n_rows;
            waiting.exits =
                exits.iter().map(|(depth, _)| (*depth, vec![f32::NAN; n_rows])).collect();
        }
        for ((_, all), (_, own)) in waiting.exits.iter_mut().zip(exits) {
            for (slot, score) in all.iter_mut().skip(piece.rows.start).zip(own) {
                *slot = score;
            }
        }
        waiting.n_scored += piece.rows.len();
        let tokens = piece.rows.clone().map(|row| waiting.work.row_tokens(row));
        waiting.scored_tokens += tokens.sum::<usize>();
        if waiting.n_scored == waiting.n_rows
            && let Some(waiting) = self.remove(piece.request)
        {
            waiting.answer(now);
        }
    }

    /// Answers a request with a failure.
    pub(super) fn fail(&mut self, request: u64, failure: Failure) {
        if let Some(waiting) = self.remove(request) {
            // Who asked may have gone.
            let _ = waiting.reply.send(Err(failure));
        }
    }

    /// When the next request runs out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Answers the requests whose time has run out.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, request)) = self.deadlines.first()
            && deadline <= now
        {
            let came = self.waiting.get(&request).map_or(now, |waiting| waiting.came);
            self.fail(request, Failure::Timeout(deadline.saturating_duration_since(came)));
        }
    }

    fn remove(&mut self, request: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&request)?;
        self.places.remove(&waiting.place);
        self.deadlines.remove(&(waiting.deadline, request));
        Some(waiting)
    }
}

impl Waiting {
    fn answer(self, now: Instant) {
        let started = self.started.unwrap_or(now);
        let scored = Scored {
            work: self.work,
            exits: self.exits,
            queue: started.duration_since(self.came),
            inference: now.duration_since(started),
        };
        let _ = self.reply.send(Ok(scored));
    }
}

impl Work {
    pub(super) fn n_rows(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.pairs().n_rows(),
            Self::Terms { n_tokens, .. } => n_tokens.len(),
        }
    }

    /// Tokens of all rows.
    pub fn n_tokens(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.pairs().n_tokens(),
            Self::Terms { n_tokens, .. } => n_tokens.iter().sum(),
        }
    }

    fn row_tokens(&self, row: usize) -> usize {
        match self {
            Self::Rows(rows) => rows.pairs().row(row).0.len(),
            Self::Terms { n_tokens, .. } => n_tokens.get(row).copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tamis_data::Batch;

    use super::*;
    use crate::budget::Budget;
    use crate::engine::Candidate;

    struct Nothing;

    impl Scorer for Nothing {
        fn score_rows(&self, _: usize, _: &Batch, _: &Effort) -> tamis_model::Result<RowScores> {
            Ok(Vec::new())
        }

        fn score_terms(&self, _: usize, _: &str, _: &[Candidate]) -> tamis_model::Result<Vec<f32>> {
            Ok(Vec::new())
        }

        fn warm_up(&self, _: usize) -> tamis_model::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        queue: Queue,
        scorer: Arc<dyn Scorer>,
        budget: Arc<Budget>,
        start: Instant,
    }

    type Answer = oneshot::Receiver<Result<Scored, Failure>>;

    impl Bench {
        fn new(max_batch_tokens: usize) -> Self {
            let budget = Budget::new(usize::MAX);
            let (queue, scorer) = (Queue::new(max_batch_tokens), Arc::new(Nothing));
            Self { queue, scorer, budget, start: Instant::now() }
        }

        fn push(&mut self, n_tokens: &[usize], priority: i32) -> Answer {
            self.push_until(n_tokens, priority, self.start + Duration::from_secs(60))
        }

        fn push_until(&mut self, n_tokens: &[usize], priority: i32, deadline: Instant) -> Answer {
            let candidates =
                (0..n_tokens.len()).map(|i| Candidate::Stored(i.to_string())).collect();
            let query = String::new();
            let work = Work::Terms { query, candidates, n_tokens: n_tokens.to_vec() };
            let share = self.budget.take(work.n_tokens()).unwrap();
            let (scorer, effort) = (self.scorer.clone(), Effort::default());
            let job = Job { scorer, effort, work, priority, deadline, share };
            let (reply, answer) = oneshot::channel();
            self.queue.push(job, reply, self.start);
            answer
        }

        /// The rows of the next pass: request and range.
        fn next(&mut self) -> Vec<(u64, Range<usize>)> {
            let pass = self.queue.next_pass(self.start);
            let pieces = pass.map(|pass| pass.pieces).unwrap_or_default();
            pieces.into_iter().map(|piece| (piece.request, piece.rows)).collect()
        }
    }

    #[test]
    fn small_requests_share_a_batch_and_overtake_a_large_one() {
        let mut bench = Bench::new(10);
        let _large = bench.push(&[4; 6], 0);
        assert_eq!(bench.next(), [(0, 0..2)]);
        let _small = bench.push(&[3], 0);
        let _other = bench.push(&[3, 1], 0);
        // What came after 8 tokens and is short ends before what came at 0 and has 24.
        assert_eq!(bench.next(), [(1, 0..1), (2, 0..2)]);
        assert_eq!(bench.next(), [(0, 2..4)]);
        // By now small ones come after it.
        for _ in 0..3 {
            let _late = bench.push(&[9], 0);
        }
        assert_eq!(bench.next(), [(0, 4..6)]);
    }

    #[test]
    fn only_what_is_before_a_request_makes_it_wait() {
        let mut bench = Bench::new(10);
        let _large = bench.push(&[5; 100], 0);
        // Nothing is taken yet, and a small one would come first; one as large would come after.
        assert_eq!([bench.queue.ahead(0, 20), bench.queue.ahead(0, 500)], [0, 500]);
        assert_eq!([bench.queue.ahead(1, 20), bench.queue.ahead(-1, 500)], [500, 0]);
        let pass = bench.queue.next_pass(bench.start).unwrap();
        assert_eq!(bench.queue.ahead(0, 20), 10, "what is computed has to end");
        bench.queue.scored(&pass.pieces[0], vec![(0, vec![0.0; 2])], bench.start);
        assert_eq!([bench.queue.ahead(0, 20), bench.queue.ahead(0, 500)], [0, 490]);
        assert_eq!(bench.queue.n_tokens(), 500);
    }

    #[test]
    fn a_row_longer_than_a_batch_goes_alone() {
        let mut bench = Bench::new(10);
        let _first = bench.push(&[2, 50, 2], 0);
        assert_eq!(
            [bench.next(), bench.next(), bench.next()],
            [vec![(0, 0..1)], vec![(0, 1..2)], vec![(0, 2..3)]]
        );
    }

    #[test]
    fn priorities_come_first() {
        let mut bench = Bench::new(4);
        let _low = bench.push(&[4], 7);
        let _usual = bench.push(&[4], 0);
        let _high = bench.push(&[4], -1);
        assert_eq!(
            [bench.next(), bench.next(), bench.next()],
            [vec![(2, 0..1)], vec![(1, 0..1)], vec![(0, 0..1)]]
        );
    }

    #[test]
    fn who_went_away_costs_nothing_more() {
        let mut bench = Bench::new(4);
        let gone = bench.push(&[4, 4], 0);
        let _there = bench.push(&[4], 0);
        assert_eq!(bench.budget.used(), 12);
        drop(gone);
        assert_eq!(bench.next(), [(1, 0..1)]);
        assert_eq!((bench.budget.used(), bench.queue.len()), (4, 1));
    }

    #[test]
    fn time_runs_out_for_what_waits_and_for_what_is_computed() {
        let mut bench = Bench::new(4);
        let soon = bench.start + Duration::from_millis(5);
        let mut computed = bench.push_until(&[4], 0, soon);
        let mut waiting = bench.push_until(&[4], 0, soon);
        let pass = bench.queue.next_pass(bench.start).unwrap();
        assert_eq!(bench.queue.next_deadline(), Some(soon));
        assert!(bench.queue.next_pass(soon).is_none());
        let failure = Failure::Timeout(Duration::from_millis(5));
        assert_eq!(computed.try_recv().unwrap().unwrap_err(), failure);
        assert_eq!(waiting.try_recv().unwrap().unwrap_err(), failure);
        // Scores that come too late are nobody's.
        bench.queue.scored(&pass.pieces[0], vec![(0, vec![1.0])], soon);
        assert_eq!((bench.budget.used(), bench.queue.next_deadline()), (0, None));
    }

    #[test]
    fn a_request_without_rows_is_answered_at_once() {
        let mut bench = Bench::new(4);
        let mut answer = bench.push(&[], 0);
        assert!(answer.try_recv().unwrap().unwrap().exits.is_empty());
        assert_eq!(bench.queue.len(), 0);
    }

    proptest! {
        #[test]
        fn every_row_is_served_once_and_comes_back_to_its_place(
            requests in prop::collection::vec(
                (prop::collection::vec(1usize..30, 0..12), -1i32..2), 1..12),
            max in 1usize..60,
        ) {
            let mut bench = Bench::new(max);
            let mut answers: Vec<Answer> =
                requests.iter().map(|(rows, priority)| bench.push(rows, *priority)).collect();
            // The score of a row says whose it is.
            while let Some(pass) = bench.queue.next_pass(bench.start) {
                let n_rows: usize = pass.pieces.iter().map(|piece| piece.rows.len()).sum();
                prop_assert!(pass.n_tokens <= max || n_rows == 1);
                for piece in &pass.pieces {
                    let own = |row| (piece.request * 1000 + row as u64) as f32;
                    let scores = piece.rows.clone().map(own).collect();
                    bench.queue.scored(piece, vec![(0, scores)], bench.start);
                }
            }
            for (request, (answer, (rows, _))) in answers.iter_mut().zip(&requests).enumerate() {
                let scored = answer.try_recv().unwrap().unwrap();
                let expected: Vec<f32> =
                    (0..rows.len()).map(|row| (request * 1000 + row) as f32).collect();
                let found = scored.exits.into_iter().next().map(|exit| exit.1);
                prop_assert_eq!(found.unwrap_or_default(), expected);
            }
            prop_assert_eq!((bench.queue.len(), bench.budget.used()), (0, 0));
        }
    }
}
