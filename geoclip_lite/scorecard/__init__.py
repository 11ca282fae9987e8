"""The paper's tables, row by row, on whatever encoder and data are at hand.

    python -m geoclip_lite.scorecard list
    python -m geoclip_lite.scorecard run 4 --encoder ViT-B-32-quickgelu/openai --data data

paper      what the paper prints
benchmark  queries and a gallery, each picture once
sets       data sets by name
rows       one row of a table: how a figure comes about
shop       the report on residual adapters: a benchmark with something to train on
running    a table on an encoder, into a results file
page       the paper's figures beside ours
"""

from geoclip_lite.lazy import exports

__all__ = [
    "SETS",
    "Benchmark",
    "SetMissingError",
    "beside",
    "coverage",
    "overview",
    "own_tasks",
    "printed",
    "read_run",
    "read_runs",
    "run",
    "summary",
]
__getattr__ = exports(
    __name__,
    benchmark="Benchmark",
    page="beside coverage overview own_tasks summary",
    paper="printed",
    running="read_run read_runs run",
    sets="SETS SetMissingError",
)
