"""Reranking by objects: every object of the query against every object of a candidate (section 4.4).

object_sets      scenes -> one set of object vectors each
partial_queries  queries that name some of a scene's objects
rerank           a shortlist reordered by how well two sets match, by any of MATCHERS
look_up          the same from words alone, without an encoder: what rerankers with annotations are up against
ties_at_top      how many candidates share the best score

Where a candidate's objects come from its annotation, there is an oracle, and `Ranking.oracle` says so:
`look_up` always sets the flag, and `rerank`, which cannot know, sets it as the caller says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geoclip_lite import transport
from geoclip_lite.composition import ObjectVectors
from geoclip_lite.relevance import counts, shared
from geoclip_lite.retrieval import Ranking
from geoclip_lite.scenes import Scene, SceneObject
from geoclip_lite.transport import PointSets, Problems, Solution
from geoclip_lite.transport.shortlists import over_shortlist

Matcher = Literal["max-sim", "assignment", "wasserstein", "fgw", "semi-relaxed", "partial", "entropic"]
MATCHERS: tuple[Matcher, ...] = get_args(Matcher)
DIGITS = 5  # of a cost; what differs less is a tie: single precision cannot tell


# --- queries and candidates -----------------------------------------------------------------------


def object_sets(scenes: Sequence[Scene], vectors: ObjectVectors) -> PointSets:
    """One set of object vectors per scene, with the cosine distances inside each.

    Raises:
        ValueError: for a scene without objects, or with one that `vectors` does not know.
    """
    return PointSets.of([vectors.of(scene) for scene in scenes])


def partial_queries(
    scenes: Sequence[Scene], named: int, describe: Callable[[Sequence[SceneObject]], str], seed: int = 0
) -> list[Scene]:
    """Queries that name `named` objects of each scene, chosen at random; all, if it has no more.

    Which pictures answer such a query is `relevance.contains`: often several. A query has an id of its own,
    so `relevance.exact` does not find the picture that it was taken from.

    Args:
        describe: objects -> caption, as the world of the scenes does it.
    """
    if named < 1:
        raise ValueError(
            f"named must be at least 1 object, got {named}: a query that names nothing has no answer"
        )
    rng = np.random.default_rng(seed)
    queries = []
    for scene in scenes:
        chosen = sorted(rng.permutation(len(scene.objects))[:named].tolist())
        things = tuple(scene.objects[i] for i in chosen)
        about = {"objects": things, "caption": describe(things), "relations": ()}
        queries.append(replace(scene, image_id=f"{scene.image_id}, {named} named", **about))
    return queries


# --- rerankers ------------------------------------------------------------------------------------


def rerank(
    first: Ranking,
    queries: PointSets,
    gallery: PointSets,
    matcher: Matcher = "fgw",
    *,
    oracle: bool,
    alpha: float = 0.5,
    unmatched: tuple[float, float] = (1.0, 0.0),
    mass: float = 0.5,
    epsilon: float = 0.1,
    progress: bool = True,
) -> Ranking:
    """The shortlist, reordered by the cost of matching query objects x_i with candidate objects y_j.

    M_ij = 1 - cos(x_i, y_j), n objects in the query, m in the candidate:

        max-sim       (1/n) sum_i min_j M_ij: every query object takes its best, several may share it
        assignment    one-to-one; (sum over pairs of M_ij + penalties of what stays unmatched) / n
        wasserstein   transport of mass 1/n from each query object, 1/m to each of the candidate's
        fgw           1 - alpha times the same plus alpha times the structure term (`transport.solve`)
        semi-relaxed  fgw whose candidate objects need not be taken
        partial       fgw of a share of the mass (POT, slow)
        entropic      fgw with soft plans (POT, slow)

    max-sim is semi-relaxed at alpha = 0; for n = m, assignment without penalties is wasserstein, and
    wasserstein is fgw at alpha = 0.

    Args:
        oracle: whether the gallery's objects come from annotations. No default: think of it each time.
        alpha: weight of the structure term, for fgw, semi-relaxed, partial and entropic.
        unmatched: for assignment, the cost of a query object and of a candidate object that stay alone. The
            default: a missing object costs as much as one that is at right angles to all, others are free.
        mass: of "partial", see `transport.partial`.
        epsilon: of "entropic", see `transport.entropic`.

    Returns:
        scores are minus the costs, rounded so that equal sets tie. Under max-sim and semi-relaxed, sets that
        differ in repeats only tie too.

    Raises:
        ValueError: for an unknown matcher, sets that do not fit the ranking, negative penalties, and what the
            solvers refuse.
    """
    if matcher not in MATCHERS:
        raise ValueError(f"matcher must be one of {', '.join(MATCHERS)}, got {matcher!r}")
    if first.gallery_size != len(gallery):
        sizes = f"{first.gallery_size:,} items against {len(gallery):,} sets"
        raise ValueError(f"gallery must hold one set per item that the shortlist was drawn from, got {sizes}")
    solvers: dict[Matcher, Callable[[Problems], Solution]] = {
        "max-sim": partial(transport.solve, alpha=0, marginals="semi-relaxed", solver="frank-wolfe"),
        "assignment": partial(assign_or_leave, unmatched=unmatched),
        "wasserstein": partial(transport.solve, alpha=0, solver="frank-wolfe"),
        "fgw": partial(transport.solve, alpha=alpha),
        "semi-relaxed": partial(transport.solve, alpha=alpha, marginals="semi-relaxed"),
        "partial": partial(transport.partial, mass=mass, alpha=alpha),
        "entropic": partial(transport.entropic, alpha=alpha, epsilon=epsilon),
    }
    solved = over_shortlist(solvers[matcher], queries, gallery, first.indices, progress)
    costs = solved.values.view_as(first.scores).round(decimals=DIGITS)
    return first.rescored(0 - costs, method=matcher, oracle=oracle)


def assign_or_leave(problems: Problems, unmatched: tuple[float, float]) -> Solution:
    """Linear assignment in which objects may stay alone, at a price; the cost is divided by n.

    A pair that costs more than leaving both alone is never made. So costs are capped at that price, as many
    pairs as possible are assigned, and whoever cannot have a partner pays.
    """
    lonely_query, lonely_candidate = _two_prices(unmatched)
    capped = replace(problems, features=problems.features.clamp(max=lonely_query + lonely_candidate))
    solved = transport.assign(capped)
    n, m = problems.rows, problems.columns
    pairs = torch.minimum(n, m)
    alone = (n - pairs) * lonely_query + (m - pairs) * lonely_candidate
    return replace(solved, values=(solved.values * pairs + alone) / n)


def look_up(
    first: Ranking,
    queries: Sequence[Scene],
    items: Sequence[Scene],
    unmatched: tuple[float, float] = (1.0, 0.0),
) -> Ranking:
    """The shortlist, reordered by comparing annotations word for word; no encoder takes part.

    The cost is `assignment`'s with M_ij = 0 for equal objects and unaffordable for others: the prices of
    query objects that the candidate lacks and of objects that it has besides, divided by n.

    Raises:
        ValueError: if sizes do not fit the ranking, a query names nothing, or for negative prices.
    """
    if len(queries) != len(first.indices) or len(items) != first.gallery_size:
        raise ValueError(
            f"queries and items must be those of the ranking, {len(first.indices)} and {first.gallery_size}, "
            f"got {len(queries)} and {len(items)}"
        )
    if nothing := [scene.image_id for scene in queries if not scene.objects]:
        raise ValueError(f"queries: {nothing[0]!r} names nothing ({len(nothing)} such queries)")
    lonely_query, lonely_candidate = _two_prices(unmatched)
    bags = [[scene.objects for scene in scenes] for scenes in (queries, items)]
    known = dict.fromkeys(thing for side in bags for bag in side for thing in bag)
    columns = {thing: column for column, thing in enumerate(known)}
    wanted, shown = (counts(side, columns) for side in bags)
    common = shared(wanted, shown).gather(1, first.indices)
    n, m = wanted.sum(1)[:, None], shown.sum(1)[first.indices]
    costs = ((n - common) * lonely_query + (m - common) * lonely_candidate) / n
    return first.rescored(0 - costs.round(decimals=DIGITS), method="look-up", oracle=True)


def ties_at_top(ranking: Ranking) -> Int[Tensor, " queries"]:
    """How many candidates of each query have its best score; 1: no tie.

    Metrics take the expected value over ties (McSherry and Najork, 2008), so with t at the top of which one
    is right R@1 is 1/t.
    """
    best: Float[Tensor, "queries 1"] = ranking.scores[:, :1]
    return (ranking.scores == best).sum(1)


def _two_prices(unmatched: tuple[float, float]) -> tuple[float, float]:
    """What a query object and a candidate object pay for staying alone, checked."""
    if not all(math.isfinite(price) and price >= 0 for price in unmatched):
        raise ValueError(f"unmatched must be two finite costs of at least 0, got {unmatched}")
    return unmatched
