"""The papers' tables on the minis: every seed, where a rendered world can stand for the data.

Tables 1 and 6 on Shapes, table 3 and appendix J on the CLEVR-like world, for both diets; the report on
adapters on the drawn shop, for mini-products. What needs photographs is run by `python -m
geoclip_lite.scorecard` where they are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from types import ModuleType

from _runs import MINIS, SEEDS, drawn, run_names, shipped, trained

from geoclip_lite import results
from geoclip_lite.datasets import clevr_like, shapes
from geoclip_lite.datasets.official.reading import told
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.mini import load_mini
from geoclip_lite.results import Row, Study
from geoclip_lite.scorecard.benchmark import Benchmark
from geoclip_lite.scorecard.paper import paper_data
from geoclip_lite.scorecard.rows import METHODS, measured
from geoclip_lite.scorecard.shop import Shop

QUERIES = 1000
SELLER = "mini-products"


def figures() -> Iterator[Row]:
    """Every table on what stands for its data. Table 6 asks of another encoder what 1 does, J repeats 3."""
    for table, world in {"1": shapes, "3": clevr_like}.items():
        benchmark = of_world(world).first(QUERIES)
        for mini, seed in product(MINIS, SEEDS):
            yield from on(table, benchmark, load_mini(trained(mini, seed)), {"encoder": mini, "seed": seed})
    for seed in SEEDS:
        seller = load_mini(trained(SELLER, seed))
        yield from on("report", Shop.drawn(), seller, {"encoder": SELLER, "seed": seed})


def of_world(world: ModuleType) -> Benchmark:
    """The evaluation scenes of a world."""
    scenes = drawn(world, "evaluation_scenes")
    return Benchmark(world.NAME, scenes, scenes)


def on(table: str, benchmark: Benchmark | Shop, encoder: DualEncoder, run: Row) -> Iterator[Row]:
    """A table by one encoder. Ridge's folds stay the same; an adapter has its encoder's seed."""
    about = {"table": table, "data": benchmark.name, "stands for": paper_data(benchmark.name)}
    about |= {"gallery": len(benchmark.items), "left out": told(benchmark.left_out)}
    seed = run["seed"] if table == "report" else 0
    for row in measured(encoder, benchmark, METHODS[table], seed=seed):
        row |= {name: round(value, 4) for name, value in row.items() if isinstance(value, float)}
        yield about | {"encoder": run["encoder"]} | row | {"seed": run["seed"]}


def sample() -> Iterator[Row]:
    """Recall of table 3, in percent, by a run that is shipped."""
    rows = on("3", of_world(clevr_like).first(QUERIES), *shipped(MINIS[-1]))
    return (row for row in rows if row["metric"].startswith("R@"))


STUDY = Study(
    __file__,
    figures,
    sample,
    dict.fromkeys(("value", "low", "high", "shortlist recall"), 0.5)
    | dict.fromkeys(("chance", "chance low", "chance high"), 0.01),
    checkpoints=lambda: results.checksums(run_names((*MINIS, SELLER))),
    seeds=SEEDS,
)

if __name__ == "__main__":
    STUDY.run()
