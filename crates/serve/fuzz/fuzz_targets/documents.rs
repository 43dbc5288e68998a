//! Any bytes as a request with documents: an error, or a request of as many candidates, each a text or an id,
//! in every dialect.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_serve::format::client::{client, client_v1};
use tamis_serve::format::documents::{Dialect, DocumentsRequest};
use tamis_serve::format::parse;

fuzz_target!(|bytes: &[u8]| {
    let is_told = client(bytes, false).is_ok() && client_v1(bytes).is_ok();
    for dialect in [Dialect::Results, Dialect::Infinity, Dialect::Voyage, Dialect::Pinecone] {
        let Ok(request) = parse::<DocumentsRequest>(bytes) else { return };
        assert!(is_told, "what is read has a dialect");
        let n_documents = request.documents.len();
        if let Ok((request, _)) = request.into_request(dialect) {
            let documents = &request.groups[0].documents;
            assert_eq!(documents.len(), n_documents);
            assert!(documents.iter().all(|document| document.text.is_some() || document.id.is_some()));
        }
    }
});
