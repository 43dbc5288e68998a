//! Encoded pairs against Hugging Face's: the fixtures of real architectures, and the library on random texts.

use proptest::prelude::*;
use tamis_data::vocabulary::{VocabularyConfig, train};
use tamis_data::{
    Batch, DocumentPosition, MaskPlace, PairConfig, PairEncoder, PairParts, RowTemplate,
    Truncation, TruncationReport,
};
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

const WORDS: [&str; 12] = [
    "alpha", "beta", "gamma", "alphabet", "betas", "a", "gam", "?", "[SEP]", "delta", "ömega", "12",
];

fn tokenizer() -> Tokenizer {
    let texts = ["alpha beta gamma alphabet betas", "a gam ? alpha beta gamma", "alpha 12 beta"];
    train(texts.into_iter(), &VocabularyConfig { size: 80, ..VocabularyConfig::default() })
        .expect("eighty tokens hold the texts")
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..30).prop_map(|words| words.join(" "))
}

/// What the library itself makes of the pair; `None` where it refuses.
fn oracle(
    query: &str,
    document: &str,
    max_length: usize,
    strategy: TruncationStrategy,
) -> Option<(Vec<u32>, Vec<u32>)> {
    let mut tokenizer = tokenizer();
    let params =
        TruncationParams { max_length, strategy, stride: 0, direction: TruncationDirection::Right };
    tokenizer.with_truncation(Some(params)).expect("no stride, no conflict");
    let row = tokenizer.encode((query, document), true).ok()?;
    Some((row.get_ids().to_vec(), row.get_type_ids().to_vec()))
}

fn encode(
    encoder: &PairEncoder,
    query: &str,
    document: &str,
) -> (Vec<u32>, Vec<u32>, TruncationReport) {
    let (mut batch, mut report) = (Batch::new(), TruncationReport::default());
    encoder.encode(query, document, &mut batch, &mut report).expect("[UNK] covers every text");
    let (ids, type_ids) = batch.row(0);
    (ids.to_vec(), type_ids.to_vec(), report)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn second_only_equals_the_library_wherever_it_does_not_refuse(
        query in text(), document in text(), max_length in 6usize..40,
    ) {
        let config = PairConfig {
            max_length,
            query_max_length: max_length - 4,
            truncation: Truncation::SecondOnly,
        };
        let encoder = PairEncoder::new(tokenizer(), config).unwrap();
        let (ids, type_ids, report) = encode(&encoder, &query, &document);
        prop_assert!(ids.len() <= max_length);
        let n_query = encoder.tokenize(&query).unwrap().len();
        let n_document = encoder.tokenize(&document).unwrap().len();
        prop_assert_eq!(report.dropped_tokens as usize, n_query + n_document + 3 - ids.len());
        prop_assert_eq!(report.truncated_queries == 1, n_query > max_length - 4);
        match oracle(&query, &document, max_length, TruncationStrategy::OnlySecond) {
            // A query that fills the row entirely is the library's only accepted pair that is cut here.
            Some(expected) if n_query <= max_length - 4 => prop_assert_eq!((ids, type_ids), expected),
            Some(_) => prop_assert_eq!(n_document + n_query + 3, max_length),
            None => prop_assert_eq!(report.truncated_queries, 1),
        }
    }

    #[test]
    fn longest_first_equals_the_library(
        query in text(), document in text(), max_length in 5usize..40,
    ) {
        let config = PairConfig {
            max_length,
            query_max_length: usize::MAX,
            truncation: Truncation::LongestFirst,
        };
        let encoder = PairEncoder::new(tokenizer(), config).unwrap();
        let (ids, type_ids, _) = encode(&encoder, &query, &document);
        let expected = oracle(&query, &document, max_length, TruncationStrategy::LongestFirst);
        prop_assert_eq!(Some((ids, type_ids)), expected);
    }

    /// Each text alone through the library, cut at its own length, the document without its first token.
    #[test]
    fn apart_each_text_is_as_the_library_has_it_alone(
        query in text(), document in text(), longest_query in 1usize..12, room in 1usize..20,
        query_masks in 0usize..4, after in any::<bool>(), gap in 0usize..5, fixed in any::<bool>(),
    ) {
        let alone = |text: &str, max_length: usize| {
            let mut tokenizer = tokenizer();
            let params = TruncationParams { max_length, ..TruncationParams::default() };
            tokenizer.with_truncation(Some(params)).unwrap();
            tokenizer.encode(text, true).unwrap().get_ids().to_vec()
        };
        let mut expected = alone(&query, longest_query + 2);
        let end = expected.len() - usize::from(!after);
        let mask = tokenizer().token_to_id("[MASK]").unwrap();
        expected.splice(end..end, std::iter::repeat_n(mask, query_masks));
        let n_query = expected.len();
        expected.extend(&alone(&document, room + 2)[1..]);

        let config = PairConfig {
            max_length: longest_query + query_masks + room + 3,
            query_max_length: longest_query,
            truncation: Truncation::SecondOnly,
        };
        let first = longest_query + query_masks + 2 + gap;
        let parts = PairParts {
            position: if fixed { DocumentPosition::Fixed(first) } else { DocumentPosition::PaddedQuery },
            query_masks,
            mask_place: if after { MaskPlace::AfterSeparator } else { MaskPlace::BeforeSeparator },
            document_start: false,
        };
        let encoder = PairEncoder::new(tokenizer(), config).unwrap().with_parts(parts).unwrap();
        let (mut batch, mut report) = (Batch::new(), TruncationReport::default());
        encoder.encode(&query, &document, &mut batch, &mut report).unwrap();
        prop_assert_eq!(batch.row(0).0, &expected[..]);
        prop_assert_eq!(batch.parts(0), (n_query, if fixed { first } else { n_query }));
        let ids = [&query, &document].map(|text| encoder.tokenize(text).unwrap());
        let mut apart = Batch::new();
        encoder.encode_query(&ids[0], &mut apart);
        prop_assert_eq!(apart.row(0), (&expected[..n_query], &vec![0; n_query][..]));
        prop_assert_eq!(encoder.document_position(), fixed.then_some(first));
        if fixed {
            encoder.encode_document(&ids[1], &mut apart, &mut TruncationReport::default());
            prop_assert_eq!((apart.row(1).0, apart.parts(1)), (&expected[n_query..], (0, first)));
        }
        prop_assert!(batch.parts(0).1 + expected.len() - n_query <= encoder.n_positions());
        prop_assert_eq!(encoder.room(0), room);
        prop_assert_eq!(encoder.room(longest_query + 9), room);
        let n_texts = [&query, &document].map(|text| encoder.tokenize(text).unwrap().len());
        let kept = expected.len() - 3 - query_masks;
        prop_assert_eq!(report.dropped_tokens as usize, n_texts[0] + n_texts[1] - kept);
        prop_assert_eq!(report.truncated_queries == 1, n_texts[0] > longest_query);
    }
}

#[test]
fn texts_that_never_meet_are_both_whole() {
    let config =
        PairConfig { max_length: 24, query_max_length: 8, truncation: Truncation::SecondOnly };
    let parts = PairParts {
        position: DocumentPosition::Fixed(0),
        query_masks: 2,
        mask_place: MaskPlace::AfterSeparator,
        document_start: true,
    };
    let encoder = PairEncoder::new(tokenizer(), config).unwrap().with_parts(parts).unwrap();
    let (mut batch, mut report) = (Batch::new(), TruncationReport::default());
    encoder.encode("alpha beta", "gamma 12", &mut batch, &mut report).unwrap();
    let alone = |text: &str| tokenizer().encode(text, true).unwrap().get_ids().to_vec();
    let mask = tokenizer().token_to_id("[MASK]").unwrap();
    let query = [alone("alpha beta"), vec![mask; 2]].concat();
    assert_eq!(batch.row(0).0, [query.clone(), alone("gamma 12")].concat());
    assert_eq!(batch.parts(0), (query.len(), 0));
    // Eight tokens of a query with four special ones, ten of a document with two.
    assert_eq!((encoder.room(0), encoder.n_positions()), (10, 12));
    encoder.encode_document(&encoder.tokenize("gamma 12").unwrap(), &mut batch, &mut report);
    assert_eq!((batch.row(1).0, batch.parts(1)), (&alone("gamma 12")[..], (0, 0)));
}

#[test]
fn parts_that_cannot_be_kept_apart_are_refused() {
    let config =
        PairConfig { max_length: 24, query_max_length: 8, truncation: Truncation::SecondOnly };
    let with = |config, parts| PairEncoder::new(tokenizer(), config).unwrap().with_parts(parts);
    let parts = |position, query_masks| PairParts { position, query_masks, ..Default::default() };
    assert!(with(config, parts(DocumentPosition::Fixed(14), 4)).is_ok());
    let error = with(config, parts(DocumentPosition::Fixed(13), 4)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "position `fixed:13` is inside the longest query, which has 14 tokens with its special ones"
    );
    let error = with(config, parts(DocumentPosition::PaddedQuery, 13)).unwrap_err();
    assert!(error.to_string().contains("leave no room for a document"), "{error}");
    let longest_first = PairConfig { truncation: Truncation::LongestFirst, ..config };
    let error = with(longest_first, PairParts::default()).unwrap_err();
    assert!(error.to_string().contains("expected `second-only`"), "{error}");
}

#[test]
fn many_texts_are_tokenized_in_their_order() {
    let config =
        PairConfig { max_length: 16, query_max_length: 8, truncation: Truncation::SecondOnly };
    let encoder = PairEncoder::new(tokenizer(), config).unwrap();
    let texts: Vec<String> = (0..500).map(|i| WORDS[i % WORDS.len()].repeat(i % 5)).collect();
    let one_by_one: Vec<_> = texts.iter().map(|text| encoder.tokenize(text).unwrap()).collect();
    assert_eq!(encoder.tokenize_many(&texts).unwrap(), one_by_one);
}

#[test]
fn without_a_post_processor_the_texts_follow_each_other() {
    let mut tokenizer = tokenizer();
    tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
    let expected = tokenizer.encode(("alpha beta", "gamma"), true).unwrap();
    let config =
        PairConfig { max_length: 16, query_max_length: 8, truncation: Truncation::SecondOnly };
    let encoder = PairEncoder::new(tokenizer, config).unwrap();
    assert_eq!(encoder.n_specials(), 0);
    let (ids, type_ids, _) = encode(&encoder, "alpha beta", "gamma");
    assert_eq!(ids, expected.get_ids());
    assert_eq!(type_ids, expected.get_type_ids());
}

#[test]
fn truncation_and_padding_of_the_file_are_switched_off() {
    let mut tokenizer = tokenizer();
    tokenizer.with_padding(Some(tokenizers::PaddingParams {
        strategy: tokenizers::PaddingStrategy::Fixed(20),
        pad_id: 4,
        ..tokenizers::PaddingParams::default()
    }));
    tokenizer
        .with_truncation(Some(TruncationParams { max_length: 4, ..TruncationParams::default() }))
        .unwrap();
    let config =
        PairConfig { max_length: 16, query_max_length: 8, truncation: Truncation::SecondOnly };
    let encoder = PairEncoder::new(tokenizer, config).unwrap();
    assert_eq!(encoder.tokenize("alpha beta gamma alpha beta gamma").unwrap().len(), 6);
    assert_eq!(encoder.pad_id(), 4);
}

mod with_fixtures {
    use std::path::PathBuf;

    use serde_json::Value;

    use super::*;

    fn models() -> PathBuf {
        let fixtures = std::env::var_os("TAMIS_FIXTURES")
            .expect("TAMIS_FIXTURES must name the folder of the golden fixtures");
        PathBuf::from(fixtures).join("models")
    }

    fn row(batch: &Value, name: &str, row_idx: usize) -> Option<Vec<u32>> {
        let values = batch.get(name)?[row_idx].as_array().expect("a list of numbers");
        Some(values.iter().map(|value| value.as_u64().expect("a token id") as u32).collect())
    }

    /// The real part of a padded row, on whichever side the padding is.
    fn unpadded(values: &[u32], mask: &[u32]) -> Vec<u32> {
        values.iter().zip(mask).filter(|(_, real)| **real == 1).map(|(value, _)| *value).collect()
    }

    #[test]
    fn token_ids_of_every_sequence_classifier_are_identical() {
        let mut checked = Vec::new();
        for entry in std::fs::read_dir(models()).unwrap() {
            let folder = entry.unwrap().path();
            let Ok(bytes) = std::fs::read(folder.join("expected.json")) else { continue };
            let expected: Value = serde_json::from_slice(&bytes).unwrap();
            let kind = expected["kind"].as_str().unwrap();
            if kind != "encoder_seqcls" && kind != "decoder_seqcls" {
                continue;
            }
            let call = &expected["tokenizer_call"];
            let truncation = match call["truncation"].as_str().unwrap() {
                "only_second" => Truncation::SecondOnly,
                "longest_first" => Truncation::LongestFirst,
                other => panic!("{}: truncation `{other}`", folder.display()),
            };
            let max_length = call["max_length"].as_u64().unwrap() as usize;
            let config = PairConfig { max_length, query_max_length: max_length / 2, truncation };
            let encoder = PairEncoder::open(&folder.join("tokenizer.json"), config).unwrap();

            let config: Value =
                serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap())
                    .unwrap();
            encoder.check_vocabulary(config["vocab_size"].as_u64().unwrap() as usize).unwrap();

            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let (mut batch, mut report) = (Batch::new(), TruncationReport::default());
            let pairs = expected["pairs"].as_array().unwrap();
            for (i, pair) in pairs.iter().enumerate() {
                let text = |field: &str| pair[field].as_str().unwrap();
                encoder.encode(text("query"), text("passage"), &mut batch, &mut report).unwrap();
                let (ids, type_ids) = batch.row(i);
                let mask = row(&expected["batch"], "attention_mask", i).unwrap();
                let expected_ids = row(&expected["batch"], "input_ids", i).unwrap();
                assert_eq!(ids, unpadded(&expected_ids, &mask), "{name}, pair {i}");
                if let Some(expected_types) = row(&expected["batch"], "token_type_ids", i) {
                    assert_eq!(type_ids, unpadded(&expected_types, &mask), "{name}, pair {i}");
                }
            }
            if pairs.iter().all(|pair| pair["truncated"].is_boolean()) {
                let cut = pairs.iter().filter(|pair| pair["truncated"] == true).count();
                assert_eq!(report.truncated_rows as usize, cut, "{name}");
            }
            assert_eq!(report.truncated_queries, 0, "{name}");
            checked.push(name);
        }
        for name in
            ["bert", "roberta", "xlm_roberta", "electra", "deberta_v3", "distilbert", "modernbert"]
        {
            assert!(checked.iter().any(|checked| checked == name), "{name} is not in {checked:?}");
        }
    }
}

/// A template with something after the query in its segment, and an ending.
fn template() -> RowTemplate {
    serde_json::from_str(
        r#"{"segments": ["begin", {"text": "a {query} ?"}, {"text": "gam"},
            {"text": "alpha {document}"}, {"text": "beta ?"}], "strip": true}"#,
    )
    .expect("a template")
}

fn with_template(max_length: usize, query_max_length: usize) -> tamis_data::Result<PairEncoder> {
    let config = PairConfig { max_length, query_max_length, truncation: Truncation::SecondOnly };
    PairEncoder::with_template(tokenizer(), Some(&template()), config)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_template_loses_nothing_but_query_and_document(
        query in text(), document in text(), max_length in 16usize..60,
        query_max_length in 4usize..9, limit in prop::option::of(2usize..20),
    ) {
        let tokenizer = tokenizer();
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        let config =
            PairConfig { max_length, query_max_length, truncation: Truncation::SecondOnly };
        let template = RowTemplate { document_max_length: limit, ..template() };
        let encoder = PairEncoder::with_template(tokenizer.clone(), Some(&template), config).unwrap();
        let (row, types, report) = encode(&encoder, &query, &document);
        // By plain rules: the query keeps its start and what follows it, the document its start.
        let begin = tokenizer.encode("", true).unwrap().get_ids()[..1].to_vec();
        let (between, after) = (ids("gam"), ids("beta ?"));
        let whole_query = ids(&format!("a {} ?", query.trim()));
        let mut kept = whole_query.clone();
        if kept.len() > query_max_length {
            kept.truncate(query_max_length - 1);
            kept.extend(ids("?"));
        }
        let whole_document = ids(&format!("alpha {}", document.trim()));
        let room = max_length - begin.len() - kept.len() - between.len() - after.len();
        let n = whole_document.len().min(room).min(limit.unwrap_or(usize::MAX));
        let expected =
            [&begin[..], &kept, &between, &whole_document[..n], &after].concat();
        prop_assert_eq!(&row, &expected);
        let first = row.len() - after.len() - n;
        let is_document = |place: usize| (first..first + n).contains(&place);
        prop_assert!(types.iter().enumerate().all(|(i, &kind)| (kind == 1) == is_document(i)));
        let dropped = whole_query.len().saturating_sub(query_max_length) + whole_document.len() - n;
        prop_assert_eq!(report.dropped_tokens, dropped as u64);
        prop_assert_eq!(report.truncated_queries, u64::from(whole_query.len() > query_max_length));
    }
}

#[test]
fn a_template_longer_than_a_row_is_refused() {
    assert!(with_template(16, 4).is_ok());
    let error = with_template(8, 4).unwrap_err().to_string();
    assert!(error.contains("leave no room for a document within max_length `8`"), "{error}");
    let error = with_template(16, 1).unwrap_err().to_string();
    assert!(error.contains("leaves no room for a query"), "{error}");
}
