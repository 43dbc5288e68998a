//! Learning rates as closed forms of the step, so that resuming needs no state.

use serde::{Deserialize, Serialize};

/// What the rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Falls in a straight line to 0 at the last step.
    #[default]
    Linear,
    /// Falls along half a cosine to 0 at the last step.
    Cosine,
    /// Stays.
    Constant,
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
}

impl Schedule {
    /// The rate of a step, counted from 0.
    ///
    /// # Formula
    /// With `w` warm-up steps of `t` in all: `s / max(1, w)` before `w`; then
    /// `max(0, (t - s) / max(1, t - w))`, or `(1 + cos(π (s - w) / max(1, t - w))) / 2`, or 1; times
    /// the peak.
    ///
    /// # Source
    /// `get_linear_schedule_with_warmup` and `get_cosine_schedule_with_warmup` of transformers.
    /// Differs: after the last step the cosine stays at 0 instead of rising again.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * step as f64 / self.warmup_steps.max(1) as f64;
        }
        let span = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let done = ((step - self.warmup_steps) as f64 / span).min(1.0);
        let factor = match self.kind {
            ScheduleKind::Linear => 1.0 - done,
            ScheduleKind::Cosine => (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
            ScheduleKind::Constant => 1.0,
        };
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(kind: ScheduleKind) -> Vec<f64> {
        let schedule = Schedule { kind, peak: 2.0, warmup_steps: 2, total_steps: 6 };
        (0..8).map(|step| (schedule.rate(step) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn shapes_are_those_of_transformers() {
        // transformers.get_{linear,cosine,constant}_schedule_with_warmup(lr = 2, 2, 6).
        assert_eq!(rates(ScheduleKind::Linear), [0.0, 1.0, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0]);
        let cosine = [0.0, 1.0, 2.0, 1.707_107, 1.0, 0.292_893, 0.0, 0.0];
        assert_eq!(rates(ScheduleKind::Cosine), cosine);
        assert_eq!(rates(ScheduleKind::Constant), [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        let schedule =
            Schedule { kind: ScheduleKind::Linear, peak: 1.0, warmup_steps: 0, total_steps: 1 };
        assert_eq!(schedule.rate(0), 1.0);
    }
}
