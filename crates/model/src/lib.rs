#![doc = include_str!("../README.md")]

pub mod adapter;
pub mod checkpoint;
pub mod decoder;
pub mod encoder;
#[cfg(feature = "hub")]
pub mod hub;
pub mod layer;
pub mod parity;

mod config;
mod cost;
mod cross_encoder;
mod device;
mod dropout_seeds;
mod effort;
mod error;
mod head;
mod input;
mod json;
mod long_document;
mod reranker;
mod scores;
mod settings;
mod split;
mod workers;

pub use config::{Config, EncoderConfig};
pub use cost::{CostModel, RowTokens};
pub use cross_encoder::{CrossEncoder, ExitPass};
pub use device::device;
pub use dropout_seeds::DropoutSeeds;
pub use effort::{Compatibility, Effort, HeadOrder, TokenWeights};
pub use error::{Error, Result};
pub use head::{
    BertHead, ExitHeads, ExitLayers, Head, LastTokenHead, LinearHead, ModularHead, PartsHead,
    Pooling,
};
pub use input::Input;
pub use long_document::{LongDocuments, WindowPooling};
pub use reranker::{
    ExitScores, IdGroup, OpenOptions, Reranker, RowOptions, Rows, TermCandidate, TermGroup,
};
pub use scores::Scores;
pub use settings::{Activation, AnswerWords, Settings};
pub use split::{Compressor, CompressorConfig, SplitConfig, SplitScore};
pub use tamis_ops::{Precision, instructions};
