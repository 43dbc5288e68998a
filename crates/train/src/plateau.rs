//! Losses into an early warning: a softmax loss that sits at ln G has learnt nothing.

use std::collections::VecDeque;

use tamis_loss::Objective;

use crate::batches::MicroBatch;
use crate::event::StepRecord;
use crate::schedule::Schedule;

/// Steps that are looked at together.
const WINDOW: usize = 50;

/// How near to the loss of a constant scorer is suspicious, as a part of it.
const NEAR: f64 = 0.02;

/// Compares the loss with that of a scorer that gives all candidates the same score.
pub(crate) struct Plateau {
    /// Loss, and loss of a constant scorer, of the last steps after the warm-up.
    recent: VecDeque<(f64, f64)>,
    after: u64,
    weight: Option<f64>,
    warned: bool,
}

impl Plateau {
    pub(crate) fn new(objective: &Objective, schedule: Schedule) -> Self {
        let weight = match objective.terms.as_slice() {
            [term] if term.loss.is_softmax_over_group() => Some(term.weight),
            _ => None,
        };
        Self { recent: VecDeque::new(), after: schedule.warmup_steps, weight, warned: false }
    }

    /// A warning, once, when the last steps taught the model nothing.
    pub(crate) fn look(&mut self, record: &StepRecord, batches: &[MicroBatch]) -> Option<String> {
        let weight = self.weight?;
        if self.warned || record.step <= self.after {
            return None;
        }
        let sizes = batches.iter().flat_map(|micro| micro.batch.group_offsets().windows(2));
        let logs = sizes.map(|pair| f64::from(pair[1] - pair[0]).ln()).collect::<Vec<_>>();
        let constant = weight * logs.iter().sum::<f64>() / logs.len().max(1) as f64;
        self.recent.push_back((record.loss, constant));
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let mean = |of: fn(&(f64, f64)) -> f64| self.recent.iter().map(of).sum::<f64>();
        let (loss, constant) = (mean(|pair| pair.0), mean(|pair| pair.1));
        if self.recent.len() < WINDOW
            || constant <= 0.0
            || (loss - constant).abs() > NEAR * constant
        {
            return None;
        }
        self.warned = true;
        let (loss, constant) = (loss / WINDOW as f64, constant / WINDOW as f64);
        Some(format!(
            "the loss of the last {WINDOW} steps is {loss:.4}; a scorer that gives every candidate of \
             a group the same score has ln G = {constant:.4}: nothing is learnt; look at the learning \
             rate, the labels and the head"
        ))
    }
}

#[cfg(test)]
mod tests {
    use tamis_data::Batch;
    use tamis_loss::{Hinge, Lce, Loss};

    use super::*;

    fn batches() -> Vec<MicroBatch> {
        let mut batch = Batch::new();
        for _ in 0..3 {
            (0..4).for_each(|_| batch.push_row(&[1], &[0]));
            batch.end_group();
        }
        vec![MicroBatch { batch, labels: vec![0.0; 12], teacher_scores: None }]
    }

    /// The step of the warning, when the loss is what `loss` says.
    fn warned(of: Loss, loss: impl Fn(u64) -> f64) -> Option<u64> {
        let schedule = Schedule { warmup_steps: 10, ..Schedule::default() };
        let mut plateau = Plateau::new(&Objective::single(of), schedule);
        let record = |step| StepRecord {
            step,
            epoch: 0,
            loss: loss(step),
            lr: 0.1,
            grad_norm: 1.0,
            groups: 3,
            tokens: 12,
            truncated_rows: 0,
            truncated_queries: 0,
            data_seconds: 0.0,
            loss_scale: None,
            skipped: false,
            seconds: 0.1,
        };
        let mut steps = (1..=200).filter(|&step| plateau.look(&record(step), &batches()).is_some());
        let first = steps.next();
        assert_eq!(steps.next(), None, "it warns once");
        first
    }

    #[test]
    fn a_loss_at_ln_g_is_noticed_after_the_warm_up() {
        let lce = Loss::Lce(Lce::default());
        let wobble = |step: u64| 4.0_f64.ln() + if step.is_multiple_of(2) { 0.1 } else { -0.1 };
        assert_eq!(warned(lce, wobble), Some(60));
        assert_eq!(warned(lce, |step| 4.0_f64.ln() - 0.01 * step as f64), None);
        assert_eq!(warned(Loss::Hinge(Hinge::default()), wobble), None);
    }
}
