//! Small decoders with exits, made from a seed: how they are read from disk, adapted for some requests, and misused.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use half::bf16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tamis_data::{RowTemplate, TextGroup};
use tamis_model::adapter::{self, AdapterUse, LoraConfig, Manifest};
use tamis_model::{
    Config, CrossEncoder, Effort, OpenOptions, Precision, Reranker, Settings, checkpoint,
};

const WEIGHTS: &str = "model.safetensors";

fn template(segments: serde_json::Value) -> RowTemplate {
    serde_json::from_value(json!({ "segments": segments })).unwrap()
}

/// A Llama of four layers with an exit after every second, drawn from a seed; `changes` are keys of its
/// `config.json`.
fn decoder(directory: &Path, seed: u64, changes: serde_json::Value) -> Config {
    let words = ["alpha", "beta", "gamma", "delta", "fever", "cold", "rain", "sun"];
    let texts: Vec<String> =
        words.iter().flat_map(|a| words.iter().map(move |b| format!("{a} {b}"))).collect();
    let texts = texts.iter().map(String::as_str);
    let tokenizer = tamis_data::vocabulary::train(texts, &Default::default()).unwrap();
    let source = tempfile::tempdir().unwrap();
    tamis_data::vocabulary::save(&tokenizer, 64, source.path()).unwrap();
    let mut config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"],
        "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 24, "intermediate_size": 40,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
        "max_position_embeddings": 64, "initializer_range": 0.2, "rms_norm_eps": 1e-5,
        "layer_wise": true, "start_layer": 2, "layer_sep": 2,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    let path = source.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let config = Config::read(&path).unwrap();
    let device = Device::flex();
    let model = checkpoint::initialise(CrossEncoder::zeros(&config, &device), &config, seed);
    let segments = json!(["begin", {"text": "{query}"}, {"text": "{document}"}, {"text": "sun"}]);
    let settings = Settings {
        max_length: 24,
        query_max_length: 8,
        template: Some(template(segments)),
        ..Settings::of_model(&config)
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

fn groups() -> Vec<TextGroup<'static>> {
    let documents = vec!["fever cold rain", "sun sun rain alpha beta gamma delta", "cold"];
    vec![
        TextGroup { query: "alpha fever", documents: documents.clone() },
        TextGroup { query: "rain", documents },
    ]
}

fn scores(reranker: &Reranker, effort: &Effort) -> Vec<f32> {
    let (exits, _) = reranker.score_at(&groups(), effort).unwrap();
    exits.into_iter().flat_map(|exit| exit.scores.concat()).collect()
}

fn effort(exits: &[usize], ratio: usize) -> Effort {
    Effort { exits: exits.to_vec(), ratio, compress_layers: vec![1, 3] }
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |data: &[u8]| -> Vec<f32> {
        data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, t)| (name, (t.shape().to_vec(), numbers(t.data())))).collect()
}

/// Writes tensors in bfloat16 into three files with an index, in place of the one file.
fn shard(directory: &Path, tensors: &Tensors) {
    let mut weight_map = BTreeMap::new();
    for place in 0..3 {
        let name = format!("model-{place}-of-3.safetensors");
        let part: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .enumerate()
            .filter(|(index, _)| index % 3 == place)
            .map(|(_, (tensor, (shape, values)))| {
                weight_map.insert(tensor.clone(), name.clone());
                let bytes = values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes());
                (tensor.clone(), shape.clone(), bytes.collect())
            })
            .collect();
        let views = part.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap())
        });
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(metadata), &directory.join(name)).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": weight_map });
    std::fs::write(directory.join("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::remove_file(directory.join(WEIGHTS)).unwrap();
}

#[test]
fn a_sharded_bf16_checkpoint_is_packed_as_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("decoder");
    let config = decoder(&directory, 5, json!({}));
    let tensors = read(&directory.join(WEIGHTS));
    shard(&directory, &tensors);
    let device = Device::flex();
    // The other road: all weights as f32, and packed from there.
    let loaded = checkpoint::load(&directory, None, &device).unwrap();
    let settings = Settings::read(&directory, &config).unwrap();
    let encoder = settings.encoder(&directory).unwrap();
    let whole = Reranker::new(loaded.model, &config, encoder, settings, &device).unwrap();
    for effort in [effort(&[2, 4], 1), effort(&[4], 2)] {
        let expected = scores(&whole, &effort);
        let open = |precision| Reranker::open_at(&directory, &device, precision).unwrap();
        assert_eq!(scores(&open(Precision::F32), &effort), expected);
        // The weights are bfloat16 already; what is rounded are inputs.
        let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        for (precision, tolerance) in [(Precision::Bf16, 0.03), (Precision::Int8, 0.15)] {
            let found = worst(&scores(&open(precision), &effort), &expected);
            assert!(found < tolerance * largest, "{precision}: {found} of {largest}");
        }
    }
}

#[test]
fn what_a_packed_checkpoint_lacks_is_named() {
    for (change, expected) in [
        ("remove", "the checkpoint lacks model.layers.1.self_attn.k_proj.weight"),
        ("add", "the checkpoint has unused extra"),
        (
            "turn",
            "the checkpoint has misshapen model.layers.1.self_attn.k_proj.weight: found [24, 12], \
             expected [12, 24]",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("decoder");
        decoder(&directory, 5, json!({}));
        let mut tensors = read(&directory.join(WEIGHTS));
        let name = "model.layers.1.self_attn.k_proj.weight";
        match change {
            "remove" => drop(tensors.remove(name)),
            "add" => drop(tensors.insert("extra".to_owned(), (vec![1], vec![0.0]))),
            _ => tensors.get_mut(name).unwrap().0.reverse(),
        }
        shard(&directory, &tensors);
        for precision in Precision::ALL {
            let error = Reranker::open_at(&directory, &Device::flex(), precision).unwrap_err();
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    }
}

/// A new adapter changes nothing; this one does.
struct Trained;

impl ModuleMapper for Trained {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let device = param.val().device();
        device.seed(param.val().shape().num_elements() as u64);
        param.map(|old| {
            let is_zero = old.clone().abs().max().into_scalar::<f32>() == 0.0;
            let random = || Tensor::random(old.shape(), Distribution::Uniform(-0.3, 0.3), &device);
            if is_zero { random() } else { old }
        })
    }
}

fn lora(targets: &[&str]) -> LoraConfig {
    let targets = targets.iter().map(|&name| name.to_owned()).collect();
    LoraConfig { rank: 2, alpha: 4.0, dropout: 0.0, targets, train_head: false }
}

/// Trains an adapter on a checkpoint, so to speak, and saves it.
fn adapt(base: &Path, out: &Path, targets: &[&str], ratios: &[usize]) {
    let loaded = checkpoint::load(base, None, &Device::flex()).unwrap();
    let manifest = Manifest::of(&loaded.model, &loaded.config, ratios);
    let lora = lora(targets);
    let model = adapter::attach(loaded.model, &loaded.config, &lora, 9).unwrap().map(&mut Trained);
    adapter::save(&model, &loaded.config, &lora, "base", Some(&manifest), out).unwrap();
}

fn open(directory: &Path, adapters: &[AdapterUse]) -> Result<Reranker, String> {
    let options = OpenOptions { adapters: adapters.to_vec(), ..OpenOptions::default() };
    Reranker::open_with(directory, &Device::flex(), options).map_err(|error| error.to_string())
}

#[test]
fn adapters_are_used_by_the_requests_that_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("decoder");
    decoder(&base, 5, json!({}));
    let (layer, token) = (base.join("layer"), base.join("token"));
    adapt(&base, &layer, &["q_proj", "down_proj", "linear_head"], &[1]);
    adapt(&base, &token, &["v_proj", "gate_proj", "o_proj"], &[2]);
    let of = |path: &Path, ratios: &[usize], exits: &[usize]| AdapterUse {
        path: path.to_owned(),
        ratios: ratios.to_vec(),
        exits: exits.to_vec(),
    };
    let plain = open(&base, &[]).unwrap();
    let deep = open(&base, &[of(&layer, &[], &[])]).unwrap();
    let both = [of(&layer, &[], &[]), of(&token, &[2], &[])];
    // The same with the second adapter in the weights too: there a condition that always holds.
    let merged = {
        let loaded = checkpoint::load(&base, None, &Device::flex()).unwrap();
        let mut model = loaded.model;
        for path in [&layer, &token] {
            model = adapter::merge(adapter::load(model, &loaded.config, path).unwrap());
        }
        let settings = Settings::read(&base, &loaded.config).unwrap();
        let encoder = settings.encoder(&base).unwrap();
        Reranker::new(model, &loaded.config, encoder, settings, &Device::flex()).unwrap()
    };
    let switched = open(&base, &both).unwrap();
    for exits in [&[4][..], &[2, 4]] {
        let (one, two) = (effort(exits, 1), effort(exits, 2));
        assert!(worst(&scores(&deep, &one), &scores(&plain, &one)) > 1e-3);
        assert!(worst(&scores(&merged, &two), &scores(&deep, &two)) > 1e-3);
        assert_eq!(scores(&switched, &one), scores(&deep, &one));
        assert!(worst(&scores(&switched, &two), &scores(&merged, &two)) < 1e-5);
        // Another ratio has no adapter of its own.
        let four = effort(exits, 4);
        assert_eq!(scores(&switched, &four), scores(&deep, &four));
        // One request after the other, in any order, from one model.
        assert_eq!(scores(&switched, &one), scores(&deep, &one));
    }
    // By exit.
    let by_exit = open(&base, &[of(&layer, &[], &[2])]).unwrap();
    assert!(worst(&scores(&by_exit, &effort(&[2], 1)), &scores(&deep, &effort(&[2], 1))) < 1e-5);
    assert_eq!(scores(&by_exit, &effort(&[4], 1)), scores(&plain, &effort(&[4], 1)));
    let error = by_exit.score_at(&groups(), &effort(&[2, 4], 1)).unwrap_err().to_string();
    assert!(error.contains("ask for them apart"), "{error}");

    // The same from `tamis.json`, with paths beside it.
    let mut settings = plain.settings().clone();
    settings.adapters = vec![of(Path::new("layer"), &[], &[]), of(Path::new("token"), &[2], &[])];
    std::fs::write(base.join("tamis.json"), serde_json::to_string(&settings).unwrap()).unwrap();
    let named = open(&base, &[]).unwrap();
    for ratio in [1, 2] {
        let effort = effort(&[2, 4], ratio);
        assert_eq!(scores(&named, &effort), scores(&switched, &effort));
    }
}

#[test]
fn adapters_of_other_weights_exits_or_ratios_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    decoder(&path("one"), 5, json!({}));
    decoder(&path("two"), 6, json!({}));
    adapt(&path("one"), &path("first"), &["q_proj"], &[]);
    adapt(&path("one"), &path("narrow"), &["q_proj"], &[4]);
    let always = |name: &str| AdapterUse::always(&path(name));
    let refusal = |base: &str, adapters: &[AdapterUse]| open(&path(base), adapters).unwrap_err();
    assert!(open(&path("one"), &[always("first")]).is_ok());
    let error = refusal("two", &[always("first")]);
    assert!(
        error.contains("first: the adapter was trained on other weights than these"),
        "{error}"
    );
    // After an adapter that it was not trained on it still meets the weights that it was.
    assert!(open(&path("one"), &[always("first"), always("first")]).is_ok());

    let error = refusal("one", &[always("narrow")]);
    assert!(error.contains("trained at ratios [4]; use it for them: PATH@ratio=4"), "{error}");
    let narrow = |ratios: &[usize]| AdapterUse { ratios: ratios.to_vec(), ..always("narrow") };
    assert!(refusal("one", &[narrow(&[2])]).contains("trained at ratios [4]"));
    assert!(open(&path("one"), &[narrow(&[4])]).is_ok());
    let deep = AdapterUse { exits: vec![3], ..always("first") };
    assert!(refusal("one", &[deep]).contains("exit 3 was not trained; there are [2, 4]"));

    // Other exits over the same layers.
    decoder(&path("three"), 5, json!({ "start_layer": 4 }));
    let error = refusal("three", &[always("first")]);
    assert!(error.contains("the adapter is for start_layer 2, the model has 4"), "{error}");
    // An adapter of other widths.
    decoder(&path("wide"), 5, json!({ "num_attention_heads": 6 }));
    std::fs::remove_file(path("first").join("tamis_adapter.json")).unwrap();
    let error = refusal("wide", &[always("first")]);
    assert!(error.contains("q_proj`: expected [r, 24] and [36, r], found [2, 24]"), "{error}");
    assert!(refusal("one", &[always("nowhere")]).contains("adapter_config.json"));
}

/// The layers of a decoder under a head of words, which is the table of words.
fn with_words(exits: &Path, out: &Path, answers: serde_json::Value) {
    std::fs::create_dir_all(out).unwrap();
    std::fs::copy(exits.join("tokenizer.json"), out.join("tokenizer.json")).unwrap();
    let change = |name: &str, changes: &[(&str, serde_json::Value)]| {
        let text = std::fs::read_to_string(exits.join(name)).unwrap();
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (key, value) in changes {
            file[key] = value.clone();
        }
        std::fs::write(out.join(name), file.to_string()).unwrap();
    };
    change("config.json", &[("layer_wise", json!(false)), ("tie_word_embeddings", json!(true))]);
    change("tamis.json", &[("answers", answers)]);
    let mut tensors = read(&exits.join(WEIGHTS));
    tensors.retain(|name, _| !name.starts_with("lm_head"));
    write_whole(out, &tensors);
}

/// RAG-Retrieval labels pairs with the probability of one word among all.
#[test]
fn a_word_among_all_has_the_logit_of_its_probability() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    decoder(&path("exits"), 5, json!({}));
    let of = |answers: serde_json::Value| {
        with_words(&path("exits"), &path("words"), answers);
        scores(&open(&path("words"), &[]).unwrap(), &Effort::default())
    };
    let text = std::fs::read(path("exits").join("tokenizer.json")).unwrap();
    let tokenizer: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let is_word = |word: &str| !word.starts_with('[') && !word.starts_with("##");
    // What is no word cannot be asked for: its vector becomes zero, and so does its logit.
    let mut tensors = read(&path("exits").join(WEIGHTS));
    let (shape, table) = tensors.get_mut("model.embed_tokens.weight").unwrap();
    let mut n_others = 0.0;
    for (_, id) in vocabulary.iter().filter(|(word, _)| !is_word(word)) {
        let id = id.as_u64().unwrap() as usize;
        table[id * shape[1]..(id + 1) * shape[1]].fill(0.0);
        n_others += 1.0;
    }
    assert_eq!(shape[0], vocabulary.len());
    write_whole(&path("exits"), &tensors);

    let words: Vec<&String> = vocabulary.keys().filter(|word| is_word(word)).collect();
    let logits: Vec<Vec<f32>> = words.iter().map(|word| of(json!({ "yes": word }))).collect();
    for (asked, word) in words.iter().enumerate().step_by(7) {
        let found = of(json!({ "yes": word, "among_all": true }));
        for (pair, found) in found.into_iter().enumerate() {
            let exponential = |logits: &Vec<f32>| f64::from(logits[pair]).exp();
            let whole: f64 = logits.iter().map(exponential).sum::<f64>() + n_others;
            let probability = exponential(&logits[asked]) / whole;
            let sigmoid = 1.0 / (1.0 + f64::from(-found).exp());
            assert!((sigmoid - probability).abs() < 1e-5, "{word}: {sigmoid}, not {probability}");
        }
    }
    let error = {
        with_words(
            &path("exits"),
            &path("words"),
            json!({ "yes": "rain", "no": "sun", "among_all": true }),
        );
        open(&path("words"), &[]).unwrap_err()
    };
    assert!(error.contains("among_all leaves no place for another word, found `sun`"), "{error}");
}

#[test]
fn a_head_of_words_is_adapted_under_the_name_that_peft_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    decoder(&path("exits"), 5, json!({}));
    with_words(&path("exits"), &path("words"), json!({ "yes": "rain", "no": "cold" }));
    let loaded = checkpoint::load(&path("words"), None, &Device::flex()).unwrap();
    let lora = lora(&["lm_head", "v_proj"]);
    let adapted =
        adapter::attach(loaded.model, &loaded.config, &lora, 9).unwrap().map(&mut Trained);
    adapter::save(&adapted, &loaded.config, &lora, "base", None, &path("adapter")).unwrap();
    let saved = read(&path("adapter").join("adapter_model.safetensors"));
    let (shape, values) = &saved["base_model.model.lm_head.lora_B.weight"];
    assert_eq!(shape, &[loaded.config.vocab_size(), 2]);
    assert_eq!(values.iter().filter(|&&value| value != 0.0).count(), 4, "two words by two");

    let settings = Settings::read(&path("words"), &loaded.config).unwrap();
    let encoder = settings.encoder(&path("words")).unwrap();
    let expected =
        Reranker::new(adapted, &loaded.config, encoder, settings, &Device::flex()).unwrap();
    let found = open(&path("words"), &[AdapterUse::always(&path("adapter"))]).unwrap();
    let plain = open(&path("words"), &[]).unwrap();
    let whole = Effort::default();
    assert!(worst(&scores(&found, &whole), &scores(&expected, &whole)) < 1e-5);
    assert!(worst(&scores(&found, &whole), &scores(&plain, &whole)) > 1e-3);
}

fn write_whole(directory: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, shape.clone(), bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &directory.join(WEIGHTS)).unwrap();
}

#[test]
fn documents_shorter_than_the_ratio_become_one_token_and_empty_ones_none() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("decoder");
    decoder(&directory, 5, json!({}));
    let reranker = open(&directory, &[]).unwrap();
    let of = |document: &str, ratio| {
        let group = TextGroup { query: "alpha fever", documents: vec![document] };
        reranker.score_at(&[group], &effort(&[4], ratio)).unwrap().0[0].scores[0][0]
    };
    // Three tokens by three, eight or a thousand are the same one.
    assert_eq!(of("fever cold rain", 8), of("fever cold rain", 3));
    assert_eq!(of("fever cold rain", 1000), of("fever cold rain", 3));
    assert_ne!(of("fever cold rain", 3), of("fever cold rain", 1));
    // Nothing is merged where there is nothing.
    for ratio in [1, 2, 8] {
        assert!((of("", ratio) - of("", 1)).abs() < 1e-6);
    }
    // Beside others, too, and more often than there are tokens.
    let together = TextGroup { query: "alpha fever", documents: vec!["", "fever cold rain"] };
    let effort = Effort { exits: vec![2, 4], ratio: 8, compress_layers: vec![1, 2, 3] };
    let (exits, _) = reranker.score_at(&[together], &effort).unwrap();
    assert!(exits.iter().all(|exit| exit.scores.concat().iter().all(|score| score.is_finite())));
}

#[test]
fn exits_ratios_and_layers_that_a_model_lacks_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("decoder");
    decoder(&directory, 5, json!({}));
    let reranker = open(&directory, &[]).unwrap();
    let refusal = |exits: &[usize], ratio, compress_layers: &[usize]| {
        let compress_layers = compress_layers.to_vec();
        let effort = Effort { exits: exits.to_vec(), ratio, compress_layers };
        reranker.score_at(&groups(), &effort).unwrap_err().to_string()
    };
    assert_eq!(refusal(&[3], 1, &[]), "exit 3 was not trained; there are 2, 4");
    assert_eq!(refusal(&[], 0, &[1]), "ratio: expected 1 or more, found `0`");
    assert_eq!(refusal(&[], 2, &[4]), "compress_layers: expected depths from 1 to 3, found `4`");
    let settings = Settings { effort: effort(&[1], 1), ..reranker.settings().clone() };
    let error = reranker.with_settings(settings).unwrap_err().to_string();
    assert_eq!(error, "exit 1 was not trained; there are 2, 4");
}

#[test]
fn tokenizers_need_neither_padding_nor_a_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("decoder");
    decoder(&directory, 5, json!({}));
    let with_begin = open(&directory, &[]).unwrap();
    let path = directory.join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!tokenizer["post_processor"].is_null());
    (tokenizer["post_processor"], tokenizer["padding"]) = (json!(null), json!(null));
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    // `begin` stands for what the tokenizer puts before a text: here nothing.
    let without = open(&directory, &[]).unwrap();
    let segments = json!([{"text": "{query}"}, {"text": "{document}"}, {"text": "sun"}]);
    let settings = Settings { template: Some(template(segments)), ..without.settings().clone() };
    let whole = effort(&[4], 1);
    assert!(worst(&scores(&without, &whole), &scores(&with_begin, &whole)) > 1e-3);
    let bare = scores(&without, &whole);
    let written = without.with_settings(settings).unwrap();
    assert_eq!(scores(&written, &whole), bare);
}

#[test]
fn a_prompt_that_leaves_no_room_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("decoder");
    decoder(&directory, 5, json!({}));
    let reranker = open(&directory, &[]).unwrap();
    let prompt = "alpha beta gamma delta ".repeat(6);
    let segments = json!([{"text": "{query}"}, {"text": "{document}"}, {"text": prompt}]);
    let settings = Settings { template: Some(template(segments)), ..reranker.settings().clone() };
    let error = reranker.with_settings(settings).unwrap_err().to_string();
    assert!(error.contains("leave no room for a document within max_length `24`"), "{error}");
}
