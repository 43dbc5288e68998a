//! Recorded payloads of other servers.

use crate::site::Site;

#[test]
fn the_requests_that_tei_documents_are_served() {
    let root = std::env::var("TAMIS_DATA").unwrap();
    let path = std::path::Path::new(&root).join("api/tei/rerank-examples.json");
    let text = std::fs::read_to_string(path).unwrap();
    let examples: serde_json::Value = serde_json::from_str(&text).unwrap();
    let site = Site::new(&[]);
    let mut n_served = 0;
    for example in examples["requests"].as_array().unwrap() {
        if example["path"] != "/rerank" {
            continue;
        }
        let got = site.post("/rerank", &example["body"]);
        assert_eq!(got.status, 200, "{example}: {:?}", got.body);
        assert_eq!(
            got.body.as_array().unwrap().len(),
            example["body"]["texts"].as_array().unwrap().len()
        );
        n_served += 1;
    }
    assert!(n_served > 0);
}
