#![doc = include_str!("../README.md")]

#[cfg(feature = "tokens")]
pub mod batch;
#[cfg(feature = "bm25")]
pub mod bm25;
pub mod format;
#[cfg(feature = "dataset")]
pub mod output;
#[cfg(feature = "dataset")]
pub mod term_store;
#[cfg(feature = "tokens")]
pub mod vocabulary;

#[cfg(feature = "dataset")]
mod arrow_file;
#[cfg(feature = "dataset")]
mod arrow_writer;
#[cfg(feature = "dataset")]
mod augment;
#[cfg(feature = "dataset")]
mod corpus;
#[cfg(feature = "dataset")]
mod dataset;
#[cfg(feature = "tokens")]
mod encode;
mod error;
mod group;
#[cfg(feature = "dataset")]
mod groups;
mod histogram;
mod id;
#[cfg(feature = "dataset")]
mod id_table;
#[cfg(feature = "dataset")]
mod join;
#[cfg(feature = "dataset")]
mod manifest;
#[cfg(feature = "dataset")]
pub mod mine;
#[cfg(feature = "dataset")]
mod mix;
#[cfg(feature = "dataset")]
mod prepare;
mod qrels;
#[cfg(feature = "dataset")]
mod queries;
mod run;
#[cfg(feature = "dataset")]
mod sample;
#[cfg(feature = "dataset")]
mod teacher;
#[cfg(feature = "dataset")]
mod text_table;
#[cfg(feature = "tokens")]
mod token_store;

#[cfg(feature = "dataset")]
pub use arrow_writer::WrittenFile;
#[cfg(feature = "dataset")]
pub use augment::TextShuffle;
#[cfg(feature = "tokens")]
pub use batch::{Batch, plan};
#[cfg(feature = "dataset")]
pub use corpus::Corpus;
#[cfg(feature = "dataset")]
pub use dataset::Dataset;
#[cfg(feature = "tokens")]
pub use encode::{
    DocumentPosition, MaskPlace, PairConfig, PairEncoder, PairParts, RowTemplate, Segment,
    Truncation, TruncationReport, first_id,
};
pub use error::{Error, ErrorKind, Result};
pub use group::{Candidate, Group, TextGroup};
#[cfg(feature = "dataset")]
pub use groups::Groups;
pub use histogram::LabelHistogram;
pub use id::{DocId, IdError, QueryId};
#[cfg(feature = "dataset")]
pub use manifest::{Manifest, SourceFile};
#[cfg(feature = "dataset")]
pub use mix::{MixedGroup, Mixing, mix};
#[cfg(feature = "dataset")]
pub use prepare::{GroupScores, PrepareOptions, PrepareReport, Progress, Sources, prepare};
pub use qrels::Qrels;
#[cfg(feature = "dataset")]
pub use queries::Queries;
pub use run::{Run, ScoredDocument};
#[cfg(feature = "dataset")]
pub use sample::{Curriculum, GroupSampler, Positives, SampledGroup, Shortage};
#[cfg(feature = "dataset")]
pub use teacher::{MissingTeacher, TeacherMerge, TeacherOptions, TeacherSources};
#[cfg(feature = "tokens")]
pub use token_store::TokenStore;
