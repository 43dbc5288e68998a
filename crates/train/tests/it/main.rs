//! Training against PyTorch's traces, and runs that stop and go on.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod compressors;
mod data;
mod faults;
mod recipes;
mod run_control;
mod runs;
mod traces;
