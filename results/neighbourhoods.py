"""Neighbourhood matching and its peers: both worlds, every seed of both diets.

The paper's tables 1 and 2 ("local Hungarian", "local FGW") and appendix D. With the test's own captions as
bank all of it is transductive; with held-out captions it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from types import ModuleType

import pandas as pd
import torch
from _runs import MINIS, WORLDS, drawn
from _tables import Decided, Row, claims_of, over_seeds, rows_of, spread, study_of_runs

from geoclip_lite import mappers, metrics, relevance
from geoclip_lite import neighbourhood as nb
from geoclip_lite.datasets import clevr_like
from geoclip_lite.encoders.base import DualEncoder
from geoclip_lite.neighbourhood import TextBank
from geoclip_lite.results import Claim
from geoclip_lite.retrieval import Gallery, Ranking, shortlist

CHAPTER = "04_neighbourhood_matching"
QUERIES = 1000
POOL = 100
KS = (1, 5, 10)
SQUARES = (5, 10, 20, 50, 100)
FEW = 20  # texts against the whole pool
BETA = 50.0

Texts = torch.Tensor
Named = Iterator[tuple[str, Ranking]]


def measure(encoder: DualEncoder, about: Row) -> list[Row]:
    """All rows of one training run: the plain space first, then after a ridge map fitted on other scenes."""
    rows = []
    for world in WORLDS:
        texts, images, held_out, seen, right = seen_by(encoder, world)
        ridge = mappers.ridge(held_out, seen)
        for space, move in (("plain", lambda x: x), ("ridge", ridge)):
            banks = (TextBank(move(texts), in_sample=True), TextBank(move(held_out), in_sample=False))
            where = about | {"world": world.NAME, "space": space}
            rows += recalls(rankings(move(texts), images, *banks), right, where)
            rows += rows_of(disagreements(move(texts), images, banks[0], right), where | {"method": "App. D"})
    return rows


def seen_by(encoder: DualEncoder, world: ModuleType) -> tuple[torch.Tensor, ...]:
    """Texts and images of the test, texts and images of other scenes, and which image answers which text."""
    scenes, others = drawn(world, "evaluation_scenes")[:QUERIES], drawn(world, "validation_scenes")[:QUERIES]
    images, seen = (Gallery.of_images(encoder, some).vectors for some in (scenes, others))
    texts, held_out = (encoder.encode_texts([s.caption for s in some]) for some in (scenes, others))
    return texts, images, held_out, seen, relevance.exact(scenes, scenes)


def recalls(named: Named, right: torch.Tensor, about: Row) -> list[Row]:
    """Recall of each ranking, and what it has read."""
    rows = []
    for method, ranking in named:
        reach = [k for k in KS if k <= ranking.k]
        figures = {f"R@{k}": metrics.hit_at(ranking, right, k).mean() for k in reach}
        flags = {"method": method, "transductive": ranking.transductive, "oracle": ranking.oracle}
        rows += rows_of(figures, about | flags)
    return rows


def sample(encoder: DualEncoder, about: Row) -> list[Row]:
    """Ten texts against ten pictures, and every rescaling with either bank, in the plain CLEVR-like world."""
    texts, images, held_out, _, right = seen_by(encoder, clevr_like)
    own, other = TextBank(texts, in_sample=True), TextBank(held_out, in_sample=False)
    first, every = shortlist(texts, images, POOL), shortlist(texts, images, len(images))
    here = about | {"world": clevr_like.NAME, "space": "plain"}
    named = chain(
        squares(first, texts, images, own, torch.arange(len(texts)), (10,)),
        rescaled(every, images, own, other),
    )
    return recalls(named, right, here)


def rankings(texts: Texts, images: torch.Tensor, own: TextBank, other: TextBank) -> Named:
    """Every way to rank, by name."""
    first = shortlist(texts, images, POOL)
    yield "cosine", first
    yield from local(first, texts, images, own, torch.arange(len(texts)))
    beside = nb.neighbourhoods(first, texts, other, images, FEW)
    yield f"assignment, {FEW} x {POOL}, held-out", nb.match(first, texts, images, other, beside)
    every = shortlist(texts, images, len(images))
    yield from rescaled(every, images, own, other)
    softmax = nb.rescale(every, nb.inverted_softmax(other, images, beta=BETA), other, "")
    yield "QB-Norm, held-out", nb.dynamic(every, softmax, other, images)
    yield "global assignment", nb.global_assignment(texts, images)


def rescaled(every: Ranking, images: torch.Tensor, own: TextBank, other: TextBank) -> Named:
    """Scores less what other texts claim of each picture, with either bank."""
    for bank, suffix in ((own, ""), (other, ", held-out")):
        for name, bias in (
            ("CSLS", nb.csls),
            ("NNN", nb.nnn),
            ("inverted softmax", partial(nb.inverted_softmax, beta=BETA)),
            ("dual softmax", partial(nb.dual_softmax, beta=BETA)),
            ("Sinkhorn", partial(nb.sinkhorn, beta=BETA)),
        ):
            yield name + suffix, nb.rescale(every, bias(bank, images), bank, name)


def squares(
    first: Ranking, texts: Texts, images: torch.Tensor, bank: TextBank, own: torch.Tensor, ks: Sequence[int]
) -> Named:
    """As many of the test's own captions as pictures, by either matcher."""
    for k in ks:
        nearest = first.top(k)
        beside = nb.neighbourhoods(nearest, texts, bank, images, k, "text-text", own)
        for matcher in nb.MATCHERS:
            found = nb.match(nearest, texts, images, bank, beside, matcher=matcher)
            yield f"{matcher}, {k} x {k}", found


def local(first: Ranking, texts: Texts, images: torch.Tensor, bank: TextBank, own: torch.Tensor) -> Named:
    """Neighbourhoods of several shapes and rules, with the test's own captions; and the leak."""
    yield from squares(first, texts, images, bank, own, SQUARES)
    for rule in ("text-text", "reverse"):
        beside = nb.neighbourhoods(first, texts, bank, images, FEW, rule, own)
        for matcher in nb.MATCHERS:
            found = nb.match(first, texts, images, bank, beside, matcher=matcher)
            yield f"{matcher}, {FEW} x {POOL}, {rule}", found
    nearest = first.top(FEW)
    leak = nb.partners(nearest, own, own)
    yield "assignment, partners (leak)", nb.match(nearest, texts, images, bank, leak, oracle=True)


def disagreements(
    texts: Texts, images: torch.Tensor, bank: TextBank, right: torch.Tensor
) -> dict[str, float]:
    """Appendix D, both ways: where one matcher is right at some k, in what share of all k is the other?"""
    own, hits = torch.arange(len(texts)), {matcher: [] for matcher in nb.MATCHERS}
    for k in SQUARES:
        first = shortlist(texts, images, k)
        beside = nb.neighbourhoods(first, texts, bank, images, k, "text-text", own)
        for matcher in nb.MATCHERS:
            found = nb.match(first, texts, images, bank, beside, matcher=matcher)
            hits[matcher].append(metrics.hit_at(found, right, 1) > 0.5)
    one, other = (torch.stack(hits[matcher]) for matcher in ("assignment", "fgw"))
    middle = SQUARES.index(20)
    wins, losses = one[middle] & ~other[middle], other[middle] & ~one[middle]
    share = {"assignment right, fgw wrong": wins, "fgw right, assignment wrong": losses}
    figures = {f"queries: {name}": subset.double().mean() for name, subset in share.items()}
    figures["recovered by fgw"] = other[:, wins].double().mean() if wins.any() else torch.nan
    figures["recovered by assignment"] = one[:, losses].double().mean() if losses.any() else torch.nan
    return figures


# --- statements -----------------------------------------------------------------------------------


def claims(table: pd.DataFrame) -> list[Claim]:
    """What tables 1 and 2, conclusion 4 and appendix D say, for each diet, on Shapes."""
    return claims_of({diet: decide(table[table.encoder == diet]) for diet in MINIS}, CHAPTER)


def decide(table: pd.DataFrame) -> Decided:
    """Each statement, what was measured on Shapes, and whether it shows."""
    shapes = table[table.world == "shapes"]

    def r(k: int, method: str, space: str = "plain") -> pd.Series:
        return 100 * over_seeds(shapes, f"R@{k}", method=method, space=space)

    def of(*series: pd.Series) -> str:
        return " to ".join(spread(values, "{:.1f}") for values in series) + " %"

    few, square, sinkhorn = f"assignment, {FEW} x {POOL}, text-text", "assignment, 10 x 10", "Sinkhorn"
    fgw = f"fgw, {FEW} x {POOL}, text-text"
    gains = {k: r(k, fgw) - r(k, "cosine") for k in KS}
    assigned, recovered = (
        over_seeds(shapes, f"recovered by {m}", method="App. D", space="plain") for m in ("assignment", "fgw")
    )
    return [
        (
            ("Local assignment raises R@1 (10 x 10)", "table 1, CLIP", "3.5 to 16.4"),
            of(r(1, "cosine"), r(1, square)),
            bool((r(1, square) > r(1, "cosine")).all()),
        ),
        (
            (f"Local assignment raises R@1 ({FEW} x {POOL})", "table 1, CLIP", "3.5 to 16.4"),
            of(r(1, "cosine"), r(1, few)),
            bool((r(1, few) > r(1, "cosine")).all()),
        ),
        (
            ("... also with captions that are not in the test", "a control that table 1 lacks", ""),
            of(r(1, "cosine"), r(1, f"assignment, {FEW} x {POOL}, held-out")),
            bool((r(1, f"assignment, {FEW} x {POOL}, held-out") > r(1, "cosine")).all()),
        ),
        (
            ("... and by more than Sinkhorn normalisation", "a control that table 1 lacks", ""),
            f"{of(r(1, few))} against {of(r(1, sinkhorn))}",
            bool((r(1, few) > r(1, sinkhorn)).all()),
        ),
        (
            ("Local assignment beats local FGW at R@1 (10 x 10)", "table 1, CLIP", "16.4 and 5.1"),
            f"{of(r(1, square))} against {of(r(1, 'fgw, 10 x 10'))}",
            bool((r(1, square) > r(1, "fgw, 10 x 10")).all()),
        ),
        (
            ("After ridge, local assignment raises R@1 (10 x 10)", "table 1, Ridge", "72.3 to 97.6"),
            of(r(1, "cosine", "ridge"), r(1, square, "ridge")),
            bool((r(1, square, "ridge") > r(1, "cosine", "ridge")).all()),
        ),
        (
            (f"After ridge, local assignment raises R@1 ({FEW} x {POOL})", "table 1, Ridge", "72.3 to 97.6"),
            of(r(1, "cosine", "ridge"), r(1, few, "ridge")),
            bool((r(1, few, "ridge") > r(1, "cosine", "ridge")).all()),
        ),
        (
            (f"FGW gains most at R@5 and R@10 ({FEW} x {POOL})", "conclusion 4", "Urban1K: most at R@1"),
            f"points at R@1, 5, 10: {', '.join(spread(gains[k], '{:+.1f}') for k in KS)}",
            bool((gains[5] > gains[1]).all() and (gains[10] > gains[1]).all()),
        ),
        (
            ("FGW recovers over k less often than assignment, mirrored, does", "appendix D", "figure 2"),
            f"FGW right in {of(100 * recovered)} of the k; mirrored, assignment in {of(100 * assigned)}",
            bool((recovered < assigned).all()),
        ),
    ]


STUDY = study_of_runs(__file__, measure, sample, claims, {"value": 0.01})

if __name__ == "__main__":
    STUDY.run()
