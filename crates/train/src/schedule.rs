//! Learning rates as closed forms of the step, so that resuming needs no state.

use serde::{Deserialize, Serialize};

/// What the rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Falls in a straight line to the floor at the last step.
    #[default]
    Linear,
    /// Falls along half a cosine to the floor, once or several times.
    Cosine,
    /// Stays.
    Constant,
    /// Stays, and falls in a straight line to the floor at the end.
    WarmupStableDecay,
    /// Falls as 1 / √step.
    InverseSqrt,
}

/// A warm-up from 0 in a straight line, then what the kind says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The shape after the warm-up.
    pub kind: ScheduleKind,
    /// The highest rate.
    pub peak: f64,
    /// Steps until the peak.
    pub warmup_steps: u64,
    /// All steps.
    pub total_steps: u64,
    /// The lowest rate after the warm-up, as a part of the peak.
    pub floor: f64,
    /// How often a cosine falls; it starts again at the peak.
    pub cycles: u64,
    /// The part of all steps in which a rate that stays falls.
    pub decay_ratio: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Linear,
            peak: 0.0,
            warmup_steps: 0,
            total_steps: 1,
            floor: 0.0,
            cycles: 1,
            decay_ratio: 0.1,
        }
    }
}

/// What stands for the warm-up of an inverse square root that has none.
const TIMESCALE: f64 = 10_000.0;

impl Schedule {
    /// The rate of a step, counted from 0.
    ///
    /// # Formula
    /// With `w` warm-up steps of `t` in all: `s / max(1, w)` before `w`. Then, where
    /// `x = (s - w) / max(1, t - w)`, at most 1, and `f` is the floor: `f + (1 - f) y` with
    /// - linear: `y = 1 - x`
    /// - cosine: `y = (1 + cos(π (c x mod 1))) / 2` for `c` cycles, 0 at the end
    /// - constant: `y = 1`
    /// - warm-up-stable-decay: `y = min(1, (t - s) / (r t))` for a decay ratio `r`
    /// - inverse square root: `y = √(w / s)`, or `√(10000 / (10000 + s))` without a warm-up
    ///
    /// times the peak.
    ///
    /// # Source
    /// `get_linear_schedule_with_warmup`, `get_cosine_with_hard_restarts_schedule_with_warmup`,
    /// `get_cosine_with_min_lr_schedule_with_warmup` and `get_inverse_sqrt_schedule` of transformers;
    /// Hu et al. 2024, "MiniCPM", section 4. Differs: after the last step the rate stays at the floor.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps.max(1) as f64;
        }
        let span = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let done = ((step - self.warmup_steps) as f64 / span).min(1.0);
        let factor = match self.kind {
            ScheduleKind::Linear => 1.0 - done,
            ScheduleKind::Cosine if done >= 1.0 => 0.0,
            ScheduleKind::Cosine => {
                let place = (done * self.cycles as f64).fract();
                (1.0 + (std::f64::consts::PI * place).cos()) / 2.0
            }
            ScheduleKind::Constant => 1.0,
            ScheduleKind::WarmupStableDecay => {
                let left = self.total_steps.saturating_sub(step) as f64;
                (left / (self.decay_ratio * self.total_steps as f64).max(1.0)).min(1.0)
            }
            ScheduleKind::InverseSqrt => {
                let (warmup, step) = (self.warmup_steps as f64, step as f64);
                if self.warmup_steps > 0 {
                    (warmup / step).sqrt()
                } else {
                    (TIMESCALE / (TIMESCALE + step)).sqrt()
                }
            }
        };
        self.peak * (self.floor + (1.0 - self.floor) * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule) -> Vec<f64> {
        let schedule = Schedule { peak: 2.0, warmup_steps: 2, total_steps: 6, ..schedule };
        (0..8).map(|step| (schedule.rate(step) * 1e6).round() / 1e6).collect()
    }

    fn of(kind: ScheduleKind) -> Schedule {
        Schedule { kind, ..Schedule::default() }
    }

    #[test]
    fn shapes_are_those_of_transformers() {
        // transformers.get_{linear,cosine,constant}_schedule_with_warmup(lr = 2, 2, 6).
        assert_eq!(rates(of(ScheduleKind::Linear)), [0.0, 1.0, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0]);
        let cosine = [0.0, 1.0, 2.0, 1.707_107, 1.0, 0.292_893, 0.0, 0.0];
        assert_eq!(rates(of(ScheduleKind::Cosine)), cosine);
        assert_eq!(rates(of(ScheduleKind::Constant)), [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
        // get_inverse_sqrt_schedule(2): the timescale is the warm-up.
        let root_2 = (std::f64::consts::SQRT_2 * 1e6).round() / 1e6;
        let roots = [0.0, 1.0, 2.0, 1.632_993, root_2, 1.264_911, 1.154_701, 1.069_045];
        assert_eq!(rates(of(ScheduleKind::InverseSqrt)), roots);
    }

    #[test]
    fn cosines_start_again_and_end_on_the_floor() {
        // get_cosine_with_hard_restarts_schedule_with_warmup(num_cycles = 2).
        let twice = Schedule { cycles: 2, ..of(ScheduleKind::Cosine) };
        assert_eq!(rates(twice), [0.0, 1.0, 2.0, 1.0, 2.0, 1.0, 0.0, 0.0]);
        let floored = Schedule { floor: 0.25, ..of(ScheduleKind::Cosine) };
        assert_eq!(rates(floored), [0.0, 1.0, 2.0, 1.780_33, 1.25, 0.719_67, 0.5, 0.5]);
        let floored = Schedule { floor: 0.5, ..of(ScheduleKind::Linear) };
        assert_eq!(rates(floored), [0.0, 1.0, 2.0, 1.75, 1.5, 1.25, 1.0, 1.0]);
    }

    #[test]
    fn a_stable_rate_falls_at_the_end() {
        let wsd = Schedule { decay_ratio: 1.0 / 3.0, ..of(ScheduleKind::WarmupStableDecay) };
        assert_eq!(rates(wsd), [0.0, 1.0, 2.0, 2.0, 2.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        for kind in [
            ScheduleKind::Linear,
            ScheduleKind::Cosine,
            ScheduleKind::Constant,
            ScheduleKind::WarmupStableDecay,
            ScheduleKind::InverseSqrt,
        ] {
            assert_eq!(Schedule { peak: 1.0, total_steps: 9, ..of(kind) }.rate(0), 1.0, "{kind:?}");
        }
    }
}
