//! Exits and shortened documents: the values of the published code, and the laws they must keep.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::Device;
use safetensors::tensor::{Dtype, TensorView};
use tamis_data::Batch;
use tamis_model::{
    Compatibility, CrossEncoder, DropoutSeeds, Effort, HeadOrder, Input, TokenWeights, checkpoint,
};

/// Query, document and prompt of the two rows of Appendix A.2, as lengths.
const A: ([u32; 16], [usize; 3]) =
    ([1, 8, 15, 22, 29, 36, 43, 3, 10, 17, 24, 31, 38, 45, 5, 12], [4, 9, 3]);
const B: ([u32; 10], [usize; 3]) = ([1, 14, 21, 28, 35, 42, 49, 9, 16, 23], [3, 4, 3]);

/// The tiny model of Appendix A.2 of the specification: every weight is a sine of its name and place.
fn tiny(directory: &Path) -> CrossEncoder {
    let config = serde_json::json!({
        "model_type": "cost_wise_mistral", "architectures": ["CostWiseMistralForCausalLM"],
        "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "sliding_window": null, "hidden_act": "silu", "start_layer": 2,
        "layer_sep": 1, "layer_wise": true, "max_position_embeddings": 64, "pad_token_id": 0,
    });
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![50, 16]),
        ("model.norm.weight".into(), vec![16]),
    ];
    for layer in 0..6 {
        let name = |rest: &str| format!("model.layers.{layer}.{rest}.weight");
        for (rest, shape) in [
            ("self_attn.q_proj", vec![16, 16]),
            ("self_attn.k_proj", vec![8, 16]),
            ("self_attn.v_proj", vec![8, 16]),
            ("self_attn.o_proj", vec![16, 16]),
            ("mlp.gate_proj", vec![32, 16]),
            ("mlp.up_proj", vec![32, 16]),
            ("mlp.down_proj", vec![16, 32]),
            ("input_layernorm", vec![16]),
            ("post_attention_layernorm", vec![16]),
        ] {
            shapes.push((name(rest), shape));
        }
    }
    shapes.extend((0..5).map(|j| (format!("lm_head.{j}.linear_head.weight"), vec![1, 16])));
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let c = f64::from(name.bytes().map(u32::from).sum::<u32>() % 97);
            let n: usize = shape.iter().product();
            let bytes = (0..n).flat_map(|k| {
                let v = (0.37 * k as f64 + 0.11 * c).sin();
                let value = if name.contains("norm") { 1.0 + 0.05 * v } else { 0.25 * v };
                (value as f32).to_le_bytes()
            });
            let bytes = bytes.collect();
            (name, shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = directory.join("model.safetensors");
    safetensors::serialize_to_file(views, Some(metadata), &path).unwrap();
    checkpoint::load(directory, None, &Device::flex()).unwrap().model
}

fn input(rows: &[(&[u32], [usize; 3])]) -> Input {
    let mut batch = Batch::new();
    for (ids, [query, document, prompt]) in rows {
        let types = [vec![0; *query], vec![1; *document], vec![0; *prompt]].concat();
        batch.push_row(ids, &types);
    }
    batch.end_group();
    Input::new(&batch, &Device::flex())
}

/// The scores of every exit for the last of some rows.
fn scores(
    model: &CrossEncoder,
    rows: &[(&[u32], [usize; 3])],
    exits: &[usize],
    layers: &[usize],
    ratio: usize,
    compatibility: Compatibility,
) -> Vec<Vec<f32>> {
    let effort = Effort { exits: exits.to_vec(), ratio, compress_layers: layers.to_vec() };
    let exits =
        model.exit_logits(&input(rows), &effort, compatibility, DropoutSeeds::inference()).unwrap();
    exits.into_iter().map(|(_, x)| x.into_data().try_into_vec::<f32>().unwrap()).collect()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{what}: {found:?}, expected {expected:?}");
    }
}

const ALL: [usize; 5] = [2, 3, 4, 5, 6];

#[test]
fn scores_are_those_of_the_published_code() {
    let directory = tempfile::tempdir().unwrap();
    let model = tiny(directory.path());
    assert_eq!(model.depths(), ALL);
    let (a, b) = ((&A.0[..], A.1), (&B.0[..], B.1));
    // Appendix A.2: one row alone, without padding, all exits.
    type Row = ([f32; 5], [f32; 5]);
    let cases: [(&[usize], usize, Row); 5] = [
        (
            &[],
            1,
            (
                [-0.645696, -0.640941, -0.634321, -0.640147, -0.669653],
                [0.989456, 1.125933, 1.225746, 1.254739, 1.202105],
            ),
        ),
        (
            &[3],
            2,
            (
                [-0.645696, -0.640941, -0.645392, -0.666901, -0.717238],
                [0.989456, 1.125933, 1.266015, 1.309073, 1.258979],
            ),
        ),
        (
            &[2, 4],
            2,
            (
                [-0.645696, -0.649612, -0.655091, -0.658099, -0.700845],
                [0.989456, 1.17729, 1.302107, 1.333761, 1.26982],
            ),
        ),
        (
            &[2, 4],
            4,
            (
                [-0.645696, -0.637982, -0.619386, -0.650715, -0.723124],
                [0.989456, 1.179847, 1.312524, 1.341381, 1.276732],
            ),
        ),
        (
            &[5],
            8,
            (
                [-0.645696, -0.640941, -0.634321, -0.640147, -0.693326],
                [0.989456, 1.125933, 1.225746, 1.254739, 1.205698],
            ),
        ),
    ];
    let fixed = Compatibility::default();
    for (layers, ratio, (of_a, of_b)) in cases {
        for (row, expected) in [(a, of_a), (b, of_b)] {
            let found = scores(&model, &[row], &ALL, layers, ratio, fixed).concat();
            assert_close(&found, &expected, &format!("{layers:?} by {ratio}"));
            // Whoever shares the batch.
            let together = scores(&model, &[a, b, row], &ALL, layers, ratio, fixed);
            let last: Vec<f32> = together.iter().map(|exit| exit[2]).collect();
            assert_close(&last, &found, "in a batch of three");
        }
    }
}

#[test]
fn an_exit_has_its_own_head_whoever_is_asked_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let model = tiny(directory.path());
    let a = (&A.0[..], A.1);
    let of = |exits: &[usize], compatibility| {
        scores(&model, &[a], exits, &[3], 2, compatibility).concat()
    };
    let fixed = Compatibility::default();
    assert_close(&of(&[4, 6], fixed), &[-0.645392, -0.717238], "by depth");
    assert_close(&of(&[6, 4, 6], fixed), &[-0.645392, -0.717238], "in any order, each once");
    assert_close(&of(&[6], fixed), &[-0.717238], "alone");
    assert_close(&of(&[], fixed), &[-0.717238], "the deepest, unasked");
    let by_order = Compatibility { heads: HeadOrder::ByOrder, ..fixed };
    assert_close(&of(&[4, 6], by_order), &[-0.615798, -0.68886], "by order");
}

#[test]
fn padded_places_weigh_tokens_only_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let model = tiny(directory.path());
    let (a, b) = ((&A.0[..], A.1), (&B.0[..], B.1));
    let column = Compatibility { weights: TokenWeights::LastColumn, ..Compatibility::default() };
    let found = scores(&model, &[a, b], &ALL, &[2, 4], 2, column);
    let of = |row: usize| -> Vec<f32> { found.iter().map(|exit| exit[row]).collect() };
    assert_close(&of(0), &[-0.645696, -0.649612, -0.655091, -0.658099, -0.700845], "the longest");
    assert_close(&of(1), &[0.989455, 1.153624, 1.277104, 1.321436, 1.270102], "beside it");
}

#[test]
fn ratio_one_and_late_layers_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let model = tiny(directory.path());
    let a = (&A.0[..], A.1);
    let fixed = Compatibility::default();
    let plain = scores(&model, &[a], &ALL, &[], 1, fixed).concat();
    assert_eq!(scores(&model, &[a], &ALL, &[3], 1, fixed).concat(), plain);
    // What is shortened at a depth is after the exit there.
    let late = scores(&model, &[a], &ALL, &[5], 4, fixed).concat();
    assert_eq!(late[..4], plain[..4]);
    assert_ne!(late[4], plain[4]);
    // A document without tokens has nothing to merge, and one shorter than the ratio becomes one token.
    let empty = (&A.0[..7], [4, 0, 3]);
    let found = scores(&model, &[empty], &ALL, &[2], 4, fixed).concat();
    assert_eq!(found, scores(&model, &[empty], &ALL, &[], 1, fixed).concat());
    let found = scores(&model, &[a], &ALL, &[2], 100, fixed).concat();
    assert_eq!(found, scores(&model, &[a], &ALL, &[2], 9, fixed).concat());
}

#[test]
fn what_a_model_cannot_do_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let model = tiny(directory.path());
    let a = input(&[(&A.0[..], A.1)]);
    let problem = |effort: Effort| {
        let fixed = Compatibility::default();
        model.exit_logits(&a, &effort, fixed, DropoutSeeds::inference()).unwrap_err().to_string()
    };
    let untrained = Effort { exits: vec![1], ..Effort::default() };
    assert_eq!(problem(untrained), "exit 1 was not trained; there are 2, 3, 4, 5, 6");
    let none = Effort { ratio: 0, ..Effort::default() };
    assert_eq!(problem(none), "ratio: expected 1 or more, found `0`");
}

/// The gradient of a score with respect to the first norm's weight is the slope of the score, through
/// the merged tokens and the attention that weighs them.
#[test]
fn gradients_go_through_merged_tokens_and_their_weights() {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Tensor, TensorData};

    struct Bump(usize, f32);
    impl ModuleMapper for Bump {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.val().shape();
            if shape.num_elements() != 16 * 32 || D != 2 || self.1 == 0.0 {
                return param;
            }
            let mut bump = vec![0.0_f32; shape.num_elements()];
            bump[self.0] = std::mem::take(&mut self.1);
            param.map(|old| {
                let bump =
                    Tensor::<D>::from_data(TensorData::new(bump, old.shape()), &old.device());
                old + bump
            })
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let model = tiny(directory.path());
    let a = input(&[(&A.0[..], A.1)]);
    let effort = Effort { exits: vec![6], ratio: 2, compress_layers: vec![2, 4] };
    let score = |model: &CrossEncoder| -> Tensor<1> {
        let fixed = Compatibility::default();
        let mut exits = model.exit_logits(&a, &effort, fixed, DropoutSeeds::inference()).unwrap();
        exits.remove(0).1.sum()
    };
    for place in [3, 100, 400] {
        let slope = {
            let value =
                |by: f32| score(&model.clone().map(&mut Bump(place, by))).into_scalar::<f32>();
            (value(5e-3) - value(-5e-3)) / 1e-2
        };
        struct Grad(burn::tensor::Gradients, Option<Vec<f32>>);
        impl burn::module::ModuleVisitor for Grad {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let n = param.val().shape().num_elements();
                if self.1.is_none() && D == 2 && n == 16 * 32 {
                    let grad = param.val().grad(&self.0).expect("the weight has a gradient");
                    self.1 = Some(grad.into_data().try_into_vec().unwrap());
                }
            }
        }
        let on_tape = model.clone().train();
        let a = input_on(&Device::flex().autodiff());
        let fixed = Compatibility::default();
        let mut exits = on_tape.exit_logits(&a, &effort, fixed, DropoutSeeds::inference()).unwrap();
        let mut grad = Grad(exits.remove(0).1.sum().backward(), None);
        on_tape.visit(&mut grad);
        let found = grad.1.unwrap()[place];
        assert!((slope - found).abs() < 2e-3, "weight {place}: slope {slope}, gradient {found}");
    }
    fn input_on(device: &Device) -> Input {
        let mut batch = Batch::new();
        batch.push_row(&A.0, &[vec![0; 4], vec![1; 9], vec![0; 3]].concat());
        batch.end_group();
        Input::new(&batch, device)
    }
}
