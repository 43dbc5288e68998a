//! Any bytes as a request of Mixedbread's clients: an error, or a request of as many documents as inputs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tamis_serve::format::mixedbread::MixedbreadRequest;
use tamis_serve::format::parse;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = parse::<MixedbreadRequest>(bytes) else { return };
    let n_inputs = request.input.len();
    if let Ok((request, _)) = request.into_request() {
        assert_eq!(request.groups[0].documents.len(), n_inputs);
    }
});
