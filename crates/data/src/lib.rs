#![doc = include_str!("../README.md")]

pub mod batch;
#[cfg(feature = "bm25")]
pub mod bm25;
pub mod format;
pub mod output;
pub mod vocabulary;

mod arrow_file;
mod arrow_writer;
mod corpus;
mod dataset;
mod encode;
mod error;
mod group;
mod groups;
mod id;
mod id_table;
mod join;
mod manifest;
mod prepare;
mod qrels;
mod queries;
mod run;
mod sample;
mod text_table;
mod token_store;

pub use arrow_writer::WrittenFile;
pub use batch::{Batch, plan};
pub use corpus::Corpus;
pub use dataset::Dataset;
pub use encode::{PairConfig, PairEncoder, Truncation, TruncationReport};
pub use error::{Error, ErrorKind, Result};
pub use group::{Candidate, Group, TextGroup};
pub use groups::Groups;
pub use id::{DocId, IdError, QueryId};
pub use manifest::{Manifest, SourceFile};
pub use prepare::{GroupScores, PrepareOptions, PrepareReport, Progress, Sources, prepare};
pub use qrels::Qrels;
pub use queries::Queries;
pub use run::{Run, ScoredDocument};
pub use sample::{GroupSampler, Positives, SampledGroup, Shortage};
pub use token_store::TokenStore;
