//! Adapters beside the same sums made by hand in the weight file.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tamis_data::{Batch, Truncation};
use tamis_model::adapter::{self, LoraConfig};
use tamis_model::{Activation, Config, CrossEncoder, DropoutSeeds, Settings, checkpoint};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |data: &[u8]| {
        data.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, t)| (name, (t.shape().to_vec(), floats(t.data())))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name.clone(), shape.clone(), bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(metadata), path).unwrap();
}

/// A checkpoint of a small model with weights that matter.
fn base(model_type: &str, folder: &Path) -> Config {
    let text = json!({
        "model_type": model_type, "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32,
        "initializer_range": 0.3, "num_labels": 1, "type_vocab_size": 2,
        "relative_attention": true, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
        "norm_rel_ebd": "layer_norm", "share_att_key": true, "position_biased_input": false,
    });
    let path = folder.join("config.json");
    std::fs::write(&path, text.to_string()).unwrap();
    let config = Config::read(&path).unwrap();
    let zeros = CrossEncoder::zeros(&config, &Device::flex());
    let model = checkpoint::initialise(zeros, &config, 11);
    let settings = Settings {
        max_length: 16,
        query_max_length: 8,
        truncation: Truncation::SecondOnly,
        activation: Activation::None,
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
        tokenizer: folder,
    };
    checkpoint::save(contents, &folder.join("base")).unwrap();
    config
}

fn load(folder: &Path) -> CrossEncoder {
    checkpoint::load(folder, None, &Device::flex()).unwrap().model
}

fn scores(model: &CrossEncoder) -> Vec<f32> {
    let mut batch = Batch::new();
    for row in 0..4_u32 {
        let ids: Vec<u32> = (0..5 + row).map(|i| (i * 7 + row * 3) % 40).collect();
        batch.push_row(&ids, &vec![0; ids.len()]);
    }
    batch.end_group();
    let rows = model.scores(&batch, &Device::flex(), DropoutSeeds::inference()).rows();
    rows.into_data().try_into_vec().unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-4 * (1.0 + expected.abs()),
            "{what}: {found} {expected}"
        );
    }
}

/// Gives every `lora_B` numbers, since new ones are zero.
fn fill(folder: &Path) -> Tensors {
    let path = folder.join("adapter_model.safetensors");
    let mut tensors = read(&path);
    for (index, (name, (_, values))) in tensors.iter_mut().enumerate() {
        if name.ends_with("lora_B.weight") {
            for (place, value) in values.iter_mut().enumerate() {
                *value = ((place + index * 5) as f32 * 0.9).sin() * 0.2;
            }
        }
    }
    write(&path, &tensors);
    tensors
}

/// The base with `scale · B · A` added to its weights by plain loops.
fn merged_by_hand(base: &Path, out: &Path, adapter: &Tensors, scale: f32) -> usize {
    let mut weights = read(&base.join("model.safetensors"));
    let mut n_maps = 0;
    for (name, (shape, a)) in adapter {
        let Some(module) = name.strip_suffix(".lora_A.weight") else { continue };
        let (rank, n_in) = (shape[0], shape[1]);
        let b = &adapter[&format!("{module}.lora_B.weight")].1;
        let module = module.strip_prefix("base_model.model.").unwrap();
        let (shape, weight) = weights.get_mut(&format!("{module}.weight")).unwrap();
        assert_eq!(*shape, [b.len() / rank, n_in]);
        for row in 0..shape[0] {
            for column in 0..n_in {
                let sum: f32 = (0..rank).map(|r| b[row * rank + r] * a[r * n_in + column]).sum();
                weight[row * n_in + column] += scale * sum;
            }
        }
        n_maps += 1;
    }
    std::fs::create_dir_all(out).unwrap();
    std::fs::copy(base.join("config.json"), out.join("config.json")).unwrap();
    write(&out.join("model.safetensors"), &weights);
    n_maps
}

#[test]
fn an_adapter_is_the_product_of_its_matrices_in_every_encoder() {
    for (model_type, targets, expected) in [
        ("bert", vec!["query", "value"], 4),
        ("bert", vec!["all-linear"], 13),
        ("modernbert", vec!["Wqkv", "mlp.Wo"], 4),
        ("deberta-v2", vec!["query_proj", "attention.output.dense"], 4),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = base(model_type, folder.path());
        let path = |name: &str| folder.path().join(name);
        let lora = LoraConfig {
            rank: 3,
            alpha: 6.0,
            dropout: 0.5,
            targets: targets.into_iter().map(str::to_owned).collect(),
            train_head: true,
        };
        let plain = load(&path("base"));
        let new = adapter::attach(plain.clone(), &config, &lora, 3).unwrap();
        assert!(adapter::is_adapted(&new) && !adapter::is_adapted(&plain));
        assert_close(&scores(&new), &scores(&plain), "a new adapter changes nothing");
        adapter::save(&new, &config, &lora, "base", None, &path("adapter")).unwrap();
        let tensors = fill(&path("adapter"));
        let n_maps = merged_by_hand(&path("base"), &path("by-hand"), &tensors, 2.0);
        // `all-linear` of BERT has six maps per layer, and the pooler belongs to the head.
        assert!(n_maps == expected || n_maps == 12, "{model_type}: {n_maps}");

        let adapted = adapter::load(plain.clone(), &config, &path("adapter")).unwrap();
        let by_hand = scores(&load(&path("by-hand")));
        assert!(by_hand.iter().zip(scores(&plain)).any(|(a, b)| (a - b).abs() > 1e-2));
        assert_close(&scores(&adapted), &by_hand, model_type);
        let merged = adapter::merge(adapted.clone());
        assert!(!adapter::is_adapted(&merged));
        assert_close(&scores(&merged), &by_hand, "merged");
        let packed = adapted.clone().packed(tamis_model::Precision::F32);
        assert_close(&scores(&packed), &by_hand, "packed");

        // Twice the same is one of twice the scale.
        let stacked = adapter::load(adapted.clone(), &config, &path("adapter")).unwrap();
        merged_by_hand(&path("base"), &path("twice"), &tensors, 4.0);
        assert_close(&scores(&stacked), &scores(&load(&path("twice"))), "stacked");

        // What is saved again is the same file.
        adapter::save(&adapted, &config, &lora, "base", None, &path("again")).unwrap();
        assert_eq!(read(&path("again").join("adapter_model.safetensors")), tensors);
        // Never the encoder itself: PEFT would save and train it whole.
        let text = std::fs::read_to_string(path("again").join("adapter_config.json")).unwrap();
        let beside = serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let beside = beside["modules_to_save"].as_array().unwrap().clone();
        let is_head = |name: &serde_json::Value| {
            ["classifier", "pooler", "pre_classifier", "head"].iter().any(|head| name == head)
        };
        assert!(!beside.is_empty() && beside.iter().all(is_head), "{model_type}: {beside:?}");
    }
}

#[test]
fn adapters_of_another_kind_or_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = base("bert", folder.path());
    let path = |name: &str| folder.path().join(name);
    let plain = load(&path("base"));
    let lora = LoraConfig { targets: vec!["query".to_owned()], ..LoraConfig::default() };
    let model = adapter::attach(plain.clone(), &config, &lora, 3).unwrap();
    adapter::save(&model, &config, &lora, "base", None, &path("adapter")).unwrap();
    let change = |key: &str, value: Value| -> String {
        let file = path("adapter").join("adapter_config.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut settings: Value = serde_json::from_str(&text).unwrap();
        settings[key] = value;
        std::fs::write(&file, settings.to_string()).unwrap();
        let error = adapter::load(plain.clone(), &config, &path("adapter")).unwrap_err();
        std::fs::write(&file, text).unwrap();
        error.to_string()
    };
    for (key, value, expected) in [
        ("peft_type", json!("IA3"), "peft_type: expected `\"LORA\"`, found `\"IA3\"`"),
        ("use_dora", json!(true), "use_dora: expected `false`, found `true`"),
        ("r", json!(5), "expected rank 5, found 8"),
        ("lora_alpha", json!("much"), "lora_alpha: expected a number"),
    ] {
        let error = change(key, value);
        assert!(error.contains(expected), "{error}");
    }
    let mut tensors = read(&path("adapter").join("adapter_model.safetensors"));
    let (name, tensor) = tensors.iter().next().map(|(n, t)| (n.clone(), t.clone())).unwrap();
    tensors.insert(name.replace("bert", "roberta"), tensor);
    write(&path("adapter").join("adapter_model.safetensors"), &tensors);
    let error = adapter::load(plain.clone(), &config, &path("adapter")).unwrap_err().to_string();
    assert!(error.contains("belongs to no part of this model"), "{error}");

    let unknown = LoraConfig { targets: vec!["q_proj".to_owned()], ..LoraConfig::default() };
    let error = adapter::attach(plain, &config, &unknown, 3).unwrap_err();
    assert!(error.contains("`q_proj` names no linear map") && error.contains("`query`"), "{error}");
}
