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

pub mod format;

mod error;
mod id;
mod qrels;
mod run;

pub use error::{Error, ErrorKind, Result};
pub use id::{DocId, IdError, QueryId};
pub use qrels::Qrels;
pub use run::{Run, ScoredDocument};
