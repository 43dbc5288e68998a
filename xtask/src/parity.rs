//! `cargo xtask parity`: a checkpoint beside what transformers computed for it, as a table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use tamis_model::Precision;
use tamis_model::parity::{Golden, Parity, compare, compare_at};

use crate::model;
use tamis_model::device;

/// Compare a checkpoint with golden values of transformers: token ids, logits and hidden states.
///
/// The golden values are expected.json and expected.safetensors, which
/// `crates/model/testdata/parity_expected.py MODEL` writes into the model's folder.
///
///   cargo xtask parity models/my-reranker
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ParityArgs {
    /// A checkpoint with its golden values, a folder of such folders, or a name on the hub
    model: PathBuf,

    /// The folder of the golden values [default: the model's]
    #[arg(long, value_name = "FOLDER")]
    expected: Option<PathBuf>,

    /// The largest difference of a logit and, in f32, of a hidden state as a part of 1 + its size
    /// [default: 1e-4 in f32, 2e-2 in bf16, 5e-2 in int8]
    #[arg(long)]
    tolerance: Option<f32>,

    /// The numbers that linear maps multiply: f32, bf16 or int8
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub fn parity(args: &ParityArgs) -> Result<ExitCode> {
    let device = device(&args.device)?;
    let folder = model::locate(&args.model)?;
    let golden = args.expected.as_ref().unwrap_or(&folder);
    let default = match args.precision {
        Precision::F32 => 1e-4,
        Precision::Bf16 => 2e-2,
        Precision::Int8 => 5e-2,
    };
    let bar =
        Bar { tolerance: args.tolerance.unwrap_or(default), precision: args.precision, device };
    let rows = if Golden::kind(golden)?.is_some() {
        vec![Row::of(&folder, golden, &bar)?]
    } else {
        below(&folder)?.iter().map(|folder| Row::of(folder, folder, &bar)).collect::<Result<_>>()?
    };
    if rows.is_empty() {
        bail!(
            "{}: there is no expected.json; crates/model/testdata/parity_expected.py writes it",
            golden.display()
        );
    }
    print!("{}", table(&rows));
    let holds = rows.iter().all(|row| row.verdict != Verdict::Differs);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folders inside a folder that have golden values.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && Golden::kind(&path)?.is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Equal,
    Differs,
    NotCovered,
}

/// What is compared, and how close it must be.
struct Bar {
    tolerance: f32,
    precision: Precision,
    device: Device,
}

impl Bar {
    fn compare(&self, folder: &Path, golden: &Golden) -> tamis_model::Result<Parity> {
        match self.precision {
            Precision::F32 => compare(folder, golden, &self.device),
            precision => compare_at(folder, golden, &self.device, precision),
        }
    }

    /// Hidden states of coarser precisions drift further than scores do; they are only shown.
    fn holds(&self, parity: &Parity) -> bool {
        match self.precision {
            Precision::F32 => parity.holds(self.tolerance),
            _ => parity.scores_hold(self.tolerance),
        }
    }
}

/// One model of the table.
struct Row {
    name: String,
    kind: String,
    parity: Option<Parity>,
    problem: Option<String>,
    verdict: Verdict,
}

impl Row {
    fn of(folder: &Path, golden: &Path, bar: &Bar) -> Result<Self> {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let kind = Golden::kind(golden)?.unwrap_or_default();
        if !Golden::is_covered(&kind) {
            let verdict = Verdict::NotCovered;
            return Ok(Self { name, kind, parity: None, problem: None, verdict });
        }
        let compared = Golden::read(golden).and_then(|golden| bar.compare(folder, &golden));
        Ok(match compared {
            Ok(parity) => {
                let verdict = if bar.holds(&parity) { Verdict::Equal } else { Verdict::Differs };
                Self { name, kind, parity: Some(parity), problem: None, verdict }
            }
            Err(error) => {
                let problem = Some(error.to_string());
                Self { name, kind, parity: None, problem, verdict: Verdict::Differs }
            }
        })
    }

    fn cells(&self) -> [String; 7] {
        let verdict = match (self.verdict, &self.problem) {
            (_, Some(problem)) => problem.clone(),
            (Verdict::Equal, _) => "equal".to_owned(),
            (Verdict::Differs, _) => "DIFFERS".to_owned(),
            (Verdict::NotCovered, _) => format!("not covered yet: {}", self.kind),
        };
        let none = || "-".to_owned();
        let Some(parity) = &self.parity else {
            return [self.name.clone(), none(), none(), none(), none(), none(), verdict];
        };
        let ids = match parity.differing_ids.len() {
            0 => "equal".to_owned(),
            n => format!("{n} differ"),
        };
        let states = match parity.hidden_states.len() {
            0 => none(),
            _ => format!("{:.1e}", parity.worst_hidden_state()),
        };
        [
            self.name.clone(),
            parity.n_pairs.to_string(),
            parity.n_labels.to_string(),
            ids,
            parity.logits.map_or_else(none, |difference| format!("{difference:.1e}")),
            states,
            verdict,
        ]
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["model", "pairs", "labels", "ids", "logits", "hidden states", ""];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_table_says_what_is_equal_and_what_is_not() {
        let row = |name: &str, logits, verdict| Row {
            name: name.to_owned(),
            kind: "decoder_seqcls".to_owned(),
            parity: (verdict != Verdict::NotCovered).then(|| Parity {
                n_pairs: 8,
                n_labels: 1,
                differing_ids: Vec::new(),
                logits: Some(logits),
                hidden_states: vec![(1, 2e-6), (2, 1e-6)],
            }),
            problem: None,
            verdict,
        };
        let rows = [
            row("bert", 6e-7, Verdict::Equal),
            row("electra", 0.25, Verdict::Differs),
            row("llama", 0.0, Verdict::NotCovered),
        ];
        expect![[r#"
            model    pairs  labels  ids    logits  hidden states
            bert     8      1       equal  6.0e-7  2.0e-6         equal
            electra  8      1       equal  2.5e-1  2.0e-6         DIFFERS
            llama    -      -       -      -       -              not covered yet: decoder_seqcls
        "#]]
        .assert_eq(&table(&rows));
    }
}
