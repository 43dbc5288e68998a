//! The same connections, encrypted.

use serde_json::json;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::site::Site;

#[test]
fn an_encrypted_connection_is_answered_and_a_plain_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let flags = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let site = Site::encrypted(&flags);
    let root = Certificate::from_pem(own.cert.pem().as_bytes()).unwrap().to_owned();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
    let agent = ureq::Agent::config_builder().tls_config(tls).build().new_agent();
    let url = format!("https://localhost:{}/rerank", site.address.port());
    let body = json!({ "query": "sun", "texts": ["rain", "sun"] }).to_string();
    let ask = || agent.post(&url).send(&body);
    // The model may not be warm yet.
    let answered = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        ask().is_ok_and(|response| response.status() == 200)
    });
    assert!(answered);
    let plain = ureq::post(format!("http://localhost:{}/rerank", site.address.port())).send(&body);
    assert!(plain.is_err());
}
