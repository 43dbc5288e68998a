//! Numbers of several workers into numbers that all of them have.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A worker of the group is gone; what the others computed is lost with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker of the training is gone; resume from the last saved state")]
pub struct WorkerLost;

/// What workers that train one model together do with one another.
///
/// Every worker calls the same operations in the same order. Results are the same to the last bit on
/// every worker, whatever the order in which they arrive.
pub trait Collective: Send {
    /// Which worker this is, from 0.
    fn rank(&self) -> usize;

    /// How many workers there are.
    fn size(&self) -> usize;

    /// The values of all workers, by rank.
    ///
    /// # Errors
    /// When a worker is gone.
    fn all_gather(&self, values: &[f32]) -> Result<Vec<Vec<f32>>, WorkerLost>;

    /// Replaces the values by their sums over all workers, added up in the order of ranks.
    ///
    /// # Errors
    /// When a worker is gone.
    ///
    /// # Panics
    /// When workers give different numbers of values.
    fn all_reduce(&self, values: &mut [f32]) -> Result<(), WorkerLost> {
        let all = self.all_gather(values)?;
        for (place, value) in values.iter_mut().enumerate() {
            // In 64 bits, so that one worker more costs no accuracy.
            *value = all.iter().map(|one| f64::from(one[place])).sum::<f64>() as f32;
        }
        Ok(())
    }

    /// Replaces the values by those of the worker `root`.
    ///
    /// # Errors
    /// When a worker is gone.
    fn broadcast(&self, values: &mut Vec<f32>, root: usize) -> Result<(), WorkerLost> {
        let mine: &[f32] = if self.rank() == root { values } else { &[] };
        *values = self.all_gather(mine)?.swap_remove(root);
        Ok(())
    }
}

/// Workers that are threads of one process.
///
/// A worker that is dropped, by a panic for example, ends the operations of the others with an error.
pub struct Threads {
    rank: usize,
    size: usize,
    table: Arc<Table>,
}

struct Table {
    round: Mutex<Round>,
    changed: Condvar,
}

/// One exchange: all put, then all take, then the next may begin.
struct Round {
    put: Vec<Option<Vec<f32>>>,
    n_taken: usize,
    lost: bool,
}

impl Threads {
    /// Makes the workers of a group, to be given to one thread each.
    #[must_use]
    pub fn group(size: usize) -> Vec<Self> {
        let round = Round { put: vec![None; size], n_taken: 0, lost: false };
        let table = Arc::new(Table { round: Mutex::new(round), changed: Condvar::new() });
        (0..size).map(|rank| Self { rank, size, table: Arc::clone(&table) }).collect()
    }

    /// What ends the operations of all workers when a thread that has armed it panics: the panic alone
    /// does not drop a worker that the thread only borrows.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm { table: Arc::clone(&self.table) }
    }

    fn wait_until<'a>(
        &'a self,
        mut round: MutexGuard<'a, Round>,
        holds: impl Fn(&Round) -> bool,
    ) -> Result<MutexGuard<'a, Round>, WorkerLost> {
        while !holds(&round) {
            if round.lost {
                return Err(WorkerLost);
            }
            round = self.table.changed.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(round)
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, values: &[f32]) -> Result<Vec<Vec<f32>>, WorkerLost> {
        let round = self.table.round.lock().unwrap_or_else(PoisonError::into_inner);
        // The place is free once all have taken what was put there in the last round.
        let mut round = self.wait_until(round, |round| round.put[self.rank].is_none())?;
        round.put[self.rank] = Some(values.to_vec());
        self.table.changed.notify_all();
        let mut round = self.wait_until(round, |round| round.put.iter().all(Option::is_some))?;
        let all = round.put.iter().flatten().cloned().collect();
        round.n_taken += 1;
        if round.n_taken == self.size {
            round.n_taken = 0;
            round.put.iter_mut().for_each(|place| *place = None);
            self.table.changed.notify_all();
        } else {
            // Nobody may begin the next round before the last one has taken.
            let n_expected = self.size;
            drop(self.wait_until(round, |round| {
                round.n_taken < n_expected && round.put[self.rank].is_none()
            })?);
        }
        Ok(all)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.table.lose();
    }
}

impl Table {
    /// Ends every operation, under way or to come, with an error.
    fn lose(&self) {
        self.round.lock().unwrap_or_else(PoisonError::into_inner).lost = true;
        self.changed.notify_all();
    }
}

/// Armed while it lives in a thread.
#[derive(Clone)]
pub(crate) struct Alarm {
    table: Arc<Table>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.table.lose();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each<T: Send>(size: usize, work: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
        let group = Threads::group(size);
        std::thread::scope(|scope| {
            let threads: Vec<_> = group.iter().map(|worker| scope.spawn(|| work(worker))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn every_worker_gets_the_same_sums_again_and_again() {
        for size in [1, 2, 5] {
            let results = each(size, |worker| {
                let mut sums = Vec::new();
                for round in 0..200 {
                    let mut values = [worker.rank() as f32 + 0.1, round as f32];
                    worker.all_reduce(&mut values).unwrap();
                    sums.push(values);
                }
                sums
            });
            assert!(results.iter().all(|result| *result == results[0]));
            let total = (0..size).map(|rank| rank as f32 + 0.1).sum::<f32>();
            assert!((results[0][7][0] - total).abs() < 1e-5);
            assert_eq!(results[0][7][1], 7.0 * size as f32);
        }
    }

    #[test]
    fn gathering_keeps_ranks_and_lengths() {
        for all in each(3, |worker| worker.all_gather(&vec![9.0; worker.rank()]).unwrap()) {
            assert_eq!(all, [vec![], vec![9.0], vec![9.0, 9.0]]);
        }
    }

    #[test]
    fn broadcasting_gives_what_the_root_has() {
        let results = each(3, |worker| {
            let mut values = vec![worker.rank() as f32; worker.rank() + 1];
            worker.broadcast(&mut values, 1).unwrap();
            values
        });
        assert_eq!(results, vec![vec![1.0, 1.0]; 3]);
    }

    #[test]
    fn a_worker_that_is_gone_is_an_error_for_the_others() {
        let mut group = Threads::group(2);
        drop(group.pop());
        assert_eq!(group[0].all_gather(&[1.0]).unwrap_err(), WorkerLost);
    }
}
