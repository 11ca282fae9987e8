"""Reranking by neighbourhoods: a query, with texts beside it, against all its candidates at once.

TextBank           the texts that are read besides the query
neighbourhoods     which of them stand beside each query: its nearest, its candidates' nearest, or all
partners           the leaky choice: the captions of the candidates; for demonstration only
match              one transport problem per query: these texts against the images of its shortlist

Its peers rescore images one by one, or assign them all at once:

csls, nnn, inverted_softmax, dual_softmax, sinkhorn   a bias for each image, high if it suits many texts
rescale            scores minus the bias
dynamic            the same, only for queries whose best image is the best of others too
global_assignment  all queries against the whole gallery, one to one
hubness            how unevenly images are spread over the lists

One query cannot say which images please everyone, so all of this reads other texts: a bank. If these are the
other test queries, as in most published numbers, the result is transductive. It uses that each test image
answers about as many queries as any other, which a benchmark grants and a user does not. With a bank of
held-out texts the result is not transductive. Every Ranking made here carries the flag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import skew
from torch import Tensor
from tqdm import tqdm

from geoclip_lite import transport
from geoclip_lite.geometry import k_occurrences
from geoclip_lite.retrieval import ROUNDING, Ranking, shortlist, unit_rows
from geoclip_lite.transport import Problems, Squares
from geoclip_lite.transport.shortlists import PATIENCE
from geoclip_lite.transport.solvers import check_options

Rule = Literal["text-text", "reverse", "global"]
Matcher = Literal["assignment", "fgw"]
RULES: tuple[Rule, ...] = get_args(Rule)
MATCHERS: tuple[Matcher, ...] = get_args(Matcher)

LIFT = 3.0  # more than the 2 that cosines span: puts one image over another whatever their cosines
ENTRIES_AT_ONCE = (
    10_000_000  # of the largest table in memory while work goes block by block: 80 MB in double precision
)
MOST_ENTRIES = 2**28  # of the matrix that `sinkhorn` holds as a whole: 2 GB, and as much again to work on
ALIKE = 1e-6  # how far, in relative terms, a column sum may be off when `sinkhorn` stops
COST_DIGITS = 12  # of a cost: copies of a vector get the same one, whatever block they are computed in
DIGITS = 9  # of a share of mass or a bias; what differs less is equal


# --- texts beside the query -----------------------------------------------------------------------


@dataclass(frozen=True)
class TextBank:
    """Texts that are read besides the query.

    Args:
        vectors: unit rows.
        in_sample: whether test queries are among them. Then all that is made with the bank is transductive.

    Raises:
        ValueError: for no texts, or a row that is not of length 1.
    """

    vectors: Float[Tensor, "texts dim"]
    in_sample: bool

    def __post_init__(self):
        if self.vectors.ndim != 2 or self.vectors.numel() == 0:
            raise ValueError(
                f"vectors of a bank must be a non-empty matrix, one text a row, "
                f"got shape {tuple(self.vectors.shape)}"
            )
        error = (torch.linalg.vector_norm(self.vectors, dim=1) - 1).abs()
        if not (error < ROUNDING).all():  # NaN fails the comparison too
            row = int((~(error < ROUNDING)).nonzero()[0])
            raise ValueError(
                f"vectors of a bank must be unit rows, row {row} is not: pass them through unit_rows first"
            )

    def __len__(self) -> int:
        return len(self.vectors)


def neighbourhoods(
    first: Ranking,
    queries: Float[Tensor, "queries dim"],
    bank: TextBank,
    gallery_vectors: Float[Tensor, "items dim"],
    m: int,
    rule: Rule = "text-text",
    own: Int[Tensor, " queries"] | None = None,
) -> Int[Tensor, "queries m-1"]:
    """Which texts of the bank stand beside each query, so that there are m with it; best first.

        text-text  those with the highest cosine to the query
        reverse    those with the highest cosine to any image of the query's shortlist
        global     all, in the order of the bank; m is not read

    Args:
        own: the row of the bank that is the query itself, which cannot stand beside itself. Needed for a bank
            in sample, refused for any other. Other rows stay, even with the same vector.

    Raises:
        ValueError: an unknown rule, m below 1 or more than there are texts, `own` missing or needless,
            vectors that do not fit the ranking or each other.
    """
    _check_name("rule", rule, RULES)
    _check_space(first, queries=queries, bank=bank.vectors, gallery_vectors=gallery_vectors)
    _check_own(own, bank, len(queries))
    most = len(bank) + (own is None)
    if rule != "global" and not 1 <= m <= most:
        raise ValueError(f"m must be 1 to {most}, the query and the other texts of the bank, got {m}")
    if rule != "global" and m == 1:
        return torch.empty(len(queries), 0, dtype=torch.int64)
    depth = m - (own is None)  # one to spare where the query may be among them
    if rule == "text-text":
        rows = shortlist(queries, bank.vectors, depth).indices
    elif rule == "reverse":
        rows = _nearest_to_any(first, bank, gallery_vectors, depth)
    else:
        rows = torch.arange(len(bank)).repeat(len(queries), 1)
    return rows if own is None else _without(rows, own)


def partners(
    first: Ranking, caption_of: Int[Tensor, " items"], own: Int[Tensor, " queries"]
) -> Int[Tensor, "queries k-1"]:
    """The captions of the images in each query's shortlist: a leak, to be shown and never to be used.

    It reads the answer key, which says what caption belongs to which image. With the partner of every wrong
    image beside the query, each takes its own and the right image is left over. So give `match` oracle=True.

    Args:
        caption_of: of each item, the row of the bank that is its caption.
        own: of each query, its row; left out. Where it is not among the captions, that of the last candidate
            is left out, so that the sizes say nothing.

    Raises:
        ValueError: for one caption of two items, or sizes that do not fit the ranking.
    """
    if caption_of.shape != (first.gallery_size,) or len(caption_of.unique()) != len(caption_of):
        raise ValueError(
            f"caption_of must hold one row of the bank per item, {first.gallery_size}, none twice, "
            f"got shape {tuple(caption_of.shape)} with {len(caption_of.unique())} different rows"
        )
    if own.shape != (len(first.indices),):
        raise ValueError(f"own must hold one row per query, {len(first.indices)}, got {tuple(own.shape)}")
    return _without(caption_of[first.indices], own)


def _nearest_to_any(
    first: Ranking, bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], depth: int
) -> Int[Tensor, "queries depth"]:
    """Texts by their highest cosine to an image of the shortlist.

    A text among the best `depth` of all is among the best `depth` of the image that it is nearest to. So it
    is enough to look at these few per image.
    """
    shown, place = first.indices.unique(return_inverse=True)
    near = shortlist(gallery_vectors[shown], bank.vectors, depth)
    found = []
    for images in place.split(max(1, ENTRIES_AT_ONCE // (len(bank) + first.k * depth))):
        texts, scores = (part[images].flatten(1) for part in (near.indices, near.scores))
        best = torch.full((len(images), len(bank)), -torch.inf).scatter_reduce(1, texts, scores, "amax")
        found.append(Ranking.of_scores(best, depth).indices)
    return torch.cat(found)


def _without(
    rows: Int[Tensor, "queries width"], own: Int[Tensor, " queries"]
) -> Int[Tensor, "queries width-1"]:
    """Each row of a table without the query's own entry, or without the last one where it is not there."""
    order = (rows == own[:, None]).long().sort(dim=1, stable=True).indices
    return rows.gather(1, order)[:, :-1]


# --- a neighbourhood against a shortlist ----------------------------------------------------------


def match(
    first: Ranking,
    queries: Float[Tensor, "queries dim"],
    gallery_vectors: Float[Tensor, "items dim"],
    bank: TextBank,
    neighbours: Int[Tensor, "queries m-1"],
    *,
    matcher: Matcher = "assignment",
    alpha: float = 0.5,
    oracle: bool = False,
    progress: bool = True,
) -> Ranking:
    """The shortlist, reordered by what the query gets when m texts share out its k images.

    The texts x_i are the query and its neighbours, the images y_j those of the shortlist, M_ij = 1 - cos(x_i,
    y_j), C1 and C2 the same between texts and between images. One problem per query:

        assignment  one to one, min(m, k) pairs, least sum of M_ij; an image or none for the query
        fgw         fused Gromov-Wasserstein with equal masses 1/m and 1/k (`transport.solve`): shares of the
                    images; beyond small sizes a local optimum

    Images stand by the query's row of the plan, where that is equal by cosine. With no neighbours this is the
    order by cosine. Copies of an image cost the same, and which of them is assigned means nothing.

    Args:
        neighbours: rows of the bank, by `neighbourhoods`; or by `partners`, then with oracle=True.
        alpha: weight of the structure term, for fgw.
        oracle: whether the neighbours give away which caption belongs to which image.

    Returns:
        scores are cosines, plus `LIFT` for the image assigned. For fgw: plus nothing for no share, `LIFT`
        for the smallest share that the query has, twice that for the next larger one, and so on.

    Raises:
        ValueError: an unknown matcher, alpha outside 0 to 1, neighbours that are not different rows of the
            bank, vectors that do not fit the ranking or each other.
    """
    _check_name("matcher", matcher, MATCHERS)
    check_options(alpha, "balanced", "auto")
    _check_space(first, queries=queries, bank=bank.vectors, gallery_vectors=gallery_vectors)
    _check_neighbours(neighbours, first, bank)
    asked, (beside, images) = unit_rows(queries.double(), "queries"), _doubles(bank, gallery_vectors)
    points = 1 + neighbours.shape[1] + first.k
    at_once = max(1, ENTRIES_AT_ONCE // (points * (points + images.shape[1])))
    scores = []
    with tqdm(total=len(asked), unit=" queries", delay=PATIENCE, disable=not progress) as bar:
        for ids in torch.arange(len(asked)).split(at_once):
            texts = torch.cat([asked[ids, None], beside[neighbours[ids]]], dim=1)
            scores.append(_share_out(texts, images[first.indices[ids]], matcher, alpha))
            bar.update(len(ids))
    about = {"oracle": oracle, "transductive": bank.in_sample}
    return first.rescored(torch.cat(scores), f"neighbourhood {matcher}", **about)


def _share_out(
    texts: Float[Tensor, "some m dim"], images: Float[Tensor, "some k dim"], matcher: Matcher, alpha: float
) -> Float[Tensor, "some k"]:
    """Scores of the images for the first text of each problem: by its shares, then by cosine."""
    number, m, k = len(texts), texts.shape[1], images.shape[1]
    costs = _distances(images, texts)  # column by column of M, as Problems wants it
    by_fgw = matcher == "fgw"
    inside = number if by_fgw else 1  # an assignment reads no inner distances: one matrix stands for all
    left, right = (_squares(points[:inside]) for points in (texts, images))
    which = torch.arange(number).clamp(max=inside - 1)
    problems = Problems(costs.flatten(), left, right, which, which)
    solve = partial(transport.solve, alpha=alpha) if by_fgw else transport.assign
    shares = m * solve(problems, plans=True).plans.view(number, k, m)[:, :, 0]
    return (1 - costs[:, :, 0]) + LIFT * _levels(shares.round(decimals=DIGITS))


def _distances(a: Float[Tensor, "some n dim"], b: Float[Tensor, "some m dim"]) -> Float[Tensor, "some n m"]:
    return (1 - a @ b.mT).round(decimals=COST_DIGITS)


def _squares(points: Float[Tensor, "some n dim"]) -> Squares:
    return Squares(torch.full((len(points),), points.shape[1]), _distances(points, points).flatten())


def _levels(values: Float[Tensor, "rows k"]) -> Int[Tensor, "rows k"]:
    """Zeros stay; the lowest positive value of a row becomes 1, the next higher 2, and so on."""
    ordered, order = values.sort(dim=1)
    steps = ordered.diff(dim=1, prepend=torch.zeros_like(ordered[:, :1])) > 0
    return torch.empty_like(order).scatter(1, order, steps.cumsum(1))


# --- peers: a bias per image ----------------------------------------------------------------------
#
# All of them give an image less, the better it matches the texts of the bank. The query's own terms in the
# published formulas shift all its scores alike, and so are left out.


def csls(bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], k: int = 10) -> Float[Tensor, " items"]:
    """Half the mean cosine of an image's k nearest texts in the bank.

    Cross-domain similarity local scaling (Lample et al., 2018) is 2 cos(x, y) - r(x) - r(y), with r the mean
    cosine to the k nearest of the other side. r(x) is the same for all images of a query; the rest is halved.

    Raises:
        ValueError: k below 1 or above the size of the bank, vectors of different length.
    """
    return _nearest_mean(bank, gallery_vectors, k) / 2


def nnn(
    bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], k: int = 16, strength: float = 0.75
) -> Float[Tensor, " items"]:
    """`strength` times the mean cosine of an image's k nearest texts in the bank.

    Nearest-neighbour normalisation (Chowdhury et al., 2024). With strength 1/2 it is `csls`.

    Raises:
        ValueError: k below 1 or above the size of the bank, a strength that is not positive, vectors of
            different length.
    """
    _check_positive(strength=strength)
    return strength * _nearest_mean(bank, gallery_vectors, k)


def inverted_softmax(
    bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], beta: float = 20.0
) -> Float[Tensor, " items"]:
    """log(sum over texts i of exp(beta cos(x_i, y))) / beta.

    The image's softmax runs over texts in place of images (Smith et al., 2017), so an image that all texts
    like has little probability for each. QB-Norm (Bogolin et al., 2022) is this with a bank; see `dynamic`.

    Args:
        beta: 1 / temperature. Large: only the nearest text counts. Small: the mean cosine does.

    Raises:
        ValueError: beta not positive, vectors of different length.
    """
    _check_positive(beta=beta)
    texts, images = _doubles(bank, gallery_vectors)
    blocks = images.split(max(1, ENTRIES_AT_ONCE // len(texts)))
    sums = torch.cat([torch.logsumexp(beta * (block @ texts.T), dim=1) for block in blocks])
    return (sums / beta).round(decimals=DIGITS)


def dual_softmax(
    bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], beta: float = 20.0
) -> Float[Tensor, " items"]:
    """Half of `inverted_softmax`.

    After Cheng et al. (2021), who multiply the softmax over texts into that over images. Here the score is
    the sum of both log probabilities, 2 beta cos - log sum over texts - log sum over images. The last is the
    same for all images of a query, and the rest is divided by 2 beta.

    Raises:
        ValueError: beta not positive, vectors of different length.
    """
    return inverted_softmax(bank, gallery_vectors, beta) / 2


def sinkhorn(
    bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], beta: float = 20.0, rounds: int = 100
) -> Float[Tensor, " items"]:
    """Minus the images' potentials of entropic transport between bank and gallery, over beta; mean 0.

    The plan exp(beta cos_ij + f_i + g_j) gives every text the same mass and every image too (Cuturi, 2013).
    In turn, f makes its rows right and g its columns, until both are or after `rounds`. So a query's best
    image is the one that this plan would send most of it to. With f left at 0 the result would be that of
    `inverted_softmax`, up to a constant.

    The whole matrix, texts x items, is in memory.

    Raises:
        ValueError: beta or rounds not positive, a matrix of more than `MOST_ENTRIES`, vectors of different
            length.
    """
    _check_positive(beta=beta, rounds=rounds)
    texts, images = _doubles(bank, gallery_vectors)
    if len(texts) * len(images) > MOST_ENTRIES:
        sizes = f"{len(texts):,} texts x {len(images):,} items"
        raise ValueError(f"bank must leave at most {MOST_ENTRIES:,} pairs, got {sizes}: sample its texts")
    logits = beta * (texts @ images.T)
    g = logits.new_zeros(len(images))
    for _ in range(rounds):
        f = -torch.logsumexp(logits + g, dim=1) - math.log(len(texts))
        before, g = g, -torch.logsumexp(logits + f[:, None], dim=0) - math.log(len(images))
        if (torch.expm1(before - g).abs() < ALIKE).all():  # what the column sums lacked before this g
            break
    return ((g.mean() - g) / beta).round(decimals=DIGITS)


def rescale(first: Ranking, bias: Float[Tensor, " items"], bank: TextBank, method: str) -> Ranking:
    """The shortlist, reordered by its scores minus the bias of each image.

    Args:
        bank: which the bias was made with: it says whether the result is transductive.

    Raises:
        ValueError: if there is not one finite bias per item.
    """
    if bias.shape != (first.gallery_size,) or not bias.isfinite().all():
        raise ValueError(
            f"bias must hold one finite number per item, {first.gallery_size}, got shape "
            f"{tuple(bias.shape)}, {int((~bias.isfinite()).sum())} of them not finite"
        )
    return first.rescored(first.scores - bias[first.indices], method, transductive=bank.in_sample)


def dynamic(
    first: Ranking, biased: Ranking, bank: TextBank, gallery_vectors: Float[Tensor, "items dim"]
) -> Ranking:
    """`biased` for queries whose best image is the best of a text in the bank too; `first` for the others.

    QB-Norm's rule (Bogolin et al., 2022): an image that comes first for no text of the bank is no hub, and
    its query keeps the order by cosine. Where the queries themselves are in the bank, each makes its own best
    image a hub, and the result is `biased`.

    Args:
        first: by cosine.
        biased: the same shortlists, by `rescale`.

    Raises:
        ValueError: if the two rankings, or the vectors, do not fit each other.
    """
    _check_space(first, bank=bank.vectors, gallery_vectors=gallery_vectors)
    if biased.indices.shape != first.indices.shape or biased.gallery_size != first.gallery_size:
        sizes = " and ".join(f"{tuple(r.indices.shape)} of {r.gallery_size}" for r in (first, biased))
        raise ValueError(f"biased must rerank the shortlists of first, got rankings of {sizes} items")
    hubs = shortlist(bank.vectors, gallery_vectors, 1).indices.flatten()
    is_active = torch.isin(first.indices[:, :1], hubs)
    return replace(
        biased,
        indices=torch.where(is_active, biased.indices, first.indices),
        scores=torch.where(is_active, biased.scores, first.scores.to(biased.scores)),
        oracle=first.oracle or biased.oracle,
        transductive=first.transductive or biased.transductive or bank.in_sample,
        method=f"dynamic {biased.method}",
    )


def global_assignment(
    queries: Float[Tensor, "queries dim"], gallery_vectors: Float[Tensor, "items dim"]
) -> Ranking:
    """All queries against the whole gallery: one image each, no image twice, highest sum of cosines.

    The image assigned comes first (its score is the cosine plus `LIFT`), the others follow by cosine. What
    the one-to-one pairs of a benchmark give away at most; always transductive. The whole matrix, queries x
    items, is in memory.

    Raises:
        ValueError: more queries than items, vectors of different length.
    """
    _check_dims(queries=queries, gallery_vectors=gallery_vectors)
    if len(queries) > len(gallery_vectors):
        raise ValueError(
            f"queries must be at most as many as items, {len(gallery_vectors)}, got {len(queries)}: "
            "some would get no image"
        )
    asked, images = (
        unit_rows(queries.double(), "queries"),
        unit_rows(gallery_vectors.double(), "gallery_vectors"),
    )
    scores = (asked @ images.T).round(decimals=COST_DIGITS)
    rows, columns = map(torch.from_numpy, linear_sum_assignment(scores.numpy(), maximize=True))
    scores[rows, columns] += LIFT
    return Ranking.of_scores(scores, transductive=True, method="global assignment")


def hubness(ranking: Ranking, k: int = 10) -> float:
    """Skewness of how often the items are among the best k (Radovanovic et al., 2010).

    Near 0: all are so about equally often. Far above: a few hubs are in very many lists. 0 by definition
    where all counts are equal.

    Raises:
        ValueError: for k below 1 or above the length of the lists.
    """
    counts = k_occurrences(ranking, k)
    return 0.0 if (counts == counts[0]).all() else float(skew(counts.numpy()))


def _nearest_mean(
    bank: TextBank, gallery_vectors: Float[Tensor, "items dim"], k: int
) -> Float[Tensor, " items"]:
    """Mean cosine of each image's k nearest texts."""
    _check_dims(bank=bank.vectors, gallery_vectors=gallery_vectors)
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must be 1 to {len(bank)}, the texts of the bank, got {k}")
    return shortlist(gallery_vectors, bank.vectors, k).scores.double().mean(1)


def _doubles(
    bank: TextBank, gallery_vectors: Float[Tensor, "items dim"]
) -> tuple[Float[Tensor, "texts dim"], Float[Tensor, "items dim"]]:
    """Bank and gallery as unit rows in double precision."""
    _check_dims(bank=bank.vectors, gallery_vectors=gallery_vectors)
    return unit_rows(bank.vectors.double(), "bank"), unit_rows(gallery_vectors.double(), "gallery_vectors")


# --- checks ---------------------------------------------------------------------------------------


def _check_dims(**vectors: Tensor) -> None:
    lengths = {name: rows.shape[-1] for name, rows in vectors.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} in {name}" for name, length in lengths.items())
        raise ValueError(f"{' and '.join(vectors)} must come from one space, got vectors of length {found}")


def _check_space(first: Ranking, **vectors: Tensor) -> None:
    """Vectors of one length, and as many queries and items as the ranking has."""
    _check_dims(**vectors)
    sizes = {"queries": len(first.indices), "gallery_vectors": first.gallery_size}
    for name, size in sizes.items():
        if name in vectors and len(vectors[name]) != size:
            raise ValueError(
                f"{name} must be those that the ranking was made from, {size:,} rows, "
                f"got {len(vectors[name]):,}"
            )


def _check_own(own: Tensor | None, bank: TextBank, queries: int) -> None:
    if bank.in_sample and own is None:
        raise ValueError("own must say which row of the bank is which query, got None for a bank in sample")
    if own is None:
        return
    if not bank.in_sample:
        raise ValueError("own must be None for a bank without test queries: set in_sample if it has them")
    if own.shape != (queries,) or own.dtype != torch.int64 or own.min() < 0 or own.max() >= len(bank):
        raise ValueError(
            f"own must hold one row per query, {queries} int64 numbers from 0 to {len(bank) - 1}, "
            f"got shape {tuple(own.shape)}, {own.dtype}"
        )


def _check_neighbours(neighbours: Tensor, first: Ranking, bank: TextBank) -> None:
    if neighbours.ndim != 2 or len(neighbours) != len(first.indices) or neighbours.dtype != torch.int64:
        raise ValueError(
            f"neighbours must be an int64 matrix, one row per query, {len(first.indices)}, "
            f"got shape {tuple(neighbours.shape)}, {neighbours.dtype}"
        )
    ordered = neighbours.sort(dim=1).values
    is_repeated = (ordered[:, 1:] == ordered[:, :-1]).any()
    if neighbours.numel() and (is_repeated or ordered[:, 0].min() < 0 or ordered[:, -1].max() >= len(bank)):
        raise ValueError(
            f"neighbours must be different rows of the bank, 0 to {len(bank) - 1}, for each query"
        )


def _check_name(argument: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{argument} must be one of {', '.join(known)}, got {value!r}")


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be a finite number above 0, got {number}")
