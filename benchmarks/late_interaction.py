"""Late interaction over all 13,244 Shapes compositions, against looking at every pair.

    python benchmarks/late_interaction.py [--rounds 3]

One core, in turns, medians. The exact search, which stops early, stands beside two that do not: our own
compiled assignment and scipy's, over all pairs of a query with a picture (on few queries, scaled up). All
find the same pictures, and that is checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import pandas as pd
import torch
from _turns import in_turns
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from geoclip_lite.datasets import shapes
from geoclip_lite.encoders import load_encoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.regions import (
    Centring,
    RegionIndex,
    Regions,
    phrase_sets,
    rerank,
    suited_cut,
    value_regions,
)
from geoclip_lite.retrieval import Ranking, shortlist
from geoclip_lite.transport import PointSets

QUERIES, FEW, FEWEST, BEST = 1000, 20, 2, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    index, queries, captions = prepare()
    ways: dict[str, tuple[int, Callable[[], Tensor]]] = {
        "plain cosine": (QUERIES, lambda: shortlist(captions, index.pictures, BEST).indices),
        "max-sim": (QUERIES, lambda: search(index, queries, captions, "max-sim")),
        "one-to-one, stops early": (QUERIES, lambda: search(index, queries, captions, "assignment")),
        "one-to-one, every pair": (FEW, lambda: every_pair(index, queries)),
        "one-to-one, every pair, scipy": (FEWEST, lambda: by_scipy(index, queries)),
    }
    found = {name: way() for name, (_, way) in ways.items()}
    times = in_turns({name: way for name, (_, way) in ways.items()}, rounds, warm=0)
    table = pd.DataFrame(
        {"seconds for 1,000 queries": median(times[name]) * QUERIES / count}
        for name, (count, _) in ways.items()
    )
    table.index = list(ways)
    table["times as long as stopping early"] = table.iloc[:, 0] / table.loc["one-to-one, stops early"].iloc[0]
    print(table.to_string(float_format="{:,.2f}".format))
    exact = found["one-to-one, stops early"]
    for name in ("one-to-one, every pair", "one-to-one, every pair, scipy"):
        same = (found[name][:, 0] == exact[: len(found[name]), 0]).double().mean()
        print(f"same first picture as {name}: {same:.0%}")


def prepare() -> tuple[RegionIndex, PointSets, Tensor]:
    """All compositions as regions, and captions of the evaluation set as queries."""
    encoder = load_encoder("mini-single", device="cpu")
    encode = partial(encode_with_templates, encoder)
    everything, asked = shapes.compositions(), shapes.evaluation_scenes()[:QUERIES]
    parts, whole = [], []
    for start in range(0, len(everything), 1000):
        pictures = [scene.image(64) for scene in everything[start : start + 1000]]
        parts.append(value_regions(encoder, pictures, **vars(suited_cut(encoder)), progress=False))
        whole.append(encoder.encode_images(pictures))
    seen = Regions(torch.cat([part.vectors for part in parts]), parts[0].boxes)
    centring = Centring.fit(encode([thing.phrase for thing in shapes.PRIMITIVES]), seen.of(range(1000)))
    captions = [scene.caption for scene in asked]
    queries = centring.phrase_sets(phrase_sets(captions, encode))
    index = RegionIndex.of(centring.regions(seen), torch.cat(whole))
    return index, queries, encoder.encode_texts(captions)


def search(index: RegionIndex, queries: PointSets, captions: Tensor, matcher: str) -> Tensor:
    """The package's search."""
    return index.search(queries, captions, BEST, matcher=matcher).indices


def some(queries: PointSets, count: int) -> PointSets:
    """The first few queries."""
    return PointSets.of([queries[i] for i in range(count)])


def every_pair(index: RegionIndex, queries: PointSets) -> Tensor:
    """The compiled assignment for all pictures of a few queries."""
    everything = torch.arange(len(index)).repeat(FEW, 1)
    first = Ranking(everything, torch.zeros(everything.shape), len(index))
    boxes = torch.zeros(index.regions.shape[1], 4)
    return rerank(first, some(queries, FEW), Regions(index.regions.float(), boxes)).top(BEST).indices


def by_scipy(index: RegionIndex, queries: PointSets) -> Tensor:
    """What a reader would write: a loop with scipy's assignment."""
    best = []
    for query in range(FEWEST):
        phrases = queries[query]
        scores = torch.empty(len(index))
        for picture, regions in enumerate(index.regions):
            cosines = phrases @ regions.float().T
            rows, columns = linear_sum_assignment(cosines, maximize=True)
            scores[picture] = cosines[rows, columns].mean()
        best.append(scores.topk(BEST).indices)
    return torch.stack(best)


if __name__ == "__main__":
    main()
