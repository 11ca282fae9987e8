"""How the figures of a table come about: every method of it, on any encoder and data.

neighbourhood  tables 1, 2, 4 to 7: a shortlist, reordered by what a neighbourhood of texts gets (chapter 4),
               as it is and after a ridge map fitted without the picture that it is scored on
objects        table 3 and appendix J: annotated objects of queries against those of pictures (chapter 5)
adapted        the report's figure: before and after a residual adapter (chapter 10); see `shop`
own_task       SugarCrepe as it was meant: of two captions, which is nearer to the picture (chapter 13)

"Ridge + steering" is in neither: our copy does not say what is steered towards what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from geoclip_lite import mappers, metrics, relevance
from geoclip_lite import neighbourhood as nb
from geoclip_lite import objects as matching
from geoclip_lite.composition import ObjectVectors
from geoclip_lite.datasets.official import sugarcrepe
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.encoders.templates import encode_with_templates
from geoclip_lite.metrics import PerQuery
from geoclip_lite.retrieval import Gallery, Ranking, shortlist
from geoclip_lite.scorecard.benchmark import Benchmark
from geoclip_lite.scorecard.shop import Shop, adapted

POOL = 100  # candidates; our copy gives no number for tables 1, 2 and 4 to 7
BESIDE = 20  # texts of a neighbourhood, the query among them
KS = (1, 5, 10)
AT_ONCE = 500  # queries that are ranked by chance at once

Row = dict[str, object]
Named = Iterator[tuple[str, str, Ranking]]  # space, method, ranking
Method = Callable[[DualEncoder, Benchmark, int], Named]


# --- methods --------------------------------------------------------------------------------------


def neighbourhood(encoder: DualEncoder, benchmark: Benchmark, seed: int) -> Named:
    """Cosine, local assignment and local FGW, before and after ridge.

    All but the cosine read the other queries: they are transductive, and say so.

    Args:
        seed: of ridge's five folds.
    """
    images = Gallery.of_images(encoder, benchmark.items).vectors
    texts = encoder.encode_texts([scene.caption for scene in benchmark.queries])
    shown = [scene.image_id for scene in benchmark.queries]
    row_of = {scene.image_id: row for row, scene in enumerate(benchmark.items)}
    own_images = images[[row_of[name] for name in shown]]
    ridge = mappers.cross_fit(mappers.ridge, texts, own_images, shown, seed=seed)
    own = torch.arange(len(texts))
    for space, asked in (("plain", texts), ("ridge", ridge(texts))):
        first = shortlist(asked, images, min(POOL, len(images)))
        bank = nb.TextBank(asked, in_sample=True)
        beside = nb.neighbourhoods(first, asked, bank, images, min(BESIDE, len(asked)), own=own)
        yield space, "none", first
        for method, matcher in (("local assignment", "assignment"), ("local FGW", "fgw")):
            yield space, method, nb.match(first, asked, images, bank, beside, matcher=matcher)


def objects(encoder: DualEncoder, benchmark: Benchmark, seed: int) -> Named:
    """The caption, the average of its objects' vectors, and matching with annotated objects.

    A look-up of words stands beside them: what matching finds that it does not is the encoder's own.
    """
    scenes, queries = benchmark.items, benchmark.queries
    images = Gallery.of_images(encoder, scenes)
    vectors = ObjectVectors([*scenes, *queries], partial(encode_with_templates, encoder))
    first = shortlist(encoder.encode_texts([q.caption for q in queries]), images, min(POOL, len(scenes)))
    asked, shown = (matching.object_sets(side, vectors) for side in (queries, scenes))
    yield "objects", "none", first
    yield "objects", "average", shortlist(vectors.averages(queries), images, first.k)
    yield "objects", "look-up of words", matching.look_up(first, queries, scenes)
    for method, matcher in (("FGW", "fgw"), ("assignment", "assignment")):
        yield "objects", method, matching.rerank(first, asked, shown, matcher, oracle=True)


# --- figures --------------------------------------------------------------------------------------


def measured(encoder: DualEncoder, benchmark: Benchmark, method: Method, seed: int) -> Iterator[Row]:
    """Every method's figures with their intervals; recall in percent. Pictures are resampled, not queries.

    Each row says what it rests on: the shortlist's recall, which no reranker exceeds; whether objects came
    from annotations; whether other test queries were read; and what chance would give, with its own interval.
    """
    right, groups, luck = benchmark.relevant(), benchmark.groups(), by_chance(benchmark)
    for space, name, ranking in method(encoder, benchmark, seed):
        about = {"space": space, "method": name, "seed": seed, "queries": len(right)}
        about |= {"oracle": ranking.oracle, "transductive": ranking.transductive}
        about["shortlist recall"] = 100 * float(metrics.hit_at(ranking, right, ranking.k).mean())
        for metric, values in figures(ranking, right, benchmark).items():
            ours = metrics.bootstrap_interval((_scale(metric) * values).tolist(), groups=groups)
            numbers = {"value": ours.value, "low": ours.low, "high": ours.high}
            yield about | {"metric": metric} | numbers | luck[metric]


def _scale(metric: str) -> int:
    return 100 if metric.startswith("R@") else 1


def by_chance(benchmark: Benchmark | Shop) -> dict[str, Row]:
    """What each metric would be of rankings at random, in which all items are tied: mean and interval."""
    found = []
    for start in range(0, len(benchmark.queries), AT_ONCE):
        some = replace(benchmark, queries=benchmark.queries[start : start + AT_ONCE])
        tied = Ranking.of_scores(torch.zeros(len(some.queries), len(some.items)))
        parts = figures(tied, some.relevant(), some)
        found.append(pd.DataFrame({name: values.numpy() for name, values in parts.items()}))
    expected = pd.concat(found).mean().clip(0, 1)  # a mean of ones may be a little more by rounding
    return {metric: _chance(p, benchmark, _scale(metric)) for metric, p in expected.items()}


def _chance(p: float, benchmark: Benchmark | Shop, scale: int) -> Row:
    luck = metrics.chance_interval(p, len(benchmark.queries), groups=benchmark.groups())
    return {"chance": scale * luck.value, "chance low": scale * luck.low, "chance high": scale * luck.high}


def own_task(encoder: DualEncoder, benchmark: Benchmark) -> Iterator[Row]:
    """The accuracy in each subset, in percent, and how many pairs of captions tied: they count as wrong."""
    choices = benchmark.queries
    row_of = {scene.image_id: row for row, scene in enumerate(benchmark.items)}
    images = Gallery.of_images(encoder, benchmark.items).vectors[[row_of[c.image_id] for c in choices]]
    right, wrong = (
        (encoder.encode_texts(texts) * images).sum(1).numpy()
        for texts in ([c.caption for c in choices], [c.negative for c in choices])
    )
    about = {"space": "own task", "metric": "accuracy", "seed": 0, "oracle": False, "transductive": False}
    for subset, score in sugarcrepe.accuracy(choices, right, wrong).iterrows():
        numbers = {"value": score.accuracy, "low": score.low, "high": score.high, "chance": 0.5}
        numbers |= {name: score[name] for name in ("chance low", "chance high")}
        counts = {"method": subset, "queries": int(score["items"]), "tied": int(score.tied)}
        yield about | counts | {name: 100 * float(number) for name, number in numbers.items()}


def figures(ranking: Ranking, right: Tensor, benchmark: Benchmark) -> dict[str, PerQuery]:
    """Recall; and where objects are annotated, nDCG with a perfect gallery as ideal, and CAS."""
    found = {f"R@{k}": metrics.hit_at(ranking, right, k) for k in KS}
    if not benchmark.graded:
        return found
    asked, items = benchmark.queries, benchmark.items
    grades = relevance.overlap(asked, items)
    found |= {f"nDCG@{k}": metrics.ndcg_at(ranking, grades, k) for k in KS}
    for name, coverage in (
        ("CAS-gen@10", relevance.attribute_coverage),
        ("CAS-noun@10", relevance.object_coverage),
    ):
        found[name] = metrics.attribution_at(ranking, coverage(asked, items), KS[-1])
    return found


METHODS: dict[str, Method] = {
    **dict.fromkeys(("1", "2", "4", "5", "6", "7"), neighbourhood),
    **dict.fromkeys(("3", "J"), objects),
    "report": adapted,
}
