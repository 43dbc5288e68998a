//! A decoder with exits: trained, its grid of depth and width measured, and one cell of it used.

use serde_json::{Value, json};

use crate::task::{Task, names};

#[test]
fn a_decoder_with_exits_is_trained_planned_and_used() {
    let task = Task::new();
    task.prepare();
    let bert: Value = serde_json::from_str(&task.read("model/config.json")).unwrap();
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": bert["vocab_size"],
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 64, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "initializer_range": 0.1,
        "layer_wise": true, "start_layer": 2, "layer_sep": 2,
    });
    task.write("model/config.json", &config.to_string());
    task.write(
        "exits.toml",
        "seed = 3\n[model]\npath = \"model\"\ninit = \"scratch\"\n\
         [model.template]\nsegments = [\"begin\", { text = \"{query}\" }, { text = \"[SEP]\" }, \
         { text = \"{document}\" }, { text = \"[SEP]\" }]\n\
         [data]\ntrain = \"prepared\"\nmax_length = 20\nquery_max_length = 4\ngroup_size = 8\n\
         [train]\nlr = 3e-3\nsteps = 4\ngroups_per_batch = 8\n\
         [train.exits]\nratios = [1, 2]\ncompress_layers = [1]\n\
         loss = { method = \"fix-layer\", every = 2, mean = true }\n",
    );
    task.run("train exits.toml --out runs/exits");

    let plan = "plan --model runs/exits/checkpoint --queries queries.jsonl --corpus corpus.jsonl \
        --qrels qrels.tsv --run first.run --depth 8 --measure nDCG@10 --compress-layers 1 --ratios 1,2 \
        --budget-ms 100000 --timed-queries 2 --runs --out plan";
    let (table, _) = task.run(plan);
    assert!(table.contains("100000 ms: --exit"), "{table}");
    assert_eq!(names(&task.path("plan")), ["front.svg", "grid.json", "runs"]);
    let runs =
        ["exit-2-ratio-1.run", "exit-2-ratio-2.run", "exit-4-ratio-1.run", "exit-4-ratio-2.run"];
    assert_eq!(names(&task.path("plan/runs")), runs);
    let grid: Value = serde_json::from_str(&task.read("plan/grid.json")).unwrap();
    for cell in grid["cells"].as_array().unwrap() {
        assert!(
            cell["ms"].as_f64().unwrap() > 0.0 && cell["quality"].as_f64().unwrap() > 0.0,
            "{cell}"
        );
    }
    // The same again is read, not measured.
    let (again, told) = task.run(plan);
    assert_eq!(again, table);
    assert!(told.contains("was measured already"), "{told}");

    let alone = plan.replace("--runs --out plan", "--exits 2 --out alone");
    assert!(task.run(&alone).0.contains("--exit 2"));
    assert_eq!(names(&task.path("alone")), ["front.svg", "grid.json"]);

    // A cell of the grid is what reranking with its options gives.
    task.run(
        "rerank --model runs/exits/checkpoint --queries queries.jsonl --corpus corpus.jsonl \
         --run first.run --depth 8 --exit 2 --ratio 2 --compress-layers 1 --out early.run",
    );
    let order = |path: &str| -> Vec<(String, String)> {
        let column = |line: &str, i: usize| line.split(' ').nth(i).unwrap().to_owned();
        task.read(path).lines().map(|line| (column(line, 0), column(line, 2))).collect()
    };
    assert_eq!(order("early.run"), order("plan/runs/exit-2-ratio-2.run"));
}
