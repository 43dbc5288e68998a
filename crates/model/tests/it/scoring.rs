//! Scores through the one path: whoever shares the batch, however long the document, in every precision.

use burn::tensor::Device;
use tamis_data::TextGroup;
use tamis_model::{LongDocuments, Precision, Reranker, Settings, WindowPooling};

use crate::tiny_checkpoint;

#[test]
fn scores_do_not_depend_on_who_shares_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let reranker = Reranker::open(&place, &Device::flex()).unwrap();
    let documents = ["fever cold", "sun", "rain rain rain rain rain", "delta"];
    let group = TextGroup { query: "alpha", documents: documents.to_vec() };
    let together = reranker.score(&[group]).unwrap().0.concat();
    for (document, expected) in documents.iter().zip(together) {
        let alone = TextGroup { query: "alpha", documents: vec![document] };
        let score = reranker.score(&[alone]).unwrap().0[0][0];
        assert_eq!(score, expected, "`{document}` alone and with others, to the last bit");
    }
}

#[test]
fn long_documents_are_scored_by_windows() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let open = |pooling| {
        let reranker = Reranker::open(&place, &Device::flex()).unwrap();
        let settings =
            Settings { max_length: 8, query_max_length: 2, ..reranker.settings().clone() };
        let long = LongDocuments { pooling, window: Some(3), overlap: 1 };
        reranker.with_settings(settings).unwrap().with_long_documents(long).unwrap()
    };
    let score = |reranker: &Reranker, documents: Vec<&str>| {
        let (scores, report) = reranker.score(&[TextGroup { query: "alpha", documents }]).unwrap();
        (scores.concat(), report)
    };
    // Windows of three words that share one.
    let long = "fever cold sun rain delta fever sun";
    let (parts, _) = score(
        &open(WindowPooling::First),
        vec!["fever cold sun", "sun rain delta", "delta fever sun"],
    );
    let of = |pooling| {
        let (scores, report) = score(&open(pooling), vec!["rain", long]);
        assert_eq!((report.truncated_rows, report.dropped_tokens), (0, 0));
        scores[1]
    };
    assert_eq!(of(WindowPooling::Max), parts.iter().copied().fold(f32::MIN, f32::max));
    assert!((of(WindowPooling::Mean) - parts.iter().sum::<f32>() / 3.0).abs() < 1e-6);
    assert!((of(WindowPooling::Sum) - parts.iter().sum::<f32>()).abs() < 1e-6);
    // Three pieces of seven words, and chunks of one word with one at either side.
    let (pieces, _) =
        score(&open(WindowPooling::First), vec!["fever cold sun", "rain delta fever", "sun"]);
    assert!((of(WindowPooling::PiecesMean) - pieces.iter().sum::<f32>() / 3.0).abs() < 1e-6);
    let words: Vec<&str> = long.split(' ').collect();
    let chunks: Vec<String> =
        (0..7usize).map(|i| words[i.saturating_sub(1)..7.min(i + 2)].join(" ")).collect();
    let (chunks, _) =
        score(&open(WindowPooling::First), chunks.iter().map(String::as_str).collect());
    assert_eq!(of(WindowPooling::ChunkMax), chunks.iter().copied().fold(f32::MIN, f32::max));
    assert!((of(WindowPooling::ChunkMean) - chunks.iter().sum::<f32>() / 7.0).abs() < 1e-6);
    let (_, report) = score(&open(WindowPooling::First), vec![long]);
    assert_eq!((report.truncated_rows, report.dropped_tokens), (1, 3));

    let reranker = Reranker::open(&place, &Device::flex()).unwrap();
    let endless = LongDocuments { pooling: WindowPooling::Max, window: Some(3), overlap: 3 };
    let error = reranker.with_long_documents(endless).unwrap_err().to_string();
    assert_eq!(error, "windows of 3 tokens cannot overlap by 3; lower the overlap");
}

#[test]
fn coarser_precisions_stay_close() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let scores = |precision| {
        let reranker = Reranker::open_at(&place, &Device::flex(), precision).unwrap();
        let documents = vec!["fever cold", "", "sun sun rain alpha"];
        reranker.score(&[TextGroup { query: "alpha fever", documents }]).unwrap().0.concat()
    };
    let exact = scores(Precision::F32);
    for (precision, tolerance) in [(Precision::Bf16, 2e-2), (Precision::Int8, 5e-2)] {
        let found = scores(precision);
        for (exact, found) in exact.iter().zip(&found) {
            assert!((exact - found).abs() < tolerance, "{precision}: {exact} and {found}");
        }
        assert_ne!(exact, found, "{precision} is another computation");
    }
}
