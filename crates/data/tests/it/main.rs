//! What the crate promises about files, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod dataset;
mod formats;
mod malformed;
mod support;
mod tokens;
