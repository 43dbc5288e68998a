//! Token ids, logits and hidden states equal those of transformers.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use tamis_model::parity::{Golden, Parity, compare, compare_as, compare_at};
use tamis_model::{DropoutSeeds, Input, Precision, checkpoint};

/// The bar of the project for f32.
const TOLERANCE: f32 = 1e-4;

/// The bar of the project for bfloat16.
const HALF_TOLERANCE: f32 = 2e-2;

/// The same for decoders, whose fixtures are drawn wider: PyTorch's own is 3e-2 to 11e-2 away on them.
const DECODER_HALF_TOLERANCE: f32 = 6e-2;

/// The same where every activation is bfloat16 too: PyTorch's own is up to 2.7e-2 away on this set.
const ALL_HALF_TOLERANCE: f32 = 3e-2;

/// The folders of models in a set of fixtures, and what they are.
fn models(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        if let Some(kind) = Golden::kind(&folder).unwrap() {
            found.push((folder, kind));
        }
    }
    found.sort();
    found
}

mod with_fixtures {
    use super::*;
    use crate::fixture;
    use tamis_model::Reranker;

    #[test]
    #[expect(clippy::print_stdout, reason = "whoever runs it sees what is not covered")]
    fn every_encoder_gives_what_transformers_gives() {
        let device = Device::flex();
        let (mut n_compared, mut problems) = (0, Vec::new());
        for (folder, kind) in models(&fixture("models")) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            if !Golden::is_covered(&kind) {
                println!("{name}: not covered yet, {kind}");
                continue;
            }
            let golden = Golden::read(&folder).unwrap();
            match compare(&folder, &golden, &device) {
                Ok(parity) => {
                    println!("{name}: {parity:?}");
                    let has_states = parity.hidden_states.len() >= 2 || !golden.cases().is_empty();
                    if !parity.holds(TOLERANCE) || !has_states {
                        problems.push(format!("{name}: {parity:?}"));
                    }
                }
                Err(error) => problems.push(format!("{name}: {error}")),
            }
            n_compared += 1;
        }
        assert!(n_compared > 0, "the set has encoders");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// The encoders of the set that miss the bar of bfloat16.
    fn beyond_half(
        (tolerance, decoder_tolerance): (f32, f32),
        compare: impl Fn(&Path, &Golden) -> tamis_model::Result<Parity>,
    ) -> Vec<String> {
        let (mut n_compared, mut problems) = (0, Vec::new());
        for (folder, kind) in models(&fixture("models")) {
            if !Golden::is_covered(&kind) {
                continue;
            }
            let golden = Golden::read(&folder).unwrap();
            if golden.logits().is_none() && !golden.cases().is_empty() {
                // The grid of exits and ratios has its bar in single precision.
                continue;
            }
            let parity = compare(&folder, &golden).unwrap();
            // Of a PreTTR there are twenty times as many scores, and no bounded function before them.
            let tolerance = if kind == "prettr" { 2.0 * tolerance } else { tolerance };
            let is_decoder = kind.starts_with("decoder");
            let tolerance = if is_decoder { decoder_tolerance } else { tolerance };
            if !parity.scores_hold(tolerance) {
                problems.push(format!("{}: {parity:?}", folder.display()));
            }
            n_compared += usize::from(parity.logits.is_some_and(|difference| difference > 1e-5));
        }
        assert!(n_compared > 5, "bfloat16 is another computation");
        problems
    }

    #[test]
    fn every_encoder_stays_close_in_bfloat16() {
        let device = Device::flex();
        let problems = beyond_half((HALF_TOLERANCE, DECODER_HALF_TOLERANCE), |folder, golden| {
            compare_at(folder, golden, &device, Precision::Bf16)
        });
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// What devices without the kernels of the CPU compute: every activation is bfloat16.
    #[test]
    fn every_encoder_stays_close_with_all_of_it_in_bfloat16() {
        let device = Device::flex();
        let problems =
            beyond_half((ALL_HALF_TOLERANCE, 2.0 * DECODER_HALF_TOLERANCE), |folder, golden| {
                compare_as(folder, golden, &device, |model| model.computing_in(DType::BF16))
            });
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn blocks_in_a_row_are_the_forward_pass() {
        let device = Device::flex();
        let mut n_compared = 0;
        for (folder, kind) in models(&fixture("models")) {
            if !Golden::is_covered(&kind) {
                continue;
            }
            let golden = Golden::read(&folder).unwrap();
            if golden.logits().is_none() {
                continue;
            }
            let model = checkpoint::load(&folder, None, &device).unwrap().model;
            let input = Input::new(&golden.batch(), &device);
            let seeds = DropoutSeeds::inference;
            let expected = model.logits(&input, seeds());
            let found = (0..model.n_blocks())
                .fold(None, |x, index| Some(model.block(index, x, &input, seeds())))
                .unwrap();
            let apart: f32 = (found - expected).abs().max().into_scalar();
            assert!(apart < 1e-5, "{}: {apart}", folder.display());
            n_compared += 1;
        }
        assert!(n_compared > 5, "the set has encoders with heads");
    }

    #[test]
    fn three_labels_are_no_reranker() {
        let error = Reranker::open(&fixture("models/bert_3label"), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("a reranker has one label, found 3"), "{error}");
    }
}

mod with_models {
    use super::*;

    /// `testdata/parity_expected.py` makes the golden values beside the real models.
    #[test]
    fn real_models_give_what_transformers_gives() {
        let root = std::env::var("TAMIS_MODELS").expect("TAMIS_MODELS names the real models");
        let models = models(Path::new(&root));
        assert!(!models.is_empty(), "{root} has a model with expected.json");
        for (folder, _) in models {
            let golden = Golden::read(&folder).unwrap();
            let parity = compare(&folder, &golden, &Device::flex()).unwrap();
            assert!(parity.holds(TOLERANCE), "{}: {parity:?}", folder.display());
        }
    }
}
