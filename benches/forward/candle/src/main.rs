//! Turns requests `rows tokens` on stdin into `seconds logit` on stdout, computed by candle's BERT.
//!
//! The head (pooler and classifier) is put on top here, as `transformers` has it: candle-transformers
//! ends at the hidden states. Inputs follow the rule of benches/forward/peers.py.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use candle_transformers::models::bert::{BertModel, Config};

const CLS: u32 = 101;
const SEP: u32 = 102;
const QUERY: usize = 16;

fn main() -> Result<()> {
    let directory = std::env::args().nth(1).context("usage: candle-peer MODEL_DIR")?;
    let model = Model::open(Path::new(&directory))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut numbers = line.split_whitespace().map(str::parse::<usize>);
        let mut next = || numbers.next().context("expected `rows tokens`")?.context("a number");
        let (ids, types) = pairs(next()?, next()?)?;
        let start = Instant::now();
        let logit = model.first_logit(&ids, &types)?;
        writeln!(out, "{} {logit}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}

struct Model {
    encoder: BertModel,
    pooler: Linear,
    classifier: Linear,
}

impl Model {
    fn open(directory: &Path) -> Result<Self> {
        let config = std::fs::read(directory.join("config.json"))?;
        let config: Config = serde_json::from_slice(&config)?;
        let weights = [directory.join("model.safetensors")];
        // SAFETY: nothing writes to the checkpoint while this program maps it.
        let variables =
            unsafe { VarBuilder::from_mmaped_safetensors(&weights, DType::F32, &Device::Cpu)? };
        let hidden = config.hidden_size;
        Ok(Self {
            encoder: BertModel::load(variables.clone(), &config)?,
            pooler: candle_nn::linear(hidden, hidden, variables.pp("bert.pooler.dense"))?,
            classifier: candle_nn::linear(hidden, 1, variables.pp("classifier"))?,
        })
    }

    fn first_logit(&self, ids: &Tensor, types: &Tensor) -> Result<f32> {
        let states = self.encoder.forward(ids, types, None)?;
        let pooled = self.pooler.forward(&states.i((.., 0))?.contiguous()?)?.tanh()?;
        Ok(self.classifier.forward(&pooled)?.i((0, 0))?.to_scalar::<f32>()?)
    }
}

/// The same pairs that the other peers get.
fn pairs(rows: usize, tokens: usize) -> Result<(Tensor, Tensor)> {
    let mut ids = Vec::with_capacity(rows * tokens);
    let mut types = Vec::with_capacity(rows * tokens);
    for row in 0..rows {
        let word = |i: usize| (1000 + (row * 4099 + i * 7919) % 20000) as u32;
        ids.push(CLS);
        ids.extend((0..QUERY).map(word));
        ids.push(SEP);
        ids.extend((0..tokens - QUERY - 3).map(|i| word(1000 + i)));
        ids.push(SEP);
        types.extend((0..tokens).map(|place| u32::from(place >= QUERY + 2)));
    }
    let shape = (rows, tokens);
    let tensor = |values| Tensor::from_vec(values, shape, &Device::Cpu);
    Ok((tensor(ids)?, tensor(types)?))
}
