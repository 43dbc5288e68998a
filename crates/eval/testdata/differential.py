"""Holds tamis-eval against pytrec_eval-terrier on random queries.

    python differential.py COMMAND [N_QUERIES] [SEED]

COMMAND is what runs the evaluation, such as "cargo xtask eval". Each query is a case of its own:
ties, negative grades, unjudged documents, queries that only one side has. Scores are eighths, which
32 bits hold exactly, since pytrec_eval keeps no more. Fails at a difference above 1e-9.
"""

import csv
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytrec_eval

NAMES = {
    "nDCG": "ndcg", "nDCG@1": "ndcg_cut_1", "nDCG@5": "ndcg_cut_5", "nDCG@10": "ndcg_cut_10",
    "AP": "map", "AP@5": "map_cut_5", "AP@10": "map_cut_10", "RR": "recip_rank",
    "P@1": "P_1", "P@5": "P_5", "P@10": "P_10", "R@5": "recall_5", "R@10": "recall_10",
    "Success@1": "success_1", "Success@5": "success_5", "Rprec": "Rprec", "Bpref": "bpref",
    "infAP": "infAP", "SetP": "set_P", "SetR": "set_recall", "SetF": "set_F", "SetAP": "set_map",
    "SetRelP": "set_relative_P", "NumRet": "num_ret", "NumRel": "num_rel",
    "NumRelRet": "num_rel_ret", "IPrec@0": "iprec_at_recall_0.00",
    "IPrec@0.1": "iprec_at_recall_0.10", "IPrec@0.3": "iprec_at_recall_0.30",
    "IPrec@0.5": "iprec_at_recall_0.50", "IPrec@1": "iprec_at_recall_1.00",
}


def main():
    command = shlex.split(sys.argv[1])
    n_queries = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    draw = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    qrels, run = {}, {}
    for query in map(str, range(n_queries)):
        ids = [draw.choice("aAz09") + str(n) for n in range(draw.randint(1, 40))]
        if draw.random() < 0.95:
            judged = draw.sample(ids, draw.randint(1, len(ids)))
            top = draw.choice([0, 1, 1, 3])
            qrels[query] = {id: draw.randint(-2, top) for id in judged}
            # pytrec_eval reads outside its arrays where no grade of a query reaches 0.
            qrels[query][judged[0]] = draw.randint(0, top)
        if draw.random() < 0.95:
            scores = draw.choice([1, 4, 50, 1000])
            found = draw.sample(ids, draw.randint(1, len(ids)))
            run[query] = {id: draw.randint(-scores, scores) / 8 for id in found}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("qrels", "run")]
        with paths[0].open("w") as out:
            for query, judged in qrels.items():
                out.writelines(f"{query} 0 {id} {grade}\n" for id, grade in judged.items())
        with paths[1].open("w") as out:
            for query, found in run.items():
                out.writelines(f"{query} Q0 {id} 0 {score} t\n" for id, score in found.items())
        for level in (1, 2):
            compare(command, paths, qrels, run, level)


def compare(command, paths, qrels, run, level):
    graded = {"nDCG", "NumRet"}
    names = {}
    for name, theirs in NAMES.items():
        base, at, cutoff = name.partition("@")
        suffix = "" if level == 1 or base in graded else f"(rel={level})"
        # Its bpref does the same where no grade reaches the level.
        if base != "Bpref" or level == 1:
            names[base + suffix + at + cutoff] = theirs
    options = ["--missing", "skip", "--format", "csv", "--qrels", paths[0], "--run", paths[1]]
    for name in names:
        options += ["-m", name]
    text = subprocess.run(command + options, check=True, capture_output=True, text=True).stdout
    wanted = {f"{base}.{cut}" for base in ("ndcg_cut", "map_cut", "P", "recall", "success")
              for cut in ("1,5,10",)}
    wanted |= set(names.values()) - {n for n in names.values() if n[-1].isdigit()} | {"iprec_at_recall"}
    expected = pytrec_eval.RelevanceEvaluator(qrels, wanted, relevance_level=level).evaluate(run)
    n_values, worst = 0, 0.0
    for row in csv.DictReader(text.splitlines()):
        if row["query"] == "all":
            continue
        theirs = expected[row["query"]][names[row["measure"]]]
        difference = abs(float(row["value"]) - theirs)
        worst = max(worst, difference)
        n_values += 1
        if difference > 1e-9:
            sys.exit(f"{row}: pytrec_eval has {theirs}; {qrels[row['query']]} {run[row['query']]}")
    print(f"level {level}: {n_values} values of {len(expected)} queries, largest difference {worst:.1e}")


main()
