//! A bounded amount of something, shared by all requests: what a request takes comes back when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many tokens, or bytes, for all requests together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// What one request has of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    n: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `n` where they fit, or where nothing else is taken: what is larger than the whole budget
    /// is served alone.
    pub(crate) fn take(self: &Arc<Self>, n: usize) -> Option<Share> {
        let fits = |used: usize| {
            let sum = used.saturating_add(n);
            (used == 0 || sum <= self.limit).then_some(sum)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Share { budget: self.clone(), n })
    }
}

impl Share {
    /// Takes `n` more, if they fit.
    pub(crate) fn grow(&mut self, n: usize) -> bool {
        let own = self.n;
        let limit = self.budget.limit;
        let fits = |used: usize| {
            let sum = used.saturating_add(n);
            (used == own || sum <= limit).then_some(sum)
        };
        let grown =
            self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.n += n;
        }
        grown
    }

    /// Counts as `n` from now on: an estimate becomes what was found.
    pub(crate) fn correct(&mut self, n: usize) {
        self.budget.used.fetch_add(n, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.n, Ordering::Relaxed);
        self.n = n;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.n, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(10);
        let mut first = budget.take(6).unwrap();
        assert!(budget.take(5).is_none());
        let second = budget.take(4).unwrap();
        assert!(!first.grow(1));
        drop(second);
        assert!(first.grow(4));
        first.correct(12);
        assert_eq!(budget.used(), 12);
        assert!(budget.take(1).is_none());
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_larger_than_all_is_served_alone() {
        let budget = Budget::new(10);
        let mut all = budget.take(50).unwrap();
        assert!(all.grow(5));
        assert!(budget.take(1).is_none());
        drop(all);
        let _one = budget.take(1).unwrap();
        assert!(budget.take(50).is_none());
    }
}
