#![doc = include_str!("../README.md")]

mod compare;
mod error;
mod evaluate;
mod measure;
mod ranking;

pub mod files;
pub mod fuse;
pub mod msmarco;
pub mod report;
pub mod statistics;
pub mod trec;

pub use compare::{CompareConfig, Comparison, Correction, MeasureComparison, compare, compare_all};
pub use error::{Error, Result};
pub use evaluate::{Absence, Evaluation, MissingQueries, evaluate};
pub use measure::{Continuation, Family, Gain, Measure, Summary, measures_page};
pub use ranking::Ranking;
