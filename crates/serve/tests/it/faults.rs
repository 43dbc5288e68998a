//! Everything that can go wrong on either side: the server answers rightly, and stays up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chaos::Chaos;
use crate::site::{Site, save_tiny};

/// Rows of one word have this many tokens beside a query of one word: three special ones, two words.
const ONE_WORD: usize = 5;

fn works(site: &Site) {
    let got = site.post("/rerank", &json!({ "query": "sun", "texts": ["alpha", "rain rain"] }));
    assert_eq!(got.status, 200, "{:?}", got.body);
}

/// Sends bytes on a connection of their own, and reads until the server closes it.
fn talk(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_panic_fails_its_own_request_and_nobody_elses() {
    let chaos = Arc::new(Chaos::default());
    let site = Site::with(&[], chaos.before());
    chaos.set(&chaos.panics_at, ONE_WORD);
    // The first pass is slow, so that the others wait and share the next one.
    chaos.set(&chaos.slow_ms, 200);
    std::thread::scope(|scope| {
        let ask =
            |text: &'static str| site.post("/rerank", &json!({ "query": "sun", "texts": [text] }));
        let first = scope.spawn(move || ask("rain rain rain"));
        std::thread::sleep(Duration::from_millis(100));
        let good: Vec<_> = (0..4).map(|_| scope.spawn(move || ask("rain rain"))).collect();
        let bad = scope.spawn(move || ask("rain"));
        assert_eq!(first.join().unwrap().status, 200);
        for good in good {
            assert_eq!(good.join().unwrap().status, 200);
        }
        let bad = bad.join().unwrap();
        assert_eq!((bad.status, bad.body["error_type"].as_str()), (424, Some("Backend")));
    });
    assert!(site.metric("tamis_worker_panics_total") >= 1.0);
    chaos.set(&chaos.panics_at, 0);
    site.wait(|site| site.get("/ready").status == 200);
    works(&site);
}

#[test]
fn a_broken_worker_is_not_ready_until_it_works_again() {
    let chaos = Arc::new(Chaos::default());
    let site = Site::with(&[], chaos.before());
    chaos.set(&chaos.panics_at, ONE_WORD);
    chaos.set(&chaos.warm_ups_fail, 2);
    std::thread::scope(|scope| {
        let asked =
            scope.spawn(|| site.post("/rerank", &json!({ "query": "sun", "texts": ["rain"] })));
        site.wait(|site| site.get("/ready").status == 503);
        assert_eq!(site.get("/health").status, 200);
        assert_eq!(asked.join().unwrap().status, 424);
    });
    chaos.set(&chaos.panics_at, 0);
    site.wait(|site| site.get("/ready").status == 200);
    works(&site);
}

#[test]
fn scores_that_are_no_numbers_fail_their_request_alone() {
    let chaos = Arc::new(Chaos::default());
    let site = Site::with(&[], chaos.before());
    chaos.set(&chaos.nan_at, ONE_WORD);
    let bad = site.post("/rerank", &json!({ "query": "sun", "texts": ["rain rain", "rain"] }));
    assert_eq!(bad.status, 424);
    assert!(bad.body["error"].as_str().unwrap().contains("document 1"), "{:?}", bad.body);
    let good = site.post("/rerank", &json!({ "query": "sun", "texts": ["rain rain"] }));
    assert_eq!(good.status, 200);
}

#[test]
fn bodies_beyond_the_limit_are_refused_before_they_are_read() {
    let site = Site::new(&["--max-body-bytes", "100000"]);
    let head = "POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let start = Instant::now();
    // A hundred megabytes are announced; none are sent.
    let answer = talk(&site, format!("{head}content-length: 104857600\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(5));
    // Without an announcement it is refused where the limit is passed.
    let mut chunks = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..120 {
        chunks.extend_from_slice(b"400\r\n");
        chunks.extend_from_slice(&[b' '; 1024]);
        chunks.extend_from_slice(b"\r\n");
    }
    let answer = talk(&site, &chunks);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    works(&site);
}

#[test]
fn a_hundred_thousand_documents_are_refused_or_served() {
    let documents = vec!["sun"; 100_000];
    let site = Site::new(&[]);
    let refused = site.post("/rerank", &json!({ "query": "q", "texts": documents }));
    assert_eq!(refused.status, 422);
    works(&site);
    let site = Site::new(&["--max-documents", "100000"]);
    let served = site.post("/rerank", &json!({ "query": "q", "texts": documents }));
    assert_eq!(served.status, 200);
    assert_eq!(served.body.as_array().unwrap().len(), 100_000);
}

#[test]
fn bodies_that_are_no_json_are_malformed() {
    let site = Site::new(&[]);
    let json = [("content-type", "application/json")];
    let deep = format!(r#"{{"query": "q", "texts": {}"#, "[".repeat(200_000));
    let deep_field =
        format!(r#"{{"query": "q", "texts": ["a"], "x": {}"#, r#"{"a":"#.repeat(100_000));
    for (body, status) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"{\"query\": \"\xff\xfe\", \"texts\": [\"a\"]}", 400),
        (b"\xef\xbb\xbf{}", 400),
        (br#"{"query": "\ud800", "texts": ["a"]}"#, 400),
        (deep.as_bytes(), 400),
        (deep_field.as_bytes(), 400),
    ] {
        let got = site.post_with("/rerank", body, &json);
        assert!(got.status == status || got.status == 422, "{}: {:?}", got.status, got.body);
        assert!(got.body["error"].is_string());
    }
    works(&site);
}

#[test]
fn slow_and_broken_clients_lose_their_connection_alone() {
    let site = Site::new(&["--read-timeout-ms", "300"]);
    // One that says nothing, one whose head does not end, one whose body does not come.
    let start = Instant::now();
    assert_eq!(talk(&site, b""), "");
    assert!(talk(&site, b"POST /rerank HTTP/1.1\r\nhost: x\r\n").len() < 200);
    let body = b"POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"query\"";
    let answer = talk(&site, body);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let answer = talk(&site, b"\x16\x03\x01 this is not HTTP\r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    works(&site);
}

#[test]
fn a_client_that_closes_its_side_is_gone() {
    let chaos = Arc::new(Chaos::default());
    let site = Site::with(&["--max-batch-tokens", "10"], chaos.before());
    chaos.set(&chaos.slow_ms, 100);
    let body = json!({ "query": "sun", "texts": vec!["rain"; 50] }).to_string();
    let request =
        format!("POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    site.wait(|_| chaos.n_passes.load(Ordering::SeqCst) > 0);
    stream.shutdown(Shutdown::Write).unwrap();
    site.wait(|site| site.metric("tamis_queue_tokens") == 0.0);
    assert!(chaos.n_rows.load(Ordering::SeqCst) < 40, "most rows were never computed");
    chaos.set(&chaos.slow_ms, 0);
    works(&site);
}

#[test]
fn thousands_of_silent_connections_leave_room_for_one_that_asks() {
    let site = Site::new(&["--max-connections", "4000"]);
    let silent: Vec<TcpStream> =
        (0..1000).map_while(|_| TcpStream::connect(site.address).ok()).collect();
    assert!(silent.len() > 400, "the system lets a test have {} connections", silent.len());
    works(&site);
}

#[test]
fn a_model_is_replaced_under_load_and_kept_when_the_new_one_is_broken() {
    let site = Site::new(&["--watch-ms", "20"]);
    let ask = || {
        let got =
            site.post("/rerank", &json!({ "query": "sun", "texts": ["rain"], "raw_scores": true }));
        assert_eq!(got.status, 200, "{:?}", got.body);
        got.body[0]["score"].to_string()
    };
    let before = ask();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = std::collections::BTreeSet::new();
                    while !stop.load(Ordering::Relaxed) {
                        seen.insert(ask());
                    }
                    seen
                })
            })
            .collect();
        save_tiny(site.folder.path(), 8);
        site.wait(|_| ask() != before);
        let after = ask();
        stop.store(true, Ordering::Relaxed);
        for load in loads {
            // The old scores or the new ones, and nothing in between.
            assert!(load.join().unwrap().iter().all(|score| *score == before || *score == after));
        }
    });
    let after = ask();
    let n_failed = || site.metric(r#"tamis_reloads_total{model="tiny",outcome="failed"}"#);
    let before_break = n_failed();
    std::fs::write(site.folder.path().join("config.json"), "{").unwrap();
    site.wait(|_| n_failed() > before_break);
    assert_eq!(ask(), after);
}
