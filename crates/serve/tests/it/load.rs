//! More work than there is time for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chaos::Chaos;
use crate::site::Site;

#[test]
fn what_does_not_fit_is_refused_whole_and_told_when_to_come_back() {
    let chaos = Arc::new(Chaos::default());
    let site =
        Site::with(&["--max-queue-tokens", "300", "--max-batch-tokens", "50"], chaos.before());
    chaos.set(&chaos.slow_ms, 50);
    let body = json!({ "query": "sun", "texts": vec!["rain rain"; 30] });
    let before = chaos.n_rows.load(Ordering::SeqCst);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || {
            let got = site.post("/rerank", &body);
            if got.status == 429 {
                assert_eq!(got.body["error_type"], "Overloaded");
                let seconds: u64 = got.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..60).contains(&seconds));
                assert!(got.headers.contains_key("retry-after-ms"));
            }
            got.status
        };
        let all: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let n_served = statuses.iter().filter(|&&status| status == 200).count();
    assert!((1..10).contains(&n_served), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    // No row of a refused request was computed.
    assert_eq!(chaos.n_rows.load(Ordering::SeqCst) - before, n_served * 30);
    // A request larger than the queue is served when it is alone.
    chaos.set(&chaos.slow_ms, 0);
    let large = site.post("/rerank", &json!({ "query": "sun", "texts": vec!["rain rain"; 200] }));
    assert_eq!(large.status, 200);
}

#[test]
fn a_request_whose_time_runs_out_is_answered_then_and_costs_nothing_more() {
    let chaos = Arc::new(Chaos::default());
    let site = Site::with(&["--max-batch-tokens", "10"], chaos.before());
    chaos.set(&chaos.slow_ms, 100);
    let start = Instant::now();
    let body = json!({ "query": "sun", "documents": vec!["rain"; 50], "timeout_ms": 250 });
    let got = site.post("/v1/rerank", &body);
    assert_eq!((got.status, got.body["error_type"].as_str()), (504, Some("Timeout")));
    assert!(start.elapsed() < Duration::from_secs(2));
    site.wait(|site| site.metric("tamis_queue_tokens") == 0.0);
    assert!(chaos.n_rows.load(Ordering::SeqCst) < 20);
    // Once it is known how slow the model is, what cannot be in time is refused at once.
    std::thread::scope(|scope| {
        let _busy = scope.spawn(|| {
            site.post("/v1/rerank", &json!({ "query": "sun", "documents": vec!["rain"; 20] }))
        });
        site.wait(|site| site.metric("tamis_queue_tokens") > 0.0);
        let hopeless = json!({ "query": "sun", "documents": ["rain"], "timeout_ms": 20 });
        assert!([429, 504].contains(&site.post("/v1/rerank", &hopeless).status));
        chaos.set(&chaos.slow_ms, 0);
    });
}

#[test]
fn a_large_request_does_not_get_small_ones_refused() {
    let chaos = Arc::new(Chaos::default());
    let flags = ["--max-batch-tokens", "20", "--max-queue-ms", "300"];
    let site = Site::with(&flags, chaos.before());
    chaos.set(&chaos.slow_ms, 20);
    // From now on the speed is known.
    assert_eq!(site.post("/rerank", &json!({ "query": "sun", "texts": ["rain"] })).status, 200);
    let ask = |n: usize| site.post("/rerank", &json!({ "query": "sun", "texts": vec!["rain"; n] }));
    std::thread::scope(|scope| {
        let large = scope.spawn(|| ask(300).status);
        site.wait(|site| site.metric("tamis_queue_requests") > 0.0);
        // It takes more than a second, which those of its own size do not wait for.
        assert_eq!(ask(300).status, 429);
        assert_eq!(ask(1).status, 200);
        assert_eq!(large.join().unwrap(), 200);
    });
}

#[test]
fn small_requests_do_not_wait_for_a_large_one() {
    let chaos = Arc::new(Chaos::default());
    let site = Site::with(&["--max-batch-tokens", "20"], chaos.before());
    chaos.set(&chaos.slow_ms, 20);
    std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            let start = Instant::now();
            let got = site.post("/rerank", &json!({ "query": "sun", "texts": vec!["rain"; 200] }));
            assert_eq!(got.status, 200);
            start.elapsed()
        });
        site.wait(|site| site.metric("tamis_queue_tokens") > 0.0);
        let start = Instant::now();
        let small = site.post("/rerank", &json!({ "query": "sun", "texts": ["rain"] }));
        let small_took = start.elapsed();
        assert_eq!(small.status, 200);
        let large_took = large.join().unwrap();
        assert!(small_took * 3 < large_took, "{small_took:?} of {large_took:?}");
    });
}
