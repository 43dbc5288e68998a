//! Measures, texts and reports held against files made by other programs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod conformance;
mod files;
mod fusion;
mod malformed;
mod properties;
mod streams;
mod trec_eval;
mod with_data;
mod with_fixtures;
