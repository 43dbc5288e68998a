//! Any bytes as a request of TEI's clients: an error, or a request of as many documents as texts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_serve::format::client::{Client, client};
use tamis_serve::format::parse;
use tamis_serve::format::tei::TeiRequest;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = parse::<TeiRequest>(bytes) else { return };
    assert_eq!(client(bytes, false).expect("it was read"), Client::Tei);
    let n_texts = request.texts.len();
    if let Ok((request, _)) = request.into_request(true, |_| true) {
        assert_eq!(request.groups.len(), 1);
        assert_eq!(request.groups[0].documents.len(), n_texts);
        assert!(n_texts > 0);
    }
});
