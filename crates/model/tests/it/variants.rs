//! Tiny models of every architecture: their logits, their checkpoints in every form, their gradients.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::Value;
use tamis_data::{Batch, Truncation};
use tamis_model::{Activation, CrossEncoder, DropoutSeeds, Input, Precision, Settings, checkpoint};

/// `testdata/variants.json`, which `testdata/variants.py` makes with transformers.
#[derive(Deserialize)]
pub(crate) struct Variants {
    pub(crate) rows: Vec<Vec<u32>>,
    pub(crate) type_ids: Vec<Vec<u32>>,
    pub(crate) variants: Vec<Variant>,
}

#[derive(Deserialize)]
pub(crate) struct Variant {
    pub(crate) name: String,
    class: String,
    pub(crate) config: Value,
    tensors: BTreeMap<String, Vec<usize>>,
    logits: Vec<Vec<f32>>,
    /// The files of a head in modules of sentence-transformers.
    #[serde(default)]
    files: BTreeMap<String, Value>,
}

/// Name, shape and values of every tensor.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Variants {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("../../testdata/variants.json")).unwrap()
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        for (ids, types) in self.rows.iter().zip(&self.type_ids) {
            batch.push_row(ids, types);
        }
        batch.end_group();
        batch
    }
}

/// The rule of `variants.py`.
pub(crate) fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name.bytes().fold(0_u32, |s, b| s.wrapping_mul(31).wrapping_add(b.into()));
    let is_scale = name.ends_with("weight") && shape.len() == 1;
    (0..shape.iter().product::<usize>())
        .map(|place| {
            let mut x = (place as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
            for _ in 0..2 {
                x = (x ^ (x >> 16)).wrapping_mul(0x045d_9f3b);
            }
            x ^= x >> 16;
            let value = (f64::from(x) / 4_294_967_296.0 - 0.5) * 1.2;
            (if is_scale { value * 0.5 + 1.0 } else { value }) as f32
        })
        .collect()
}

impl Variant {
    pub(crate) fn tensors(&self) -> Tensors {
        let tensors = self.tensors.iter();
        tensors.map(|(n, shape)| (n.clone(), (shape.clone(), values(n, shape)))).collect()
    }

    pub(crate) fn write_config(&self, directory: &Path) {
        std::fs::write(directory.join("config.json"), self.config.to_string()).unwrap();
        for (name, json) in &self.files {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, json.to_string()).unwrap();
        }
    }

    /// The model in the form that transformers saves.
    pub(crate) fn load(&self) -> checkpoint::Loaded {
        let directory = tempfile::tempdir().unwrap();
        self.write_config(directory.path());
        write_folder(&self.tensors(), Dtype::F32, directory.path());
        checkpoint::load(directory.path(), None, &Device::flex())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn assert_logits(&self, model: &CrossEncoder, batch: &Batch, tolerance: f32) {
        let input = Input::new(batch, &Device::flex());
        let found = model.logits(&input, DropoutSeeds::inference());
        let found = found.into_data().try_into_vec::<f32>().unwrap();
        let expected = self.logits.concat();
        assert_eq!(found.len(), expected.len(), "{}", self.name);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= tolerance, "{}: {a}, expected {b}", self.name);
        }
    }
}

/// Writes the encoder's tensors, and those of modules into their folders.
pub(crate) fn write_folder(tensors: &Tensors, dtype: Dtype, directory: &Path) {
    let mut folders: BTreeMap<&str, Tensors> = BTreeMap::new();
    for (name, tensor) in tensors {
        let (folder, name) = name.split_once('/').unwrap_or(("", name));
        folders.entry(folder).or_default().insert(name.to_owned(), tensor.clone());
    }
    for (folder, tensors) in folders {
        write(&tensors, dtype, &directory.join(folder).join("model.safetensors"));
    }
}

/// Reads them back.
fn read_folder(directory: &Path, variant: &Variant) -> Tensors {
    let mut folders: Vec<&str> =
        variant.tensors.keys().map(|name| name.split_once('/').map_or("", |(f, _)| f)).collect();
    folders.dedup();
    let mut all = Tensors::new();
    for folder in folders {
        let bytes = std::fs::read(directory.join(folder).join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for (name, view) in file.tensors() {
            let (chunks, _) = view.data().as_chunks::<4>();
            let values = chunks.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            all.insert(name, (view.shape().to_vec(), values));
        }
    }
    all
}

fn write(tensors: &Tensors, dtype: Dtype, path: &Path) {
    let bytes = |values: &[f32]| -> Vec<u8> {
        let values = values.iter();
        match dtype {
            Dtype::F32 => values.flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::F16 => values.flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            other => panic!("no test writes {other:?}"),
        }
    };
    let data: Vec<(&String, &Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, (shape, values))| (name, shape, bytes(values))).collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (*name, TensorView::new(dtype, (*shape).clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[test]
fn logits_are_those_of_transformers() {
    let all = Variants::read();
    let batch = all.batch();
    for variant in &all.variants {
        variant.assert_logits(&variant.load().model, &batch, 2e-5);
    }
}

/// Counts the values that linear maps still hold.
#[derive(Default)]
struct LinearWeights {
    owners: Vec<String>,
    left: usize,
}

impl ModuleVisitor for LinearWeights {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.owners.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.owners.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 2 && self.owners.last().is_some_and(|owner| owner == "Struct:Linear") {
            self.left += param.val().shape().num_elements();
        }
    }
}

#[test]
fn packing_takes_every_linear_map_and_changes_no_logit() {
    let all = Variants::read();
    let batch = all.batch();
    for variant in &all.variants {
        let count = |model: &CrossEncoder| {
            let mut weights = LinearWeights::default();
            model.visit(&mut weights);
            weights.left
        };
        let model = variant.load().model;
        assert!(count(&model) > 0, "{}", variant.name);
        let packed = model.packed(Precision::F32);
        assert_eq!(count(&packed), 0, "{}: a linear map was not packed", variant.name);
        variant.assert_logits(&packed, &batch, 2e-5);
    }
}

#[test]
fn rows_do_not_see_each_other() {
    let all = Variants::read();
    let device = Device::flex();
    for variant in &all.variants {
        let model = variant.load().model;
        for (row, expected) in variant.logits.iter().enumerate() {
            let mut alone = Batch::new();
            alone.push_row(&all.rows[row], &all.type_ids[row]);
            alone.end_group();
            let input = Input::new(&alone, &device);
            let logits = model.logits(&input, DropoutSeeds::inference());
            let logits = logits.into_data().try_into_vec::<f32>().unwrap();
            for (a, b) in logits.iter().zip(expected) {
                assert!((a - b).abs() <= 2e-5, "{}, row {row}: {a}, expected {b}", variant.name);
            }
        }
    }
}

#[test]
fn saving_keeps_names_shapes_values_and_class() {
    let all = Variants::read();
    for variant in &all.variants {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("saved");
        let loaded = variant.load();
        let settings = Settings {
            max_length: 24,
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
            model: &loaded.model,
            config: &loaded.config,
            settings: &settings,
            tokenizer: directory.path(),
        };
        checkpoint::save(contents, &place).unwrap();
        let saved = read_folder(&place, variant);
        assert_eq!(saved, variant.tensors(), "{}", variant.name);
        let config = std::fs::read_to_string(place.join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["architectures"][0], variant.class.as_str());
        if variant.files.is_empty() {
            let labels = config["id2label"].as_object().unwrap().len();
            assert_eq!(labels, variant.logits[0].len());
        }
        let again = checkpoint::load(&place, None, &Device::flex()).unwrap();
        variant.assert_logits(&again.model, &all.batch(), 2e-5);
    }
}

#[test]
fn checkpoints_come_in_every_form() {
    let all = Variants::read();
    let batch = all.batch();
    let device = Device::flex();
    for variant in &all.variants {
        let tensors = variant.tensors();
        // Without the encoder's name, and with the old names of a norm's parameters.
        let prefix =
            ["bert.", "roberta.", "distilbert.", "electra.", "albert.", "model.", "deberta."]
                .into_iter()
                .find(|prefix| tensors.keys().any(|name| name.starts_with(prefix)))
                .unwrap_or_default();
        let rename = |name: &str| {
            let name = name.strip_prefix(prefix).unwrap_or(name);
            match name.rsplit_once('.') {
                Some((base, "weight")) if base.ends_with("LayerNorm") => format!("{base}.gamma"),
                Some((base, "bias")) if base.ends_with("LayerNorm") => format!("{base}.beta"),
                _ => name.to_owned(),
            }
        };
        let bare: Tensors = tensors.iter().map(|(n, t)| (rename(n), t.clone())).collect();
        let directory = tempfile::tempdir().unwrap();
        variant.write_config(directory.path());
        write_folder(&bare, Dtype::F32, directory.path());
        let loaded = checkpoint::load(directory.path(), None, &device).unwrap();
        variant.assert_logits(&loaded.model, &batch, 2e-5);

        // In three files with an index, in half precision.
        for (dtype, tolerance) in [(Dtype::F16, 5e-3), (Dtype::BF16, 6e-2)] {
            let directory = tempfile::tempdir().unwrap();
            variant.write_config(directory.path());
            let mut shards: [Tensors; 3] = Default::default();
            let mut weight_map = BTreeMap::new();
            let (modules, own): (Tensors, Tensors) =
                tensors.clone().into_iter().partition(|(name, _)| name.contains('/'));
            write_folder(&modules, dtype, directory.path());
            for (place, (name, tensor)) in own.iter().enumerate() {
                shards[place % 3].insert(name.clone(), tensor.clone());
                weight_map.insert(name, format!("model-{}-of-3.safetensors", place % 3));
            }
            for (place, shard) in shards.iter().enumerate() {
                let name = format!("model-{place}-of-3.safetensors");
                write(shard, dtype, &directory.path().join(name));
            }
            let index = serde_json::json!({ "metadata": {}, "weight_map": weight_map });
            let path = directory.path().join("model.safetensors.index.json");
            std::fs::write(path, index.to_string()).unwrap();
            let loaded = checkpoint::load(directory.path(), None, &device).unwrap();
            variant.assert_logits(&loaded.model, &batch, tolerance);
        }
    }
}

#[test]
fn a_missing_and_an_unused_tensor_are_named() {
    for variant in Variants::read().variants {
        let directory = tempfile::tempdir().unwrap();
        variant.write_config(directory.path());
        let mut tensors = variant.tensors();
        let name = tensors.keys().find(|name| name.contains("layer")).unwrap().clone();
        tensors.remove(&name);
        tensors.insert("extra.weight".to_owned(), (vec![1], vec![0.0]));
        write_folder(&tensors, Dtype::F32, directory.path());
        let error = checkpoint::load(directory.path(), None, &Device::flex()).unwrap_err();
        let expected = format!("the checkpoint lacks {name}; has unused extra.weight");
        assert!(error.to_string().ends_with(&expected), "{}: {error}", variant.name);
    }
}

/// The paths of parameters that no gradient reached.
struct Unreached<'a> {
    grads: &'a GradientsParams,
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Unreached<'_> {
    fn enter_module(&mut self, name: &str, _owner: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _owner: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let largest = self.grads.get::<D>(param.id).map(|g| g.abs().max().into_scalar::<f32>());
        if !largest.is_some_and(|largest| largest.is_finite() && largest > 0.0) {
            self.found.push(format!("{}: {largest:?}", self.path.join(".")));
        }
    }
}

#[test]
fn gradients_reach_every_parameter_and_the_loss_falls() {
    let all = Variants::read();
    let batch = all.batch();
    let device = Device::flex().autodiff();
    let input = Input::new(&batch, &device);
    for variant in &all.variants {
        let mut model = variant.load().model.train();
        let mut optimizer = AdamWConfig::new().init();
        let n_labels = variant.logits[0].len();
        // The same for all rows: so narrow a model hardly tells rows apart.
        let targets: Vec<f32> = (0..3 * n_labels).map(|i| [2.0, -1.0, 0.5][i % n_labels]).collect();
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [3, n_labels]), &device);
        let loss = |model: &CrossEncoder, seeds| {
            (model.logits(&input, seeds) - targets.clone()).square().mean()
        };
        let before: f32 = loss(&model, DropoutSeeds::inference()).into_scalar();
        for step in 0..30 {
            let seeds = DropoutSeeds::training(step);
            let grads = GradientsParams::from_grads(loss(&model, seeds).backward(), &model);
            if step == 0 {
                let mut unreached =
                    Unreached { grads: &grads, path: Vec::new(), found: Vec::new() };
                model.visit(&mut unreached);
                assert!(unreached.found.is_empty(), "{}: {:?}", variant.name, unreached.found);
            }
            model = optimizer.step(0.03, model, grads);
        }
        let after: f32 = loss(&model, DropoutSeeds::inference()).into_scalar();
        assert!(after < 0.5 * before, "{}: {before}, then {after}", variant.name);
    }
}

#[test]
fn equal_seeds_drop_equally_and_dropout_acts_only_in_training() {
    let all = Variants::read();
    let input = Input::new(&all.batch(), &Device::flex());
    for variant in &all.variants {
        let mut variant_config = variant.config.clone();
        for key in ["attention_dropout", "mlp_dropout", "embedding_dropout"] {
            if variant.class.starts_with("ModernBert") {
                variant_config[key] = 0.2.into();
            }
        }
        let variant = Variant {
            config: variant_config,
            name: variant.name.clone(),
            class: variant.class.clone(),
            tensors: variant.tensors.clone(),
            logits: variant.logits.clone(),
            files: variant.files.clone(),
        };
        let model = variant.load().model;
        let logits = |seeds| model.logits(&input, seeds).into_data();
        let seeded = |seed| logits(DropoutSeeds::training(seed));
        assert_eq!(seeded(1), seeded(1), "{}", variant.name);
        assert_ne!(seeded(1), seeded(2), "{}", variant.name);
        assert_ne!(seeded(1), logits(DropoutSeeds::inference()), "{}", variant.name);
    }
}
