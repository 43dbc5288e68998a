//! Decoders beside the systems that they come from: templates, answers, and whoever shares a prefix.

use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;
use tamis_data::{
    Batch, PairConfig, PairEncoder, RowTemplate, TextGroup, Truncation, TruncationReport,
};
use tamis_model::{
    AnswerWords, CrossEncoder, DropoutSeeds, Effort, Reranker, Settings, adapter, checkpoint,
};

mod with_fixtures {
    use super::*;
    use crate::fixture;

    fn expected(name: &str) -> Value {
        let path = fixture("models").join(name).join("expected.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn pairs(expected: &Value) -> Vec<(&str, &str)> {
        expected["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair["query"].as_str().unwrap(), pair["passage"].as_str().unwrap()))
            .collect()
    }

    fn floats(value: &Value) -> Vec<f32> {
        let numbers = value.as_array().unwrap().iter();
        numbers.map(|x| x.as_f64().unwrap_or_else(|| x[0].as_f64().unwrap()) as f32).collect()
    }

    fn rows(batch: &Value) -> Vec<Vec<u32>> {
        let list = |value: &Value| -> Vec<u32> {
            value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
        };
        let (ids, masks) = (batch["input_ids"].as_array().unwrap(), &batch["attention_mask"]);
        ids.iter()
            .zip(masks.as_array().unwrap())
            .map(|(ids, mask)| {
                let kept = list(ids).into_iter().zip(list(mask));
                kept.filter(|&(_, m)| m == 1).map(|(id, _)| id).collect()
            })
            .collect()
    }

    /// A checkpoint of the fixtures under a `tamis.json` of its own.
    fn with_settings(model: &str, settings: &Settings) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            let from = fixture("models").join(model).join(name);
            std::fs::copy(from, copy.path().join(name)).unwrap();
        }
        let text = serde_json::to_string(settings).unwrap();
        std::fs::write(copy.path().join("tamis.json"), text).unwrap();
        copy
    }

    fn scores(directory: &Path, pairs: &[(&str, &str)]) -> Vec<f32> {
        let reranker = Reranker::open(directory, &Device::flex()).unwrap();
        let groups: Vec<TextGroup<'_>> = pairs
            .iter()
            .map(|&(query, document)| TextGroup { query, documents: vec![document] })
            .collect();
        reranker.score(&groups).unwrap().0.concat()
    }

    fn assert_scores(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-4 + 1e-4 * b.abs(), "{what}: {found:?}, {expected:?}");
        }
    }

    fn settings(max_length: usize, query_max_length: usize, template: RowTemplate) -> Settings {
        Settings {
            max_length,
            query_max_length,
            truncation: Truncation::SecondOnly,
            activation: Default::default(),
            parts: None,
            template: Some(template),
            answers: None,
            effort: Default::default(),
            compatibility: Default::default(),
            adapters: Vec::new(),
        }
    }

    fn encoded(directory: &Path, settings: &Settings, pairs: &[(&str, &str)]) -> Batch {
        let tokenizer = directory.join("tokenizer.json");
        let encoder =
            PairEncoder::open_with(&tokenizer, settings.template.as_ref(), settings.pairs())
                .unwrap();
        let (mut batch, mut report) = (Batch::new(), TruncationReport::default());
        for (query, document) in pairs {
            encoder.encode(query, document, &mut batch, &mut report).unwrap();
        }
        batch
    }

    fn assert_rows(batch: &Batch, expected: &[Vec<u32>], what: &str) {
        assert_eq!(batch.n_rows(), expected.len(), "{what}");
        for (row, expected) in expected.iter().enumerate() {
            assert_eq!(batch.row(row).0, expected, "{what}, row {row}");
        }
    }

    #[test]
    fn rows_and_scores_of_rag_retrieval() {
        let all = expected("rag_retrieval");
        let pairs = pairs(&all);
        let mut n = 0;
        for case in all["llm_decoder"].as_array().unwrap() {
            if case["ok"] != true {
                continue;
            }
            let text = |key: &str| case[key].as_str().unwrap();
            let template = RowTemplate::rag_retrieval(
                &text("query_format").replace("{}", "{query}"),
                &text("document_format").replace("{}", "{document}"),
                text("seq"),
                text("special_token"),
            );
            let max_length = case["max_length"].as_u64().unwrap() as usize;
            let folder = fixture("models").join(text("model"));
            let probe = PairConfig {
                max_length: 10_000,
                query_max_length: 100,
                truncation: Truncation::SecondOnly,
            };
            let probe =
                PairEncoder::open_with(&folder.join("tokenizer.json"), Some(&template), probe)
                    .unwrap();
            // Its queries are never cut.
            let longest_query = max_length - probe.n_specials() - 1;
            let settings = settings(max_length, longest_query, template);
            let what = format!("{} {}", text("model"), text("special_token"));
            assert_rows(&encoded(&folder, &settings, &pairs), &rows(&case["batch"]), &what);
            let copy = with_settings(text("model"), &settings);
            let (mut found, mut wanted) = (scores(copy.path(), &pairs), floats(&case["logits"]));
            if case["pad_token_id_tokenizer"] != case["pad_token_id_config"] {
                // The original pads with one token and looks for the end of another: in a row that it
                // padded it reads the padding.
                let full = |row: &Vec<u32>| row.len() == max_length;
                let is_full: Vec<bool> = rows(&case["batch"]).iter().map(full).collect();
                let mut kept = is_full.iter();
                found.retain(|_| *kept.next().unwrap());
                let mut kept = is_full.iter();
                wanted.retain(|_| *kept.next().unwrap());
                assert!(found.len() > 3, "most rows are full");
            }
            assert_scores(&found, &wanted, &what);
            n += 1;
        }
        assert!(n > 0, "there are cases that the original could run");
    }

    #[test]
    fn rows_and_scores_of_the_chat_of_qwen3() {
        let all = expected("qwen3_causal");
        let (pairs, chat) = (pairs(&all), &all["qwen3_reranker"]);
        let template = RowTemplate::qwen3(chat["instruction"].as_str().unwrap());
        let max_length = chat["max_length"].as_u64().unwrap() as usize;
        let folder = fixture("models/qwen3_causal");
        let probe = PairConfig {
            max_length: 10_000,
            query_max_length: 500,
            truncation: Truncation::SecondOnly,
        };
        let probe =
            PairEncoder::open_with(&folder.join("tokenizer.json"), Some(&template), probe).unwrap();
        let longest_query = max_length - probe.n_specials() - 1;
        let words =
            AnswerWords { yes: "yes".to_owned(), no: Some("no".to_owned()), ..Default::default() };
        let settings =
            Settings { answers: Some(words), ..settings(max_length, longest_query, template) };
        // One query leaves no room for its document: the original drops the document's label too, and
        // here the query gives way.
        let is_long = |row: &usize| pairs[*row].1.starts_with('泰');
        let short: Vec<usize> = (0..pairs.len()).filter(|row| !is_long(row)).collect();
        assert!(short.len() + 1 >= pairs.len());
        let only = |all: Vec<f32>| -> Vec<f32> { short.iter().map(|&row| all[row]).collect() };
        let expected_rows = rows(&chat["batch"]);
        let expected_rows: Vec<Vec<u32>> =
            short.iter().map(|&row| expected_rows[row].clone()).collect();
        let pairs: Vec<(&str, &str)> = short.iter().map(|&row| pairs[row]).collect();
        let batch = encoded(&folder, &settings, &pairs);
        assert_rows(&batch, &expected_rows, "the chat");
        let copy = with_settings("qwen3_causal", &settings);
        let (yes, no) = (only(floats(&chat["true_logit"])), only(floats(&chat["false_logit"])));
        let expected: Vec<f32> = yes.iter().zip(&no).map(|(yes, no)| yes - no).collect();
        let found = scores(copy.path(), &pairs);
        assert_scores(&found, &expected, "yes less no");
        let probabilities: Vec<f32> = found.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
        let expected = only(floats(&chat["scores"]));
        assert_scores(&probabilities, &expected, "the probability of yes");
    }

    #[test]
    fn two_answers_are_subtracted_after_their_caps() {
        for model in ["llama_causal", "qwen2_causal", "gemma2_causal"] {
            let all = expected(model);
            let pairs = pairs(&all);
            let building = &all["input_building"];
            let template = RowTemplate::bge(building["prompt"].as_str().unwrap());
            let number = |key: &str| building[key].as_u64().unwrap() as usize;
            let ending = building["sep_ids"].as_array().unwrap().len()
                + building["prompt_ids"].as_array().unwrap().len();
            let template =
                RowTemplate { document_max_length: Some(number("max_length")), ..template };
            let words = AnswerWords {
                yes: "Yes".to_owned(),
                no: Some("No".to_owned()),
                ..Default::default()
            };
            let settings = Settings {
                answers: Some(words),
                ..settings(number("max_length") + 2 * ending, number("query_max_length"), template)
            };
            let copy = with_settings(model, &settings);
            let found = scores(copy.path(), &pairs);
            assert_scores(&found, &floats(&all["yes_minus_no"]), model);
        }
    }

    #[test]
    fn pipelines_of_flag_embedding() {
        let all = expected("flag_embedding");
        let pairs = pairs(&all);
        let mut n = 0;
        for case in all["encoder"].as_array().unwrap() {
            let number = |key: &str| case[key].as_u64().unwrap() as usize;
            let model = case["model"].as_str().unwrap();
            let settings = Settings {
                template: None,
                ..settings(number("max_length"), number("query_max_length"), RowTemplate::bge(""))
            };
            let copy = with_settings(model, &settings);
            let mut expected = floats(&case["scores"]);
            if case["normalize"] == true {
                expected = expected.iter().map(|p| (p / (1.0 - p)).ln()).collect();
            }
            assert_scores(&scores(copy.path(), &pairs), &expected, model);
            n += 1;
        }
        assert!(n > 0, "there are cases");
    }

    #[test]
    fn a_model_that_answers_with_words_is_saved_with_a_head_of_its_own() {
        for (model, no) in
            [("llama_causal", None), ("qwen2_causal", Some("No")), ("gemma2_causal", None)]
        {
            let words = AnswerWords {
                yes: "Yes".to_owned(),
                no: no.map(str::to_owned),
                ..Default::default()
            };
            let template = RowTemplate::bge("Yes or No?");
            let settings = Settings { answers: Some(words), ..settings(64, 20, template) };
            let copy = with_settings(model, &settings);
            let loaded = checkpoint::load(copy.path(), None, &Device::flex()).unwrap();
            let saved = tempfile::tempdir().unwrap();
            let place = saved.path().join("saved");
            let contents = checkpoint::Contents {
                model: &loaded.model,
                config: &loaded.config,
                settings: &settings,
                tokenizer: copy.path(),
            };
            checkpoint::save(contents, &place).unwrap();
            let pairs = [("what is rain", "water that falls"), ("salt", "a long text about salt")];
            assert_scores(&scores(&place, &pairs), &scores(copy.path(), &pairs), model);
        }
    }

    #[test]
    fn what_a_group_begins_with_is_computed_once_and_changes_nothing() {
        let documents = ["", "water", "Yes, it is so.", "a much longer text about rain and snow"];
        for model in
            ["mistral_causal", "gemma2_causal", "qwen3_causal", "llama_seqcls", "matroyshka"]
        {
            let efforts = match model {
                "matroyshka" => vec![
                    Effort { exits: vec![2, 4, 5], ..Effort::default() },
                    Effort { exits: vec![3, 5], ratio: 2, compress_layers: vec![1, 3] },
                ],
                _ => vec![Effort::default()],
            };
            let folder = fixture("models").join(model);
            let open = || Reranker::open(&folder, &Device::flex()).unwrap();
            let settings = Settings {
                max_length: 120,
                query_max_length: 30,
                template: Some(RowTemplate::bge("Predict.")),
                ..open().settings().clone()
            };
            let shared = open().with_settings(settings.clone()).unwrap();
            let apart = open().with_settings(settings).unwrap().with_shared_prefixes(false);
            let groups: Vec<TextGroup<'_>> = ["what is rain", "is salt a stone"]
                .map(|query| TextGroup { query, documents: documents.to_vec() })
                .into();
            for effort in efforts {
                let (found, _) = shared.score_at(&groups, &effort).unwrap();
                let (expected, _) = apart.score_at(&groups, &effort).unwrap();
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(found.depth, expected.depth);
                    let pairs = found.scores.iter().flatten().zip(expected.scores.iter().flatten());
                    for (a, b) in pairs {
                        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{model}: {a} and {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn adapters_of_peft_beside_the_model_and_inside_it() {
        for name in ["mistral", "qwen2", "qwen2_rslora_patterns"] {
            let folder = fixture("lora").join(name);
            let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
            let all: Value = serde_json::from_str(&text).unwrap();
            let mut batch = Batch::new();
            for ids in rows(&all["batch"]) {
                batch.push_row(&ids, &vec![0; ids.len()]);
            }
            batch.end_group();
            let device = Device::flex();
            let score = |model: &CrossEncoder| -> Vec<f32> {
                let rows = model.scores(&batch, &device, DropoutSeeds::inference()).rows();
                rows.into_data().try_into_vec().unwrap()
            };
            let loaded = checkpoint::load(&folder.join("base"), None, &device).unwrap();
            assert_scores(&score(&loaded.model), &floats(&all["score_base"]), name);
            let adapted =
                adapter::load(loaded.model, &loaded.config, &folder.join("adapter")).unwrap();
            assert!(adapter::is_adapted(&adapted));
            assert_scores(&score(&adapted), &floats(&all["score_adapter"]), name);
            let merged = adapter::merge(adapted);
            assert!(!adapter::is_adapted(&merged));
            assert_scores(&score(&merged), &floats(&all["score_merged"]), name);
        }
    }
}
