//! The models against transformers, and checkpoints against every way they can be wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod adapters;
mod apart;
mod bad_input;
mod checkpoints;
mod decoders;
mod exits;
#[cfg(feature = "hub")]
mod hub;
mod parity;
mod scoring;
mod small_decoders;
mod split;
mod terms;
mod variants;

use std::path::PathBuf;

/// A folder of golden values; only tests in modules named `with_fixtures` may call it.
fn fixture(name: &str) -> PathBuf {
    let root = std::env::var("TAMIS_FIXTURES").expect("TAMIS_FIXTURES names the fixtures");
    PathBuf::from(root).join(name)
}

/// A tiny BERT with weights from a seed, saved with a tokenizer, for tests that need no golden value.
fn tiny_checkpoint(directory: &std::path::Path) -> tamis_model::Config {
    use tamis_model::{Activation, Config, CrossEncoder, Settings, checkpoint};

    let words = ["alpha", "beta", "gamma", "delta", "fever", "cold", "rain", "sun"];
    let texts: Vec<String> =
        words.iter().flat_map(|a| words.iter().map(move |b| format!("{a} {b}"))).collect();
    let tokenizer =
        tamis_data::vocabulary::train(texts.iter().map(String::as_str), &Default::default())
            .unwrap();
    let source = tempfile::tempdir().unwrap();
    tamis_data::vocabulary::save(&tokenizer, 32, source.path()).unwrap();
    let config: tamis_model::encoder::bert::BertConfig =
        serde_json::from_value(serde_json::json!({
            "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32,
        }))
        .unwrap();
    let config = Config::bert(&config);
    let device = burn::tensor::Device::flex();
    let model = checkpoint::initialise(CrossEncoder::zeros(&config, &device), &config, 7);
    let settings = Settings {
        max_length: 32,
        query_max_length: 8,
        truncation: tamis_data::Truncation::SecondOnly,
        activation: Activation::Sigmoid,
        parts: None,
        template: None,
        answers: None,
        effort: Default::default(),
        compatibility: Default::default(),
        adapters: Vec::new(),
    };
    let contents = checkpoint::Contents {
        model: &model,
        config: &config,
        settings: &settings,
        tokenizer: source.path(),
    };
    checkpoint::save(contents, directory).unwrap();
    config
}
