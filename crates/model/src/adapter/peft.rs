//! Adapters on disk as PEFT has them: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path as FilePath;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use tamis_data::output::OutputFolder;

use super::{LoraConfig, Manifest, Matrices, Target, named, put, targets};
use crate::checkpoint::{Path, transpose, values, write_tensors};
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::error::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What PEFT puts before every name.
const PREFIX: &str = "base_model.model.";

/// Saves the adapters of a model, and its head if it was trained. The folder is the old one or the
/// whole new one. Of several adapters on one map the last is saved: the others came from elsewhere.
///
/// # Errors
/// When a file cannot be written.
pub fn save(
    model: &CrossEncoder,
    config: &Config,
    lora: &LoraConfig,
    base: &str,
    manifest: Option<&Manifest>,
    directory: &FilePath,
) -> Result<()> {
    let mut model = model.clone();
    let known = targets(&mut model, config);
    let linears = model.linears_mut();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut insert = |name: String, shape: [usize; 2], values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.insert(format!("{PREFIX}{name}"), (shape.to_vec(), bytes));
    };
    let mut modules: Vec<String> = Vec::new();
    for target in &known {
        let on = linears[target.linear].adapters().iter();
        let Some(adapter) = on.rev().find(|adapter| adapter.start == target.start) else {
            continue;
        };
        let (a, b) = (adapter.a.val(), adapter.b.val());
        let ([n_in, rank], [_, columns]) = (a.dims(), b.dims());
        // On disk both are [out, in].
        let (a, b) = (transpose(&values(a), n_in, rank), transpose(&values(b), rank, columns));
        let (b, columns) = match config.head_rows().filter(|_| target.head) {
            // Of a head of words a few rows are known; the others change nothing.
            Some(rows) => (spread(&b, &rows, config.vocab_size()), config.vocab_size()),
            None => (b, columns),
        };
        insert(format!("{}.lora_A.weight", target.name), [rank, n_in], &a);
        insert(format!("{}.lora_B.weight", target.name), [columns, rank], &b);
        modules.push(target.name.clone());
    }
    let mut head = Vec::new();
    if lora.train_head {
        let mut collect = Head { config, path: Path::default(), tensors: Vec::new() };
        model.visit(&mut collect);
        for (name, shape, values) in collect.tensors {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let module = name.rsplit_once('.').map_or(name.as_str(), |(module, _)| module);
            // A pooler lies inside the encoder: PEFT would save the whole encoder by its name.
            let prefix = format!("{}.", config.architecture().prefix());
            let inside = module.strip_prefix(&prefix).unwrap_or(module);
            head.push(inside.split('.').next().unwrap_or(inside).to_owned());
            tensors.insert(format!("{PREFIX}{name}"), (shape, bytes));
        }
        head.dedup();
    }
    let text = json!({
        "peft_type": "LORA",
        "task_type": if config.architecture().class().ends_with("CausalLM") { "CAUSAL_LM" } else { "SEQ_CLS" },
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": modules,
        "modules_to_save": if head.is_empty() { Value::Null } else { json!(head) },
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "inference_mode": true,
    });
    let folder = OutputFolder::create(directory, true)?;
    let path = folder.path().join(CONFIG);
    fs::write(&path, format!("{text:#}\n")).map_err(|error| Error::io(&path, error))?;
    let path = folder.path().join(WEIGHTS);
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.expect("shape and bytes agree"))
    });
    write_tensors(views, &path)?;
    if let Some(manifest) = manifest {
        manifest.write(folder.path())?;
    }
    for name in [CONFIG, WEIGHTS] {
        let path = folder.path().join(name);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|error| Error::io(&path, error))?;
    }
    Ok(folder.commit()?)
}

/// Puts the adapters of a directory on a model, beside those that it has, and takes the head from it
/// where it has one.
///
/// # Errors
/// When a file is missing or damaged, the adapter is of a kind that is not LoRA on linear maps, or its
/// tensors are not those of this model.
pub fn load(model: CrossEncoder, config: &Config, directory: &FilePath) -> Result<CrossEncoder> {
    load_switched(model, config, directory, None)
}

/// The same for adapters that hang on a switch.
pub(super) fn load_switched(
    mut model: CrossEncoder,
    config: &Config,
    directory: &FilePath,
    switch: Option<u8>,
) -> Result<CrossEncoder> {
    let path = directory.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
    let settings: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| Error::config(&path, error.to_string()))?;
    let settings = Settings::read(&settings).map_err(|problem| Error::config(&path, problem))?;

    let path = directory.join(WEIGHTS);
    let bytes = fs::read(&path).map_err(|error| Error::io(&path, error))?;
    let problem = |problem: String| Error::weights(&path, problem);
    let file = SafeTensors::deserialize(&bytes).map_err(|error| problem(error.to_string()))?;
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for (name, view) in file.tensors() {
        let name = name.strip_prefix(PREFIX).ok_or_else(|| {
            problem(format!("expected names that begin with `{PREFIX}`, found `{name}`"))
        })?;
        let values = floats(&view).ok_or_else(|| {
            problem(format!("`{name}`: expected f32, f16 or bf16, found {:?}", view.dtype()))
        })?;
        tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
    }
    let known = targets(&mut model, config);
    let mut linears = model.linears_mut();
    for target in &known {
        let mut take = |matrix: &str| tensors.remove(&format!("{}.{matrix}.weight", target.name));
        let (a, b) = match (take("lora_A"), take("lora_B")) {
            (Some(a), Some(b)) => (a, only_rows(b, target, config)),
            (None, None) => continue,
            _ => return Err(problem(format!("`{}` has one of two matrices", target.name))),
        };
        let rank = a.0.first().copied().unwrap_or(0);
        if a.0 != [rank, target.n_in] || b.0 != [target.columns, rank] {
            return Err(problem(format!(
                "`{}`: expected [r, {}] and [{}, r], found {:?} and {:?}",
                target.name, target.n_in, target.columns, a.0, b.0
            )));
        }
        let matrices = Matrices {
            a: transpose(&a.1, rank, target.n_in),
            b: transpose(&b.1, target.columns, rank),
            rank,
            scale: settings.scale(&target.name, rank).map_err(problem)?,
            dropout: settings.dropout,
            switch,
        };
        put(linears[target.linear], target, matrices);
    }
    drop(linears);
    let mut replace = Replace { config, path: Path::default(), tensors, problem: None };
    let model = model.map(&mut replace);
    if let Some(text) = replace.problem {
        return Err(problem(text));
    }
    if let Some(name) = replace.tensors.keys().next() {
        return Err(problem(format!("`{name}` belongs to no part of this model")));
    }
    Ok(model)
}

/// Of a matrix for all words the rows of those that answer.
fn only_rows(
    (shape, values): (Vec<usize>, Vec<f32>),
    target: &Target,
    config: &Config,
) -> (Vec<usize>, Vec<f32>) {
    match (config.head_rows().filter(|_| target.head), &shape[..]) {
        (Some(rows), &[n_words, rank])
            if n_words != target.columns && rows.iter().all(|&row| row < n_words) =>
        {
            let values = rows.iter().flat_map(|row| &values[row * rank..(row + 1) * rank]);
            (vec![rows.len(), rank], values.copied().collect())
        }
        _ => (shape, values),
    }
}

/// A matrix for all words that is zero but for some rows.
fn spread(values: &[f32], rows: &[usize], n_words: usize) -> Vec<f32> {
    let rank = values.len() / rows.len().max(1);
    let mut all = vec![0.0; n_words * rank];
    for (row, values) in rows.iter().zip(values.chunks(rank.max(1))) {
        all[row * rank..][..rank].copy_from_slice(values);
    }
    all
}

/// What of `adapter_config.json` decides the numbers.
struct Settings {
    alpha: f64,
    dropout: f32,
    rank: usize,
    /// Whether the scale is `alpha / √rank`.
    rank_stabilised: bool,
    ranks: BTreeMap<String, usize>,
    alphas: BTreeMap<String, f64>,
}

impl Settings {
    fn read(raw: &Map<String, Value>) -> std::result::Result<Self, String> {
        let expect = |key: &str, expected: Value| match raw.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(found) if *found == expected => Ok(()),
            Some(found) => Err(format!("{key}: expected `{expected}`, found `{found}`")),
        };
        expect("peft_type", json!("LORA"))?;
        expect("bias", json!("none"))?;
        expect("fan_in_fan_out", json!(false))?;
        expect("use_dora", json!(false))?;
        expect("lora_bias", json!(false))?;
        let number = |key: &str| {
            raw.get(key).and_then(Value::as_f64).ok_or(format!("{key}: expected a number"))
        };
        let patterns = |key: &str| -> BTreeMap<String, f64> {
            let entries = raw.get(key).and_then(Value::as_object).into_iter().flatten();
            entries.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        };
        Ok(Self {
            alpha: number("lora_alpha")?,
            dropout: number("lora_dropout").unwrap_or(0.0) as f32,
            rank: number("r")? as usize,
            rank_stabilised: raw.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
            ranks: patterns("rank_pattern").into_iter().map(|(k, v)| (k, v as usize)).collect(),
            alphas: patterns("alpha_pattern"),
        })
    }

    /// What `a · b` of a map is multiplied by; the rank must be the one that is written.
    fn scale(&self, name: &str, found: usize) -> std::result::Result<f64, String> {
        let rank = self.ranks.iter().find(|(pattern, _)| named(name, pattern));
        let rank = rank.map_or(self.rank, |(_, &rank)| rank);
        if rank != found || rank == 0 {
            return Err(format!("`{name}`: expected rank {rank}, found {found}"));
        }
        let alpha = self.alphas.iter().find(|(pattern, _)| named(name, pattern));
        let alpha = alpha.map_or(self.alpha, |(_, &alpha)| alpha);
        let rank = rank as f64;
        Ok(if self.rank_stabilised { alpha / rank.sqrt() } else { alpha / rank })
    }
}

fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F32 => {
            let one = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            data.chunks_exact(4).map(one).collect()
        }
        Dtype::F16 => {
            data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::BF16 => {
            data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        _ => return None,
    })
}

/// Name, shape and values of the head's tensors as they are on disk.
struct Head<'a> {
    config: &'a Config,
    path: Path,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl ModuleVisitor for Head<'_> {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let fields = self.path.fields();
        if fields.first() != Some(&"head") || fields.contains(&"adapters") {
            return;
        }
        let mut shape = param.val().dims().to_vec();
        let mut flat = values(param.val());
        if self.path.is_linear() && D == 2 {
            flat = transpose(&flat, shape[0], shape[1]);
            shape.reverse();
        }
        for name in self.config.tensor_names(&fields) {
            self.tensors.push((name, shape.clone(), flat.clone()));
        }
    }
}

/// Puts tensors of the file where the model has their names.
struct Replace<'a> {
    config: &'a Config,
    path: Path,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    problem: Option<String>,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let fields = self.path.fields();
        if fields.first() != Some(&"head") || fields.contains(&"adapters") {
            return param;
        }
        let names = self.config.tensor_names(&fields);
        let Some((shape, values)) = names.first().and_then(|name| self.tensors.remove(name)) else {
            return param;
        };
        let expected = param.val().dims();
        let turned = self.path.is_linear() && D == 2;
        let mut found = shape.clone();
        if turned {
            found.reverse();
        }
        if found != expected {
            self.problem = Some(format!("`{}`: found {shape:?} for {expected:?}", names[0]));
            return param;
        }
        let values = if turned { transpose(&values, shape[0], shape[1]) } else { values };
        param.map(|old| Tensor::from_data(TensorData::new(values, old.shape()), &old.device()))
    }
}
