//! A model that breaks when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tamis_data::Batch;
use tamis_model::{Effort, Result};
use tamis_serve::{Candidate, RowScores, Scorer};

/// What goes wrong, and on rows of how many tokens (0: none).
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    pub(crate) panics_at: AtomicUsize,
    pub(crate) nan_at: AtomicUsize,
    pub(crate) slow_ms: AtomicUsize,
    /// Warm-ups that fail from now on.
    pub(crate) warm_ups_fail: AtomicUsize,
    pub(crate) n_passes: AtomicUsize,
    pub(crate) n_rows: AtomicUsize,
}

struct Breaking {
    inner: Arc<dyn Scorer>,
    chaos: Arc<Chaos>,
}

impl Chaos {
    /// Puts itself before a model.
    pub(crate) fn before(self: &Arc<Self>) -> impl FnOnce(Arc<dyn Scorer>) -> Arc<dyn Scorer> {
        let chaos = self.clone();
        move |inner| Arc::new(Breaking { inner, chaos })
    }

    pub(crate) fn set(&self, what: &AtomicUsize, n: usize) {
        what.store(n, Ordering::SeqCst);
    }
}

fn lengths(pairs: &Batch) -> impl Iterator<Item = usize> {
    (0..pairs.n_rows()).map(|row| pairs.row(row).0.len())
}

impl Scorer for Breaking {
    fn score_rows(&self, worker: usize, pairs: &Batch, effort: &Effort) -> Result<RowScores> {
        let chaos = &self.chaos;
        chaos.n_passes.fetch_add(1, Ordering::SeqCst);
        chaos.n_rows.fetch_add(pairs.n_rows(), Ordering::SeqCst);
        sleep(Duration::from_millis(chaos.slow_ms.load(Ordering::SeqCst) as u64));
        let panics_at = chaos.panics_at.load(Ordering::SeqCst);
        assert!(!lengths(pairs).any(|n| n == panics_at), "told to panic");
        let mut exits = self.inner.score_rows(worker, pairs, effort)?;
        let nan_at = chaos.nan_at.load(Ordering::SeqCst);
        for (_, scores) in &mut exits {
            for (score, n) in scores.iter_mut().zip(lengths(pairs)) {
                if n == nan_at {
                    *score = f32::NAN;
                }
            }
        }
        Ok(exits)
    }

    fn score_terms(&self, worker: usize, query: &str, of: &[Candidate]) -> Result<Vec<f32>> {
        self.inner.score_terms(worker, query, of)
    }

    fn warm_up(&self, worker: usize) -> Result<()> {
        let left = self.chaos.warm_ups_fail.load(Ordering::SeqCst);
        if left > 0 {
            self.chaos.warm_ups_fail.store(left - 1, Ordering::SeqCst);
            panic!("told to fail at warming up");
        }
        self.inner.warm_up(worker)
    }
}
