//! TEI's gRPC service `tei.v1.Rerank`, for clients made from its description.
//!
//! The messages are written down here, field by field with their numbers, so that building needs no compiler for
//! descriptions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use axum::http;
use futures_util::StreamExt;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as Call};
use tonic::server::{ClientStreamingService, Grpc, NamedService, UnaryService};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::failure::Failure;
use crate::http::App;
use crate::request::{Answer, Document, Group, Options, Request};

/// Texts that are cut lose their start.
const LEFT: i32 = 1;

/// A query and texts.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RerankRequest {
    /// The query.
    #[prost(string, tag = "1")]
    pub query: String,
    /// The documents.
    #[prost(string, repeated, tag = "2")]
    pub texts: Vec<String>,
    /// `false` refuses texts that do not fit.
    #[prost(bool, tag = "3")]
    pub truncate: bool,
    /// Logits, whatever the checkpoint's activation.
    #[prost(bool, tag = "4")]
    pub raw_scores: bool,
    /// Repeats each text beside its score.
    #[prost(bool, tag = "5")]
    pub return_text: bool,
    /// Which end of a text is cut: 0 the right one, 1 the left one.
    #[prost(int32, tag = "6")]
    pub truncation_direction: i32,
}

/// A query and one of its texts; the first of a stream says how they are scored.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RerankStreamRequest {
    /// The query.
    #[prost(string, tag = "1")]
    pub query: String,
    /// One document.
    #[prost(string, tag = "2")]
    pub text: String,
    /// `false` refuses texts that do not fit.
    #[prost(bool, tag = "3")]
    pub truncate: bool,
    /// Logits, whatever the checkpoint's activation.
    #[prost(bool, tag = "4")]
    pub raw_scores: bool,
    /// Repeats each text beside its score.
    #[prost(bool, tag = "5")]
    pub return_text: bool,
    /// Which end of a text is cut: 0 the right one, 1 the left one.
    #[prost(int32, tag = "6")]
    pub truncation_direction: i32,
}

/// One document of a ranking.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Rank {
    /// Its place in the request.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Its text, if asked for.
    #[prost(string, optional, tag = "2")]
    pub text: Option<String>,
    /// Its score.
    #[prost(float, tag = "3")]
    pub score: f32,
}

/// What a request took.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    /// Characters of all texts.
    #[prost(uint32, tag = "1")]
    pub compute_chars: u32,
    /// Tokens that the model read.
    #[prost(uint32, tag = "2")]
    pub compute_tokens: u32,
    /// From its message to its answer, in nanoseconds.
    #[prost(uint64, tag = "3")]
    pub total_time_ns: u64,
    /// Reading its texts into tokens.
    #[prost(uint64, tag = "4")]
    pub tokenization_time_ns: u64,
    /// Waiting for its turn.
    #[prost(uint64, tag = "5")]
    pub queue_time_ns: u64,
    /// From its first row to its last score.
    #[prost(uint64, tag = "6")]
    pub inference_time_ns: u64,
}

/// A ranking, the best document first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RerankResponse {
    /// The ranking.
    #[prost(message, repeated, tag = "1")]
    pub ranks: Vec<Rank>,
    /// What it took.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
}

/// The service.
#[derive(Clone)]
struct Rerank {
    app: Arc<App>,
}

impl NamedService for Rerank {
    const NAME: &'static str = "tei.v1.Rerank";
}

/// Answers until it breaks.
///
/// # Errors
/// When the address is taken.
pub(crate) async fn serve(app: Arc<App>, address: SocketAddr) -> Result<()> {
    tracing::info!(%address, "listening for gRPC");
    tonic::transport::Server::builder().add_service(Rerank { app }).serve(address).await?;
    Ok(())
}

impl Rerank {
    fn authorize<T>(&self, request: &tonic::Request<T>) -> Result<(), Status> {
        let headers = request.metadata().clone().into_headers();
        if self.app.is_allowed(&headers) { Ok(()) } else { Err(status(&Failure::Unauthorized)) }
    }

    async fn rank(&self, request: RerankRequest) -> Result<RerankResponse, Status> {
        let raw = request.raw_scores;
        let mut texts = request.return_text.then(|| request.texts.clone());
        let documents =
            request.texts.into_iter().map(|text| Document { id: None, text: Some(text) }).collect();
        let options = Options {
            refuses_truncation: !request.truncate && !self.app.config.auto_truncate,
            keeps_end: request.truncation_direction == LEFT,
            ..Options::default()
        };
        let groups = vec![Group { query: request.query, documents }];
        let answer = self.app.service.score(Request { model: None, groups, options }).await;
        let answer = answer.map_err(|failure| status(&failure))?;
        let mut text = |index: usize| texts.as_mut()?.get_mut(index).map(std::mem::take);
        let rank = |(index, logit): (usize, f32)| Rank {
            index: index as u32,
            text: text(index),
            score: answer.shown(logit, raw),
        };
        let ranks = answer.ranking(0, None).into_iter().map(rank).collect();
        Ok(RerankResponse { ranks, metadata: Some(metadata(&answer)) })
    }
}

fn metadata(answer: &Answer) -> Metadata {
    let ns = |duration: std::time::Duration| duration.as_nanos() as u64;
    Metadata {
        compute_chars: answer.n_characters as u32,
        compute_tokens: answer.n_tokens as u32,
        total_time_ns: ns(answer.timing.total),
        tokenization_time_ns: ns(answer.timing.tokenization),
        queue_time_ns: ns(answer.timing.queue),
        inference_time_ns: ns(answer.timing.inference),
    }
}

/// A failure as gRPC says it.
fn status(failure: &Failure) -> Status {
    let code = match failure.status().as_u16() {
        401 => Code::Unauthenticated,
        404 => Code::NotFound,
        400 | 413 | 415 | 422 => Code::InvalidArgument,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    Status::new(code, failure.to_string())
}

impl UnaryService<RerankRequest> for Rerank {
    type Response = RerankResponse;
    type Future = BoxFuture<tonic::Response<RerankResponse>, Status>;

    fn call(&mut self, request: tonic::Request<RerankRequest>) -> Self::Future {
        let rerank = self.clone();
        Box::pin(async move {
            rerank.authorize(&request)?;
            rerank.rank(request.into_inner()).await.map(tonic::Response::new)
        })
    }
}

impl ClientStreamingService<RerankStreamRequest> for Rerank {
    type Response = RerankResponse;
    type Future = BoxFuture<tonic::Response<RerankResponse>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<RerankStreamRequest>>) -> Self::Future {
        let rerank = self.clone();
        Box::pin(async move {
            rerank.authorize(&request)?;
            let limits = *rerank.app.service.limits();
            let mut stream = request.into_inner();
            let (mut all, mut n_bytes) = (None::<RerankRequest>, 0);
            while let Some(next) = stream.next().await {
                let next = next?;
                n_bytes += next.text.len();
                let all = all.get_or_insert_with(|| RerankRequest {
                    query: next.query,
                    texts: Vec::new(),
                    truncate: next.truncate,
                    raw_scores: next.raw_scores,
                    return_text: next.return_text,
                    truncation_direction: next.truncation_direction,
                });
                all.texts.push(next.text);
                if n_bytes > limits.max_body_bytes || all.texts.len() > limits.max_documents {
                    return Err(status(&Failure::TooLarge { limit: limits.max_body_bytes }));
                }
            }
            rerank.rank(all.unwrap_or_default()).await.map(tonic::Response::new)
        })
    }
}

impl Call<http::Request<Body>> for Rerank {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rerank = self.clone();
        let limit = self.app.service.limits().max_body_bytes;
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/tei.v1.Rerank/Rerank" => {
                    let codec = ProstCodec::default();
                    let mut grpc = Grpc::new(codec).max_decoding_message_size(limit);
                    grpc.unary(rerank, request).await
                }
                "/tei.v1.Rerank/RerankStream" => {
                    let codec = ProstCodec::default();
                    let mut grpc = Grpc::new(codec).max_decoding_message_size(limit);
                    grpc.client_streaming(rerank, request).await
                }
                _ => Status::unimplemented("there are Rerank and RerankStream").into_http(),
            })
        })
    }
}
