"""Transport problems by the thousand, of any sizes, without padding.

Squares    matrices of inner distances, one behind the other in one flat tensor
PointSets  sets of vectors (the objects of scenes, say) with the inner distances of each
Problems   which set is compared with which, and the feature costs between the two
Solution   what a solver returns: objectives, what is known of them, and plans on request
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geoclip_lite.retrieval import unit_rows

MIXED = 2  # see Squares.signs
ROUNDING = 1e-6  # of a matrix's largest entry, see _rounding

# --- ragged square matrices -----------------------------------------------------------------------


@dataclass(frozen=True)
class Squares:
    """Square matrices of different sizes, one behind the other, row by row.

    Args:
        sizes: rows of each matrix.
        entries: all of them, flat.
    """

    sizes: Int[Tensor, " matrices"]
    entries: Float[Tensor, " entries"]

    @classmethod
    def of(cls, matrices: Sequence[Float[Tensor, "n n"]], name: str = "matrices") -> Squares:
        """Packs matrices of one dtype and device.

        Raises:
            ValueError: for none, an empty or oblong one, NaN, or too large to square.
        """
        _not_empty(matrices, name)
        for number, matrix in enumerate(matrices):
            if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
                shape = tuple(matrix.shape)
                raise ValueError(
                    f"{name} must be square and not empty, got shape {shape} for number {number}"
                )
            _finite(matrix, name, number)
        sizes = torch.tensor([len(matrix) for matrix in matrices], device=matrices[0].device)
        return cls(sizes, torch.cat([matrix.flatten() for matrix in matrices]))

    @cached_property
    def starts(self) -> Int[Tensor, " matrices"]:
        """Where in `entries` each matrix begins."""
        return starts_of(self.sizes.square())

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> Float[Tensor, "n n"]:
        n, start = int(self.sizes[number]), int(self.starts[number])
        return self.entries[start : start + n * n].view(n, n)

    @cached_property
    def double(self) -> Float[np.ndarray, " entries"]:
        """The entries as the compiled kernels read them."""
        return self.entries.detach().cpu().double().contiguous().numpy()

    @cached_property
    def mean_squares(self) -> Float[Tensor, " matrices"]:
        """Mean of each matrix's squared entries: the part of the objective that no plan changes."""
        owner = torch.repeat_interleave(self.sizes.square())
        totals = torch.zeros_like(self.entries[:1]).repeat(len(self))
        return totals.index_add_(0, owner, self.entries.square()) / self.sizes.square()

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether all of them are, up to rounding."""
        return all(bool(((m - m.mT).abs().amax((1, 2)) <= _rounding(m)).all()) for _, m in self._by_size())

    @cached_property
    def is_hollow(self) -> bool:
        """Whether every diagonal is zero, as that of a distance is."""
        return all(
            bool((m.diagonal(dim1=1, dim2=2).abs().amax(1) <= _rounding(m)).all()) for _, m in self._by_size()
        )

    @cached_property
    def signs(self) -> Int[Tensor, " matrices"]:
        """How <C D, D> behaves for directions D whose columns sum to zero, which all differences of plans do.

           -1  never positive: a distance such as 1 - cosine, angular, Euclidean, squared Euclidean or L1
           +1  never negative: a similarity such as the cosine
            0  always zero, e.g. a single point
        MIXED  anything else: the sign depends on D, or the matrix is not symmetric

           By the eigenvalues of the matrix after its row and column means are taken off.
        """
        signs = torch.empty_like(self.sizes)
        for ids, m in self._by_size():
            error = _rounding(m).double()
            m = m.double()
            centred = m - m.mean(1, keepdim=True)
            centred = centred - centred.mean(2, keepdim=True)
            eigenvalues = torch.linalg.eigvalsh((centred + centred.mT) / 2)
            rises, falls = eigenvalues.amax(1) > error, eigenvalues.amin(1) < -error
            lopsided = (m - m.mT).abs().amax((1, 2)) > error
            sign = rises.long() - falls.long()
            signs[ids] = torch.where((rises & falls) | lopsided, MIXED, sign)
        return signs

    def _by_size(self) -> Iterator[tuple[Int[Tensor, " some"], Float[Tensor, "some n n"]]]:
        for n in self.sizes.unique().tolist():
            ids = (self.sizes == n).nonzero()[:, 0]
            entries = self.starts[ids, None] + torch.arange(n * n, device=ids.device)
            yield ids, self.entries[entries].view(-1, n, n)


def _rounding(matrices: Float[Tensor, "some n n"]) -> Float[Tensor, " some"]:
    """What counts as zero in each matrix. The second part: 1 - cosine of equal vectors is not quite 0."""
    return ROUNDING * matrices.abs().amax((1, 2)) + 4 * torch.finfo(matrices.dtype).eps


# --- sets of points -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointSets:
    """Sets of unit vectors, and in each set the distances between its own points.

    Args:
        vectors: the points of all sets, one set behind the other.
        inner: each set's matrix of inner distances.
    """

    vectors: Float[Tensor, "points dim"]
    inner: Squares

    @classmethod
    def of(
        cls,
        sets: Sequence[Float[Tensor, "points dim"]],
        inner: Sequence[Float[Tensor, "points points"]] | None = None,
    ) -> PointSets:
        """Packs sets of vectors, any length each, and computes what is inside a set once.

        Args:
            inner: None: the cosine distances in each set. Or one's own, e.g. between positions.

        Raises:
            ValueError: for no sets, an empty one, vectors of different dimension, NaN, infinity or zero
                vectors, inner distances of another shape.
        """
        _not_empty(sets, "sets")
        for number, points in enumerate(sets):
            if points.ndim != 2 or not len(points) or points.shape[1] != sets[0].shape[1]:
                raise ValueError(
                    f"sets must be non-empty matrices of {sets[0].shape[-1]} columns, one row a point, got "
                    f"shape {tuple(points.shape)} for set {number}"
                )
        vectors = unit_rows(torch.cat(list(sets)), "sets, one behind the other,")
        sizes = torch.tensor([len(points) for points in sets], device=vectors.device)
        if inner is None:
            return cls(vectors, _cosine_distances(vectors, sizes))
        if [len(matrix) for matrix in inner] != sizes.tolist():
            raise ValueError("inner must hold one square matrix per set, with a row per point of the set")
        return cls(vectors, Squares.of([m.to(vectors) for m in inner], "inner"))

    @property
    def sizes(self) -> Int[Tensor, " sets"]:
        """How many points each set has."""
        return self.inner.sizes

    @cached_property
    def starts(self) -> Int[Tensor, " sets"]:
        """Where in `vectors` each set begins."""
        return starts_of(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> Float[Tensor, "points dim"]:
        start = int(self.starts[number])
        return self.vectors[start : start + int(self.sizes[number])]

    def to(self, device: torch.device | str) -> PointSets:
        """The same sets on another device."""
        inner = Squares(self.inner.sizes.to(device), self.inner.entries.to(device))
        return PointSets(self.vectors.to(device), inner)


def _cosine_distances(vectors: Float[Tensor, "points dim"], sizes: Int[Tensor, " sets"]) -> Squares:
    """1 - cosine in each set, sets of one size together."""
    entries = vectors.new_empty(int(sizes.square().sum()))
    starts, squares = starts_of(sizes), starts_of(sizes.square())
    for n in sizes.unique().tolist():
        ids = (sizes == n).nonzero()[:, 0]
        points = vectors[starts[ids, None] + torch.arange(n, device=ids.device)]
        distances = 1 - points @ points.mT
        distances.diagonal(dim1=1, dim2=2).zero_()
        entries[squares[ids, None] + torch.arange(n * n, device=ids.device)] = distances.flatten(1)
    return Squares(sizes, entries)


# --- problems and solutions -----------------------------------------------------------------------


@dataclass(frozen=True)
class Problems:
    """Many transport problems: two sets each, with n and m points.

    Args:
        features: the cost of every pair of points of a problem, column by column (the n costs of the second
            set's first point, then those of its next), one problem behind the other.
        left, right: inner distances of the sets on either side.
        left_of, right_of: which of them each problem compares.
    """

    features: Float[Tensor, " entries"]
    left: Squares
    right: Squares
    left_of: Int[Tensor, " problems"]
    right_of: Int[Tensor, " problems"]

    @classmethod
    def of(
        cls,
        features: Sequence[Float[Tensor, "n m"]],
        left: Sequence[Float[Tensor, "n n"]],
        right: Sequence[Float[Tensor, "m m"]],
    ) -> Problems:
        """From matrices M, C1 and C2 for each problem.

        Raises:
            ValueError: for none, matrices whose shapes or dtypes do not fit, NaN, or too large to square.
        """
        _not_empty(features, "features")
        if not len(features) == len(left) == len(right):
            counts = f"{len(features)}, {len(left)} and {len(right)}"
            raise ValueError(f"features, left and right must have one matrix per problem, got {counts}")
        for number, (costs, a, b) in enumerate(zip(features, left, right, strict=True)):
            if costs.shape != (len(a), len(b)):
                raise ValueError(
                    f"features of problem {number} must be {len(a)} x {len(b)}, a row per point of left and "
                    f"a column per point of right, got shape {tuple(costs.shape)}"
                )
            _finite(costs, "features", number)
        if len(kinds := {matrix.dtype for matrix in (*features, *left, *right)}) > 1:
            raise ValueError(f"features, left and right must be of one dtype, got {kinds}: use .double()")
        every = torch.arange(len(features), device=features[0].device)
        flat = torch.cat([costs.T.flatten() for costs in features])
        return cls(flat, Squares.of(left, "left"), Squares.of(right, "right"), every, every)

    @cached_property
    def rows(self) -> Int[Tensor, " problems"]:
        """n of each problem."""
        return self.left.sizes[self.left_of]

    @cached_property
    def columns(self) -> Int[Tensor, " problems"]:
        """m of each problem."""
        return self.right.sizes[self.right_of]

    @cached_property
    def starts(self) -> Int[Tensor, " problems"]:
        """Where in `features` each problem begins."""
        return starts_of(self.rows * self.columns)

    @property
    def is_symmetric(self) -> bool:
        """Whether all inner distances are symmetric."""
        return self.left.is_symmetric and self.right.is_symmetric

    def __len__(self) -> int:
        return len(self.left_of)

    def matrices(
        self, number: int
    ) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n n"], Float[Tensor, "m m"]]:
        """M, C1 and C2 of one problem."""
        costs = unpack(self.features, self.starts, self.rows, self.columns, number)
        return costs, self.left[int(self.left_of[number])], self.right[int(self.right_of[number])]

    def by_size(self, ids: Int[Tensor, " some"]) -> Iterator[tuple[int, int, Int[Tensor, " same"]]]:
        """n, m, and which of the given problems have that size."""
        keys = self.rows[ids] * (int(self.columns.max()) + 1) + self.columns[ids]
        ordered, order = keys.sort(stable=True)
        counts = ordered.unique_consecutive(return_counts=True)[1]
        for same in ids[order].split(counts.tolist()):
            yield int(self.rows[same[0]]), int(self.columns[same[0]]), same


@dataclass(frozen=True)
class Solution:
    """Objectives of problems, and how good they are known to be.

    Args:
        values: the objective of each problem, lower is better.
        is_optimal: whether it is known to be the lowest there is. False: where a descent ended.
        rows, columns: sizes of the problems.
        plans: None, or all plans, packed as `Problems.features` are.
    """

    values: Float[Tensor, " problems"]
    is_optimal: Bool[Tensor, " problems"]
    rows: Int[Tensor, " problems"]
    columns: Int[Tensor, " problems"]
    plans: Float[Tensor, " entries"] | None = None

    @classmethod
    def blank(cls, problems: Problems, plans: bool) -> Solution:
        """To be filled by solvers."""
        known = torch.zeros_like(problems.rows, dtype=torch.bool)
        values = torch.full_like(problems.features[:1], torch.nan).repeat(len(problems))
        kept = torch.zeros_like(problems.features, dtype=torch.float64) if plans else None
        return cls(values, known, problems.rows, problems.columns, kept)

    @cached_property
    def starts(self) -> Int[Tensor, " problems"]:
        """Where in `plans` each plan begins."""
        return starts_of(self.rows * self.columns)

    def plan(self, number: int) -> Float[Tensor, "n m"]:
        """Plan of one problem; its entries are shares of the mass and sum to 1.

        Raises:
            ValueError: if the solver was not asked for plans.
        """
        if self.plans is None:
            raise ValueError("plans were not kept: solve with plans=True")
        return unpack(self.plans, self.starts, self.rows, self.columns, number)

    def __repr__(self) -> str:
        known = int(self.is_optimal.sum())
        return f"Solution({len(self.values):,} problems, {known:,} known to be optimal)"


def unpack(
    entries: Float[Tensor, " entries"],
    starts: Int[Tensor, " problems"],
    rows: Int[Tensor, " problems"],
    columns: Int[Tensor, " problems"],
    number: int,
) -> Float[Tensor, "n m"]:
    """The matrix of one problem out of entries packed column by column."""
    n, m, start = int(rows[number]), int(columns[number]), int(starts[number])
    return entries[start : start + n * m].view(m, n).T


def starts_of(lengths: Int[Tensor, " parts"]) -> Int[Tensor, " parts"]:
    """Where each part begins when parts of these lengths stand one behind the other."""
    return lengths.cumsum(0) - lengths


def _not_empty(sequence: Sequence, name: str) -> None:
    if not len(sequence):
        raise ValueError(f"{name} must hold at least one matrix, got none")


def _finite(matrix: Tensor, name: str, number: int) -> None:
    if not matrix.is_floating_point():
        raise ValueError(
            f"{name} must be floating point, got {matrix.dtype} in number {number}: use .double()"
        )
    if not matrix.square().isfinite().all():  # the objective squares them
        raise ValueError(
            f"{name} must be finite, also when squared, got NaN, infinity or too much in number {number}"
        )
