//! TEI's gRPC service, by a client that is written from its description.

use prost::Message;
use serde_json::json;
use tonic::client::Grpc;
use tonic::codec::Codec;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::site::Site;

#[derive(Clone, PartialEq, Message)]
struct Ask {
    #[prost(string, tag = "1")]
    query: String,
    #[prost(string, repeated, tag = "2")]
    texts: Vec<String>,
    #[prost(bool, tag = "3")]
    truncate: bool,
    #[prost(bool, tag = "4")]
    raw_scores: bool,
    #[prost(bool, tag = "5")]
    return_text: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AskOne {
    #[prost(string, tag = "1")]
    query: String,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(bool, tag = "4")]
    raw_scores: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Ranked {
    #[prost(uint32, tag = "1")]
    index: u32,
    #[prost(string, optional, tag = "2")]
    text: Option<String>,
    #[prost(float, tag = "3")]
    score: f32,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(uint32, tag = "2")]
    compute_tokens: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Ranking {
    #[prost(message, repeated, tag = "1")]
    ranks: Vec<Ranked>,
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
}

/// A port that nobody listens on.
fn port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

async fn client(port: &str) -> Grpc<Channel> {
    let address = format!("http://127.0.0.1:{port}");
    for _ in 0..200 {
        if let Ok(channel) = Channel::from_shared(address.clone()).unwrap().connect().await {
            return Grpc::new(channel);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody listens on {address}");
}

fn codec<T>() -> impl Codec<Encode = T, Decode = Ranking>
where
    T: Message + 'static,
{
    ProstCodec::default()
}

async fn rerank(client: &mut Grpc<Channel>, request: Request<Ask>) -> Result<Ranking, Status> {
    client.ready().await.unwrap();
    let path = "/tei.v1.Rerank/Rerank".parse().unwrap();
    Ok(client.unary(request, path, codec()).await?.into_inner())
}

fn ask(texts: &[&str]) -> Ask {
    Ask {
        query: "sun".to_owned(),
        texts: texts.iter().map(|&text| text.to_owned()).collect(),
        truncate: true,
        raw_scores: true,
        return_text: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rankings_are_those_of_http() {
    let port = port();
    let own = port.clone();
    let site =
        tokio::task::spawn_blocking(move || Site::new(&["--grpc-port", &own])).await.unwrap();
    let mut client = client(&port).await;
    let texts = ["rain", "sun alpha", "cold"];
    let ranking = rerank(&mut client, Request::new(ask(&texts))).await.unwrap();
    let body = json!({ "query": "sun", "texts": texts, "raw_scores": true });
    let site = std::sync::Arc::new(site);
    let asked = site.clone();
    let got = tokio::task::spawn_blocking(move || asked.post("/rerank", &body)).await.unwrap();
    for (rank, same) in ranking.ranks.iter().zip(got.body.as_array().unwrap()) {
        assert_eq!(u64::from(rank.index), same["index"].as_u64().unwrap());
        assert_eq!(rank.score, same["score"].to_string().parse::<f32>().unwrap());
        assert_eq!(rank.text.as_deref(), Some(texts[rank.index as usize]));
    }
    assert!(ranking.metadata.as_ref().unwrap().compute_tokens > 0);

    // One text after the other.
    client.ready().await.unwrap();
    let one =
        |text: &str| AskOne { query: "sun".to_owned(), text: text.to_owned(), raw_scores: true };
    let all: Vec<AskOne> = texts.iter().map(|text| one(text)).collect();
    let all = futures_util::stream::iter(all);
    let path = "/tei.v1.Rerank/RerankStream".parse().unwrap();
    let streamed = client.client_streaming(Request::new(all), path, codec()).await.unwrap();
    let scores = |ranking: &Ranking| -> Vec<(u32, f32)> {
        ranking.ranks.iter().map(|rank| (rank.index, rank.score)).collect()
    };
    assert_eq!(scores(&streamed.into_inner()), scores(&ranking));

    let empty = rerank(&mut client, Request::new(ask(&[]))).await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
    let too_many = vec!["a"; 3000];
    let refused = rerank(&mut client, Request::new(ask(&too_many))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    tokio::task::spawn_blocking(move || drop(site)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_here_too() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "0123456789abcdef\n").unwrap();
    let port = port();
    let (own, keys) = (port.clone(), keys.to_str().unwrap().to_owned());
    let start = move || Site::new(&["--grpc-port", &own, "--api-keys", &keys]);
    let site = tokio::task::spawn_blocking(start).await.unwrap();
    let mut client = client(&port).await;
    let refused = rerank(&mut client, Request::new(ask(&["rain"]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut request = Request::new(ask(&["rain"]));
    request.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(rerank(&mut client, request).await.unwrap().ranks.len(), 1);
    tokio::task::spawn_blocking(move || drop(site)).await.unwrap();
}
