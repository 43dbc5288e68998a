//! Encoders that read query and document apart first: golden values, and both halves against the whole.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Deserialize;
use serde_json::{Value, json};
use tamis_data::{Batch, DocumentPosition, PairParts, TextGroup, Truncation};
use tamis_model::{
    Compressor, CompressorConfig, CrossEncoder, DropoutSeeds, Input, Precision, Reranker, Settings,
    SplitConfig, SplitScore, checkpoint,
};

use crate::variants::{Tensors, Variants, values, write_folder};

fn flat<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

fn logits(model: &CrossEncoder, batch: &Batch) -> Vec<f32> {
    flat(model.logits(&Input::new(batch, &Device::flex()), DropoutSeeds::inference()))
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{what}: {a}, expected {b}");
    }
}

/// A model of these keys and tensors.
fn load(config: &Value, tensors: &Tensors) -> checkpoint::Loaded {
    let directory = tempfile::tempdir().unwrap();
    write(config, tensors, directory.path());
    checkpoint::load(directory.path(), None, &Device::flex()).unwrap()
}

fn write(config: &Value, tensors: &Tensors, directory: &Path) {
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    write_folder(tensors, Dtype::F32, directory);
}

/// Value `place` of tensor `number`: `base + 0.3 sin(0.37 place + 0.9 (number + 1))`.
fn sines(base: f64, number: usize, n: usize) -> Vec<f32> {
    let value = |place| base + 0.3 * (0.37 * place as f64 + 0.9 * (number as f64 + 1.0)).sin();
    (0..n).map(|place| value(place) as f32).collect()
}

/// The toy of the specification: four layers, eight values wide.
fn toy() -> (Value, Tensors) {
    let mut tensors = Tensors::new();
    let mut add = |name: String, shape: &[usize]| {
        let is_scale = name.ends_with("norm.weight") || name.ends_with("LayerNorm.weight");
        let (base, number) = (f64::from(u8::from(is_scale)), tensors.len());
        let values = sines(base, number, shape.iter().product());
        tensors.insert(format!("{number:02} {name}"), (shape.to_vec(), values));
    };
    add("embeddings.word_embeddings.weight".into(), &[20, 8]);
    add("embeddings.position_embeddings.weight".into(), &[32, 8]);
    add("embeddings.LayerNorm.weight".into(), &[8]);
    add("embeddings.LayerNorm.bias".into(), &[8]);
    for layer in 0..4 {
        for (name, [n_out, n_in]) in [
            ("attention.q_lin", [8, 8]),
            ("attention.k_lin", [8, 8]),
            ("attention.v_lin", [8, 8]),
            ("attention.out_lin", [8, 8]),
            ("sa_layer_norm", [8, 0]),
            ("ffn.lin1", [16, 8]),
            ("ffn.lin2", [8, 16]),
            ("output_layer_norm", [8, 0]),
        ] {
            let shape = if n_in == 0 { vec![n_out] } else { vec![n_out, n_in] };
            add(format!("transformer.layer.{layer}.{name}.weight"), &shape);
            add(format!("transformer.layer.{layer}.{name}.bias"), &[n_out]);
        }
    }
    add("_classification_layer.weight".into(), &[1, 8]);
    assert_eq!(tensors.len(), 69);
    let tensors = tensors.into_iter().map(|(name, values)| (name[3..].to_owned(), values));
    let config = json!({
        "model_type": "distilbert", "architectures": ["PreTTR"], "vocab_size": 20, "dim": 8,
        "n_layers": 4, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 32,
        "join_layer_idx": 2,
    });
    (config, tensors.collect())
}

const TOY_QUERY: [u32; 6] = [2, 5, 6, 3, 4, 4];
const TOY_DOCUMENT: [u32; 4] = [10, 11, 12, 3];

fn pair(query: &[u32], document: &[u32], position: usize) -> Batch {
    let mut batch = Batch::new();
    let ids = [query, document].concat();
    batch.push_pair(&ids, &vec![0; ids.len()], query.len(), position);
    batch.end_group();
    batch
}

/// Section 10.5 of the specification.
#[test]
fn the_toy_scores_as_the_original_at_every_join_layer() {
    let (config, tensors) = toy();
    let loaded = load(&config, &tensors);
    let expected = [-0.629_117_5, -0.632_171_7, -0.631_719_9, -0.642_658_7, -0.647_219_7];
    let batch = pair(&TOY_QUERY, &TOY_DOCUMENT, 6);
    for (join_layer, expected) in expected.into_iter().enumerate() {
        let model = loaded.model.clone().with_join_layer(join_layer);
        assert_close(&logits(&model, &batch), &[expected], 1e-6, "split");
    }
    // Two tokens of padding move the document where positions follow the batch.
    let moved = pair(&TOY_QUERY, &TOY_DOCUMENT, 8);
    assert_close(&logits(&loaded.model, &moved), &[-0.635_106_1], 1e-6, "padded query");
}

#[test]
fn the_toys_document_is_as_the_original_after_two_layers() {
    let (config, tensors) = toy();
    let loaded = load(&config, &tensors);
    let mut document = Batch::new();
    document.push_pair(&TOY_DOCUMENT, &[0; 4], 0, 6);
    let input = Input::new(&document, &Device::flex());
    let kept = flat(loaded.model.encoder().lower(&input, &mut DropoutSeeds::inference()));
    let expected = [
        -1.043_435_2,
        -1.430_572_5,
        0.440_938_6,
        -0.361_428_8,
        1.844_061_7,
        0.460_210_2,
        1.759_495_6,
        0.028_112_1,
    ];
    assert_close(&kept[..8], &expected, 2e-6, "document");
}

/// Fills linear maps and norms in the order in which they stand.
struct Fill(usize);

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let number = self.0;
        param.map(|tensor| {
            let shape = tensor.shape();
            let base = f64::from(u8::from(number == 5));
            let mut values = sines(base, number, shape.num_elements());
            if D == 2 {
                // On disk and in the specification the outputs come first.
                let (n_in, n_out) = (shape[0], shape[1]);
                let turned = values.clone();
                for (place, value) in values.iter_mut().enumerate() {
                    *value = turned[place % n_out * n_in + place / n_out];
                }
            }
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}

/// Section 10.4 of the specification.
#[test]
fn the_compressor_gives_the_golden_values() {
    let device = Device::flex();
    let x = || Tensor::<2>::from_data(TensorData::new(sines(0.0, 0, 24), [3, 8]), &device);
    for (is_half, restored) in [
        (
            false,
            [
                -0.749_311_8,
                -0.983_659_4,
                -0.658_295_1,
                0.050_208_3,
                0.490_313_6,
                0.763_371_5,
                1.533_304_9,
                2.524_262,
            ],
        ),
        (
            true,
            [
                -0.749_314_1,
                -0.983_684_2,
                -0.658_265_1,
                0.050_275_2,
                0.490_309_9,
                0.763_294_8,
                1.533_275_1,
                2.524_295_3,
            ],
        ),
    ] {
        let config = CompressorConfig { width: 4, is_half };
        let compressor = Compressor::zeros(8, config, &device).map(&mut Fill(0));
        let kept = compressor.compress(x());
        let z = [0.215_033_1, -0.097_520_0, 0.126_724_9, -0.157_120_2];
        let tolerance = if is_half { 1e-4 } else { 1e-6 };
        assert_close(&flat(kept.clone())[..4], &z, tolerance, "kept");
        assert_close(&flat(compressor.restore(kept))[..8], &restored, 3e-6, "restored");
    }
}

/// `testdata/prettr.json`, which `testdata/prettr.py` makes with the layers of transformers.
#[derive(Deserialize)]
struct Golden {
    config: Value,
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    padded: usize,
    tensors: BTreeMap<String, Vec<usize>>,
    compressor: BTreeMap<String, Vec<usize>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: serde_json::Map<String, Value>,
    scores: Vec<f32>,
}

#[test]
fn a_bert_with_a_segment_block_mask_and_a_compressor_scores_as_transformers() {
    let golden: Golden = serde_json::from_str(include_str!("../../testdata/prettr.json")).unwrap();
    let mut batch = Batch::new();
    for (query, document) in &golden.pairs {
        let ids = [&query[..], document].concat();
        let types: Vec<u32> = (0..ids.len()).map(|i| u32::from(i >= query.len())).collect();
        batch.push_pair(&ids, &types, query.len(), golden.padded);
    }
    batch.end_group();
    for case in &golden.cases {
        let mut config = golden.config.clone();
        config.as_object_mut().unwrap().extend(case.config.clone());
        let mut shapes = golden.tensors.clone();
        if case.config["compress_size"] != 0 {
            shapes.extend(golden.compressor.clone());
        }
        let tensors: Tensors = shapes
            .into_iter()
            .map(|(name, shape)| (name.clone(), (shape.clone(), values(&name, &shape))))
            .collect();
        let loaded = load(&config, &tensors);
        // Rounding to f16 turns the last bits of f32 into those of f16 now and then.
        let tolerance = if case.config["compress_fp16"] == true { 2e-3 } else { 2e-5 };
        let what = config.to_string();
        assert_close(&logits(&loaded.model, &batch), &case.scores, tolerance, &what);
        let packed = loaded.model.packed(Precision::F32);
        assert_close(&logits(&packed, &batch), &case.scores, tolerance, &what);
    }
}

/// Models of every architecture that can be split, and a batch of pairs whose documents start at 24.
fn splittable() -> (Vec<(String, CrossEncoder, usize)>, Batch) {
    let all = Variants::read();
    let mut batch = Batch::new();
    for (ids, types) in all.rows.iter().zip(&all.type_ids) {
        let n_query = types.iter().position(|&t| t == 1).unwrap().min(6);
        let n = ids.len().min(n_query + 4);
        batch.push_pair(&ids[..n], &types[..n], n_query, 20);
    }
    batch.end_group();
    let models = all.variants.iter().filter_map(|variant| {
        let loaded = variant.load();
        let n_layers = (1..20).rev().find(|&join_layer| {
            let split = SplitConfig { join_layer, compressor: None, score: SplitScore::FirstToken };
            loaded.config.clone().with_split(split, false).is_ok()
        })?;
        Some((variant.name.clone(), loaded.model, n_layers))
    });
    (models.collect(), batch)
}

#[test]
fn both_halves_make_the_whole_for_every_architecture_and_join_layer() {
    let (models, batch) = splittable();
    let device = Device::flex();
    assert!(models.len() > 12, "BERT and its like, and ModernBERT, can be split");
    for (name, model, n_layers) in models {
        for join_layer in 1..=n_layers {
            let model = model.clone().with_join_layer(join_layer);
            let what = format!("{name} at {join_layer}");
            let lower = |batch: &Batch| {
                let input = Input::new(batch, &device);
                flat(model.encoder().lower(&input, &mut DropoutSeeds::inference()))
            };
            // Every part of every row alone, put together again.
            let mut kept = Vec::new();
            for row in 0..batch.n_rows() {
                let (ids, types) = batch.row(row);
                let (n_query, position) = batch.parts(row);
                let (mut query, mut document) = (Batch::new(), Batch::new());
                query.push_row(&ids[..n_query], &types[..n_query]);
                document.push_pair(&ids[n_query..], &types[n_query..], 0, position);
                kept.extend(lower(&query));
                kept.extend(lower(&document));
            }
            let width = kept.len() / batch.n_tokens();
            let kept = TensorData::new(kept, [batch.n_tokens(), width]);
            let input = Input::new(&batch, &device);
            let kept = Tensor::<2>::from_data(kept, &device);
            let first = model.encoder().upper(kept, &input, &mut DropoutSeeds::inference());
            let whole = model.encoder().first_tokens(&input, &mut DropoutSeeds::inference());
            assert_close(&flat(first), &flat(whole.clone()), 1e-5, &what);
            // The last layer at first tokens alone is the same as everywhere.
            let tokens = model.encoder().tokens(&input, &mut DropoutSeeds::inference());
            let first = tokens.select(0, input.first_tokens.clone());
            assert_close(&flat(first), &flat(whole), 1e-6, &what);
        }
    }
}

#[test]
fn documents_are_seen_from_the_join_layer_on_and_not_before() {
    let (models, batch) = splittable();
    let mut other = Batch::new();
    for row in 0..batch.n_rows() {
        let (ids, types) = batch.row(row);
        let (n_query, position) = batch.parts(row);
        let mut ids = ids.to_vec();
        ids[n_query..].iter_mut().for_each(|id| *id = (*id + 5) % 20);
        other.push_pair(&ids, types, n_query, position);
    }
    other.end_group();
    let device = Device::flex();
    for (name, model, n_layers) in models {
        let first = |join_layer, batch: &Batch| {
            let model = model.clone().with_join_layer(join_layer);
            let input = Input::new(batch, &device);
            flat(model.encoder().first_tokens(&input, &mut DropoutSeeds::inference()))
        };
        assert_eq!(first(n_layers, &batch), first(n_layers, &other), "{name}");
        assert_ne!(first(n_layers - 1, &batch), first(n_layers - 1, &other), "{name}");
        // Without a split the position of the document is all that differs from a cross-encoder.
        let mut plain = Batch::new();
        (0..batch.n_rows()).for_each(|row| plain.push_row(batch.row(row).0, batch.row(row).1));
        let mut follows = batch.clone();
        follows = {
            let mut batch = Batch::new();
            for row in 0..follows.n_rows() {
                let (ids, types) = follows.row(row);
                let n_query = follows.parts(row).0;
                batch.push_pair(ids, types, n_query, n_query);
            }
            batch
        };
        assert_eq!(first(0, &plain), first(0, &follows), "{name}");
    }
}

#[test]
fn saving_keeps_the_names_of_the_released_checkpoints() {
    let (config, tensors) = toy();
    let directory = tempfile::tempdir().unwrap();
    let loaded = load(&config, &tensors);
    let settings = Settings::of_model(&loaded.config);
    let contents = checkpoint::Contents {
        model: &loaded.model,
        config: &loaded.config,
        settings: &settings,
        tokenizer: directory.path(),
    };
    let place = directory.path().join("saved");
    checkpoint::save(contents, &place).unwrap();
    let bytes = std::fs::read(place.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    assert_eq!(names.len(), tensors.len());
    for (name, (shape, values)) in &tensors {
        let view = file.tensor(name).unwrap();
        let (chunks, _) = view.data().as_chunks::<4>();
        let saved: Vec<f32> = chunks.iter().map(|&b| f32::from_le_bytes(b)).collect();
        assert_eq!((view.shape(), &saved), (&shape[..], values), "{name}");
    }
    let text = std::fs::read_to_string(place.join("config.json")).unwrap();
    let saved: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&saved["architectures"], &saved["join_layer_idx"]),
        (&json!(["PreTTR"]), &json!(2))
    );
    assert_eq!(Settings::read(&place, &loaded.config).unwrap(), settings);
    let again = checkpoint::load(&place, None, &Device::flex()).unwrap();
    let batch = pair(&TOY_QUERY, &TOY_DOCUMENT, 6);
    assert_eq!(logits(&again.model, &batch), logits(&loaded.model, &batch));
}

#[test]
fn a_cross_encoder_becomes_a_prettr() {
    let directory = tempfile::tempdir().unwrap();
    crate::tiny_checkpoint(directory.path());
    let device = Device::flex();
    let split = SplitConfig {
        join_layer: 1,
        compressor: Some(CompressorConfig { width: 4, is_half: true }),
        score: SplitScore::FirstToken,
    };
    let kept = checkpoint::load_split(directory.path(), None, split, 3, &device).unwrap();
    assert!(kept.drawn.iter().all(|name| name.starts_with("bert.compressor.")), "{:?}", kept.drawn);
    assert_eq!(kept.drawn.len(), 6);
    assert!(!kept.config.is_prettr());
    let head = Some(checkpoint::NewHead { seed: 3 });
    let new = checkpoint::load_split(directory.path(), head, split, 3, &device).unwrap();
    let drawn = |name: &str| new.drawn.iter().any(|drawn| drawn == name);
    assert!(drawn("_classification_layer.weight") && drawn("_classification_layer.bias"));
    assert!(new.config.is_prettr() && new.config.to_json().contains("\"compress_size\": 4"));
    let same = checkpoint::load_split(directory.path(), head, split, 3, &device).unwrap();
    let batch = pair(&[2, 5, 3], &[6, 7, 3], 5);
    assert_eq!(logits(&new.model, &batch), logits(&same.model, &batch));
}

#[test]
fn splits_that_cannot_be_are_refused() {
    let (config, tensors) = toy();
    for (key, value, expected) in [
        ("join_layer_idx", json!(5), "join_layer_idx: expected 0 to 4, found `5`"),
        ("join_layer_idx", json!(-1), "join_layer_idx: expected a number from 0, found `-1`"),
        ("join_layer_idx", Value::Null, "join_layer_idx: expected a number, found nothing"),
        ("compress_size", json!("64"), "compress_size: expected a number from 0, found `\"64\"`"),
        ("compress_size", json!(4), "lacks compressor.down.weight, compressor.down.bias"),
        ("model_type", json!("deberta-v2"), "this architecture cannot be split"),
    ] {
        let mut config = config.clone();
        config[key] = value;
        if key == "model_type" {
            config["position_biased_input"] = json!(false);
        }
        let directory = tempfile::tempdir().unwrap();
        write(&config, &tensors, directory.path());
        let error = checkpoint::load(directory.path(), None, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let config = load(&config, &tensors).config;
    let compressor = Some(CompressorConfig { width: 4, is_half: false });
    let error = config
        .with_split(SplitConfig { join_layer: 0, compressor, score: SplitScore::FirstToken }, true)
        .unwrap_err();
    assert_eq!(error, "compress_size: expected join_layer_idx above 0, found `0`");
}

/// A reranker of a tiny BERT that is split after its first layer.
fn reranker(position: DocumentPosition) -> Reranker {
    let directory = tempfile::tempdir().unwrap();
    crate::tiny_checkpoint(directory.path());
    let device = Device::flex();
    let split = SplitConfig { join_layer: 1, compressor: None, score: SplitScore::FirstToken };
    let loaded = checkpoint::load_split(directory.path(), None, split, 3, &device).unwrap();
    let settings = Settings {
        max_length: 20,
        query_max_length: 8,
        truncation: Truncation::SecondOnly,
        parts: Some(PairParts { position, query_masks: 2, ..PairParts::default() }),
        ..Settings::of_model(&loaded.config)
    };
    let encoder = settings.encoder(directory.path()).unwrap();
    Reranker::new(loaded.model, &loaded.config, encoder, settings, &device).unwrap()
}

#[test]
fn a_score_does_not_depend_on_its_company() {
    for position in [DocumentPosition::Fixed(12), DocumentPosition::PaddedQuery] {
        let reranker = reranker(position);
        let long = "alpha beta gamma delta ".repeat(5);
        let queries = ["alpha", "fever cold rain sun alpha beta"];
        let documents = ["rain sun", &long, "", "beta"];
        let groups = queries.map(|query| TextGroup { query, documents: documents.to_vec() });
        let (all, report) = reranker.score(&groups).unwrap();
        // The long document is cut at the same place beside both queries.
        assert_eq!(report.truncated_rows, 2);
        for (group, scores) in groups.iter().zip(&all) {
            for (document, score) in documents.iter().zip(scores) {
                let alone = [TextGroup { query: group.query, documents: vec![document] }];
                assert_close(&reranker.score(&alone).unwrap().0[0], &[*score], 1e-6, document);
            }
        }
        assert_ne!(all[0][0], all[0][3]);
    }
}

#[test]
fn positions_beyond_the_table_are_refused() {
    let reranker = reranker(DocumentPosition::Fixed(12));
    let settings = Settings {
        parts: Some(PairParts {
            position: DocumentPosition::Fixed(25),
            query_masks: 2,
            ..PairParts::default()
        }),
        ..reranker.settings().clone()
    };
    let error = reranker.with_settings(settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a row has 33 tokens, but the model has 32 positions; lower max_length"
    );
}
