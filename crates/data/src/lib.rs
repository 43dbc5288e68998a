//! Files on disk into groups, and groups into batches of token ids.
//!
//! ```text
//! files ──format──► corpus, queries, qrels, run ──prepare──► dataset (Arrow, memory-mapped)
//!                                                               │
//!                                    groups ◄──sample───────────┘
//!                                      └──encode──► batch: flat token ids with offsets
//! ```
//!
//! This crate knows no tensor, no device and no network.

pub mod batch;
#[cfg(feature = "bm25")]
pub mod bm25;
pub mod format;
pub mod vocabulary;

mod encode;
mod error;
mod group;
mod id;
mod qrels;
mod run;
mod sample;

pub use batch::Batch;
pub use encode::{PairConfig, PairEncoder, Truncation, TruncationReport};
pub use error::{Error, ErrorKind, Result};
pub use group::{Candidate, Group, TextGroup};
pub use id::{DocId, IdError, QueryId};
pub use qrels::Qrels;
pub use run::{Run, ScoredDocument};
pub use sample::{GroupSampler, Positives, SampledGroup, Shortage};
