//! What training tells its caller while it runs.

use serde::{Deserialize, Serialize};

use crate::dev::DevRecord;

/// One thing that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Texts are being tokenised: how many are done, of how many.
    Tokenising {
        /// Texts done.
        done: u64,
        /// Texts in all.
        total: u64,
    },
    /// Everything is loaded and the first step is next.
    Started(Plan),
    /// A step was taken.
    Step(StepRecord),
    /// Training goes on, but something looks wrong.
    Warning {
        /// The step, from 1.
        step: u64,
        /// What, and what to look at.
        text: String,
    },
    /// Groups of the dev set that are scored, of how many.
    Reranking {
        /// Groups done.
        done: usize,
        /// Groups in all.
        total: usize,
    },
    /// The dev set was measured.
    Dev(DevRecord),
    /// The dev measure has not improved for as long as the recipe waits: training ends.
    StoppedEarly {
        /// The last step.
        step: u64,
        /// Evaluations since the best one.
        evaluations: u64,
    },
    /// The state after a step is on disk.
    Saved {
        /// The step, from 1.
        step: u64,
    },
}

/// What a run is going to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The last step.
    pub steps: u64,
    /// The step that was the last before a resume; 0 for a new run.
    pub resumed_at: u64,
    /// Groups that training draws from.
    pub groups: usize,
    /// Groups without a positive or without enough negatives, left out.
    pub left_out: usize,
    /// Steps in one pass over the groups.
    pub steps_per_epoch: u64,
    /// Trainable numbers.
    pub parameters: usize,
    /// Tensors of a new head, drawn from the seed.
    pub drawn: Vec<String>,
    /// Tensors of other heads in the checkpoint, left out.
    pub left_out_tensors: Vec<String>,
    /// Texts longer than `max_length` tokens, cut.
    pub cut_documents: u64,
}

/// One step of training: a line of `train.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// From 1.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// The loss before the step, the mean over its groups.
    pub loss: f64,
    /// The learning rate of the step.
    pub lr: f64,
    /// The length of the gradient before clipping.
    pub grad_norm: f64,
    /// What gradients are multiplied by from the next step on, where they are scaled (`f16`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Whether the gradient overflowed, so that the model stayed as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Groups of the step.
    pub groups: usize,
    /// Tokens of the step.
    pub tokens: usize,
    /// Rows that were longer than `max_length` and lost tokens.
    pub truncated_rows: u64,
    /// Queries that were longer than `query_max_length` and were cut.
    pub truncated_queries: u64,
    /// How long it waited for its batches.
    #[serde(default)]
    pub data_seconds: f64,
    /// How long the step took, with its batches.
    pub seconds: f64,
}
