"""Writes conformance.json: values of ir_measures, cwl_eval and ranx on their own small test files.

    python conformance.py FOLDER > conformance.json

FOLDER holds `ir_measures/tests/{cwl,compat}.{qrels,run}` and `ranx/tests/unit/ranx/test_data/{qrels,run}.trec`
(and ranx's `notebooks/data/qrels.trec`, whose run is made here) as their repositories have them. Made
with ir_measures 0.4.3, cwl-eval 1.0.12 and ranx 0.3.21.
"""

import json
import sys
from pathlib import Path

import ir_measures
import ranx

IR_MEASURES = {
    "cwl": [
        "RBP(rel=1)", "RBP(p=0.5, rel=1)", "RBP(p=0.9, rel=2)", "P@10", "RR", "AP", "nDCG@10",
        "NERR8(max_rel=1)@10", "NERR8(max_rel=1)@5", "NERR9(max_rel=1)@10", "NERR10(max_rel=1)",
        "NERR10(p=0.5, max_rel=1)", "NERR11(max_rel=1)", "NERR11(T=3.0, max_rel=1)",
    ],
    "compat": ["Compat(p=0.8)", "Compat(p=0.95)", "Compat(p=0.95, normalize=False)", "nDCG@10",
               "RR(rel=2)@10", "R(rel=2)@100", "Judged@10", "RBP(p=0.9, rel=1)", "Bpref"],
}
RANX = ["hits", "precision@2", "recall@2", "mrr", "map", "map@2", "ndcg", "ndcg@2", "ndcg_burges",
        "r-precision", "hit_rate@1", "f1", "rbp.80", "map-l2", "mrr-l3", "precision@1-l2"]


def main():
    folder, out = Path(sys.argv[1]), {"ir_measures": {}, "ranx": {}}
    for name, measures in IR_MEASURES.items():
        stem = folder / "ir_measures/tests" / name
        qrels = list(ir_measures.read_trec_qrels(str(stem.with_suffix(".qrels"))))
        run = list(ir_measures.read_trec_run(str(stem.with_suffix(".run"))))
        values = out["ir_measures"][name] = {}
        for measure in measures:
            rows = ir_measures.iter_calc([ir_measures.parse_measure(measure)], qrels, run)
            values[measure] = {row.query_id: row.value for row in rows}
    data = folder / "ranx/tests/unit/ranx/test_data"
    qrels = ranx.Qrels.from_file(str(data / "qrels.trec"), kind="trec")
    run = ranx.Run.from_file(str(data / "run.trec"), kind="trec")
    out["ranx"]["test_data"] = values_of(qrels, run)
    # A run for the larger file: the judged documents of each query with ten others before, between
    # and after them. No scores tie, since ranx leaves ties as they fall.
    qrels = ranx.Qrels.from_file(str(folder / "ranx/notebooks/data/qrels.trec"), kind="trec")
    run = {
        query: {id: float(100 - 3 * at) for at, id in enumerate(judged)}
        | {f"other{at}": 101.5 - 5 * at for at in range(10)}
        for query, judged in qrels.to_dict().items()
    }
    out["ranx"]["notebooks"] = values_of(qrels, ranx.Run(run))
    json.dump(out, sys.stdout, indent=1)
    print()


def values_of(qrels, run):
    means = ranx.evaluate(qrels, run, RANX, make_comparable=True)
    return {name: float(value) for name, value in means.items()}


main()
