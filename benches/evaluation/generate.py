"""Writes big.run (N queries x 1,000 documents) and big.qrels: python generate.py QRELS [FOLDER]

QRELS is a TREC qrels file that gives queries and relevant documents, such as MS MARCO's dev small
(6,980 queries). Scores fall with the rank and do not tie; ids are numbers below 8,841,823.
"""

import random
import sys
from collections import defaultdict
from pathlib import Path

random.seed(1)
folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
judged = [line.split() for line in open(sys.argv[1])]
relevant = defaultdict(list)
for query, _, document, _ in judged:
    relevant[query].append(document)
with (folder / "big.qrels").open("w") as out:
    out.writelines(f"{query} 0 {document} {grade}\n" for query, _, document, grade in judged)
with (folder / "big.run").open("w") as out:
    for query, documents in relevant.items():
        found = random.sample(range(8841823), 1000)
        if random.random() < 0.85 and int(documents[0]) not in found:
            found[int(random.random() ** 3 * 999)] = documents[0]
        score = 30.0
        for rank, document in enumerate(found, 1):
            score -= random.random() * 0.03
            out.write(f"{query} Q0 {document} {rank} {score:.6f} bm25\n")
