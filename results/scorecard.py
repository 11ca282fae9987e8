"""The papers' tables on the minis: every seed, where a rendered world can stand for the data.

Tables 1 and 6 on Shapes, table 3 and appendix J on the CLEVR-like world, for both diets; the report on
adapters on the drawn shop, for mini-products. What needs photographs is run by `python -m
geoclip_lite.scorecard` where they are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from _runs import MINIS, SEEDS, run_names, trained
from _tables import Row

from geoclip_lite import results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.datasets.official.reading import told
from geoclip_lite.encoders.mini import load_mini
from geoclip_lite.scorecard.benchmark import Benchmark
from geoclip_lite.scorecard.printed import paper_data
from geoclip_lite.scorecard.rows import METHODS, measured
from geoclip_lite.scorecard.shop import Shop

QUERIES = 1000
SELLER = "mini-products"


def figures() -> Iterator[Row]:
    """Every table on what stands for its data. Table 6 asks of another encoder what 1 does, J repeats 3."""
    for table, world in {"1": shapes, "3": clevr_like}.items():
        benchmark = Benchmark.of_world(world).first(QUERIES)
        for mini in MINIS:
            yield from on(table, benchmark, mini)
    yield from on("report", Shop.drawn(), SELLER)


def on(table: str, benchmark: Benchmark | Shop, mini: str) -> Iterator[Row]:
    """All seeds of an encoder. Ridge's folds stay the same; an adapter has its encoder's seed."""
    about = {"table": table, "data": benchmark.name, "stands for": paper_data(benchmark.name)}
    about |= {"gallery": len(benchmark.items), "left out": told(benchmark.left_out)}
    for seed in SEEDS:
        encoder = load_mini(trained(mini, seed))
        for row in measured(encoder, benchmark, METHODS[table], seed=seed if table == "report" else 0):
            row |= {"seed": seed} | {n: round(row[n], 4) for n in ("value", "low", "high")}
            yield about | {"encoder": mini} | row


if __name__ == "__main__" and not results.up_to_date(__file__):
    results.write(__file__, list(figures()), runs=run_names((*MINIS, SELLER)))
