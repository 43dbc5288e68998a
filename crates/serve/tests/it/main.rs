//! The server through its door: real connections to a tiny model, in one process and as a binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![expect(clippy::panic, reason = "a test that cannot go on has failed")]

mod chaos;
mod faults;
mod formats;
#[cfg(feature = "grpc")]
mod grpc;
mod load;
mod process;
mod scores;
mod site;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod with_data;
mod with_fixtures;
