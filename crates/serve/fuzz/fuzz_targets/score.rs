//! Any bytes as a request for scores: an error, or one query or as many as documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_serve::format::parse;
use tamis_serve::format::score::ScoreRequest;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = parse::<ScoreRequest>(bytes) else { return };
    if let Ok((request, _)) = request.into_request() {
        let sizes: Vec<usize> = request.groups.iter().map(|group| group.documents.len()).collect();
        assert!(sizes.len() == 1 || sizes.iter().all(|&n| n == 1));
        assert!(!sizes.contains(&0));
    }
});
