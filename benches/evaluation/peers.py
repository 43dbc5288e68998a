"""Measures a run with a peer, whole process: python peers.py pytrec_eval|ranx|trec_eval_reader QRELS RUN

`trec_eval_reader` only reads and sorts both files, with trec_eval's own C functions as the wheel of
pytrec_eval-terrier holds them (all of trec_eval but its `main`): less than what trec_eval does.
"""

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
elif peer == "trec_eval_reader":
    import ctypes

    import pytrec_eval_ext

    class Table(ctypes.Structure):
        _fields_ = [("n", ctypes.c_long), ("space", ctypes.c_long), ("rows", ctypes.c_void_p)]

    library = ctypes.CDLL(pytrec_eval_ext.__file__)
    options, qrels, run = (ctypes.c_byte * 1024)(), Table(), Table()
    assert library.te_get_qrels(options, qrels_path.encode(), ctypes.byref(qrels)) == 1
    assert library.te_get_trec_results(options, run_path.encode(), ctypes.byref(run)) == 1
    print(f"queries {qrels.n} {run.n}")
else:
    from ranx import Qrels, Run, evaluate

    qrels = Qrels.from_file(qrels_path, kind="trec")
    run = Run.from_file(run_path, kind="trec")
    print(evaluate(qrels, run, ["ndcg@10", "mrr", "map", "recall@1000"], make_comparable=True))
