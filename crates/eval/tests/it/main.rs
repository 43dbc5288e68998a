//! Measures, texts and reports held against files made by other programs.

mod files;
mod fusion;
mod malformed;
mod properties;
mod trec_eval;
mod with_data;
mod with_fixtures;
