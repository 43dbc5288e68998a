//! Takes two steps on one group of a given size and tells the peak of memory.
//!
//! ```text
//! cargo run -p tamis-train -p xtask --example gradient_cache -- GROUP_SIZE [ROWS_OF_A_SUB_BATCH] [recompute]
//! ```
//!
//! The model has MiniLM-L6's shape and weights from a seed, rows have 64 tokens, dropout acts, the loss
//! is LCE and the optimiser AdamW. Without a second number the whole group goes through in one pass.
//! With `recompute` activations are worked out again, layer by layer, instead of kept.
//! Peaks are of the process, so every size is measured in a process of its own. Each prints one line.

use std::error::Error;
use std::time::Instant;

use burn::tensor::Device;
use tamis_data::Batch;
use tamis_loss::{Lce, Loss, Objective};
use tamis_model::encoder::bert::BertConfig;
use tamis_model::{Config, CrossEncoder, checkpoint};
use tamis_train::{Learner, MicroBatch, OptimizerRecipe, Schedule, ScheduleKind};

/// Tokens of every row.
const LENGTH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let recompute = arguments.last().is_some_and(|last| last == "recompute");
    let numbers: Vec<usize> = arguments[..arguments.len() - usize::from(recompute)]
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let (group_size, sub_batch) = match numbers[..] {
        [group_size] => (group_size, None),
        [group_size, rows] => (group_size, Some(rows)),
        _ => return Err("expected: GROUP_SIZE [ROWS_OF_A_SUB_BATCH] [recompute]".into()),
    };
    let said = measure(group_size, sub_batch, recompute)?;
    #[expect(clippy::print_stdout, reason = "the line is what the example is for")]
    {
        println!("{said}");
    }
    Ok(())
}

fn measure(
    group_size: usize,
    sub_batch: Option<usize>,
    recompute: bool,
) -> Result<String, Box<dyn Error>> {
    let config: BertConfig = serde_json::from_value(serde_json::json!({
        "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "max_position_embeddings": 512,
    }))?;
    let (config, device) = (Config::bert(&config), Device::flex());
    let model = checkpoint::initialise(CrossEncoder::zeros(&config, &device), &config, 1);
    let objective = Objective::single(Loss::Lce(Lce::default()));
    let schedule = Schedule { kind: ScheduleKind::Constant, peak: 1e-5, ..Schedule::default() };
    let optimizer = OptimizerRecipe::default();
    let mut learner = Learner::new(model, &optimizer, objective, schedule, Some(1.0), 3, &device)
        .with_gradient_cache(sub_batch)
        .with_recomputation(recompute);
    let idle = memory("VmRSS:")?;

    let mut batch = Batch::new();
    for row in 0..group_size {
        let ids: Vec<u32> = (0..LENGTH).map(|i| ((row * 131 + i * 17) % 30_000) as u32).collect();
        batch.push_row(&ids, &[0; LENGTH]);
    }
    batch.end_group();
    let labels = (0..group_size).map(|row| if row == 0 { 1.0 } else { 0.0 }).collect();
    let batches = [MicroBatch { batch, labels, teacher_scores: None }];
    let (mut seconds, mut loss) = (0.0, 0.0);
    for step in 0..2 {
        let start = Instant::now();
        loss = learner.step(step, &batches)?.loss;
        seconds = start.elapsed().as_secs_f64();
    }
    let cache = sub_batch.map_or("no cache".to_owned(), |rows| format!("sub-batches of {rows}"));
    let again = if recompute { ", activations worked out again" } else { "" };
    Ok(format!(
        "group of {group_size}, {cache}{again}: peak {:.0} MiB, of which {:.0} before the first step; {seconds:.2} s \
         a step, loss {loss:.4}",
        memory("VmHWM:")?,
        idle,
    ))
}

/// A number of Linux's account of this process, in MiB.
fn memory(key: &str) -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("no such number")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}
