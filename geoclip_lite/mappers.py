"""Affine maps from text space to image space, from "always the same place" to a trained linear map.

    identity, constant, mean_shift   controls: nothing, no text at all, a translation
    procrustes                       the best rotation (Schoenemann, 1966) after a translation
    ridge                            the best linear map under a penalty: the paper's mapper (section 4.2)
    contrastive                      a linear map trained by CLIP's own loss; with hard negatives (captions of
                                     the same words, paired otherwise) in the manner of LABCLIP (Koishigarina
                                     et al., 2025)

A map that is scored on the pairs it was fitted on has seen the answers. `cross_fit` is the way to apply one:
each text is mapped by a map that was fitted without its image.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from geoclip_lite.metrics import group_codes
from geoclip_lite.retrieval import unit_rows

Texts = Float[Tensor, "pairs dim"]
Images = Float[Tensor, "pairs dim"]


@dataclass(frozen=True)
class Mapper:
    """x -> (x @ weight + offset), scaled to unit length."""

    weight: Float[Tensor, "dim dim"]
    offset: Float[Tensor, " dim"]

    def __call__(self, texts: Float[Tensor, "texts dim"]) -> Float[Tensor, "texts dim"]:
        """The mapped texts as unit rows."""
        return unit_rows(texts @ self.weight + self.offset, "mapped texts")


Fit = Callable[..., Mapper]  # fit(texts, images, *others) -> Mapper


# --- without a split, no result -------------------------------------------------------------------


@dataclass(frozen=True)
class CrossFitted:
    """Maps each row by the mapper that was fitted without its image.

    Args:
        mappers: one a fold.
        fold: of each row.
    """

    mappers: tuple[Mapper, ...]
    fold: Int[Tensor, " pairs"]

    def __call__(self, rows: Float[Tensor, "pairs dim"]) -> Float[Tensor, "pairs dim"]:
        """The mapped rows: the texts themselves, or others that belong to the same pairs."""
        if len(rows) != len(self.fold):
            raise ValueError(
                f"rows must be one per pair that the map was fitted on, {len(self.fold)}, got {len(rows)}"
            )
        mapped = torch.stack([mapper(rows) for mapper in self.mappers])
        return mapped[self.fold, torch.arange(len(rows))]


def cross_fit(
    fit: Fit,
    texts: Texts,
    images: Images,
    groups: Sequence[Hashable],
    *others: Float[Tensor, "pairs dim"],
    folds: int = 5,
    seed: int = 0,
) -> CrossFitted:
    """Fits one map per fold, each on the other folds.

    Args:
        fit: e.g. `ridge`.
        groups: which image each pair belongs to. Pairs of one image stay in one fold: two captions of one
            picture on either side of a split would leak.
        others: what else `fit` takes per pair (hard negatives), split alike.
        folds: how many.

    Raises:
        ValueError: no groups, or fewer different ones than folds.
    """
    _check_pairs(texts, images)
    fold = _folds(groups, len(texts), folds, seed)
    seen = [fold != test for test in range(folds)]
    fitted = [fit(*(rows[train] for rows in (texts, images, *others))) for train in seen]
    return CrossFitted(tuple(fitted), fold)


def _folds(groups: Sequence[Hashable], n: int, folds: int, seed: int) -> Int[Tensor, " pairs"]:
    """A random fold for every group, as even as can be."""
    if groups is None:
        raise ValueError(
            "groups must name the image of each pair, got None: "
            "without a split, a map is scored on pairs that it has seen"
        )
    codes = group_codes(groups, n)
    different = int(codes.max()) + 1
    if not 2 <= folds <= different:
        raise ValueError(f"folds must be 2 to {different}, the number of groups, got {folds}")
    fold_of_group = np.random.default_rng(seed).permutation(different) % folds
    return torch.from_numpy(fold_of_group[codes])


# --- the ladder -----------------------------------------------------------------------------------


def identity(texts: Texts, images: Images) -> Mapper:
    """Leaves every text where it is."""
    return Mapper(_eye(texts), texts.new_zeros(texts.shape[1]))


def constant(texts: Texts, images: Images) -> Mapper:
    """Sends every text to the mean image. Nothing of the text is left, so it cannot retrieve anything."""
    _check_pairs(texts, images)
    return Mapper(torch.zeros_like(_eye(texts)), images.mean(0))


def mean_shift(texts: Texts, images: Images) -> Mapper:
    """Moves the cloud of texts, as it is, so that its mean is that of the images."""
    _check_pairs(texts, images)
    return Mapper(_eye(texts), images.mean(0) - texts.mean(0))


def procrustes(texts: Texts, images: Images) -> Mapper:
    """The rotation (or reflection) that brings centred texts nearest to centred images.

    W = U V^T with U S V^T the singular value decomposition of X^T Y (Schoenemann, 1966). A rotation leaves
    all Euclidean distances between texts as they are, until they are scaled back to unit length.
    """
    _check_pairs(texts, images)
    x, y = texts - texts.mean(0), images - images.mean(0)
    u, _, vt = torch.linalg.svd(x.T @ y)
    return _around_means(u @ vt, texts, images)


def ridge(texts: Texts, images: Images, penalty: float = 1.0) -> Mapper:
    """The linear map of least squared error plus penalty x squared weights, on centred vectors.

    W = (X^T X + penalty I)^-1 X^T Y. With fewer pairs than dimensions, a penalty near 0 fits *any* images.

    Raises:
        ValueError: a negative penalty; penalty 0 where X^T X has no inverse.
    """
    _check_pairs(texts, images)
    if penalty < 0:
        raise ValueError(f"penalty must be 0 or above, got {penalty}")
    x, y = (v.double() - v.double().mean(0) for v in (texts, images))
    gram = x.T @ x + penalty * _eye(x)
    if penalty == 0 and torch.linalg.matrix_rank(gram, hermitian=True) < len(gram):
        raise ValueError(
            f"penalty 0 is singular here: {len(x)} centred pairs do not span {len(gram)} dimensions; "
            "use a penalty above 0 or more pairs"
        )
    weight = torch.linalg.solve(gram, x.T @ y).to(texts.dtype)
    return _around_means(weight, texts, images)


def contrastive(
    texts: Texts,
    images: Images,
    negatives: Float[Tensor, "pairs dim"] | None = None,
    *,
    steps: int = 300,
    batch: int = 512,
    learning_rate: float = 3e-3,
    temperature: float = 0.02,
    seed: int = 0,
) -> Mapper:
    """A linear map trained so that an image prefers its own caption, by the symmetric contrastive loss.

    It starts at the identity; both towers stay as they are.

    Args:
        negatives: for each image the vector of a hard negative, which it then sees too: a caption of the same
            words, bound otherwise (`composition.rebound`).
        steps: of Adam.
        batch: pairs per step.
        temperature: of the softmax; CLIP trains down to 0.01.

    Raises:
        ValueError: pairs that do not fit, or a batch of none.
    """
    _check_pairs(texts, images)
    if batch < 1:
        raise ValueError(f"batch must be at least 1 pair, got {batch}")
    if negatives is not None:
        _check_pairs(texts, negatives, "negatives")
    generator = torch.Generator().manual_seed(seed)
    weight = _eye(texts).clone().requires_grad_(True)
    offset = texts.new_zeros(texts.shape[1]).requires_grad_(True)
    optimizer = torch.optim.Adam([weight, offset], lr=learning_rate)

    def mapped(vectors: Texts, rows: Int[Tensor, " batch"]) -> Texts:
        return F.normalize(vectors[rows] @ weight + offset, dim=-1)

    for _ in range(steps):
        rows = torch.randperm(len(texts), generator=generator)[:batch]
        wrong = None if negatives is None else mapped(negatives, rows)
        loss = _contrast(images[rows], mapped(texts, rows), wrong, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Mapper(weight.detach(), offset.detach())


def _contrast(images: Images, right: Texts, wrong: Texts | None, temperature: float) -> Float[Tensor, ""]:
    """Cross-entropy both ways; image to text with one more column where there is a hard negative."""
    scores = images @ right.T / temperature
    target = torch.arange(len(images))
    to_image = F.cross_entropy(scores.T, target)
    if wrong is not None:
        scores = torch.cat([scores, (images * wrong).sum(1, keepdim=True) / temperature], dim=1)
    return (F.cross_entropy(scores, target) + to_image) / 2


def orthogonality(
    weight: Float[Tensor, "dim dim"], texts: Float[Tensor, "texts dim"], share: float = 0.99
) -> float:
    """How much of a rotation a linear map is, for the texts that it maps.

    With s the singular values of the map on the k main directions of the texts, which hold `share` of their
    variance: (sum of s)^2 / (k x sum of s^2). It is 1 for a rotation, also a scaled one, and 1 / k for a map
    of rank one. Where texts never point, a map may do anything and it does not count.
    """
    centred = (texts - texts.mean(0)).double()
    _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
    held = spread.square().cumsum(0) / spread.square().sum()
    k = int((held < share).sum()) + 1
    values = torch.linalg.svdvals(directions[:k] @ weight.double())
    return float(values.sum() ** 2 / (len(values) * values.square().sum()))


# --- helpers --------------------------------------------------------------------------------------


def _eye(vectors: Tensor) -> Float[Tensor, "dim dim"]:
    return torch.eye(vectors.shape[1], dtype=vectors.dtype)


def _around_means(weight: Float[Tensor, "dim dim"], texts: Texts, images: Images) -> Mapper:
    """(x - mean text) @ weight + mean image."""
    return Mapper(weight, images.mean(0) - texts.mean(0) @ weight)


def _check_pairs(texts: Tensor, images: Tensor, name: str = "images") -> None:
    if texts.ndim != 2 or texts.shape != images.shape or not len(texts):
        shapes = f"{tuple(texts.shape)} and {tuple(images.shape)}"
        raise ValueError(
            f"texts and {name} must be two equal, non-empty matrices, a row a pair, got {shapes}"
        )
