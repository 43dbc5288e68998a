//! What the crate promises about files, tokens and samples, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod dataset;
mod encoding;
mod formats;
mod malformed;
mod mining;
mod sampling;
mod support;
mod teachers;
mod term_compaction;
mod term_store;
mod tokens;
