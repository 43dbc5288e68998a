//! One path through every command that turns files into files.

use crate::task::{Task, names};

#[test]
fn from_text_to_a_trained_model_and_its_measures() {
    let task = Task::new();
    task.prepare();
    let (_, told) = task.run("train recipe.toml --out runs/small");
    assert!(told.contains("trained 60 steps") && told.contains("RR@10"), "{told}");
    assert!(told.contains("waiting for data"), "{told}");
    let card = task.read("runs/small/checkpoint/README.md");
    assert!(card.contains("| loss |  | "), "{card}");

    let texts = "--queries queries.jsonl --corpus corpus.jsonl";
    let rerank = format!("rerank --model runs/small/checkpoint {texts} --run first.run --depth 8");
    task.run(&format!("{rerank} --out reranked.run"));
    let (table, _) =
        task.run("eval --qrels qrels.tsv --run reranked.run --baseline first.run -m RR@10");
    // The first stage has (1 + 1/2 + .. + 1/8) / 8.
    assert!(table.contains("0.3397"), "{table}");
    let (json, _) = task.run("eval --qrels qrels.tsv --run reranked.run -m RR@10 --format json");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(value.to_string().contains("RR@10"), "{json}");

    // A teacher's scores are the scores of the reranked run.
    let score = format!("score --model runs/small/checkpoint {texts} --pairs first.run");
    task.run(&format!("{score} --out teacher.tsv"));
    let run = task.read("reranked.run");
    let scores = task.read("teacher.tsv");
    assert_eq!(scores.lines().count(), 64);
    for line in scores.lines().take(9) {
        let [query, document, score] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a pair and a score: {line}");
        };
        let same = run.lines().any(|row| {
            let columns: Vec<&str> = row.split(' ').collect();
            let near = |a: &str, b: &str| {
                (a.parse::<f32>().unwrap() - b.parse::<f32>().unwrap()).abs() < 1e-5
            };
            columns[0] == query && columns[2] == document && near(columns[4], score)
        });
        assert!(same, "{line} is not in the run");
    }

    // The model finds every right document, so mining with it leaves none out.
    let mine = format!("mine {texts} --qrels qrels.tsv --run first.run --n 3");
    task.run(&format!("{mine} --out mined.jsonl"));
    let mined = task.read("mined.jsonl");
    assert_eq!(mined.lines().count(), 8);
    assert!(!mined.lines().any(|line| line.split("\"neg\"").nth(1).unwrap().contains("answer")));

    task.run("fuse --run first.run reranked.run --out fused.run");
    task.run("convert --run fused.run --to msmarco --out fused.tsv");
    assert_eq!(task.read("fused.tsv").lines().next().unwrap().split('\t').count(), 3);
    let (compared, _) = task.run(
        "compare --qrels qrels.tsv --baseline first.run --run reranked.run -m RR@10 --format csv",
    );
    assert!(compared.lines().count() > 1, "{compared}");
    task.run(&format!(
        "report --qrels qrels.tsv --run first.run reranked.run {texts} --out report.html"
    ));
    assert!(task.read("report.html").contains("<svg"));
}

#[test]
fn triples_of_ids_become_texts_and_come_back() {
    let task = Task::new();
    task.prepare();
    let ids = "1.5\t-0.5\tq1\td1-1\td1-0\n2\t1\tq9\td1-1\td1-0\n3\t1\tq2\td2-2\td2-7\n";
    task.write("ids.tsv", ids);
    let (_, told) = task.run("triples --in ids.tsv --dataset prepared --to texts --out texts.tsv");
    assert!(told.contains("2 triples") && told.contains("1 lines left out"), "{told}");
    let texts = task.read("texts.tsv");
    assert!(
        texts.starts_with("1.5\t-0.5\tcold\tan answer about cold and cold\ta question about"),
        "{texts}"
    );
    task.run("triples --in texts.tsv --dataset prepared --to ids --out back.tsv");
    let known: String =
        ids.lines().filter(|l| !l.contains("q9")).map(|l| format!("{l}\n")).collect();
    assert_eq!(task.read("back.tsv"), known);
    task.write("bad.tsv", "q1\td1-1\td1-0\nq1\td1-1\n");
    let error = task.refused("triples --in bad.tsv --dataset prepared --to texts --out no.tsv");
    assert!(error.contains("bad.tsv, line 2") && error.contains("found `2`"), "{error}");
    assert!(!task.path("no.tsv").exists());
}

#[test]
fn a_dry_run_tells_the_plan_and_leaves_nothing() {
    let task = Task::new();
    task.prepare();
    let before = names(&task.path(""));
    let (_, told) = task.run("train recipe.toml --dry-run --set train.steps=5000");
    for part in ["5000 steps of 8 groups", "memory: ", "time: ", "lr = 0.003", "s a step"] {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    assert_eq!(names(&task.path("")), before);
}

#[test]
fn what_is_wrong_is_named() {
    let task = Task::new();
    task.prepare();
    let error = task.refused("train recipe.toml --set train.learning_rate=1");
    assert!(error.contains("learning_rate"), "{error}");
    let error = task.refused("train nothing.toml");
    assert!(error.contains("nothing.toml"), "{error}");
    let error = task.refused("train recipe.toml --set data.train=\"elsewhere\"");
    assert!(error.contains("elsewhere"), "{error}");
    let error = task.refused("eval --qrels qrels.tsv --run qrels.tsv");
    assert!(error.contains("qrels.tsv"), "{error}");
}
