//! The file formats, one per file. Text formats are read line by line; `.gz` and `.zst` by extension.

pub mod lines;
pub mod trec;

mod run_builder;
