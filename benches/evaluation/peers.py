"""Measures a run with a peer, whole process: python peers.py pytrec_eval|ranx QRELS RUN"""

import sys

peer, qrels_path, run_path = sys.argv[1:]
if peer == "pytrec_eval":
    import pytrec_eval

    with open(qrels_path) as file:
        qrels = pytrec_eval.parse_qrel(file)
    with open(run_path) as file:
        run = pytrec_eval.parse_run(file)
    wanted = {"ndcg_cut.10", "recip_rank", "map", "recall.1000"}
    values = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    for name in ("ndcg_cut_10", "recip_rank", "map", "recall_1000"):
        print(f"{name} {sum(v[name] for v in values.values()) / len(values):.4f}")
else:
    from ranx import Qrels, Run, evaluate

    qrels = Qrels.from_file(qrels_path, kind="trec")
    run = Run.from_file(run_path, kind="trec")
    print(evaluate(qrels, run, ["ndcg@10", "mrr", "map", "recall@1000"], make_comparable=True))
