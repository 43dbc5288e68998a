//! Any bytes as a request of NIM's clients: an error, or a request of as many documents as passages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_serve::format::nim::NimRequest;
use tamis_serve::format::parse;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = parse::<NimRequest>(bytes) else { return };
    let n_passages = request.passages.len();
    if let Ok(request) = request.into_request() {
        assert_eq!(request.groups[0].documents.len(), n_passages);
    }
});
