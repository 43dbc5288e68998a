#![doc = include_str!("../README.md")]

mod budget;
mod encode;
mod engine;
mod failure;
pub mod format;
#[cfg(feature = "grpc")]
mod grpc;
pub mod http;
mod listen;
mod model;
mod models;
mod options;
mod request;
mod server;
mod service;
mod telemetry;
#[cfg(feature = "tls")]
mod tls;

pub use engine::{Candidate, Engine, EngineConfig, RowScores, Scorer, Work};
pub use failure::Failure;
pub use model::{Model, ModelOptions, ModelSpec};
pub use models::Models;
pub use options::ServeOptions;
pub use request::{Answer, Document, Group, Options, Request, Timing};
pub use server::{Server, check, serve};
pub use service::{Limits, Service};
