//! Every wire format: what its clients send, and what they look for in the answer.

use serde_json::{Value, json};

use crate::site::Site;

const DOCUMENTS: [&str; 3] = ["alpha beta", "rain", "cold sun fever"];

/// The places of the documents, the best first.
fn order(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|rank| rank["index"].as_u64().unwrap()).collect()
}

#[test]
fn every_format_gives_the_same_order() {
    let site = Site::new(&[]);
    let tei = site.post("/rerank", &json!({ "query": "sun", "texts": DOCUMENTS }));
    assert_eq!(tei.status, 200);
    let best = order(&tei.body);
    assert_eq!(best.len(), 3);
    for (path, body, list) in [
        ("/rerank", json!({ "query": "sun", "documents": DOCUMENTS }), "results"),
        ("/v1/rerank", json!({ "query": "sun", "documents": DOCUMENTS, "top_n": null }), "results"),
        (
            "/v2/rerank",
            json!({ "query": "sun", "documents": DOCUMENTS, "model": "tiny", "max_tokens_per_doc": null }),
            "results",
        ),
        (
            "/v1/rerank",
            json!({ "query": "sun", "documents": DOCUMENTS, "top_k": null, "truncation": true }),
            "data",
        ),
        ("/voyage/v1/rerank", json!({ "query": "sun", "documents": DOCUMENTS }), "data"),
        ("/v1/reranking", json!({ "query": "sun", "input": DOCUMENTS, "model": "tiny" }), "data"),
        (
            "/v1/ranking",
            json!({ "query": { "text": "sun" }, "passages": DOCUMENTS.map(|text| json!({ "text": text })), "truncate": "END" }),
            "rankings",
        ),
    ] {
        let got = site.post(path, &body);
        assert_eq!(got.status, 200, "{path}: {:?}", got.body);
        assert_eq!(order(&got.body[list]), best, "{path}: {:?}", got.body);
    }
}

#[test]
fn cohere_jina_and_vllm_find_their_fields() {
    let site = Site::new(&[]);
    let body = json!({ "model": "tiny", "query": "sun", "return_documents": true, "top_n": 2,
        "rank_fields": ["text"], "max_chunks_per_doc": 10, "user": "u",
        "documents": [{ "text": "rain", "title": "t" }, { "text": "sun", "id": "d" }, { "text": "cold" }] });
    let got = site.post("/v1/rerank", &body);
    let results = got.body["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|rank| rank["document"]["text"].is_string()));
    assert!(got.body["id"].as_str().unwrap().starts_with("rerank-"));
    assert_eq!(got.body["meta"]["billed_units"]["search_units"], 1);
    let tokens = got.body["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(got.body["meta"]["tokens"]["input_tokens"], tokens);
    assert_eq!(got.headers["x-compute-tokens"], tokens.to_string());
    // Without being asked for, documents stay away.
    let plain =
        site.post("/v2/rerank", &json!({ "model": "tiny", "query": "q", "documents": DOCUMENTS }));
    assert!(plain.body["results"][0].get("document").is_none());
    let spans =
        json!({ "query": "q", "documents": DOCUMENTS, "relevant_spans": { "mode": "enabled" } });
    assert!(site.post("/v2/rerank", &spans).body["meta"]["warnings"][0].is_string());
}

#[test]
fn infinity_voyage_mixedbread_and_pinecone_find_theirs() {
    let site = Site::new(&[]);
    let infinity = json!({ "model": "default/not-specified", "query": "q", "documents": DOCUMENTS,
        "return_documents": true, "raw_scores": false });
    let got = site.post("/rerank", &infinity);
    assert_eq!(got.body["object"], "rerank");
    assert!(got.body["results"][0]["document"].is_string());
    let wrong =
        site.post("/rerank", &json!({ "query": "q", "documents": [7], "raw_scores": false }));
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.body["detail"][0]["type"], "value_error");

    let voyage =
        json!({ "query": "q", "documents": DOCUMENTS, "top_k": 1, "return_documents": true });
    let got = site.post("/v1/rerank", &voyage);
    assert_eq!(got.body["object"], "list");
    assert_eq!(got.body["data"].as_array().unwrap().len(), 1);
    assert!(got.body["data"][0]["document"].is_string());

    let mixedbread = json!({ "query": "q", "input": ["a", { "text": "b", "n": 1 }], "top_k": 2, "return_input": true });
    let got = site.post("/v1/reranking", &mixedbread);
    let inputs: Vec<&Value> =
        got.body["data"].as_array().unwrap().iter().map(|rank| &rank["input"]).collect();
    assert!(inputs.contains(&&json!("a")) && inputs.contains(&&json!({ "text": "b", "n": 1 })));
    assert_eq!(got.body["data"][0]["object"], "rank_result");

    let pinecone =
        json!({ "query": "q", "documents": [{ "text": "a" }], "return_documents": true });
    let headers = [("content-type", "application/json"), ("x-pinecone-api-version", "2024-10")];
    let got = site.post_with("/rerank", pinecone.to_string().as_bytes(), &headers);
    assert!(got.body["data"][0]["score"].is_number());
    assert_eq!(got.body["usage"]["rerank_units"], 1);
}

#[test]
fn scores_of_pairs_come_in_the_order_of_the_request() {
    let site = Site::new(&[]);
    let score = |body: Value| {
        let got = site.post("/v1/score", &body);
        assert_eq!(got.status, 200, "{:?}", got.body);
        let data = got.body["data"].as_array().unwrap().clone();
        data.iter().map(|pair| pair["score"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let many = score(json!({ "text_1": "sun", "text_2": DOCUMENTS }));
    assert_eq!(many.len(), 3);
    assert_eq!(score(json!({ "queries": ["sun"], "documents": DOCUMENTS })), many);
    let pairs = score(json!({ "data_1": ["sun", "rain"], "data_2": ["alpha beta", "rain"] }));
    assert_eq!(pairs[0], many[0]);
    let raw = score(json!({ "queries": "sun", "items": DOCUMENTS, "use_activation": false }));
    assert!((1.0 / (1.0 + (-raw[0]).exp()) - many[0]).abs() < 1e-6);
    let wrong = site.post("/score", &json!({ "text_1": ["a", "b"], "text_2": ["a", "b", "c"] }));
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.body["error"]["code"], 422);
    assert!(wrong.body["error"]["message"].as_str().unwrap().contains("found 2"));
}

#[test]
fn tei_finds_its_fields_and_headers() {
    let site = Site::new(&[]);
    let body = json!({ "query": "sun", "texts": DOCUMENTS, "return_text": true, "truncate": null,
        "truncation_direction": "Left", "model": "whatever" });
    let got = site.post("/rerank", &body);
    assert!(got.body.as_array().unwrap().iter().all(|rank| rank["text"].is_string()));
    for name in [
        "x-compute-type",
        "x-compute-time",
        "x-compute-characters",
        "x-total-time",
        "x-tokenization-time",
        "x-queue-time",
        "x-inference-time",
        "x-request-id",
    ] {
        assert!(got.headers.contains_key(name), "{name}");
    }
    let long = json!({ "query": "sun", "texts": ["rain ".repeat(50)], "truncate": false });
    let refused = site.post("/rerank", &long);
    assert_eq!((refused.status, refused.body["error_type"].as_str()), (422, Some("Validation")));
    let info = site.get("/info").body;
    assert_eq!(info["model_type"]["reranker"]["id2label"]["0"], "LABEL_0");
    assert_eq!(
        (info["max_input_length"].as_u64(), info["auto_truncate"].as_bool()),
        (Some(32), Some(true))
    );
}

#[test]
fn wrong_requests_are_told_what_is_wrong_in_every_dialect() {
    let site = Site::new(&["--max-documents", "3"]);
    for (path, body, status, kind, words) in [
        (
            "/rerank",
            json!({ "query": "q", "texts": [] }),
            400,
            "Empty",
            "texts: expected one at least",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": [] }),
            400,
            "Empty",
            "documents: expected one",
        ),
        ("/v1/rerank", json!({ "query": "q" }), 422, "Validation", "missing field `documents`"),
        ("/rerank", json!([1]), 422, "Validation", "the body"),
        (
            "/v1/rerank",
            json!({ "query": 7, "documents": ["a"] }),
            422,
            "Validation",
            "expected a string",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a", { "title": "t" }] }),
            422,
            "Validation",
            "documents[1]: expected a string, or an object with `text`",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "top_n": -1 }),
            422,
            "Validation",
            "top_n: expected 0 or more, found `-1`",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "model": "big" }),
            404,
            "NotFound",
            "there are tiny",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a", "b", "c", "d"] }),
            422,
            "Validation",
            "at most 3 a request, found 4",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "exit": 3 }),
            422,
            "Validation",
            "exit",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "ratio": 2 }),
            422,
            "Validation",
            "does not shorten documents",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "long_documents": "median" }),
            422,
            "Validation",
            "found `median`",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "long_documents": "max", "overlap": 99 }),
            422,
            "Validation",
            "cannot overlap by 99",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "window": 4 }),
            422,
            "Validation",
            "expected long_documents",
        ),
        (
            "/v1/rerank",
            json!({ "query": "q", "documents": ["a"], "truncate_prompt_tokens": 9 }),
            422,
            "Validation",
            "expected -1",
        ),
        (
            "/v1/ranking",
            json!({ "query": { "text": "q" }, "passages": [{ "text": "a" }], "truncate": "LEFT" }),
            422,
            "Validation",
            "`NONE` or `END`",
        ),
        (
            "/v1/reranking",
            json!({ "query": "q", "input": ["a", 7] }),
            422,
            "Validation",
            "input[1]",
        ),
        ("/nowhere", json!({}), 404, "NotFound", "/docs"),
        ("/info", json!({}), 405, "NotFound", "/docs"),
    ] {
        let got = site.post(path, &body);
        assert_eq!(
            (got.status, got.body["error_type"].as_str()),
            (status, Some(kind)),
            "{path} {body}: {:?}",
            got.body
        );
        for field in ["message", "detail", "error"] {
            assert!(
                got.body[field].to_string().replace("\\\"", "\"").contains(words),
                "{path} {body}: {:?}",
                got.body
            );
        }
    }
    let text = site.post_with("/rerank", b"a=b", &[("content-type", "text/plain")]);
    assert_eq!(text.status, 415);
    let bare = site.post_with("/rerank", br#"{"query": "q", "texts": ["a"]}"#, &[]);
    assert_eq!(bare.status, 200, "{:?}", bare.body);
}

#[test]
fn lists_and_documents_of_the_server_itself() {
    let site = Site::new(&["--cors-allow-origin", "https://example.org"]);
    assert_eq!(site.get("/v1/models").body["data"][0]["id"], "tiny");
    let openapi = site.get("/openapi.json").body;
    for path in [
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/v1/score",
        "/v1/reranking",
        "/v1/ranking",
        "/info",
        "/ready",
        "/metrics",
    ] {
        assert!(openapi["paths"].get(path).is_some(), "{path}");
    }
    assert!(
        openapi["components"]["schemas"]["DocumentsRequest"]["properties"].get("exit").is_some()
    );
    let page = site.get("/");
    assert!(page.body.as_str().unwrap().contains("<title>"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    // Whatever the page asks for is there.
    let text = page.body.as_str().unwrap().to_owned();
    for part in text.split(['"']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert_eq!(site.get(&format!("/{part}")).status, 200, "{part}");
    }
    assert_eq!(site.get("/docs").status, 200);
    let health = site.get_with("/health", &[("origin", "https://example.org")]);
    assert_eq!(health.headers["access-control-allow-origin"], "https://example.org");
}

#[test]
fn without_a_key_only_health_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, "0123456789abcdef\nanother-key-of-ours\n").unwrap();
    let site = Site::new(&["--api-keys", path.to_str().unwrap()]);
    for path in ["/", "/info", "/metrics", "/docs", "/openapi.json", "/v1/models", "/nowhere"] {
        let got = site.get(path);
        assert_eq!(got.status, 401, "{path}");
        assert_eq!(got.headers["www-authenticate"], "Bearer");
        let page = site.get_with(path, &[("accept", "text/html,*/*")]);
        assert!(page.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    }
    let body = json!({ "query": "q", "texts": ["a"] });
    for path in [
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/score",
        "/v1/score",
        "/v1/reranking",
        "/v1/ranking",
    ] {
        assert_eq!(site.post(path, &body).status, 401, "{path}");
    }
    assert_eq!((site.get("/health").status, site.get("/ready").status), (200, 200));
    let wrong = site.get_with("/info", &[("authorization", "Bearer 0123456789abcdeg")]);
    assert_eq!((wrong.status, wrong.body["error_type"].as_str()), (401, Some("Unauthorized")));
    for (name, value) in
        [("authorization", "Bearer another-key-of-ours"), ("x-api-key", "0123456789abcdef")]
    {
        assert_eq!(site.get_with("/info", &[(name, value)]).status, 200);
    }
}
