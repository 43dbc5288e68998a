//! The commands as a user runs them: the real binary on small files.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod commands;
mod exits;
mod prettr;
mod signals;
mod task;
