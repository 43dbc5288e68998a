//! Threads that each take a batch through all layers, so that its activations stay in their caches.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// One thread a core. Each is a pool of its own: within it every operation runs on that thread alone
/// and waits for nobody.
#[derive(Debug)]
pub(crate) struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// As many as the current pool has threads.
    pub(crate) fn new() -> Self {
        let pool = |index| {
            ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(move |_| format!("tamis-{index}"))
                .build()
                .expect("the system lets a process have as many threads as it has cores")
        };
        Self { pools: (0..rayon::current_num_threads()).map(pool).collect() }
    }

    /// Calls `work` once for every index below `n`, and returns the results in order.
    ///
    /// One piece of work alone is called here, where operations share all threads.
    pub(crate) fn map<T: Send>(&self, n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        if n <= 1 || self.pools.len() <= 1 {
            return (0..n).map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(n));
        thread::scope(|scope| {
            for pool in &self.pools[..self.pools.len().min(n)] {
                scope.spawn(|| {
                    pool.install(|| {
                        loop {
                            let index = next.fetch_add(1, Ordering::Relaxed);
                            if index >= n {
                                return;
                            }
                            let result = work(index);
                            done.lock().expect("no worker panics here").push((index, result));
                        }
                    });
                });
            }
        });
        let mut done = done.into_inner().expect("the scope ended, so no worker panicked");
        done.sort_unstable_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whoever_makes_them() {
        let workers = Workers::new();
        for n in [0, 1, 2, 100] {
            assert_eq!(workers.map(n, |i| i * i), (0..n).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn work_within_a_worker_stays_on_its_thread() {
        let workers = Workers::new();
        let threads = rayon::current_num_threads();
        let seen = workers.map(8, |_| rayon::current_num_threads());
        assert_eq!(seen, vec![1; 8], "of {threads} threads");
    }
}
