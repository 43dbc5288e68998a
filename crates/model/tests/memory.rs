//! What opening and scoring a decoder allocates, by an allocator that gives no more: a test that goes over a bound
//! ends with "memory allocation failed".

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use std::alloc::System;
use std::path::Path;

use burn::tensor::Device;
use cap::Cap;
use serde_json::json;
use tamis_model::{
    Config, CrossEncoder, Effort, IdGroup, OpenOptions, Precision, Reranker, Settings, checkpoint,
};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const THREADS: usize = 2;

/// Tokens of one forward pass on a core.
const PASS: usize = 512;

/// Rows that are scored alone, and rows that are scored in other ways, which takes as long for fewer.
const ROWS: [usize; 2] = [128, 16];

/// A Llama of six layers, whose activations are large beside what is allocated for other things.
fn decoder(directory: &Path) -> usize {
    let words = ["alpha", "beta", "gamma", "delta", "fever", "cold", "rain", "sun"];
    let tokenizer = tamis_data::vocabulary::train(words.into_iter(), &Default::default()).unwrap();
    let source = tempfile::tempdir().unwrap();
    tamis_data::vocabulary::save(&tokenizer, 600, source.path()).unwrap();
    let n_words = tokenizer.get_vocab_size(true);
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": n_words,
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 600,
        "rms_norm_eps": 1e-5, "layer_wise": true, "start_layer": 2, "layer_sep": 2,
    });
    let path = source.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let config = Config::read(&path).unwrap();
    let model = CrossEncoder::zeros(&config, &Device::flex());
    let model = checkpoint::initialise(model, &config, 1);
    let settings = Settings::of_model(&config);
    let contents = checkpoint::Contents {
        model: &model,
        config: &config,
        settings: &settings,
        tokenizer: source.path(),
    };
    checkpoint::save(contents, directory).unwrap();
    // A layer: queries, keys and values, what attention gathers, and three maps of the block after it.
    6 * (256 * 512 + 256 * 256 + 3 * 256 * 768) + 256 * n_words
}

/// Runs something with so many bytes more than there are.
fn within<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + bytes).unwrap();
    let result = run();
    ALLOCATOR.set_limit(usize::MAX).unwrap();
    result
}

#[test]
fn a_decoder_needs_its_weights_and_what_the_cost_model_says() {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let n_weights = decoder(directory.path());
    let (query, document) = (vec![5_u32; PASS / 4], vec![7_u32; PASS - PASS / 4 - 3]);
    for (precision, size) in [(Precision::F32, 4), (Precision::Bf16, 2)] {
        let options = || OpenOptions { precision, ..OpenOptions::default() };
        // Once before, so that what a process allocates only once is there.
        drop(Reranker::open_with(directory.path(), &Device::flex(), options()).unwrap());
        let reranker = within(n_weights * size * 11 / 10, || {
            Reranker::open_with(directory.path(), &Device::flex(), options()).unwrap()
        });
        let cost = reranker.cost_model().unwrap();
        for (n_rows, shares, ratio) in
            [(ROWS[0], false, 1), (ROWS[1], false, 2), (ROWS[1], true, 1), (ROWS[1], true, 2)]
        {
            let groups = if shares {
                vec![IdGroup { query: &query, documents: vec![&document; n_rows] }]
            } else {
                let alone = IdGroup { query: &query, documents: vec![&document] };
                vec![alone; n_rows]
            };
            let shared = if shares { query.len() + 1 } else { 0 };
            let pass = cost.bytes(PASS, PASS / document.len(), shared);
            let effort = Effort { exits: vec![6], ratio, compress_layers: vec![2, 4] };
            // The ids and kinds of all rows are there beside the passes.
            let beside = 2 * 4 * n_rows * PASS;
            within(THREADS * pass + beside, || reranker.score_ids_at(&groups, &effort).unwrap());
        }
    }
}
