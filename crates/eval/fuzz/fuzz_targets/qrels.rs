//! Any bytes as a qrels file: an error, or judgements that come back when written and read again.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tamis_data::format::trec::write_qrels;
use tamis_eval::files::parse_qrels;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(qrels) = parse_qrels(Path::new("q"), bytes) {
        // An id that starts with `#` would be read as a comment.
        if qrels.iter().any(|(query, _)| query.as_str().starts_with('#')) {
            return;
        }
        let mut written = Vec::new();
        write_qrels(&qrels, &mut written).expect("a vector takes all");
        // The first line may look like BEIR's header; a blank line before it says it is not.
        written.insert(0, b'\n');
        assert_eq!(parse_qrels(Path::new("q"), &written).expect("it was written well"), qrels);
    }
});
