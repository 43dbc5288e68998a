"""Writes scattered.parquet, a run whose queries do not stand together: python scattered.py (fastparquet 2026.9.0)"""

import pandas

rows = [("q1", "d1", 3.0), ("q2", "d1", 1.0), ("q1", "d2", 2.0), ("q1", "d3", 1.0)]
frame = pandas.DataFrame(rows, columns=["query", "document", "score"]).assign(tag="t")
frame.to_parquet("scattered.parquet", engine="fastparquet", index=False)
