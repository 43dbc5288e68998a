//! Checkpoints come back as they were saved, and wrong ones are refused by name.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tamis_data::TextGroup;
use tamis_model::{OpenOptions, Reranker, checkpoint};

use crate::tiny_checkpoint;

const FILE: &str = "model.safetensors";

fn scores(directory: &Path) -> Vec<Vec<f32>> {
    let reranker = Reranker::open(directory, &Device::flex()).unwrap();
    let group =
        |query| TextGroup { query, documents: vec!["fever cold", "", "sun sun rain alpha"] };
    reranker.score(&[group("alpha fever"), group("sun")]).unwrap().0
}

type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Rewrites the weight file after a change to its tensors.
fn rewrite(directory: &Path, change: impl Fn(&mut Tensors)) {
    let path = directory.join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
}

/// The error of loading a checkpoint after a change to its tensors, without the file's path.
fn refusal(change: impl Fn(&mut Tensors)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    rewrite(&place, change);
    let error = checkpoint::load(&place, None, &Device::flex()).unwrap_err().to_string();
    error.replace(&format!("{}: ", place.join(FILE).display()), "")
}

/// A server that is another user has to read them.
#[cfg(unix)]
#[test]
fn weights_are_as_readable_as_the_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let mode = |name| std::fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(FILE), mode("config.json"));
}

#[test]
fn saving_again_changes_no_byte_and_no_score() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    tiny_checkpoint(&first);
    let loaded = checkpoint::load(&first, None, &Device::flex()).unwrap();
    let settings = tamis_model::Settings::read(&first, &loaded.config).unwrap();
    let contents = checkpoint::Contents {
        model: &loaded.model,
        config: &loaded.config,
        settings: &settings,
        tokenizer: &first,
    };
    checkpoint::save(contents, &second).unwrap();
    // Onto an existing checkpoint too.
    checkpoint::save(contents, &second).unwrap();
    for name in ["config.json", "tokenizer.json", "tamis.json"] {
        let read = |place: &Path| std::fs::read(place.join(name)).unwrap();
        assert_eq!(read(&first), read(&second), "{name}");
    }
    let weights = |place: &Path| {
        let bytes = std::fs::read(place.join(FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut all: Vec<(String, Vec<u8>)> =
            file.tensors().into_iter().map(|(name, t)| (name, t.data().to_vec())).collect();
        all.sort();
        all
    };
    assert_eq!(weights(&first), weights(&second));
    assert_eq!(scores(&first), scores(&second));
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "nothing temporary is left behind");
}

#[test]
fn half_precision_on_disk_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let full = scores(&place).concat();
    rewrite(&place, |tensors| {
        for (dtype, _, data) in tensors.values_mut() {
            let (chunks, _) = data.as_chunks::<4>();
            let halves = chunks.iter().map(|&b| half::bf16::from_f32(f32::from_le_bytes(b)));
            *data = halves.flat_map(half::bf16::to_le_bytes).collect();
            *dtype = Dtype::BF16;
        }
    });
    for (half, full) in scores(&place).concat().into_iter().zip(full) {
        assert!((half - full).abs() < 2e-2, "{half} against {full}");
    }
}

#[test]
fn a_missing_an_unused_and_a_misshapen_tensor_are_named() {
    let missing = refusal(|tensors| {
        tensors.remove("bert.encoder.layer.1.attention.self.key.bias");
    });
    assert_eq!(missing, "the checkpoint lacks bert.encoder.layer.1.attention.self.key.bias");
    let unused = refusal(|tensors| {
        tensors.insert("extra.weight".into(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    assert_eq!(unused, "the checkpoint has unused extra.weight");
    let misshapen = refusal(|tensors| {
        tensors.insert("classifier.bias".into(), (Dtype::F32, vec![2], vec![0; 8]));
    });
    assert_eq!(misshapen, "the checkpoint has misshapen classifier.bias: found [2], expected [1]");
    let integers = refusal(|tensors| {
        tensors.insert("classifier.bias".into(), (Dtype::I32, vec![1], vec![0; 4]));
    });
    assert_eq!(integers, "tensor `classifier.bias`: expected F32, F16 or BF16, found I32");
}

#[test]
fn a_bare_encoder_needs_a_new_head_to_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    rewrite(&place, |tensors| {
        tensors.retain(|name, _| !name.starts_with("classifier"));
        *tensors =
            tensors.drain().map(|(name, tensor)| (name.replace("bert.", ""), tensor)).collect();
    });
    let device = Device::flex();
    let error = checkpoint::load(&place, None, &device).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "has no classification head: it lacks classifier.weight, classifier.bias; a new head, \
             to be trained, is drawn only when asked for: --new-head, or init = \"new-head\" under \
             [model] of a recipe"
        ),
        "{error}"
    );
    assert_eq!(Reranker::open(&place, &device).unwrap_err().to_string(), error);
    let head =
        |seed| checkpoint::load(&place, Some(checkpoint::NewHead { seed }), &device).unwrap();
    assert_eq!(head(1).drawn, ["classifier.weight", "classifier.bias"]);
    let score = |seed| {
        let new_head = Some(checkpoint::NewHead { seed });
        let options = OpenOptions { new_head, ..OpenOptions::default() };
        let reranker = Reranker::open_with(&place, &device, options).unwrap();
        let group = TextGroup { query: "alpha", documents: vec!["fever cold"] };
        reranker.score(&[group]).unwrap().0[0][0]
    };
    assert_eq!(score(1), score(1), "equal seeds, equal heads");
    assert_ne!(score(1), score(2));
}

#[test]
fn an_encoder_that_lacks_more_than_its_head_is_not_called_bare() {
    let error = refusal(|tensors| {
        tensors.retain(|name, _| !name.starts_with("classifier"));
        tensors.remove("bert.encoder.layer.1.attention.self.key.bias");
    });
    assert!(error.starts_with("the checkpoint lacks bert.encoder.layer.1."), "{error}");
    let error = refusal(|tensors| {
        tensors.remove("classifier.bias");
    });
    assert_eq!(error, "the checkpoint lacks classifier.bias");
}

#[test]
fn damaged_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let path = place.join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    let device = Device::flex();
    let error = checkpoint::load(&place, None, &device).unwrap_err().to_string();
    assert!(error.contains(FILE), "{error}");
    std::fs::write(&path, bytes).unwrap();

    std::fs::write(place.join("tamis.json"), r#"{"max_length": 9, "colour": 1}"#).unwrap();
    let error = Reranker::open(&place, &device).unwrap_err().to_string();
    assert!(error.contains("tamis.json: unknown field `colour`"), "{error}");
    std::fs::remove_file(place.join("tamis.json")).unwrap();

    std::fs::write(place.join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    let error = Reranker::open(&place, &device).unwrap_err().to_string();
    assert!(error.contains("model_type: expected one of `bert`, `roberta`, "), "{error}");
    assert!(error.ends_with("; found `t5`"), "{error}");
}

#[test]
fn a_tokenizer_that_does_not_fit_the_vocabulary_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    let path = place.join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let n = config["vocab_size"].as_u64().unwrap() - 1;
    config["vocab_size"] = n.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let weights = "bert.embeddings.word_embeddings.weight";
    rewrite(&place, |tensors| {
        let (_, shape, data) = tensors.get_mut(weights).unwrap();
        shape[0] -= 1;
        data.truncate(shape[0] * shape[1] * 4);
    });
    let error = Reranker::open(&place, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains(&n.to_string()), "{error}");
}

/// The error of loading a tiny checkpoint after a change to its folder.
fn refused(change: impl Fn(&Path)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    change(&place);
    checkpoint::load(&place, None, &Device::flex()).unwrap_err().to_string()
}

/// The same after a change to one key of `config.json`.
fn refused_config(key: &str, value: serde_json::Value) -> String {
    refused(|place| {
        let path = place.join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config[key] = value.clone();
        std::fs::write(path, config.to_string()).unwrap();
    })
}

#[test]
fn configurations_that_make_no_model_are_refused() {
    for (key, value, expected) in [
        (
            "hidden_act",
            "mish".into(),
            "expected `gelu`, `gelu_new`, `relu`, `silu` or `tanh`, found `mish`",
        ),
        (
            "position_embedding_type",
            "relative_key".into(),
            "expected `absolute`, found `relative_key`",
        ),
        (
            "num_attention_heads",
            3.into(),
            "hidden_size `16` is not a multiple of num_attention_heads `3`",
        ),
        (
            "hidden_dropout_prob",
            1.5.into(),
            "dropout: expected a number from 0 to below 1, found `1.5`",
        ),
        ("is_decoder", true.into(), "is_decoder: expected `false`, found `true`"),
        ("id2label", serde_json::json!({}), "id2label: expected at least one label, found none"),
        ("vocab_size", "many".into(), "invalid type: string \"many\", expected usize"),
    ] {
        let error = refused_config(key, value);
        assert!(error.contains("config.json: ") && error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn pickled_weights_are_refused_with_a_hint() {
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        let error = refused(|place| {
            std::fs::rename(place.join(FILE), place.join(name)).unwrap();
        });
        assert!(
            error.contains("unpickling runs code; save the model with transformers'"),
            "{error}"
        );
    }
}

#[test]
fn an_index_that_does_not_fit_its_files_is_refused() {
    let with_index = |file: &'static str, tensor: &'static str| {
        refused(|place| {
            std::fs::rename(place.join(FILE), place.join("part.safetensors")).unwrap();
            let index = serde_json::json!({ "weight_map": { tensor: file } });
            std::fs::write(place.join("model.safetensors.index.json"), index.to_string()).unwrap();
        })
    };
    let outside = with_index("../part.safetensors", "classifier.bias");
    assert!(
        outside.ends_with("expected the name of a file, found `../part.safetensors`"),
        "{outside}"
    );
    let absent = with_index("part.safetensors", "nothing.weight");
    assert!(absent.ends_with("tensor `nothing.weight` is not in part.safetensors"), "{absent}");
    let no_file = with_index("other.safetensors", "classifier.bias");
    assert!(no_file.contains("other.safetensors: No such file"), "{no_file}");
}

#[test]
fn a_new_head_replaces_one_with_other_labels_and_leaves_pretraining_out() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    rewrite(&place, |tensors| {
        let zeros = |shape: &[usize]| {
            let n: usize = shape.iter().product();
            (Dtype::F32, shape.to_vec(), vec![0; 4 * n])
        };
        tensors.insert("classifier.weight".into(), zeros(&[3, 16]));
        tensors.insert("classifier.bias".into(), zeros(&[3]));
        tensors.insert("cls.predictions.bias".into(), zeros(&[7]));
    });
    let device = Device::flex();
    assert!(checkpoint::load(&place, None, &device).is_err());
    let head = checkpoint::NewHead { seed: 4 };
    let loaded = checkpoint::load(&place, Some(head), &device).unwrap();
    assert_eq!(loaded.drawn, ["classifier.weight", "classifier.bias"]);
    assert_eq!(loaded.left_out, ["cls.predictions.bias"]);
    assert_eq!(loaded.config.n_labels, 1);
}

#[test]
fn weights_that_are_no_numbers_give_an_error_and_no_score() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    tiny_checkpoint(&place);
    rewrite(&place, |tensors| {
        let (_, _, data) = tensors.get_mut("bert.pooler.dense.bias").unwrap();
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let reranker = Reranker::open(&place, &Device::flex()).unwrap();
    let group = TextGroup { query: "alpha", documents: vec!["fever"] };
    let error = reranker.score(&[group]).unwrap_err().to_string();
    assert_eq!(error, "the score of document 0 of group 0 is not a number");
}

#[test]
fn what_is_served_is_what_sentence_transformers_predicts() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("checkpoint");
    let config = tiny_checkpoint(&place);
    let text = std::fs::read_to_string(place.join("config.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sigmoid = "torch.nn.modules.activation.Sigmoid";
    assert_eq!(json["sentence_transformers"]["activation_fn"], sigmoid);
    // Without tamis.json the file says what is served.
    std::fs::remove_file(place.join("tamis.json")).unwrap();
    let loaded = checkpoint::load(&place, None, &Device::flex()).unwrap();
    let read = |config| tamis_model::Settings::read(&place, config).unwrap().activation;
    assert_eq!(read(&loaded.config), tamis_model::Activation::Sigmoid);
    assert_eq!(read(&config), tamis_model::Activation::None);
}
